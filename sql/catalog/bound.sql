-- The beginning of queries for what is bound to a table by OID. $1: the table's oid. `moved` are the materialized views
-- that are bound to it or to each other: a swap exchanges them, too. `bound` is all that others can be bound to: the table, its
-- row types, constraints and indexes, the sequences of its identity columns, its `row_functions`, and what belongs to `moved`.
-- `carried` are the functions whose SQL body is bound to it and only reads, without a row type in their signature.
-- `row_functions` have the table's row type, or its array type, in their signature, and a swap exchanges them: not those that
-- belong to an extension, or whose SQL body writes or groups by the key. `described` are both kinds of functions.
with recursive row_functions(oid) as (
  select distinct p.oid
  from pg_class c join pg_type t on t.oid = c.reltype
  -- OFFSET 0, here and below: looked up by the catalog's indexes however many relations the database has.
  cross join lateral unnest(array[t.oid, t.typarray]) r(oid)
  cross join lateral (select d.objid from pg_depend d
    where d.refclassid = 'pg_type'::regclass and d.refobjid = r.oid and d.classid = 'pg_proc'::regclass offset 0) d
  cross join lateral (select * from pg_proc p where p.oid = d.objid offset 0) p
  where c.oid = $1 and p.prokind in ('f', 'p', 'w')
    -- Every query of the body, at any depth, is a SELECT.
    and (p.prosqlbody is null or p.prosqlbody::text !~ ':commandType [2-9]')
    and (p.proargtypes::oid[] || coalesce(p.proallargtypes, '{}') || p.prorettype) && array[t.oid, t.typarray]
    -- Grouped by the key, which green does not have when they are made.
    and not exists (select from pg_depend e join pg_constraint k on e.refclassid = 'pg_constraint'::regclass and k.oid = e.refobjid
      where e.classid = 'pg_proc'::regclass and e.objid = p.oid and k.conrelid = $1)
    and not exists (select from pg_depend e where e.classid = 'pg_proc'::regclass and e.objid = p.oid and e.deptype in ('e', 'x'))
    and not exists (select from pg_seclabel l where l.classoid = 'pg_proc'::regclass and l.objoid = p.oid)
),
of_table(classid, objid) as (
  select 'pg_class'::regclass::oid, $1::oid
  union select 'pg_type'::regclass, c.reltype from pg_class c where c.oid = $1
  union select 'pg_type'::regclass, t.typarray from pg_class c join pg_type t on t.oid = c.reltype where c.oid = $1
  union select 'pg_constraint'::regclass, k.oid from pg_constraint k where k.conrelid = $1
  union select 'pg_class'::regclass, i.indexrelid from pg_index i where i.indrelid = $1
  union select 'pg_class'::regclass, d.objid from pg_depend d cross join lateral (
      select from pg_class s where s.oid = d.objid and s.relkind = 'S' offset 0) s
    where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = $1 and d.deptype = 'i'
  union select 'pg_proc'::regclass, oid from row_functions
),
moved_at(oid, depth) as (
  select w.ev_class, 0
  from of_table o
  join pg_depend d on d.refclassid = o.classid and d.refobjid = o.objid and d.classid = 'pg_rewrite'::regclass
  join pg_rewrite w on w.oid = d.objid
  join pg_class v on v.oid = w.ev_class and v.relkind = 'm'
  union
  select w.ev_class, m.depth + 1
  from moved_at m
  join pg_class b on b.oid = m.oid
  join pg_type t on t.oid = b.reltype
  cross join lateral (values ('pg_class'::regclass::oid, b.oid), ('pg_type'::regclass, b.reltype), ('pg_type'::regclass, t.typarray)) r(classid, objid)
  join pg_depend d on d.refclassid = r.classid and d.refobjid = r.objid and d.classid = 'pg_rewrite'::regclass
  join pg_rewrite w on w.oid = d.objid and w.ev_class <> m.oid
  join pg_class v on v.oid = w.ev_class and v.relkind = 'm'
  where m.depth < 100
),
moved(oid, depth) as (select oid, max(depth) from moved_at group by oid),
bound(classid, objid) as (
  select classid, objid from of_table
  union select 'pg_class'::regclass, oid from moved
  union select 'pg_class'::regclass, i.indexrelid from moved m join pg_index i on i.indrelid = m.oid
  union select 'pg_type'::regclass, c.reltype from moved m join pg_class c on c.oid = m.oid
  union select 'pg_type'::regclass, t.typarray from moved m join pg_class c on c.oid = m.oid join pg_type t on t.oid = c.reltype
),
carried(oid) as (
  select p.oid from pg_proc p
  where p.prosqlbody is not null
    and p.oid in (select d.objid from bound b join pg_depend d on d.refclassid = b.classid and d.refobjid = b.objid
                  where d.classid = 'pg_proc'::regclass)
    -- Every query of the body, at any depth, is a SELECT.
    and p.prosqlbody::text !~ ':commandType [2-9]'
    and not exists (select from bound t where t.classid = 'pg_type'::regclass
      and t.objid = any (p.proargtypes::oid[] || coalesce(p.proallargtypes, '{}') || p.prorettype))
),
described as (
  select p.oid::bigint as oid,
    jsonb_build_object('schema', n.nspname, 'name', p.proname) as name,
    pg_get_function_identity_arguments(p.oid) as arguments,
    p.oid::regprocedure::text as signature,
    pg_get_userbyid(p.proowner) as owner,
    case p.prokind when 'p' then 'PROCEDURE' else 'FUNCTION' end as kind,
    (select coalesce(jsonb_agg(distinct a.attname), '[]')
     from pg_depend d join pg_attribute a on a.attrelid = $1 and a.attnum = d.refobjsubid
     where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.refclassid = 'pg_class'::regclass and d.refobjid = $1
       and d.refobjsubid > 0) as uses,
    -- What follows the name.
    substr(f.def, strpos(f.def, f.head) + length(f.head)) as definition
  from pg_proc p
  join pg_namespace n on n.oid = p.pronamespace
  cross join lateral (select pg_get_functiondef(p.oid) as def, format('%I.%I', n.nspname, p.proname) as head) f
  where p.oid in (select oid from carried union select oid from row_functions)
)
