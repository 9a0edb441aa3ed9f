-- The properties of a table itself. $1: its oid.
select jsonb_build_object(
  'oid', c.oid::bigint,
  'name', jsonb_build_object('schema', n.nspname, 'name', c.relname),
  'kind', c.relkind::text,
  'persistence', c.relpersistence::text,
  'owner', pg_get_userbyid(c.relowner),
  -- Whether the owner may read every row, and this role can act as the owner.
  'owner_acts', (not (c.relrowsecurity and c.relforcerowsecurity) or o.rolsuper or o.rolbypassrls)
    and has_table_privilege(c.relowner, c.oid, 'SELECT') and has_schema_privilege(c.relowner, n.oid, 'USAGE')
    and pg_has_role(c.relowner, case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end),
  'tablespace', s.spcname,
  'access_method', nullif(m.amname, 'heap'),
  'options', coalesce(to_jsonb(c.reloptions), '[]'),
  'toast_options', coalesce(to_jsonb(t.reloptions), '[]'),
  'comment', obj_description(c.oid, 'pg_class'),
  'row_security', c.relrowsecurity,
  'force_row_security', c.relforcerowsecurity,
  'replica_identity', jsonb_build_object(
    'kind', case c.relreplident when 'd' then 'default' when 'f' then 'full' when 'n' then 'nothing' else 'index' end,
    'index', (select x.relname from pg_index i join pg_class x on x.oid = i.indexrelid
              where i.indrelid = c.oid and i.indisreplident)),
  'file', coalesce(pg_relation_filenode(c.oid)::bigint, 0),
  'estimated_rows', greatest(c.reltuples, 0)::bigint,
  'heap_bytes', pg_relation_size(c.oid),
  'table_bytes', pg_table_size(c.oid),
  'index_bytes', pg_indexes_size(c.oid),
  'array_type', a.typname)
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
join pg_roles o on o.oid = c.relowner
left join pg_tablespace s on s.oid = c.reltablespace
left join pg_am m on m.oid = c.relam
left join pg_class t on t.oid = c.reltoastrelid
left join pg_type r on r.oid = c.reltype
left join pg_type a on a.oid = r.typarray
where c.oid = $1
