-- The partitions of a table at all depths, those of a lower depth first. $1: the table's oid.
-- `own`: what clients could miss of a partition that its parent does not have, and that a swap therefore leaves behind.
select coalesce(jsonb_agg(jsonb_build_object('name', x.name, 'leaf', x.isleaf, 'default', x.is_default, 'own', x.own) order by x.level, x.relid), '[]')
from (
  select p.level, p.relid, p.isleaf, p.level = 1 and pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT' as is_default,
    jsonb_build_object('schema', n.nspname, 'name', c.relname) as name,
    to_jsonb(array(
      select format('index %I', i.relname) from pg_index d join pg_class i on i.oid = d.indexrelid
      where d.indrelid = c.oid and not i.relispartition and not d.indisunique
      union all
      select format('policy %I', o.polname) from pg_policy o where o.polrelid = c.oid
      union all
      select format('statistics %I', s.stxname) from pg_statistic_ext s where s.stxrelid = c.oid
      union all
      select format('privileges of %I', g.grantee) from (
        select distinct case e.grantee when 0 then 'public' else pg_get_userbyid(e.grantee) end as grantee
        from aclexplode(c.relacl) e where e.grantee <> c.relowner) g
      order by 1)) as own
  from pg_partition_tree($1::oid::regclass) p
  join pg_class c on c.oid = p.relid
  join pg_namespace n on n.oid = c.relnamespace
  where p.relid <> $1
) x
