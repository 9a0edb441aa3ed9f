-- The functions that are called when a row of a relation is written, indexed or checked, as far as the catalog knows: those
-- of index expressions, predicates and operator classes, of CHECKs, generated columns and domains, and of a view's
-- columns. $1: the relation's oid. $2: columns whose defaults count, too.
with recursive roots(root, classid, objid) as (
  select format('index %I', c.relname), 'pg_class'::regclass::oid, c.oid
  from pg_index i join pg_class c on c.oid = i.indexrelid where i.indrelid = $1
  union all
  select format('constraint %I', k.conname), 'pg_constraint'::regclass, k.oid
  from pg_constraint k where k.conrelid = $1 and k.contype in ('c', 'x')
  union all
  select format('column %I', a.attname), 'pg_attrdef'::regclass, d.oid
  from pg_attrdef d join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
  where d.adrelid = $1 and (a.attgenerated <> '' or a.attname = any ($2))
  union all
  -- Before version 15, what a generated column calls depends on the column itself.
  select format('column %I', a.attname), d.refclassid, d.refobjid
  from pg_attribute a join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = $1 and d.objsubid = a.attnum
  where a.attrelid = $1 and a.attgenerated <> '' and d.refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass)
  union all
  -- A generated column has its own dependencies on what it reads (up to version 17), and on its type.
  select format('column %I', a.attname), 'pg_type'::regclass, a.atttypid
  from pg_attribute a where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
  union all
  select 'an expression of the plan', 'pg_rewrite'::regclass, w.oid from pg_rewrite w where w.ev_class = $1
),
objects(root, classid, objid) as (
  select * from roots
  union
  select o.root, x.classid, x.objid
  from objects o cross join lateral (
    select d.refclassid, d.refobjid from pg_depend d
    where d.classid = o.classid and d.objid = o.objid
      and d.refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_opclass'::regclass, 'pg_type'::regclass)
    union all
    select 'pg_constraint'::regclass, k.oid from pg_constraint k
    where o.classid = 'pg_type'::regclass and k.contypid = o.objid
    union all
    select d.classid, d.objid from pg_depend d
    where o.classid = 'pg_opclass'::regclass and d.refclassid = o.classid and d.refobjid = o.objid
      and d.classid = 'pg_amproc'::regclass
  ) x(classid, objid)
  -- Such a function calls others with a search_path of its own.
  where not (o.classid = 'pg_proc'::regclass and exists (
    select from pg_proc p where p.oid = o.objid and p.proconfig::text like '%search_path=%'))
)
select min(o.root), p.oid
from objects o join pg_proc p on o.classid = 'pg_proc'::regclass and p.oid = o.objid
group by p.oid order by 1, 2
