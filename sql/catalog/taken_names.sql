-- Which of these names a schema's relations already have. $1: the schema, $2: the names.
-- `$1` may name a schema that does not exist: then nothing is taken.
select c.relname::text
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and c.relname = any ($2::text[])
union
select t.typname::text
from pg_type t
join pg_namespace n on n.oid = t.typnamespace
where n.nspname = $1 and t.typname = any ($2::text[]) and t.typrelid = 0 and t.typcategory <> 'A'
order by 1
