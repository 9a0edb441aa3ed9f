-- The materialized views that are bound to a table, or to each other, in an order in which they can be created. Follows
-- bound.sql. $1: the table's oid.
select coalesce(jsonb_agg(to_jsonb(x) order by x.depth, x.name), '[]') from (
  select jsonb_build_object('schema', n.nspname, 'name', v.relname) as name,
    pg_get_userbyid(v.relowner) as owner,
    m.depth,
    rtrim(pg_get_viewdef(v.oid), ';') as query,
    (select coalesce(jsonb_agg(distinct a.attname), '[]')
     from pg_rewrite w join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
     join pg_attribute a on a.attrelid = $1 and a.attnum = d.refobjsubid
     where w.ev_class = v.oid and d.refclassid = 'pg_class'::regclass and d.refobjid = $1 and d.refobjsubid > 0) as uses,
    exists (select from pg_rewrite w join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
            join pg_constraint k on d.refclassid = 'pg_constraint'::regclass and k.oid = d.refobjid and k.conrelid = $1
            where w.ev_class = v.oid) as needs_key,
    s.spcname as tablespace,
    nullif(h.amname, 'heap') as access_method,
    coalesce(to_jsonb(v.reloptions), '[]') as options,
    coalesce(to_jsonb(t.reloptions), '[]') as toast_options,
    obj_description(v.oid, 'pg_class') as comment,
    (select coalesce(jsonb_agg(e.extname order by e.extname), '[]')
     from pg_depend d join pg_extension e on e.oid = d.refobjid
     where d.classid = 'pg_class'::regclass and d.objid = v.oid
       and d.refclassid = 'pg_extension'::regclass and d.deptype = 'x') as extensions,
    (select e.extname from pg_depend d join pg_extension e on e.oid = d.refobjid
     where d.classid = 'pg_class'::regclass and d.objid = v.oid
       and d.refclassid = 'pg_extension'::regclass and d.deptype = 'e') as member_of,
    pg_table_size(v.oid) as bytes,
    jsonb_build_object(
      'owner', (select coalesce(jsonb_agg(distinct e.privilege_type), '[]')
        from aclexplode(coalesce(v.relacl, acldefault('r', v.relowner))) e where e.grantee = v.relowner),
      'owner_has_all', not exists (
        select e.privilege_type from aclexplode(acldefault('r', v.relowner)) e
        except
        select e.privilege_type from aclexplode(coalesce(v.relacl, acldefault('r', v.relowner))) e where e.grantee = v.relowner),
      -- As in grants.sql.
      'others', (select coalesce(jsonb_agg(to_jsonb(g) - 'granted' order by g.granted), '[]') from (
        select case when e.grantee = 0 then null else pg_get_userbyid(e.grantee) end as grantee,
          e.is_grantable as grantable,
          case when e.grantor <> v.relowner and has_schema_privilege(e.grantor, v.relnamespace, 'USAGE')
            and pg_has_role(e.grantor, case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end)
            then pg_get_userbyid(e.grantor) end as grantor,
          jsonb_agg(distinct e.privilege_type) as privileges, min(e.granted) as granted
        from aclexplode(v.relacl) with ordinality e (grantor, grantee, privilege_type, is_grantable, granted)
        where e.grantee <> v.relowner group by 1, 2, 3) g)) as grants,
    (select coalesce(jsonb_agg(to_jsonb(c) order by c.name), '[]') from (
      select a.attname as name,
        nullif(a.attstattarget, -1) as target,
        coalesce(to_jsonb(a.attoptions), '[]') as options,
        case when a.attstorage <> y.typstorage then
          case a.attstorage when 'p' then 'PLAIN' when 'e' then 'EXTERNAL' when 'm' then 'MAIN' else 'EXTENDED' end end as storage,
        case a.attcompression when 'p' then 'pglz' when 'l' then 'lz4' end as compression,
        col_description(v.oid, a.attnum) as comment,
        (select coalesce(jsonb_agg(to_jsonb(g) - 'granted' order by g.granted), '[]') from (
          select case when e.grantee = 0 then null else pg_get_userbyid(e.grantee) end as grantee,
            e.is_grantable as grantable,
            case when e.grantor <> v.relowner and has_schema_privilege(e.grantor, v.relnamespace, 'USAGE')
              and pg_has_role(e.grantor, case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end)
              then pg_get_userbyid(e.grantor) end as grantor,
            jsonb_agg(distinct e.privilege_type) as privileges, min(e.granted) as granted
          from aclexplode(a.attacl) with ordinality e (grantor, grantee, privilege_type, is_grantable, granted)
          group by 1, 2, 3) g) as grants
      from pg_attribute a join pg_type y on y.oid = a.atttypid
      where a.attrelid = v.oid and a.attnum > 0 and not a.attisdropped) c) as columns,
    (select coalesce(jsonb_agg(jsonb_build_object('name', a.attname, 'data_type', format_type(a.atttypid, a.atttypmod),
        'updatable', false) order by a.attnum), '[]')
     from pg_attribute a where a.attrelid = v.oid and a.attnum > 0 and not a.attisdropped) as shows,
    (select coalesce(jsonb_agg(to_jsonb(i) order by i.name), '[]') from (
      select c.relname as name,
        pg_get_indexdef(x.indexrelid) as definition,
        p.spcname as tablespace,
        obj_description(c.oid, 'pg_class') as comment,
        x.indisclustered as clustered,
        (select coalesce(jsonb_agg(e.extname order by e.extname), '[]')
         from pg_depend d join pg_extension e on e.oid = d.refobjid
         where d.classid = 'pg_class'::regclass and d.objid = c.oid
           and d.refclassid = 'pg_extension'::regclass and d.deptype = 'x') as extensions,
        -- What REFRESH CONCURRENTLY requires.
        x.indisunique and x.indimmediate and x.indpred is null and x.indexprs is null as identifies_rows,
        (select coalesce(jsonb_agg(jsonb_build_object('column', a.attnum, 'target', a.attstattarget) order by a.attnum), '[]')
         from pg_attribute a where a.attrelid = x.indexrelid and a.attstattarget >= 0) as statistics_targets
      from pg_index x join pg_class c on c.oid = x.indexrelid left join pg_tablespace p on p.oid = c.reltablespace
      where x.indrelid = v.oid and x.indisvalid) i) as indexes,
    -- As in statistics.sql.
    (select coalesce(jsonb_agg(to_jsonb(i) order by i.name), '[]') from (
      select jsonb_build_object('schema', n.nspname, 'name', e.stxname) as name,
        pg_get_userbyid(e.stxowner) as owner,
        (select coalesce(jsonb_agg(case k when 'd' then 'ndistinct' when 'f' then 'dependencies' when 'm' then 'mcv' end order by k), '[]')
         from unnest(e.stxkind::text[]) k where k <> 'e') as kinds,
        (select coalesce(jsonb_agg(a.attname order by u.place), '[]')
         from unnest(e.stxkeys::int2[]) with ordinality u(attnum, place)
         join pg_attribute a on a.attrelid = e.stxrelid and a.attnum = u.attnum) as columns,
        to_jsonb(coalesce(pg_get_statisticsobjdef_expressions(e.oid), '{}')) as expressions,
        '[]'::jsonb as reads,
        nullif(e.stxstattarget, -1) as target,
        obj_description(e.oid, 'pg_statistic_ext') as comment
      from pg_statistic_ext e join pg_namespace n on n.oid = e.stxnamespace
      where e.stxrelid = v.oid) i) as statistics
  from moved m
  join pg_class v on v.oid = m.oid
  join pg_namespace n on n.oid = v.relnamespace
  left join pg_tablespace s on s.oid = v.reltablespace
  left join pg_am h on h.oid = v.relam
  left join pg_class t on t.oid = v.reltoastrelid
) x
