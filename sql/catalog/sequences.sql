-- The sequences of a table's identity and serial columns. $1: the table's oid.
select coalesce(jsonb_agg(to_jsonb(x) order by x.attnum), '[]') from (
  select d.refobjsubid as attnum,
    a.attname as column,
    jsonb_build_object('schema', n.nspname, 'name', c.relname) as name,
    d.deptype = 'i' as identity,
    format_type(s.seqtypid, null) as data_type,
    s.seqstart as start, s.seqmin as min, s.seqmax as max, s.seqincrement as increment,
    s.seqcache as cache, s.seqcycle as cycle,
    c.relpersistence = 'u' as unlogged,
    obj_description(c.oid, 'pg_class') as comment,
    (select coalesce(jsonb_agg(to_jsonb(g) - 'granted' order by g.granted), '[]') from (
       select case when e.grantee = 0 then null else pg_get_userbyid(e.grantee) end as grantee,
         e.is_grantable as grantable,
         -- As in grants.sql.
         case when e.grantor <> c.relowner and has_schema_privilege(e.grantor, c.relnamespace, 'USAGE')
          and pg_has_role(e.grantor, case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end)
          then pg_get_userbyid(e.grantor) end as grantor,
         jsonb_agg(distinct e.privilege_type) as privileges, min(e.granted) as granted
       from aclexplode(c.relacl) with ordinality e (grantor, grantee, privilege_type, is_grantable, granted)
       where e.grantee <> c.relowner group by 1, 2, 3) g) as grants
  from pg_depend d
  join pg_class c on c.oid = d.objid and c.relkind = 'S'
  join pg_namespace n on n.oid = c.relnamespace
  join pg_sequence s on s.seqrelid = c.oid
  join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
  where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass
    and d.refobjid = $1 and d.deptype in ('a', 'i')
) x
