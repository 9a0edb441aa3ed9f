-- The partitions of a table at all depths, those of a lower depth first. $1: the table's oid.
-- `own`: what clients could miss of a partition that its parent does not have, and that a swap therefore leaves behind.
select coalesce(jsonb_agg(to_jsonb(x) - 'level' order by x.level, x.oid), '[]')
from (
  select p.level, c.oid::bigint, p.isleaf as leaf, p.level = 1 as top, pg_get_expr(c.relpartbound, 0) as bound,
    p.level = 1 and pg_get_expr(c.relpartbound, 0) = 'DEFAULT' as default,
    exists (select from pg_constraint k where k.conrelid = c.oid and k.contype = 'f' and k.conparentid = 0) as has_keys,
    to_jsonb(array(
      with recursive key as (
        select k.oid, k.oid as of, k.conrelid from pg_constraint k where k.conrelid = $1 and k.contype = 'f' and k.conparentid = 0
        union all
        select k.oid, key.of, k.conrelid from key join pg_constraint k on k.conparentid = key.oid and k.conrelid <> key.conrelid
      )
      select jsonb_build_object('of', o.conname, 'name', k.conname, 'comment', obj_description(k.oid, 'pg_constraint'))
      from key join pg_constraint k on k.oid = key.oid join pg_constraint o on o.oid = key.of
      where k.conrelid = c.oid and k.confrelid = o.confrelid
        and (k.conname <> o.conname or obj_description(k.oid, 'pg_constraint') is not null)
      order by o.conname)) as derived_keys,
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
      union all
      select format('privileges on column %I', a.attname) from pg_attribute a where a.attrelid = c.oid and a.attacl <> '{}'
      union all
      select format('default of column %I', a.attname)
      from pg_attribute a
      left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
      left join pg_attribute r on r.attrelid = $1 and r.attname = a.attname
      left join pg_attrdef e on e.adrelid = $1 and e.adnum = r.attnum
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
        and pg_get_expr(d.adbin, d.adrelid) is distinct from pg_get_expr(e.adbin, e.adrelid)
      union all
      select format('settings of column %I', a.attname)
      from pg_attribute a join pg_attribute r on r.attrelid = $1 and r.attname = a.attname
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        and (a.attstattarget, a.attoptions::text, a.attstorage, a.attcompression)
          is distinct from (r.attstattarget, r.attoptions::text, r.attstorage, r.attcompression)
      union all
      select 'storage parameters' where p.isleaf and exists (
        select from pg_partition_tree($1::oid::regclass) o join pg_class s on s.oid = o.relid
        where o.isleaf and s.reloptions is distinct from c.reloptions)
      union all
      select format('tablespace %I', s.spcname)
      from pg_tablespace s join pg_class r on r.oid = $1 where s.oid = c.reltablespace and c.reltablespace <> r.reltablespace
      union all
      select 'its comment' where obj_description(c.oid, 'pg_class') is not null
      union all
      select 'row security' from pg_class r where r.oid = $1 and (c.relrowsecurity and not r.relrowsecurity or c.relforcerowsecurity)
      order by 1)) as own
  from pg_partition_tree($1::oid::regclass) p
  join pg_class c on c.oid = p.relid
  join pg_namespace n on n.oid = c.relnamespace
  where p.relid <> $1
) x
