-- What a table is or has that this version cannot carry over, and that pg_depend does not show. $1: the table's oid;
-- $2: the schema of its future partitions, if any: a publication of that schema would publish them.
with tree as (
  select $1::oid as oid union select relid from pg_partition_tree($1::oid::regclass)
), partitions as (
  select c.*, r.relowner as owner, r.relreplident as identity
  from tree join pg_class c using (oid) join pg_class r on r.oid = $1 where c.oid <> $1
), words (state, word, verb) as (
  values ('O', 'enabled', 'enable'), ('D', 'disabled', 'disable'), ('R', 'ENABLE REPLICA', 'enable replica'),
    ('A', 'ENABLE ALWAYS', 'enable always')
), states as (
  -- A swap sets the states of the table's triggers for all of its partitions at once.
  select 'trigger_state' as kind,
    format('trigger %I on %s is %s, and %s on %s', g.tgname, g.tgrelid::regclass, w.word, o.word, u.tgrelid::regclass) as object,
    format('alter table %s %s trigger %I', g.tgrelid::regclass, o.verb, g.tgname) as hint
  from partitions p
  cross join lateral (select * from pg_trigger g where g.tgrelid = p.oid and g.tgparentid <> 0 offset 0) g
  join pg_trigger u on u.oid = g.tgparentid
  join words w on w.state = g.tgenabled::text
  join words o on o.state = u.tgenabled::text
  where g.tgenabled <> u.tgenabled and not exists (select from pg_constraint k where k.oid = g.tgconstraint and k.contype <> 't')
  union all
  -- The server's own triggers, of constraints that a swap makes anew: the table's, its partitions' and those that reference
  -- them. All depend on the columns of a table of the tree.
  select 'constraint_state',
    format('%s %I on %s, whose trigger on %s is %s', case k.contype when 'f' then 'foreign key' else 'constraint' end,
      k.conname, k.conrelid::regclass, g.tgrelid::regclass, w.word),
    format('alter table %s enable trigger all, as a superuser (then disable again what else was disabled there)', g.tgrelid::regclass)
  from tree
  cross join lateral (select distinct d.objid from pg_depend d where d.refclassid = 'pg_class'::regclass and d.refobjid = tree.oid
    and d.classid = 'pg_constraint'::regclass offset 0) d
  cross join lateral (select * from pg_constraint k where k.oid = d.objid and k.contype <> 't' offset 0) k
  cross join lateral (select * from pg_trigger g where g.tgconstraint = k.oid and g.tgenabled <> 'O' offset 0) g
  join words w on w.state = g.tgenabled::text
)
select coalesce(jsonb_agg(distinct jsonb_build_object('kind', x.kind, 'object', x.object, 'schema', x.schema, 'hint', x.hint)), '[]')
from (
  select s.kind, s.object, null as schema, s.hint from states s
  union all
  -- An identity column's alone: the new table's is another one.
  select 'extension', format('%I, its sequence %s alone', e.extname, s.oid::regclass), null,
    format('alter extension %I drop sequence %s; and add it again once the run is finished', e.extname, s.oid::regclass)
  from pg_depend d join pg_class s on s.oid = d.objid and s.relkind = 'S'
  join pg_depend x on x.classid = d.classid and x.objid = d.objid and x.refclassid = 'pg_extension'::regclass and x.deptype = 'e'
  join pg_extension e on e.oid = x.refobjid
  where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = $1 and d.deptype = 'i'
    and not exists (select from pg_depend t where t.classid = d.classid and t.objid = $1 and t.refclassid = x.refclassid and t.deptype = 'e')
  union all
  select y.kind, y.object, y.schema, null from (
  select 'not_plain_table' as kind, c.oid::regclass::text as object, null as schema
  from pg_class c where c.oid = $1 and c.relkind not in ('r', 'p')
  union all
  -- OFFSET 0: looked up by the catalog's indexes however many relations the database has.
  select 'not_permanent', c.oid::regclass::text, null
  from tree cross join lateral (select c.oid, c.relpersistence from pg_class c where c.oid = tree.oid offset 0) c
  where c.relpersistence <> 'p'
  union all
  select 'not_plain_table', format('%s of type %s', c.oid::regclass, c.reloftype::regtype), null
  from pg_class c where c.oid = $1 and c.reloftype <> 0
  union all
  select 'invalid_index', i.indexrelid::regclass::text, null
  from tree cross join lateral (select * from pg_index i where i.indrelid = tree.oid offset 0) i
  where not (i.indisvalid and i.indisready and i.indislive)
  union all
  select 'inheritance', format('%s inherits %s', h.inhrelid::regclass, h.inhparent::regclass), null
  from pg_inherits h where h.inhrelid = $1
  union all
  -- Of a partition itself: what its parent does not have would stay with it.
  select 'partition', format('%s, a foreign table', p.oid::regclass), null from partitions p where p.relkind = 'f'
  union all
  select 'partition', format('%s, which belongs to %I', p.oid::regclass, pg_get_userbyid(p.relowner)), null
  from partitions p where p.relowner <> p.owner
  union all
  select 'partition', format('%s, whose DETACH CONCURRENTLY is not finished', h.inhrelid::regclass), null
  from partitions p join pg_inherits h on h.inhrelid = p.oid where to_jsonb(h)->>'inhdetachpending' = 'true'
  union all
  select 'partition_identity', p.oid::regclass::text, null from partitions p
  where p.relkind = 'r' and (p.relreplident <> p.identity or p.relreplident = 'i' and not exists (
    select from pg_index i join pg_inherits h on h.inhrelid = i.indexrelid join pg_index r on r.indexrelid = h.inhparent
    where i.indrelid = p.oid and i.indisreplident and r.indrelid = $1 and r.indisreplident))
  union all
  select 'partition', format('trigger %I on %s', g.tgname, p.oid::regclass), null
  -- Without the program's own, while it moves rows out of a default partition.
  from partitions p join pg_trigger g on g.tgrelid = p.oid
  where not g.tgisinternal and g.tgparentid = 0 and g.tgname <> 'projh_upkeep'
  union all
  select 'partition', format('constraint %I on %s', k.conname, p.oid::regclass), null
  from partitions p join pg_constraint k on k.conrelid = p.oid
  where k.conparentid = 0 and (k.contype in ('p', 'u', 'x') or k.contype = 'c' and k.coninhcount = 0)
  union all
  select 'partition', format('unique index %I on %s', i.relname, p.oid::regclass), null
  from partitions p join pg_index d on d.indrelid = p.oid join pg_class i on i.oid = d.indexrelid
  where d.indisunique and not i.relispartition and not exists (select from pg_constraint k where k.conindid = i.oid)
    -- REINDEX CONCURRENTLY is under way, or was: what it makes is given to the parent in the end.
    and not (not d.indisvalid and i.relname ~ '_cc(new|old)[0-9]*$')
  union all
  -- From version 15 on; its entries depend on their publication and their schema.
  select 'leaf_schema_publication', quote_ident(p.pubname), quote_ident(n.nspname)
  from pg_publication p
  join pg_depend o on o.refclassid = 'pg_publication'::regclass and o.refobjid = p.oid
    and o.classid = to_regclass('pg_catalog.pg_publication_namespace')
  join pg_depend d on d.classid = o.classid and d.objid = o.objid and d.refclassid = 'pg_namespace'::regclass
  join pg_namespace n on n.oid = d.refobjid
  where n.nspname = $2::text
  union all
  select 'all_tables_publication', quote_ident(p.pubname), null from pg_publication p where p.puballtables
  union all
  select 'subscription', format('number %s', s.srsubid), null from pg_subscription_rel s where s.srrelid in (select oid from tree)
  union all
  select 'extension', e.extname, null from pg_depend d join pg_extension e on e.oid = d.refobjid
  where d.classid = 'pg_class'::regclass and d.objid = $1 and d.refclassid = 'pg_extension'::regclass and d.deptype = 'e'
  union all
  select 'security_label', concat_ws(' on ', l.provider, nullif(a.attname, '')), null
  from pg_seclabel l left join pg_attribute a on a.attrelid = l.objoid and a.attnum = l.objsubid and l.objsubid > 0
  where l.classoid = 'pg_class'::regclass and l.objoid = $1
  union all
  select 'row_type_name', t.typname, null
  from pg_class c join pg_type r on r.oid = c.reltype join pg_type t on t.oid = r.typarray
  where c.oid = $1 and t.typname <> ('_' || c.relname)::name
  ) y
) x
