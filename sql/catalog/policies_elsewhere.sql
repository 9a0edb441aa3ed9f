-- Follows bound.sql. The policies of other tables that are bound to a table. $1: the table's oid.
select coalesce(jsonb_agg(to_jsonb(x) order by x.on, x.name), '[]') from (
  select p.polname as name,
    jsonb_build_object('schema', n.nspname, 'name', c.relname) as "on",
    pg_get_userbyid(c.relowner) as owner,
    pg_get_expr(p.polqual, p.polrelid) as using,
    pg_get_expr(p.polwithcheck, p.polrelid) as check,
    (select coalesce(jsonb_agg(distinct a.attname), '[]')
     from pg_depend d join pg_attribute a on a.attrelid = $1 and a.attnum = d.refobjsubid
     where d.classid = 'pg_policy'::regclass and d.objid = p.oid and d.refclassid = 'pg_class'::regclass and d.refobjid = $1
       and d.refobjsubid > 0) as uses
  from pg_policy p
  join pg_class c on c.oid = p.polrelid and c.oid <> $1 and c.relpersistence <> 't'
  join pg_namespace n on n.oid = c.relnamespace and not starts_with(n.nspname, 'projh_bg_')
  where exists (select from bound b join pg_depend d on d.refclassid = b.classid and d.refobjid = b.objid
                where d.classid = 'pg_policy'::regclass and d.objid = p.oid)
) x
