-- The partitions of a table, directly below it. $1: its oid. `blocks`: of a partition that holds rows itself.
select coalesce(jsonb_agg(to_jsonb(x) order by x.name), '[]') from (
  select jsonb_build_object('schema', n.nspname, 'name', c.relname) as name,
    c.relkind = 'r' as leaf,
    pg_get_expr(c.relpartbound, c.oid) as bound,
    coalesce((to_jsonb(i)->>'inhdetachpending')::boolean, false) as detaching,
    case c.relkind when 'r' then pg_relation_size(c.oid) / current_setting('block_size')::bigint else 0 end as blocks,
    c.relreplident = 'i' as by_index,
    (select coalesce(jsonb_agg(distinct pg_describe_object(d.classid, d.objid, 0)), '[]') from pg_depend d
     left join pg_rewrite w on d.classid = 'pg_rewrite'::regclass and w.oid = d.objid
     left join pg_constraint k on d.classid = 'pg_constraint'::regclass and k.oid = d.objid
     left join pg_trigger g on d.classid = 'pg_trigger'::regclass and g.oid = d.objid
     where d.refobjid = c.oid and d.refclassid = 'pg_class'::regclass and d.deptype = 'n'
       and (w.ev_class <> c.oid or k.conrelid <> c.oid and k.conparentid = 0 or d.classid in ('pg_proc'::regclass, 'pg_policy'::regclass))
    ) as dependents
  from pg_inherits i
  join pg_class c on c.oid = i.inhrelid
  join pg_namespace n on n.oid = c.relnamespace
  where i.inhparent = $1
) x
