-- A table and its partitions at all depths, the deepest first: what indexes in place are built on. $1: the table's name.
-- `covered_by`: the indexes of the parent that an index here is already attached to. Sizes are for estimates.
with recursive tree as (
  select c.oid, null::oid as parent, 0 as depth from pg_class c where c.oid = to_regclass($1)
  union all
  select i.inhrelid, i.inhparent, t.depth + 1
  from tree t join pg_class p on p.oid = t.oid and p.relkind = 'p'
  join pg_inherits i on i.inhparent = p.oid and not i.inhdetachpending
)
select n.nspname::text as schema, c.relname::text as name, t.depth, c.relkind::text as kind,
  pn.nspname::text as parent_schema, p.relname::text as parent_name,
  pg_get_partkeydef(c.oid) as partition_key, pg_has_role(c.relowner, 'USAGE') as is_ours, pg_get_userbyid(c.relowner)::text as owner,
  array(select pi.relname::text from pg_index x join pg_inherits h on h.inhrelid = x.indexrelid
        join pg_class pi on pi.oid = h.inhparent where x.indrelid = c.oid and x.indisvalid) as covered_by,
  array(select xi.relname::text from pg_index x join pg_class xi on xi.oid = x.indexrelid
        where x.indrelid = c.oid and x.indisvalid) as valid,
  greatest(c.reltuples, 0)::float8 as rows,
  case when c.relkind = 'r' then pg_table_size(c.oid) else 0 end as table_bytes,
  (select coalesce(avg(pg_relation_size(x.indexrelid)), c.reltuples * 24)::float8 from pg_index x where x.indrelid = c.oid) as index_bytes
from tree t
join pg_class c on c.oid = t.oid join pg_namespace n on n.oid = c.relnamespace
left join pg_class p on p.oid = t.parent left join pg_namespace pn on pn.oid = p.relnamespace
order by t.depth desc, n.nspname, c.relname
