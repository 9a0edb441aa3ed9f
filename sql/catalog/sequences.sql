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
    -- `column`: the column of this table, or of its partitions, whose default it is. OFFSET 0: looked up by the catalog's indexes
    -- however many relations the database has.
    (select coalesce(jsonb_agg(distinct jsonb_build_object('what', y.what, 'column', y.column, 'is_default', y.is_default)), '[]')
     from (
       select case when w.oid is not null then pg_describe_object('pg_class'::regclass, w.ev_class, 0)
           else pg_describe_object(u.classid, u.objid, u.objsubid) end as what,
         case when f.adrelid = $1 or f.adrelid in (select relid from pg_partition_tree($1::oid::regclass)) then fa.attname end as column,
         f.oid is not null as is_default
       from (select * from pg_depend u where u.refclassid = 'pg_class'::regclass and u.refobjid = c.oid and u.deptype = 'n' offset 0) u
       left join pg_rewrite w on u.classid = 'pg_rewrite'::regclass and w.oid = u.objid
       left join pg_attrdef f on u.classid = 'pg_attrdef'::regclass and f.oid = u.objid
       left join pg_attribute fa on fa.attrelid = f.adrelid and fa.attnum = f.adnum
       left join pg_class fc on fc.oid = f.adrelid
       left join pg_namespace fn on fn.oid = fc.relnamespace
       where not coalesce(starts_with(fn.nspname, 'projh_bg_'), false)) y
     where y.what is not null) as used_by,
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
