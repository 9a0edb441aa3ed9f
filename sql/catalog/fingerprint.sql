-- Follows bound.sql. All that a swap has to carry over, and all that would prevent it, each with a hash. $1: the table's oid.
-- $2: whether to print the texts of views and rules, for which the server locks what they read.
-- Deliberately left out: the filenode (VACUUM FULL), the run's publications (it sets them), indexes that are being rebuilt concurrently.
select what, md5(string_agg(x, E'\n' order by x collate "C")) from (
  select 'column ' || a.attname as what,
      concat_ws('|', 'column', a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attcollation,
      a.attnotnull, a.attidentity, a.attgenerated, a.attstorage, a.attcompression, nullif(a.attstattarget, -1),
      (select string_agg(o, ',' order by o) from unnest(a.attoptions) o where o not like 'pg\_attver=%'),
      nullif(a.attacl, '{}')::text,
      -- With a relation, each call takes the square of its columns; what names no column needs none.
      case a.attgenerated when '' then pg_get_expr(d.adbin, 0) else pg_get_expr(d.adbin, d.adrelid) end) as x
  from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
  union all
  select concat('constraint ', k.conname),
      concat_ws('|', 'constraint', k.conrelid::regclass, k.conname, k.convalidated, pg_get_constraintdef(k.oid))
  -- Without those that the server makes for each partition of a referenced table.
  from pg_constraint k where k.conrelid = $1 and k.conparentid = 0
  union all
  -- Until the swap the run itself may set it.
  select 'the replica identity', concat_ws('|', c.relreplident, (select x.relname from pg_index i join pg_class x on x.oid = i.indexrelid
    where i.indrelid = c.oid and i.indisreplident))
  from pg_class c where c.oid = $1
  union all
  -- Its own foreign keys, valid or not: until a partitioned table's are merged, its partitions have them.
  select distinct 'its foreign key ' || k.conname, regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', '')
  from (select $1::oid as relid union select relid from pg_partition_tree($1::oid::regclass)) t
  cross join lateral (select * from pg_constraint k where k.conrelid = t.relid offset 0) k
  where k.contype = 'f' and k.conparentid = 0
  union all
  -- Foreign keys of other tables. Until a partitioned table's are merged, its partitions have them.
  select distinct i.what || concat('constraint ', k.conname, ' of ', r.oid::regclass), i.x
  -- A key depends on the columns that it references: pg_constraint itself has no index for this.
  from (select distinct d.objid from pg_depend d where d.refclassid = 'pg_class'::regclass and d.refobjid = $1
    and d.classid = 'pg_constraint'::regclass offset 0) d
  cross join lateral (select * from pg_constraint k where k.oid = d.objid offset 0) k
  join pg_class r on r.oid = coalesce(pg_partition_root(k.conrelid), k.conrelid)
  cross join lateral (values
    ('', concat_ws('|', 'inbound', r.oid::regclass, r.relowner, k.conname,
      regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', ''))),
    ('validity of ', k.convalidated::text),
    ('comment on ', obj_description(k.oid, 'pg_constraint'))) i(what, x)
  where k.confrelid = $1 and r.oid <> $1 and k.contype = 'f' and k.conparentid = 0 and i.x is not null
  union all
  select 'index ' || c.relname, concat_ws('|', 'index', i.indisclustered, pg_get_indexdef(i.indexrelid), c.reltablespace,
      (select string_agg(concat(a.attnum, '=', a.attstattarget), ',' order by a.attnum)
       from pg_attribute a where a.attrelid = c.oid and a.attstattarget >= 0),
      (select string_agg(d.refobjid::text, ',' order by d.refobjid)
       from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'x'))
  from pg_index i join pg_class c on c.oid = i.indexrelid where i.indrelid = $1 and i.indisvalid
  union all
  select 'trigger ' || t.tgname, concat_ws('|', 'trigger', t.tgenabled, pg_get_triggerdef(t.oid),
      obj_description(t.oid, 'pg_trigger'), (select string_agg(d.refobjid::text, ',' order by d.refobjid)
      from pg_depend d where d.classid = 'pg_trigger'::regclass and d.objid = t.oid and d.deptype = 'x'))
  -- Without those of a run, whose functions are in its schema.
  from pg_trigger t join pg_proc p on p.oid = t.tgfoid
  where t.tgrelid = $1 and not t.tgisinternal and not starts_with(p.pronamespace::regnamespace::text, 'projh_bg_')
  union all
  -- What a partition does not have from its parent: a trigger of its own, or another state. Before version 15, an
  -- inherited trigger is internal.
  select format('trigger %s on partition %s', t.tgname, t.tgrelid::regclass),
      concat_ws('|', 'partition', t.tgenabled, case when p.oid is null then pg_get_triggerdef(t.oid) end)
  from pg_inherits i join pg_trigger t on t.tgrelid = i.inhrelid
  left join pg_trigger p on p.oid = t.tgparentid
  -- The program's own, while it moves rows out of a default partition.
  where i.inhparent = $1 and t.tgname <> 'projh_upkeep' and case when p.oid is null then not t.tgisinternal
    else not p.tgisinternal and t.tgenabled <> p.tgenabled end
  union all
  -- The same state further down.
  select format('trigger %s on partition %s', t.tgname, t.tgrelid::regclass), concat_ws('|', 'partition', t.tgenabled)
  from pg_partition_tree($1::oid::regclass) l
  cross join lateral (select * from pg_trigger t where t.tgrelid = l.relid and t.tgparentid <> 0 offset 0) t
  join pg_trigger p on p.oid = t.tgparentid
  where l.level > 1 and t.tgenabled <> p.tgenabled
    and not exists (select from pg_constraint k where k.oid = t.tgconstraint and k.contype <> 't')
  union all
  -- The server's own triggers of constraints of the table, of its partitions, or that reference them; none fires as usual.
  select format('the state of constraint %s of %s', k.conname, k.conrelid::regclass),
      concat_ws('|', g.tgrelid::regclass, g.tgtype, g.tgenabled)
  from (select $1::oid as relid union select relid from pg_partition_tree($1::oid::regclass)) t
  cross join lateral (select distinct d.objid from pg_depend d where d.refclassid = 'pg_class'::regclass and d.refobjid = t.relid
    and d.classid = 'pg_constraint'::regclass offset 0) d
  cross join lateral (select * from pg_constraint k where k.oid = d.objid and k.contype <> 't' offset 0) k
  cross join lateral (select * from pg_trigger g where g.tgconstraint = k.oid and g.tgenabled <> 'O' offset 0) g
  union all
  -- Foreign keys that a partition has without its parent.
  select format('foreign key %s on partition %s', k.conname, k.conrelid::regclass),
      regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', '')
  from pg_partition_tree($1::oid::regclass) t
  cross join lateral (select * from pg_constraint k where k.conrelid = t.relid offset 0) k
  where t.relid <> $1 and k.contype = 'f' and k.conparentid = 0
  union all
  select 'partition ' || c.oid::regclass, concat_ws('|', 'partition', c.relkind, c.relowner, pg_get_expr(c.relpartbound, 0))
  from pg_partition_tree($1::oid::regclass) t join pg_class c on c.oid = t.relid where t.relid <> $1
  union all
  -- Nothing of its changes is in the WAL. A publication of the whole table does not keep anybody from that.
  select 'unlogged partition ' || c.oid::regclass, 'unlogged'
  from pg_partition_tree($1::oid::regclass) t
  cross join lateral (select * from pg_class c where c.oid = t.relid offset 0) c
  where t.relid <> $1 and c.relpersistence <> 'p'
  union all
  -- The stream lacks the keys of its old rows.
  select 'replica identity of partition ' || c.oid::regclass, concat_ws('|', c.relreplident, (select x.relname from pg_index i
      join pg_class x on x.oid = i.indexrelid where i.indrelid = c.oid and i.indisreplident))
  from pg_partition_tree($1::oid::regclass) t
  cross join lateral (select * from pg_class c where c.oid = t.relid offset 0) c
  where t.isleaf and c.relreplident in ('n', 'i') and c.relreplident <> (select r.relreplident from pg_class r where r.oid = $1)
  union all
  select 'policy ' || p.polname, concat_ws('|', 'policy', p.polname, p.polcmd, p.polpermissive, p.polroles::text,
      coalesce(pg_get_expr(p.polqual, p.polrelid), '-'), coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '-'))
  from pg_policy p where p.polrelid = $1
  union all
  select 'the table itself (name, owner, privileges, row security or storage)',
      concat_ws('|', 'table', n.nspname, c.relname, c.relkind, c.relpersistence, c.relowner, c.reltablespace,
      c.relrowsecurity, c.relforcerowsecurity, coalesce(c.relacl, acldefault('r', c.relowner))::text,
      array_to_string(c.reloptions, ','),
      (select array_to_string(t.reloptions, ',') from pg_class t where t.oid = c.reltoastrelid))
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = $1
  union all
  select 'its row type (comment or privileges)', concat_ws('|', 'row type', y.typacl::text, obj_description(y.oid, 'pg_type'))
  from pg_class c join pg_type y on y.oid = c.reltype
  where c.oid = $1 and (y.typacl is not null or obj_description(y.oid, 'pg_type') is not null)
  union all
  select 'sequence ' || c.relname,
      concat_ws('|', 'sequence', c.oid::regclass, c.relowner, coalesce(c.relacl, acldefault('s', c.relowner))::text,
      s.seqtypid, s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle, d.deptype, d.refobjsubid)
  from pg_depend d join pg_class c on c.oid = d.objid join pg_sequence s on s.seqrelid = c.oid
  where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = $1
    and d.deptype in ('a', 'i')
  union all
  select 'statistics ' || s.stxname, concat_ws('|', 'statistics', pg_get_statisticsobjdef(s.oid), s.stxowner,
      nullif(s.stxstattarget, -1), obj_description(s.oid, 'pg_statistic_ext'))
  from pg_statistic_ext s where s.stxrelid = $1
  union all
  select 'publication ' || p.pubname,
      concat_ws('|', 'publication', to_jsonb(r)->>'prattrs', to_jsonb(r)->>'prqual', p.pubinsert, p.pubupdate, p.pubdelete)
  from pg_publication p left join pg_publication_rel r on r.prpubid = p.oid and r.prrelid = $1
  where p.pubname !~ '^projh_bg_' and (r.oid is not null or exists (
    -- One of the table's schema, from version 15 on.
    select from pg_class c
    join pg_depend d on d.refclassid = 'pg_namespace'::regclass and d.refobjid = c.relnamespace
      and d.classid = to_regclass('pg_catalog.pg_publication_namespace')
    join pg_depend o on o.classid = d.classid and o.objid = d.objid and o.refclassid = 'pg_publication'::regclass
    where c.oid = $1 and o.refobjid = p.oid))
  union all
  select concat('comment on ', coalesce(pg_describe_object(d.classoid, d.objoid, d.objsubid), 'what is gone')),
      concat_ws('|', 'comment', pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description)
  from (
    select 'pg_class'::regclass::oid as classoid, $1::oid as objoid
    union select 'pg_class'::regclass, i.indexrelid from pg_index i where i.indrelid = $1
    union select 'pg_class'::regclass, p.objid from pg_depend p where p.classid = 'pg_class'::regclass
      and p.refclassid = 'pg_class'::regclass and p.refobjid = $1 and p.deptype in ('a', 'i')
    union select 'pg_constraint'::regclass, k.oid from pg_constraint k where k.conrelid = $1
    union select 'pg_policy'::regclass, p.oid from pg_policy p where p.polrelid = $1
  ) o
  -- OFFSET 0: looked up by the catalog's index however many comments the database has.
  cross join lateral (select * from pg_description d where d.classoid = o.classoid and d.objoid = o.objoid offset 0) d
  union all
  select w.what, w.x
  from (
    select coalesce(pg_describe_object('pg_class'::regclass, r.ev_class, 0), pg_describe_object(d.classid, d.objid, 0),
        'what is gone') as what,
      concat_ws('|', 'dependent', pg_describe_object(d.classid, d.objid, 0), v.relowner, array_to_string(v.reloptions, ','),
        md5(r.ev_action::text), r.ev_qual, r.ev_enabled, obj_description(r.oid, 'pg_rewrite'),
        (select concat_ws('|', p.polrelid::regclass, p.polcmd, p.polroles::text, 
          md5(pg_get_expr(p.polqual, p.polrelid)), md5(pg_get_expr(p.polwithcheck, p.polrelid)))
         from pg_policy p where d.classid = 'pg_policy'::regclass and p.oid = d.objid and p.polrelid <> $1),
        (select concat_ws('|', f.proowner, md5(pg_get_functiondef(f.oid)))
         from pg_proc f where d.classid = 'pg_proc'::regclass and f.oid = d.objid and f.prokind in ('f', 'p'))) as x,
      d.times,
      -- The swap executes the text of a view or a rule, in which names count; its tree has numbers in their place.
      case when r.oid is not null then concat_ws('|', (select string_agg(n.name, ',' order by n.name collate "C") from (
          select distinct pg_describe_object(p.refclassid, p.refobjid, p.refobjsubid) as name from pg_depend p
          where p.classid = 'pg_rewrite'::regclass and p.objid = r.oid and p.refclassid <> 'pg_constraint'::regclass) n),
        (select string_agg(a.attname, ',' order by a.attnum) from pg_attribute a
          where a.attrelid = v.oid and v.relkind in ('v', 'm') and a.attnum > 0 and not a.attisdropped)) end as names,
      -- Not of a materialized view, of which its name stands for more.
      case when $2 and v.relkind <> 'm' then concat_ws('|', v.relowner, array_to_string(v.reloptions, ','), pg_get_ruledef(r.oid), r.ev_enabled,
        obj_description(r.oid, 'pg_rewrite')) end as printed
    from (
      -- A view depends on each column that it shows; it is described once.
      select d.classid, d.objid, count(*)::int as times
      from (
        select 'pg_class'::regclass::oid as classid, $1::oid as objid
        union all select 'pg_type'::regclass, unnest(array[c.reltype, t.typarray])
          from pg_class c join pg_type t on t.oid = c.reltype where c.oid = $1
        union all select 'pg_class'::regclass, p.objid from pg_depend p cross join lateral (
            select from pg_class s where s.oid = p.objid and s.relkind = 'S' offset 0) s
          where p.classid = 'pg_class'::regclass and p.refclassid = 'pg_class'::regclass and p.refobjid = $1 and p.deptype = 'i'
        union all select b.classid, b.objid from bound b where not exists (
          select from of_table t where t.classid = b.classid and t.objid = b.objid)
        union all select 'pg_proc'::regclass, oid from row_functions
      ) own
      join pg_depend d on d.refclassid = own.classid and d.refobjid = own.objid
      where d.classid = 'pg_rewrite'::regclass
        or d.classid in ('pg_policy'::regclass, 'pg_proc'::regclass) and (d.refclassid = 'pg_proc'::regclass
            or d.refclassid = 'pg_class'::regclass and d.refobjid in (select $1::oid union all select oid from moved))
          -- Without those of another table of a run, which it has of the one that is live.
          and not exists (select from pg_policy p join pg_class c on c.oid = p.polrelid
            where d.classid = 'pg_policy'::regclass and p.oid = d.objid and starts_with(c.relnamespace::regnamespace::text, 'projh_bg_'))
      group by 1, 2
    ) d
    left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
    left join pg_class v on v.oid = r.ev_class
    offset 0
  ) e cross join lateral (
    select e.what, e.x from generate_series(1, e.times)
    union all select 'a name in ' || e.what, e.names where e.names is not null
    union all select 'the text of ' || e.what, e.printed where e.names is not null and e.printed is not null
  ) w
  union all
  select format('default of column %s of %s', a.attname, f.adrelid::regclass),
      concat_ws('|', 'default', c.relowner, pg_get_expr(f.adbin, 0))
  from bound b
  cross join lateral (select d.objid from pg_depend d where d.refclassid = b.classid
    and d.refobjid = b.objid and d.classid = 'pg_attrdef'::regclass offset 0) d
  cross join lateral (select * from pg_attrdef f where f.oid = d.objid offset 0) f
  cross join lateral (select a.attname from pg_attribute a
    where a.attrelid = f.adrelid and a.attnum = f.adnum and a.attgenerated = '' offset 0) a
  cross join lateral (select c.relowner from pg_class c where c.oid = f.adrelid and c.oid <> $1 and c.relpersistence <> 't'
    and not starts_with(c.relnamespace::regnamespace::text, 'projh_bg_') offset 0) c
  where f.adrelid not in (select relid from pg_partition_tree($1::oid::regclass))
  union all
  select pg_describe_object('pg_proc'::regclass, p.oid, 0), concat_ws('|', 'of rows', p.proowner,
      coalesce(p.proacl, acldefault('f', p.proowner))::text, md5(pg_get_functiondef(p.oid)), obj_description(p.oid, 'pg_proc'))
  from row_functions r join pg_proc p on p.oid = r.oid
  union all
  select format('materialized view %s', v.oid::regclass), concat_ws('|', 'materialized', v.relowner,
      coalesce(v.relacl, acldefault('r', v.relowner))::text, v.reltablespace, v.relam, array_to_string(v.reloptions, ','),
      (select array_to_string(t.reloptions, ',') from pg_class t where t.oid = v.reltoastrelid),
      obj_description(v.oid, 'pg_class'),
      (select string_agg(concat_ws('|', a.attname, format_type(a.atttypid, a.atttypmod), a.attcollation, a.attstorage,
        a.attcompression, nullif(a.attstattarget, -1), a.attoptions::text, a.attacl::text, col_description(v.oid, a.attnum)),
        ',' order by a.attnum) from pg_attribute a where a.attrelid = v.oid and a.attnum > 0 and not a.attisdropped),
      (select string_agg(concat_ws('|', pg_get_indexdef(i.indexrelid), i.indisclustered, c.reltablespace,
        obj_description(c.oid, 'pg_class')), ',' order by c.relname)
        from pg_index i join pg_class c on c.oid = i.indexrelid where i.indrelid = v.oid and i.indisvalid),
      (select string_agg(concat_ws('|', pg_get_statisticsobjdef(s.oid), s.stxowner, nullif(s.stxstattarget, -1),
        obj_description(s.oid, 'pg_statistic_ext')), ',' order by s.stxname)
        from pg_statistic_ext s where s.stxrelid = v.oid))
  from moved m join pg_class v on v.oid = m.oid
) s group by what
