-- A partitioned table's leaves, with what clients could notice of them. $1: the parent's oid.
select coalesce(jsonb_agg(to_jsonb(x) order by x.name), '[]') from (
  select jsonb_build_object('schema', n.nspname, 'name', c.relname) as name,
    pg_get_userbyid(c.relowner) as owner,
    s.spcname as tablespace,
    coalesce(to_jsonb(c.reloptions), '[]') as options,
    coalesce(to_jsonb(t.reloptions), '[]') as toast_options,
    c.relrowsecurity as row_security,
    case c.relreplident when 'd' then 'default' when 'f' then 'full' when 'n' then 'nothing' else 'index' end
      as replica_identity,
    (select coalesce(jsonb_agg(distinct case when e.grantee = 0 then 'public' else pg_get_userbyid(e.grantee) end), '[]')
     from aclexplode(c.relacl) e where e.grantee <> c.relowner) as grantees,
    (select coalesce(jsonb_agg(jsonb_build_object('name', k.conname, 'validated', k.convalidated) order by k.conname), '[]')
     from pg_constraint k where k.conrelid = c.oid and k.contype = 'f' and k.conparentid = 0) as own_foreign_keys
  from pg_partition_tree($1::oid::regclass) p
  join pg_class c on c.oid = p.relid
  join pg_namespace n on n.oid = c.relnamespace
  left join pg_tablespace s on s.oid = c.reltablespace
  left join pg_class t on t.oid = c.reltoastrelid
  where p.isleaf and p.relid <> $1
) x
