-- Follows bound.sql. The functions with a table's row type in their signature, in an order in which they can be created: those
-- with an SQL body may call the others. $1: the table's oid.
select coalesce(jsonb_agg(to_jsonb(x) order by x.is_bound, x.oid), '[]') from (
  select d.*,
    oidvectortypes(p.proargtypes) as types,
    p.prosqlbody is not null or p.pronargdefaults > 0 as is_bound,
    p.prosqlbody is not null as reads,
    obj_description(p.oid, 'pg_proc') as comment,
    exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) e where e.grantee = p.proowner) as owner_may,
    -- As in grants.sql.
    (select coalesce(jsonb_agg(to_jsonb(g) - 'granted' order by g.granted), '[]') from (
      select case when e.grantee = 0 then null else pg_get_userbyid(e.grantee) end as grantee,
        e.is_grantable as grantable,
        case when e.grantor <> p.proowner and has_schema_privilege(e.grantor, p.pronamespace, 'USAGE')
          and pg_has_role(e.grantor, case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end)
          then pg_get_userbyid(e.grantor) end as grantor,
        jsonb_agg(distinct e.privilege_type) as privileges, min(e.granted) as granted
      from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) with ordinality e (grantor, grantee, privilege_type, is_grantable, granted)
      where e.grantee <> p.proowner group by 1, 2, 3) g) as grants
  from row_functions r
  join described d on d.oid = r.oid
  join pg_proc p on p.oid = r.oid
) x
