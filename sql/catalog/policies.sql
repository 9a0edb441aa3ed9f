-- A table's row-level security policies. $1: the table's oid.
select coalesce(jsonb_agg(to_jsonb(x) order by x.name), '[]') from (
  select p.polname as name,
    p.polpermissive as permissive,
    case p.polcmd when 'r' then 'SELECT' when 'a' then 'INSERT' when 'w' then 'UPDATE' when 'd' then 'DELETE'
      else 'ALL' end as command,
    (select jsonb_agg(case when r = 0 then null else pg_get_userbyid(r) end order by r)
     from unnest(p.polroles) r) as roles,
    pg_get_expr(p.polqual, p.polrelid) as using,
    pg_get_expr(p.polwithcheck, p.polrelid) as check,
    (select coalesce(jsonb_agg(distinct a.attname), '[]')
     from pg_depend d join pg_attribute a on a.attrelid = p.polrelid and a.attnum = d.refobjsubid
     where d.classid = 'pg_policy'::regclass and d.objid = p.oid
       and d.refclassid = 'pg_class'::regclass and d.refobjid = p.polrelid and d.refobjsubid > 0) as columns,
    obj_description(p.oid, 'pg_policy') as comment
  from pg_policy p
  where p.polrelid = $1
) x
