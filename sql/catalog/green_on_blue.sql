-- What of green ($2) names blue ($1) by OID: blue itself, its row type, indexes or sequences. After the swap it would
-- still name the retired table. A serial's sequence is none of them: it changes its owner in the swap.
-- Green's indexes are not there yet, so blue's are looked at: one of an expression that names a relation.
with blue(classid, objid) as (
  select 'pg_class'::regclass::oid, $1::oid
  union select 'pg_type'::regclass, c.reltype from pg_class c where c.oid = $1
  union select 'pg_type'::regclass, t.typarray from pg_class c join pg_type t on t.oid = c.reltype where c.oid = $1
  union select 'pg_class'::regclass, i.indexrelid from pg_index i where i.indrelid = $1
  union select 'pg_class'::regclass, d.objid from pg_depend d join pg_class s on s.oid = d.objid and s.relkind = 'S'
    where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = $1
      and d.deptype = 'i'
),
names(kind, name, classid, objid) as (
  select case when c.attgenerated = '' then 'default' else 'generated' end, c.attname, 'pg_attrdef'::regclass::oid, a.oid
  from pg_attrdef a join pg_attribute c on c.attrelid = a.adrelid and c.attnum = a.adnum where a.adrelid = $2
  union all
  select 'check', k.conname, 'pg_constraint'::regclass, k.oid from pg_constraint k where k.conrelid = $2 and k.contype = 'c'
  union all
  select 'policy', p.polname, 'pg_policy'::regclass, p.oid from pg_policy p where p.polrelid = $2
  union all
  select 'column', a.attname, 'pg_class'::regclass, a.attrelid from pg_attribute a
  where a.attrelid = $2 and a.attnum > 0 and exists (select from blue b where b.objid = a.atttypid)
  union all
  select 'index', c.relname, 'pg_class'::regclass, c.oid from pg_index i join pg_class c on c.oid = i.indexrelid
  where i.indrelid = $1
    and concat(pg_get_expr(i.indexprs, i.indrelid), pg_get_expr(i.indpred, i.indrelid)) like '%::regclass%'
)
select distinct n.kind, n.name::text, pg_describe_object(b.classid, b.objid, 0) as names
from names n
join pg_depend d on d.classid = n.classid and d.objid = n.objid
join blue b on b.classid = d.refclassid and b.objid = d.refobjid
order by 1, 2, 3
