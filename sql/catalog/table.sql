-- The properties of a table itself. $1: its oid.
select jsonb_build_object(
  'oid', c.oid::bigint,
  'name', jsonb_build_object('schema', n.nspname, 'name', c.relname),
  'kind', c.relkind::text,
  'persistence', c.relpersistence::text,
  'owner', pg_get_userbyid(c.relowner),
  -- Whether the owner may read and write every row, and this role can act as the owner.
  'owner_acts', (not (c.relrowsecurity and c.relforcerowsecurity) or o.rolsuper or o.rolbypassrls)
    and has_table_privilege(c.relowner, c.oid, 'SELECT') and has_table_privilege(c.relowner, c.oid, 'INSERT')
    and has_table_privilege(c.relowner, c.oid, 'UPDATE') and has_table_privilege(c.relowner, c.oid, 'DELETE')
    and has_schema_privilege(c.relowner, n.oid, 'USAGE')
    and pg_has_role(c.relowner, case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end),
  'tablespace', s.spcname,
  'access_method', nullif(m.amname, 'heap'),
  -- A partitioned table cannot have any: those that all of its partitions agree on.
  'options', coalesce(to_jsonb(case c.relkind when 'p' then l.options else c.reloptions end), '[]'),
  'toast_options', coalesce(to_jsonb(case c.relkind when 'p' then l.toast_options else t.reloptions end), '[]'),
  'comment', obj_description(c.oid, 'pg_class'),
  'row_security', c.relrowsecurity,
  'force_row_security', c.relforcerowsecurity,
  'replica_identity', jsonb_build_object(
    'kind', case c.relreplident when 'd' then 'default' when 'f' then 'full' when 'n' then 'nothing' else 'index' end,
    'index', (select x.relname from pg_index i join pg_class x on x.oid = i.indexrelid
              where i.indrelid = c.oid and i.indisreplident)),
  'file', coalesce(pg_relation_filenode(c.oid)::bigint, 0),
  'estimated_rows', case c.relkind when 'p' then coalesce(l.tuples, 0) else greatest(c.reltuples, 0) end::bigint,
  'heap_bytes', pg_relation_size(c.oid) + coalesce(l.heap, 0),
  'table_bytes', pg_table_size(c.oid) + coalesce(l.whole, 0),
  'index_bytes', pg_indexes_size(c.oid) + coalesce(l.indexes, 0),
  'partition_key', pg_get_partkeydef(c.oid),
  'array_type', a.typname,
  'row_type_comment', obj_description(r.oid, 'pg_type'),
  'row_type_grants', (
    -- As in grants.sql.
    select coalesce(jsonb_agg(to_jsonb(g) - 'granted' order by g.granted), '[]') from (
      select case e.grantee when 0 then null else pg_get_userbyid(e.grantee) end as grantee,
        e.is_grantable as grantable,
        case when e.grantor <> r.typowner and has_schema_privilege(e.grantor, r.typnamespace, 'USAGE')
          and pg_has_role(e.grantor, case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end)
          then pg_get_userbyid(e.grantor) end as grantor,
        jsonb_agg(distinct e.privilege_type) as privileges, min(e.granted) as granted
      from aclexplode(r.typacl) with ordinality e (grantor, grantee, privilege_type, is_grantable, granted)
      group by 1, 2, 3) g
    having r.typacl is not null))
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
join pg_roles o on o.oid = c.relowner
left join pg_tablespace s on s.oid = c.reltablespace
left join pg_am m on m.oid = c.relam
left join pg_class t on t.oid = c.reltoastrelid
cross join lateral (
  select sum(greatest(x.reltuples, 0)) as tuples, sum(pg_relation_size(x.oid)) as heap, sum(pg_table_size(x.oid)) as whole,
    sum(pg_indexes_size(x.oid)) as indexes,
    case when count(distinct coalesce(x.reloptions, '{}')) = 1 then min(x.reloptions) end as options,
    case when count(distinct coalesce(o.reloptions, '{}')) = 1 then min(o.reloptions) end as toast_options
  from pg_partition_tree(c.oid) p join pg_class x on x.oid = p.relid left join pg_class o on o.oid = x.reltoastrelid
  where p.isleaf and p.relid <> c.oid) l
left join pg_type r on r.oid = c.reltype
left join pg_type a on a.oid = r.typarray
where c.oid = $1
