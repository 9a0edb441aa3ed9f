-- The privileges on a table by grantee and grantor, in the order in which they were granted: whoever has granted one had it
-- before, and pg_dump prints them so. `grantor`: if that is not the owner, and this role can act as it. $1: the table's oid.
-- A null ACL means the built-in default, which is spelled out.
select jsonb_build_object(
  'owner', (
    select coalesce(jsonb_agg(distinct e.privilege_type), '[]')
    from aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) e where e.grantee = c.relowner),
  'owner_has_all', not exists (
    select e.privilege_type from aclexplode(acldefault('r', c.relowner)) e
    except
    select e.privilege_type from aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) e
      where e.grantee = c.relowner),
  'owner_grantable', (
    select coalesce(jsonb_agg(distinct e.privilege_type), '[]')
    from aclexplode(c.relacl) e where e.grantee = c.relowner and e.is_grantable),
  'others', (
    select coalesce(jsonb_agg(to_jsonb(g) - 'granted' order by g.granted), '[]') from (
      select case when e.grantee = 0 then null else pg_get_userbyid(e.grantee) end as grantee,
        e.is_grantable as grantable,
        case when e.grantor <> c.relowner and has_schema_privilege(e.grantor, c.relnamespace, 'USAGE')
          and pg_has_role(e.grantor, case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end)
          then pg_get_userbyid(e.grantor) end as grantor,
        jsonb_agg(distinct e.privilege_type) as privileges, min(e.granted) as granted
      from aclexplode(c.relacl) with ordinality e (grantor, grantee, privilege_type, is_grantable, granted)
      where e.grantee <> c.relowner group by 1, 2, 3) g))
from pg_class c where c.oid = $1
