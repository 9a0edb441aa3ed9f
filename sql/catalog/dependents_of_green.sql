-- What others have created that depends on the tables in schema $1 or their partitions: views, rules, foreign keys
-- that reference them, functions.
with home as (
  select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relkind in ('r', 'p', 'm')
), greens as (
  select oid from home union select i.inhrelid from pg_inherits i join home on home.oid = i.inhparent
)
select distinct coalesce(
  pg_describe_object('pg_class'::regclass, r.ev_class, 0), pg_describe_object(d.classid, d.objid, 0), 'something')
from pg_depend d join greens on greens.oid = d.refobjid
left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
where d.refclassid = 'pg_class'::regclass and (
  d.classid = 'pg_proc'::regclass
  or r.ev_class not in (select oid from greens)
  or d.classid = 'pg_constraint'::regclass
    and exists (select from pg_constraint k where k.oid = d.objid and k.contype = 'f' and k.conrelid not in (select oid from greens))
)
order by 1
