-- The objects of the journal's schema, and the schema itself, whose owner the current role does not trust: neither
-- itself, nor a role that it is a member of, nor a superuser. pg_has_role() is always true for a superuser.
-- Reading or calling such an object could execute its owner's code with the rights of the current role.
with recursive trusted(oid) as (
  select r.oid from pg_roles r where r.rolname = current_user
  union
  select m.roleid from pg_auth_members m join trusted t on m.member = t.oid
),
home as (select n.oid, n.nspowner from pg_namespace n where n.nspname = 'projh_bluegreen'),
things(classid, oid, owner) as (
  select 'pg_namespace'::regclass, h.oid, h.nspowner from home h
  union all
  select 'pg_class'::regclass, c.oid, c.relowner from pg_class c join home h on h.oid = c.relnamespace
  union all
  select 'pg_proc'::regclass, p.oid, p.proowner from pg_proc p join home h on h.oid = p.pronamespace
  union all
  select 'pg_type'::regclass, t.oid, t.typowner from pg_type t join home h on h.oid = t.typnamespace
  union all
  select 'pg_operator'::regclass, o.oid, o.oprowner from pg_operator o join home h on h.oid = o.oprnamespace
)
select pg_describe_object(t.classid, t.oid, 0) as object, pg_get_userbyid(t.owner)::text as owner,
  current_user::text as role
from things t
where not exists (select from trusted where trusted.oid = t.owner)
  and not exists (select from pg_roles r where r.oid = t.owner and r.rolsuper)
order by t.classid <> 'pg_namespace'::regclass, 1
limit 1
