-- What others have created that depends on the tables in the schemas $1, their partitions, their row types, or the sequences and
-- functions there, and that DROP SCHEMA ... CASCADE would drop with them, or take them out of.
with home as (
  select c.oid, c.relkind from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = any ($1::text[])
), greens as (
  select oid from home where relkind in ('r', 'p', 'm')
  union select i.inhrelid from pg_inherits i join home on home.oid = i.inhparent
), functions as (
  select p.oid from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = any ($1::text[])
), things(classid, objid) as (
  select 'pg_class'::regclass::oid, oid from greens
  union all select 'pg_class'::regclass, oid from home where relkind = 'S'
  union all select 'pg_type'::regclass, unnest(array[t.oid, t.typarray])
    from greens join pg_class c on c.oid = greens.oid join pg_type t on t.oid = c.reltype
  union all select 'pg_proc'::regclass, oid from functions
)
select distinct coalesce(pg_describe_object('pg_class'::regclass, x.ev_class, 0), pg_describe_object(d.classid, d.objid, 0), 'something')
from things join pg_depend d on d.refclassid = things.classid and d.refobjid = things.objid and d.deptype in ('n', 'a')
left join pg_rewrite x on d.classid = 'pg_rewrite'::regclass and x.oid = d.objid
-- The relation that it is, or is a part of.
left join lateral (
  select x.ev_class as oid
  union all select coalesce(i.indrelid, c.oid) from pg_class c left join pg_index i on i.indexrelid = c.oid
    where d.classid = 'pg_class'::regclass and c.oid = d.objid
  union all select k.conrelid from pg_constraint k where d.classid = 'pg_constraint'::regclass and k.oid = d.objid
  union all select g.tgrelid from pg_trigger g where d.classid = 'pg_trigger'::regclass and g.oid = d.objid
  union all select a.adrelid from pg_attrdef a where d.classid = 'pg_attrdef'::regclass and a.oid = d.objid
  union all select p.polrelid from pg_policy p where d.classid = 'pg_policy'::regclass and p.oid = d.objid
  union all select s.stxrelid from pg_statistic_ext s where d.classid = 'pg_statistic_ext'::regclass and s.oid = d.objid
) r on r.oid is not null
where (r.oid is null or r.oid not in (select oid from home union select oid from greens))
  and not (d.classid = 'pg_proc'::regclass and d.objid in (select oid from functions))
  -- The program's own (triggers whose functions are there, publications), and what has just been dropped.
  and not exists (select from pg_trigger g where d.classid = 'pg_trigger'::regclass and g.oid = d.objid
    and g.tgfoid in (select oid from functions))
  and not exists (select from pg_publication_rel p join pg_publication q on q.oid = p.prpubid
    where d.classid = 'pg_publication_rel'::regclass and p.oid = d.objid and q.pubname like 'projh\_bg\_%')
  and pg_describe_object(d.classid, d.objid, 0) is not null
order by 1
