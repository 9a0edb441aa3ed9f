-- The rules on a table, and those on other tables that name it, its row type, a constraint, an index or the sequence of an
-- identity column. Rules of views belong to their view. $1: the table's oid.
with own(classid, objid) as (
  select 'pg_class'::regclass::oid, $1::oid
  union select 'pg_type'::regclass, c.reltype from pg_class c where c.oid = $1
  union select 'pg_type'::regclass, t.typarray from pg_class c join pg_type t on t.oid = c.reltype where c.oid = $1
  union select 'pg_constraint'::regclass, k.oid from pg_constraint k where k.conrelid = $1
  union select 'pg_class'::regclass, i.indexrelid from pg_index i where i.indrelid = $1
  union select 'pg_class'::regclass, s.oid from pg_depend d join pg_class s on s.oid = d.objid and s.relkind = 'S'
    where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = $1 and d.deptype = 'i'
),
named as (
  select w.oid from pg_rewrite w where w.ev_class = $1
  union select d.objid from own o
  join pg_depend d on d.refclassid = o.classid and d.refobjid = o.objid and d.classid = 'pg_rewrite'::regclass
)
select coalesce(jsonb_agg(to_jsonb(x) order by x.own desc, x.on, x.name), '[]') from (
  select w.rulename as name,
    jsonb_build_object('schema', n.nspname, 'name', c.relname) as "on",
    c.oid = $1 as own,
    pg_get_userbyid(c.relowner) as owner,
    rtrim(pg_get_ruledef(w.oid), ';') as definition,
    case w.ev_enabled when 'O' then null when 'D' then 'DISABLE' when 'R' then 'ENABLE REPLICA' else 'ENABLE ALWAYS' end as state,
    obj_description(w.oid, 'pg_rewrite') as comment
  from named
  join pg_rewrite w using (oid)
  join pg_class c on c.oid = w.ev_class and c.relkind in ('r', 'p') and c.relpersistence <> 't'
  join pg_namespace n on n.oid = c.relnamespace
) x
