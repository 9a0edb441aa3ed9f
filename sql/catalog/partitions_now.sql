-- The partitions of a table, directly below it. $1: its oid. `blocks`: of a partition that holds rows itself. `own`: what it
-- has that LIKE its parent does not give, as partitions.sql has it, and more.
select coalesce(jsonb_agg(to_jsonb(x) order by x.name), '[]') from (
  select jsonb_build_object('schema', n.nspname, 'name', c.relname) as name,
    c.relkind = 'r' as leaf,
    pg_get_expr(c.relpartbound, 0) as bound,
    coalesce((to_jsonb(i)->>'inhdetachpending')::boolean, false) as detaching,
    case c.relkind when 'r' then pg_relation_size(c.oid) / current_setting('block_size')::bigint else 0 end as blocks,
    c.relreplident = 'i' as by_index,
    (select coalesce(jsonb_agg(distinct pg_describe_object(d.classid, d.objid, 0)), '[]') from pg_depend d
     left join pg_rewrite w on d.classid = 'pg_rewrite'::regclass and w.oid = d.objid
     left join pg_constraint k on d.classid = 'pg_constraint'::regclass and k.oid = d.objid
     left join pg_trigger g on d.classid = 'pg_trigger'::regclass and g.oid = d.objid
     where d.refobjid = c.oid and d.refclassid = 'pg_class'::regclass and d.deptype = 'n'
       and (w.ev_class <> c.oid or k.conrelid <> c.oid and k.conparentid = 0 or d.classid in ('pg_proc'::regclass, 'pg_policy'::regclass))
    ) as dependents,
    to_jsonb(array(
      select format('index %I', x.relname) from pg_index d join pg_class x on x.oid = d.indexrelid
      where d.indrelid = c.oid and not x.relispartition
      union all
      select format('constraint %I', k.conname) from pg_constraint k
      where k.conrelid = c.oid and k.conparentid = 0 and k.contype in ('c', 'f') and k.coninhcount = 0
      union all
      select format('trigger %I', g.tgname) from pg_trigger g
      where g.tgrelid = c.oid and not g.tgisinternal and g.tgparentid = 0 and g.tgname <> 'projh_upkeep'
      union all
      select format('the state of trigger %I', g.tgname) from pg_trigger g join pg_trigger p on p.oid = g.tgparentid
      where g.tgrelid = c.oid and not p.tgisinternal and g.tgenabled <> p.tgenabled
      union all
      select format('rule %I', w.rulename) from pg_rewrite w where w.ev_class = c.oid
      union all
      select format('policy %I', o.polname) from pg_policy o where o.polrelid = c.oid
      union all
      select format('statistics %I', s.stxname) from pg_statistic_ext s where s.stxrelid = c.oid and not exists (
        select from pg_statistic_ext p where p.stxrelid = $1 and p.stxkind = s.stxkind
          and pg_get_statisticsobjdef_columns(p.oid) = pg_get_statisticsobjdef_columns(s.oid))
      union all
      select format(case when a.attnotnull > p.attnotnull then 'NOT NULL of column %I' else 'the storage of column %I' end, a.attname)
      from pg_attribute a
      join pg_type y on y.oid = a.atttypid
      join pg_attribute p on p.attrelid = $1 and p.attname = a.attname
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        and (a.attnotnull > p.attnotnull or a.attstorage = y.typstorage and p.attstorage <> y.typstorage)
      union all
      select format('a privilege on column %I', a.attname) from pg_attribute a
      where a.attrelid = c.oid and not a.attisdropped and a.attacl is not null
      order by 1)) as own
  from pg_inherits i
  join pg_class c on c.oid = i.inhrelid
  join pg_namespace n on n.oid = c.relnamespace
  where i.inhparent = $1
) x
