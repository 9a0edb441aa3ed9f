-- Follows bound.sql. The functions with an SQL body that only reads what is in `bound`, without its row types in the
-- signature. $1: the table's oid.
select coalesce(jsonb_agg(to_jsonb(x) order by x.name, x.arguments), '[]') from (
  select jsonb_build_object('schema', n.nspname, 'name', p.proname) as name,
    pg_get_function_identity_arguments(p.oid) as arguments,
    p.oid::regprocedure::text as signature,
    pg_get_userbyid(p.proowner) as owner,
    case p.prokind when 'p' then 'PROCEDURE' else 'FUNCTION' end as kind,
    (select coalesce(jsonb_agg(distinct a.attname), '[]')
     from pg_depend d join pg_attribute a on a.attrelid = $1 and a.attnum = d.refobjsubid
     where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.refclassid = 'pg_class'::regclass and d.refobjid = $1
       and d.refobjsubid > 0) as uses,
    exists (select from pg_depend d
            join pg_constraint k on d.refclassid = 'pg_constraint'::regclass and k.oid = d.refobjid and k.conrelid = $1
            where d.classid = 'pg_proc'::regclass and d.objid = p.oid) as needs_key,
    -- What follows the name.
    substr(f.def, strpos(f.def, f.head) + length(f.head)) as definition
  from carried c
  join pg_proc p on p.oid = c.oid
  join pg_namespace n on n.oid = p.pronamespace
  cross join lateral (select pg_get_functiondef(p.oid) as def, format('%I.%I', n.nspname, p.proname) as head) f
) x
