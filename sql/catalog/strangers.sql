-- What others have put on green, or on a partition of it, before the swap. $1: green's oid; $2: the triggers, and $3: the
-- policies, that the run makes on green; $4: whether blue has row security. Partitions have nothing of their own.
with greens as (
  select c.oid, c.relowner, c.relacl, c.relrowsecurity, c.relforcerowsecurity, c.oid = $1 as is_root, c.oid::regclass::text as name
  -- OFFSET 0, here and below: looked up by the catalog's indexes however many relations the database has.
  from (select $1::oid as oid union all select inhrelid from pg_inherits where inhparent = $1) g
  cross join lateral (select * from pg_class c where c.oid = g.oid offset 0) c
), root as (select relowner from greens where is_root)
select format('trigger %s on %s is new', t.tgname, g.name) from greens g join pg_trigger t on t.tgrelid = g.oid
where not t.tgisinternal and t.tgparentid = 0 and not (g.is_root and t.tgname = any ($2::text[]))
union all
select format('policy %s on %s is new', p.polname, g.name) from greens g
cross join lateral (select * from pg_policy p where p.polrelid = g.oid offset 0) p
where not (g.is_root and p.polname = any ($3::text[]))
union all
select format('rule %s on %s is new', r.rulename, g.name) from greens g join pg_rewrite r on r.ev_class = g.oid
union all
select format('privileges of %s on %s are new',
  case a.grantee when 0 then 'PUBLIC' else pg_get_userbyid(a.grantee) end, g.name)
from greens g, aclexplode(g.relacl) a where a.grantee <> g.relowner
union
select format('privileges of %s on column %s of %s are new',
  case e.grantee when 0 then 'PUBLIC' else pg_get_userbyid(e.grantee) end, a.attname, g.name)
from greens g cross join lateral (select * from pg_attribute a where a.attrelid = g.oid offset 0) a, aclexplode(a.attacl) e
where e.grantee <> g.relowner
union all
select format('constraint %s on %s is new', k.conname, g.name) from greens g cross join lateral (select * from pg_constraint k where k.conrelid = g.oid offset 0) k
where not g.is_root and k.contype in ('c', 'f') and k.conparentid = 0 and k.coninhcount = 0
union all
-- The swap sets green's to blue's; until then, green is not open where blue is closed.
select format('row security of %s was disabled', g.name) from greens g where $4 and not g.relrowsecurity
union all
select format('row security of %s was forced', g.name) from greens g where g.relforcerowsecurity
union all
select format('%s has another owner', g.name) from greens g, root where g.relowner <> root.relowner
order by 1
