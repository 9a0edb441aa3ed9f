-- Follows bound.sql. The functions with a table's row type in their signature, in an order in which they can be created: those
-- with an SQL body may call the others. $1: the table's oid.
select coalesce(jsonb_agg(to_jsonb(x) order by x.is_bound, x.oid), '[]') from (
  select p.oid::bigint,
    jsonb_build_object('schema', n.nspname, 'name', p.proname) as name,
    pg_get_function_identity_arguments(p.oid) as arguments,
    oidvectortypes(p.proargtypes) as types,
    p.oid::regprocedure::text as signature,
    pg_get_userbyid(p.proowner) as owner,
    case p.prokind when 'p' then 'PROCEDURE' else 'FUNCTION' end as kind,
    (select coalesce(jsonb_agg(distinct a.attname), '[]')
     from pg_depend d join pg_attribute a on a.attrelid = $1 and a.attnum = d.refobjsubid
     where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.refclassid = 'pg_class'::regclass and d.refobjid = $1
       and d.refobjsubid > 0) as uses,
    false as needs_key,
    -- What follows the name.
    substr(f.def, strpos(f.def, f.head) + length(f.head)) as definition,
    p.prosqlbody is not null or p.pronargdefaults > 0 as is_bound,
    p.prosqlbody is not null as reads,
    obj_description(p.oid, 'pg_proc') as comment,
    exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) e where e.grantee = p.proowner) as owner_may,
    -- In the order in which they were granted, in which pg_dump writes them.
    (select coalesce(jsonb_agg(to_jsonb(g) - 'place' order by g.place), '[]') from (
      select case when e.grantee = 0 then null else pg_get_userbyid(e.grantee) end as grantee,
        e.is_grantable as grantable, jsonb_agg(distinct e.privilege_type) as privileges, min(e.place) as place
      from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) with ordinality e(grantor, grantee, privilege_type, is_grantable, place)
      where e.grantee <> p.proowner group by 1, 2) g) as grants
  from row_functions r
  join pg_proc p on p.oid = r.oid
  join pg_namespace n on n.oid = p.pronamespace
  cross join lateral (select pg_get_functiondef(p.oid) as def, format('%I.%I', n.nspname, p.proname) as head) f
) x
