-- What others have created that depends on the tables in schema $1, their partitions, their row types or the functions there:
-- views, rules, foreign keys that reference them, functions.
with home as (
  select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relkind in ('r', 'p', 'm')
), greens as (
  select oid from home union select i.inhrelid from pg_inherits i join home on home.oid = i.inhparent
), functions as (
  select p.oid from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = $1
), things(classid, objid) as (
  select 'pg_class'::regclass::oid, oid from greens
  union all select 'pg_type'::regclass, unnest(array[t.oid, t.typarray])
    from greens join pg_class c on c.oid = greens.oid join pg_type t on t.oid = c.reltype
  union all select 'pg_proc'::regclass, oid from functions
)
select distinct coalesce(
  pg_describe_object('pg_class'::regclass, r.ev_class, 0), pg_describe_object(d.classid, d.objid, 0), 'something')
from things join pg_depend d on d.refclassid = things.classid and d.refobjid = things.objid
left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
where d.classid = 'pg_proc'::regclass and d.objid not in (select oid from functions)
  or r.ev_class not in (select oid from greens)
  or d.refclassid = 'pg_class'::regclass and d.classid = 'pg_constraint'::regclass
    and exists (select from pg_constraint k where k.oid = d.objid and k.contype = 'f' and k.conrelid not in (select oid from greens))
order by 1
