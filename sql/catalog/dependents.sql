-- Follows bound.sql. Everything that depends on a table, its row type, constraints, indexes, defaults or sequences, is none of
-- these, and is not carried through a swap: unknown dependents are found here, too. $1: the table's oid; $2: the schema in which a run has created green,
-- if it has: what green and its partitions share with blue is not a dependent.
, tree(oid) as (
  select $1::oid union select relid from pg_partition_tree($1::oid::regclass)
),
seqs as (
  select d.objid as oid, d.refobjid as relation, d.deptype = 'i' as is_identity
  from tree
  cross join lateral (select * from pg_depend d where d.refclassid = 'pg_class'::regclass and d.refobjid = tree.oid
    and d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i') offset 0) d
  cross join lateral (select from pg_class s where s.oid = d.objid and s.relkind = 'S' offset 0) s
),
-- `relation`: the table itself, or which of its partitions has it. OFFSET 0, here and below: looked up by the catalog's
-- indexes however many relations the database has, because the swap asks this under its lock.
own(classid, objid, relation) as (
  select p.classid, p.objid, tree.oid from tree cross join lateral (
    select 'pg_class'::regclass::oid as classid, tree.oid as objid
    union all select 'pg_class'::regclass, c.reltoastrelid from pg_class c where c.oid = tree.oid
    union all select 'pg_class'::regclass, i.indexrelid from pg_index i
      where i.indrelid = (select c.reltoastrelid from pg_class c where c.oid = tree.oid)
    union all select 'pg_type'::regclass, c.reltype from pg_class c where c.oid = tree.oid
    union all select 'pg_type'::regclass, t.typarray from pg_type t
      where t.oid = (select c.reltype from pg_class c where c.oid = tree.oid)
    union all select 'pg_constraint'::regclass, k.oid from pg_constraint k where k.conrelid = tree.oid
    union all select 'pg_class'::regclass, i.indexrelid from pg_index i where i.indrelid = tree.oid
    union all select 'pg_attrdef'::regclass, a.oid from pg_attrdef a where a.adrelid = tree.oid
    union all select 'pg_policy'::regclass, p.oid from pg_policy p where p.polrelid = tree.oid
    union all select 'pg_trigger'::regclass, g.oid from pg_trigger g where g.tgrelid = tree.oid and not g.tgisinternal
    union all select 'pg_statistic_ext'::regclass, s.oid from pg_statistic_ext s where s.stxrelid = tree.oid
    offset 0) p
  union select 'pg_statistic_ext'::regclass, s.oid, $1::oid from moved m join pg_statistic_ext s on s.stxrelid = m.oid
  union select 'pg_class'::regclass, oid, relation from seqs
  union select classid, objid, $1::oid from bound
  union select 'pg_class'::regclass, unnest(array[c.reltoastrelid, i.indexrelid]), $1::oid
    from moved m join pg_class c on c.oid = m.oid join pg_index i on i.indrelid = c.reltoastrelid
)
select coalesce(jsonb_agg(distinct jsonb_build_object('kind', x.kind, 'object', x.object)), '[]') from (
  select case
      when o.relation <> $1 then 'partition'
      when v.relkind = 'v' then 'view'
      when d.classid = 'pg_proc'::regclass and s.prokind = 'a' then 'aggregate_of_rows'
      when d.classid = 'pg_proc'::regclass and exists (select from bound t where t.classid = 'pg_type'::regclass
        and t.objid = any (s.proargtypes::oid[] || coalesce(s.proallargtypes, '{}') || s.prorettype)) then 'function_of_rows'
      when d.classid = 'pg_proc'::regclass then 'function'
      when d.classid = 'pg_trigger'::regclass then 'trigger'
      when p.relation not in (select oid from tree) then 'filter_elsewhere'
      when d.classid::regclass::text in ('pg_publication_rel', 'pg_catalog.pg_publication_rel') then 'publication'
      when f.attgenerated <> '' then 'generated_elsewhere'
      when f.attgenerated = '' then 'default_elsewhere'
      when k.contype = 'c' and k.conrelid <> 0 then 'check_elsewhere'
      when d.classid = 'pg_type'::regclass and d.refclassid = 'pg_class'::regclass then 'domain_default'
      when d.classid = 'pg_type'::regclass then 'row_type'
      when d.classid = 'pg_class'::regclass and d.refclassid = 'pg_type'::regclass then 'row_type'
      when d.classid = 'pg_class'::regclass and h.inhrelid is not null then 'inheritance'
      else 'unknown' end as kind,
    case
      when v.relkind = 'v' then v.oid::regclass::text
      when d.classid = 'pg_proc'::regclass then d.objid::regprocedure::text
      when k.conrelid <> 0 then format('%I on %s', k.conname, k.conrelid::regclass)
      when g.oid is not null then format('%I on %s', g.tgname, g.tgrelid::regclass)
      when d.classid = 'pg_type'::regclass and d.refclassid = 'pg_class'::regclass then d.objid::regtype::text
      when p.relation not in (select oid from tree) then format('%I on %s', p.pubname, p.relation::regclass)
      when p.oid is not null then quote_ident(p.pubname)
      when h.inhrelid is not null then d.objid::regclass::text
      when f.attname is not null then format('%I on %s', f.attname, f.attrelid::regclass)
      else pg_describe_object(d.classid, d.objid, d.objsubid) end as object
  from own o
  -- A view depends on each column that it shows: once is enough.
  cross join lateral (select distinct d.classid, d.objid, d.objsubid, d.refclassid, d.refobjid from pg_depend d
    where d.refclassid = o.classid and d.refobjid = o.objid and d.deptype not in ('P', 'S', 'p') offset 0) d
  left join pg_rewrite w on d.classid = 'pg_rewrite'::regclass and w.oid = d.objid
  left join pg_class v on v.oid = w.ev_class and v.relkind = 'v'
  left join pg_constraint k on d.classid = 'pg_constraint'::regclass and k.oid = d.objid
  left join pg_trigger g on d.classid = 'pg_trigger'::regclass and g.oid = d.objid
  left join lateral (select p.*, r.prrelid as relation from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
    where d.classid = 'pg_publication_rel'::regclass and r.oid = d.objid offset 0) p on true
  left join pg_attrdef fd on d.classid = 'pg_attrdef'::regclass and fd.oid = d.objid
  left join pg_attribute f on f.attrelid = fd.adrelid and f.attnum = fd.adnum
  left join pg_attribute c on d.classid = 'pg_class'::regclass and c.attrelid = d.objid and c.attnum = d.objsubid and d.objsubid > 0
  left join pg_class x on d.classid = 'pg_class'::regclass and x.oid = d.objid and x.relkind in ('i', 'I')
  left join lateral (select * from pg_inherits h
    where d.classid = 'pg_class'::regclass and h.inhrelid = d.objid and h.inhparent = $1 offset 0) h on true
  left join pg_proc s on d.classid = 'pg_proc'::regclass and s.oid = d.objid
  where (d.classid, d.objid) not in (select classid, objid from own)
    and not coalesce(g.tgisinternal, false)
    -- views.sql, materialized_views.sql and rules.sql have the others.
    and not exists (select from pg_class e where e.oid = w.ev_class and e.relkind in ('v', 'm', 'r', 'p') and e.relpersistence <> 't'
      and o.relation = $1)
    -- publications.sql has those of others; those of runs are reported, and row filters for other tables that name this one.
    and not coalesce(p.pubname !~ '^projh_bg_' and o.relation = $1 and p.relation in (select oid from tree), false)
    -- The sequence of a serial column stays what it is, and is given to the table that is live.
    and not (d.refclassid = 'pg_class'::regclass and d.refobjid in (select oid from seqs where not is_identity)
      and (o.relation = $1 or d.classid in ('pg_attrdef'::regclass, 'pg_type'::regclass)))
    -- policies_elsewhere.sql, defaults_elsewhere.sql and functions.sql have these.
    and not (d.classid = 'pg_attrdef'::regclass and o.relation = $1
      and f.attgenerated = '' and exists (select from pg_class e where e.oid = f.attrelid and e.relpersistence <> 't'))
    and not (d.classid = 'pg_policy'::regclass and o.relation = $1)
    and not (d.classid = 'pg_proc'::regclass and d.objid in (select oid from carried) and o.relation = $1)
    -- inbound.sql has these.
    and not coalesce(k.contype = 'f' and (o.relation = $1 or k.conparentid <> 0), false)
    -- What a partition or a child inherits is reported once, for the parent: it cannot be dropped here.
    and not coalesce(k.coninhcount > 0 or g.tgparentid <> 0 or c.attinhcount > 0 or x.relispartition, false)
    and not exists (
      select from pg_inherits i
      join pg_attribute ia on ia.attrelid = i.inhparent and ia.attname = f.attname
      join pg_attrdef id on id.adrelid = ia.attrelid and id.adnum = ia.attnum
      join pg_depend p on p.classid = 'pg_attrdef'::regclass and p.objid = id.oid
        and p.refclassid = d.refclassid and p.refobjid = d.refobjid
      where i.inhrelid = f.attrelid and f.attinhcount > 0)
    and not exists (
      select from pg_attrdef a join pg_class c on c.oid = a.adrelid
      left join pg_inherits i on i.inhrelid = c.oid left join pg_class r on r.oid = i.inhparent
      join pg_namespace g on starts_with(g.nspname, $2::text) and g.oid in (c.relnamespace, r.relnamespace)
      where d.classid = 'pg_attrdef'::regclass and a.oid = d.objid)
  union all
  -- row_functions.sql has the others.
  select 'function_of_rows', p.oid::regprocedure::text
  from row_functions r join pg_proc p on p.oid = r.oid
  where exists (select from moved m join pg_class c on c.oid = m.oid join pg_type t on t.oid = c.reltype
    where (p.proargtypes::oid[] || coalesce(p.proallargtypes, '{}') || p.prorettype) && array[t.oid, t.typarray])
  union all
  -- What the table itself has that calls a function with its row type: green is made before its functions have their names.
  select 'calls_function_of_rows', pg_describe_object(d.classid, d.objid, d.objsubid)
  from row_functions r
  join pg_depend d on d.refclassid = 'pg_proc'::regclass and d.refobjid = r.oid
  join own o on o.classid = d.classid and o.objid = d.objid and o.relation = $1
  where d.classid in ('pg_constraint'::regclass, 'pg_trigger'::regclass, 'pg_class'::regclass, 'pg_statistic_ext'::regclass)
) x
-- What was dropped since the query began has no description, or a number for a name.
where x.object !~ '^[0-9]+$'
