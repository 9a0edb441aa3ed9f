-- The private schemas of `partitions` for the tables named in $1 and for tables that no longer exist; with $2 also for those
-- that are in the private schema of a run, where no client uses them.
-- `at_work`: a command is building there. `triggers`: what notes changes in it. `strangers`: what is in it and was not made by such a command.
select n.nspname::text as schema, of.number as of, h.nspname::text as table_schema, c.relname::text as table_name,
  n.nspowner::regrole::text as owner, pg_has_role(n.nspowner, 'USAGE') as may_drop,
  exists (select from pg_locks l where l.locktype = 'advisory' and l.granted and l.objsubid = 2 and l.pid <> pg_backend_pid()
    and l.database = (select d.oid from pg_database d where d.datname = current_database())
    and l.classid::bigint = (hashtext('projh-bluegreen partitions')::bigint & 4294967295) and l.objid::text = of.number) as at_work,
  -- Partitions have none of their own.
  array(select format('%I on %s', g.tgname, g.tgrelid::regclass) from pg_trigger g join pg_proc p on p.oid = g.tgfoid
    where p.pronamespace = n.oid and g.tgparentid = 0 order by 1) as triggers,
  array(
    with ours as (
      select r.oid from pg_class r where r.relnamespace = n.oid and r.relname in ('twin', 'noted', 'taken') and r.relkind in ('r', 'p')
      union select i.inhrelid from pg_inherits i join pg_class r on r.oid = i.inhparent
        where r.relnamespace = n.oid and r.relname = 'twin'
    )
    select distinct pg_describe_object(d.classid, d.objid, d.objsubid) from pg_depend d
    where d.refclassid = 'pg_namespace'::regclass and d.refobjid = n.oid
      and not (d.classid = 'pg_class'::regclass and d.objid in (select oid from ours))
      and not exists (select from pg_statistic_ext s where d.classid = 'pg_statistic_ext'::regclass and s.oid = d.objid
        and s.stxrelid in (select oid from ours))
      and not exists (select from pg_proc p where d.classid = 'pg_proc'::regclass and p.oid = d.objid and p.proname = 'note'
        and p.prorettype = 'trigger'::regtype)
    order by 1
  ) as strangers
from pg_namespace n
cross join lateral (select substring(n.nspname::text from '^projh_bg_upkeep_([0-9]+)$') as number) of
left join pg_class c on c.oid::text = of.number
left join pg_namespace h on h.oid = c.relnamespace
where of.number is not null
  and (c.oid is null or c.oid = any (select to_regclass(name)::oid from unnest($1::text[]) name) or $2 and h.nspname ~ '^projh_bg_')
order by 1
