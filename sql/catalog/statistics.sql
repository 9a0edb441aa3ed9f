-- A table's extended statistics. $1: the table's oid.
-- `kinds` leaves out the kind for expressions, which follows from there being any.
select coalesce(jsonb_agg(to_jsonb(x) order by x.name), '[]') from (
  select jsonb_build_object('schema', n.nspname, 'name', s.stxname) as name,
    pg_get_userbyid(s.stxowner) as owner,
    (select coalesce(jsonb_agg(case k when 'd' then 'ndistinct' when 'f' then 'dependencies' when 'm' then 'mcv' end order by k), '[]')
     from unnest(s.stxkind::text[]) k where k <> 'e') as kinds,
    (select coalesce(jsonb_agg(a.attname order by u.place), '[]')
     from unnest(s.stxkeys::int2[]) with ordinality u(attnum, place)
     join pg_attribute a on a.attrelid = s.stxrelid and a.attnum = u.attnum) as columns,
    to_jsonb(coalesce(pg_get_statisticsobjdef_expressions(s.oid), '{}')) as expressions,
    (select coalesce(jsonb_agg(distinct a.attname), '[]')
     from pg_depend d join pg_attribute a on a.attrelid = s.stxrelid and a.attnum = d.refobjsubid
     where d.classid = 'pg_statistic_ext'::regclass and d.objid = s.oid
       and d.refclassid = 'pg_class'::regclass and d.refobjid = s.stxrelid and d.refobjsubid > 0) as reads,
    nullif(s.stxstattarget, -1) as target,
    obj_description(s.oid, 'pg_statistic_ext') as comment
  from pg_statistic_ext s
  join pg_namespace n on n.oid = s.stxnamespace
  where s.stxrelid = $1
) x
