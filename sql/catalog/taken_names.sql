-- Which of these names are taken by relations or types of a schema. $1: the schema, which need not exist, $2: the names.
-- Partitions that a run has created, and their indexes, do not count: the table is refused because of that run.
select c.relname::text
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and c.relname = any ($2::text[])
  and not exists (
    select from pg_inherits i
    join pg_class p on p.oid = i.inhparent
    join pg_namespace h on h.oid = p.relnamespace
    where h.nspname ~ '^projh_bg_'
      and i.inhrelid = coalesce((select x.indrelid from pg_index x where x.indexrelid = c.oid), c.oid)
  )
union
select t.typname::text
from pg_type t
join pg_namespace n on n.oid = t.typnamespace
where n.nspname = $1 and t.typname = any ($2::text[]) and t.typrelid = 0 and t.typcategory <> 'A'
order by 1
