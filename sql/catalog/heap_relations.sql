-- The relations that hold a table's rows (the table itself, or its leaves), with their sizes in blocks. Read by lane::copy.
select n.nspname::text as schema, c.relname::text as name,
       (pg_relation_size(c.oid) / current_setting('block_size')::bigint)::bigint as blocks
from pg_partition_tree(to_regclass($1)) t
join pg_class c on c.oid = t.relid
join pg_namespace n on n.oid = c.relnamespace
where t.isleaf and c.relkind = 'r'
union all
select n.nspname::text, c.relname::text,
       (pg_relation_size(c.oid) / current_setting('block_size')::bigint)::bigint
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where c.oid = to_regclass($1) and c.relkind = 'r' and not c.relispartition
order by 1, 2
