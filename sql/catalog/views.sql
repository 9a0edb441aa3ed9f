-- Follows bound.sql. The views whose query or rules are bound to a table, and views on these, at any depth. $1: the
-- table's oid. Temporary views are not among them. In the order of `depth`: the longest way from the table.
-- `direct`: rules of views that are bound to it themselves; the query of a view is one, too.
, direct as (
  select distinct w.oid, w.ev_class, w.ev_type = '1' as is_query
  from bound o
  join pg_depend d on d.refclassid = o.classid and d.refobjid = o.objid and d.classid = 'pg_rewrite'::regclass
  join pg_rewrite w on w.oid = d.objid
  join pg_class v on v.oid = w.ev_class and v.relkind = 'v' and v.relpersistence = 'p'
),
reached(oid, depth) as (
  select ev_class, 0 from direct where is_query
  union
  select v.oid, r.depth + 1
  from reached r
  join pg_class b on b.oid = r.oid
  join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = b.oid
    or d.refclassid = 'pg_type'::regclass and d.refobjid = b.reltype
  join pg_rewrite w on d.classid = 'pg_rewrite'::regclass and w.oid = d.objid and w.ev_type = '1' and w.ev_class <> r.oid
  join pg_class v on v.oid = w.ev_class and v.relkind = 'v' and v.relpersistence = 'p'
  where r.depth < 100
),
views as (
  select oid, max(depth) as depth from (select oid, depth from reached union all select ev_class, 0 from direct) x group by oid
)
select coalesce(jsonb_agg(to_jsonb(x) order by x.depth, x.name), '[]') from (
  select jsonb_build_object('schema', n.nspname, 'name', v.relname) as name,
    pg_get_userbyid(v.relowner) as owner,
    l.depth,
    exists (select from direct d where d.ev_class = v.oid and d.is_query) as reads,
    coalesce(to_jsonb(v.reloptions), '[]') as options,
    rtrim(pg_get_viewdef(v.oid), ';') as query,
    (select coalesce(jsonb_agg(distinct a.attname), '[]')
     from pg_rewrite w join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
     join pg_attribute a on a.attrelid = $1 and a.attnum = d.refobjsubid
     where w.ev_class = v.oid and w.ev_type = '1' and d.refclassid = 'pg_class'::regclass and d.refobjid = $1
       and d.refobjsubid > 0) as uses,
    exists (select from pg_rewrite w join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
            join pg_constraint k on d.refclassid = 'pg_constraint'::regclass and k.oid = d.refobjid and k.conrelid = $1
            where w.ev_class = v.oid and w.ev_type = '1') as needs_key,
    (select coalesce(jsonb_agg(jsonb_build_object('name', w.rulename, 'definition', rtrim(pg_get_ruledef(w.oid), ';'))
        order by w.rulename), '[]')
     from direct d join pg_rewrite w on w.oid = d.oid where d.ev_class = v.oid and not d.is_query) as rules,
    (select coalesce(jsonb_agg(jsonb_build_object('name', a.attname, 'data_type', format_type(a.atttypid, a.atttypmod),
        'updatable', pg_column_is_updatable(v.oid, a.attnum, false)) order by a.attnum), '[]')
     from pg_attribute a where a.attrelid = v.oid and a.attnum > 0 and not a.attisdropped) as columns
  from views l
  join pg_class v on v.oid = l.oid
  join pg_namespace n on n.oid = v.relnamespace
) x
