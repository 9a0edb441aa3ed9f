-- Follows bound.sql. What in green references, by OID, something that stays with blue: blue itself, its row type, constraints, indexes,
-- functions with its row type, materialized views over it, or the sequence of an identity column. $1: blue's oid; $2: the schema of green;
-- $3: columns whose defaults, and $4: policies, that the swap creates anew. The sequence of a serial column is moved to green.
, identities(oid) as (
  select d.objid from pg_depend d join pg_class s on s.oid = d.objid and s.relkind = 'S'
  where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = $1 and d.deptype = 'i'
), blue(classid, objid) as (
  select classid, objid from bound
  -- Those that a swap cannot exchange, too.
  union select 'pg_proc'::regclass, p.oid
    from pg_class c join pg_type t on t.oid = c.reltype
    join pg_depend d on d.refclassid = 'pg_type'::regclass and d.refobjid in (t.oid, t.typarray) and d.classid = 'pg_proc'::regclass
    join pg_proc p on p.oid = d.objid where c.oid = $1
)
select distinct
  case when a.attgenerated <> '' then 'generated column' when f.oid is not null then 'default'
    when k.oid is not null then 'constraint' when p.oid is not null then 'policy' when t.oid is not null then 'trigger' when i.indexrelid is not null then 'index'
    when d.objsubid > 0 then 'column' else 'object' end,
  coalesce(a.attname, k.conname, p.polname, t.tgname, r.relname, pg_describe_object(d.classid, d.objid, d.objsubid))::text,
  pg_describe_object(d.refclassid, d.refobjid, 0)
from blue b
join pg_depend d on d.refclassid = b.classid and d.refobjid = b.objid
left join pg_attrdef f on d.classid = 'pg_attrdef'::regclass and f.oid = d.objid
left join pg_constraint k on d.classid = 'pg_constraint'::regclass and k.oid = d.objid
left join pg_policy p on d.classid = 'pg_policy'::regclass and p.oid = d.objid
left join pg_trigger t on d.classid = 'pg_trigger'::regclass and t.oid = d.objid
left join pg_index i on d.classid = 'pg_class'::regclass and i.indexrelid = d.objid
left join pg_class r on r.oid = i.indexrelid
left join pg_attribute a on a.attrelid = coalesce(f.adrelid, case when d.classid = 'pg_class'::regclass then d.objid end)
  and a.attnum = coalesce(f.adnum, nullif(d.objsubid, 0)) and r.oid is null
join pg_class g on g.oid = coalesce(f.adrelid, k.conrelid, p.polrelid, t.tgrelid, i.indrelid,
  case when d.classid = 'pg_class'::regclass then d.objid end)
where g.relnamespace = (select oid from pg_namespace where nspname = $2::text)
  and not coalesce(p.polname = any ($4::text[]), false)
  -- Of these defaults the swap creates those anew that reference blue, or an identity's sequence.
  and not (f.oid is not null and a.attname = any ($3::text[]) and d.refclassid = 'pg_class'::regclass
    and (d.refobjid = $1 and d.refobjsubid = 0 or d.refobjid in (select oid from identities)))
order by 1, 2, 3
