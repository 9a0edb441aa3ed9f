-- Follows bound.sql. The rules on a table, and those on other tables that are bound to it. Rules of views belong to their
-- view. $1: the table's oid.
, named as (
  select w.oid from pg_rewrite w where w.ev_class = $1
  union select d.objid from bound o
  join pg_depend d on d.refclassid = o.classid and d.refobjid = o.objid and d.classid = 'pg_rewrite'::regclass
)
select coalesce(jsonb_agg(to_jsonb(x) order by x.own desc, x.on, x.name), '[]') from (
  select w.rulename as name,
    jsonb_build_object('schema', n.nspname, 'name', c.relname) as "on",
    c.oid = $1 as own,
    pg_get_userbyid(c.relowner) as owner,
    rtrim(pg_get_ruledef(w.oid), ';') as definition,
    case w.ev_enabled when 'O' then null when 'D' then 'DISABLE' when 'R' then 'ENABLE REPLICA' else 'ENABLE ALWAYS' end as state,
    obj_description(w.oid, 'pg_rewrite') as comment,
    (select coalesce(jsonb_agg(distinct a.attname), '[]')
     from pg_depend d join pg_attribute a on a.attrelid = $1 and a.attnum = d.refobjsubid
     where d.classid = 'pg_rewrite'::regclass and d.objid = w.oid and d.refclassid = 'pg_class'::regclass and d.refobjid = $1
       and d.refobjsubid > 0) as uses
  from named
  join pg_rewrite w using (oid)
  join pg_class c on c.oid = w.ev_class and c.relkind in ('r', 'p') and c.relpersistence <> 't'
  join pg_namespace n on n.oid = c.relnamespace
) x
