-- A table's columns in order, with all their properties. $1: the table's oid.
-- pg_attver in attoptions is private to one minor version, and rejected by others: it is left out.
with recursive cols as (
  select a.* from pg_attribute a where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
),
parts(root, oid) as (
  select distinct atttypid, atttypid from cols
  union
  select p.root, x.oid
  from parts p
  join pg_type t on t.oid = p.oid
  cross join lateral (
    select t.typelem where t.typelem <> 0 and t.typlen = -1
    union all select t.typbasetype where t.typtype = 'd'
    union all select r.rngsubtype from pg_range r where r.rngtypid = t.oid
    union all select r.rngtypid from pg_range r where r.rngmultitypid = t.oid
    union all select f.atttypid from pg_attribute f
      where t.typtype = 'c' and f.attrelid = t.typrelid and f.attnum > 0 and not f.attisdropped
  ) x(oid)
),
-- The base types of columns that are of a domain.
base(attnum, oid, typmod) as (
  select attnum, atttypid, atttypmod from cols
  union all
  select b.attnum, t.typbasetype, t.typtypmod
  from base b join pg_type t on t.oid = b.oid where t.typtype = 'd'
),
wire as (
  select p.root,
    -- The receive functions of these types reject all values, or empty ones.
    bool_and(t.typsend <> 0 and t.typreceive <> 0 and not (t.typnamespace = 'pg_catalog'::regnamespace
      and t.typname in ('pg_node_tree', 'pg_ndistinct', 'pg_dependencies', 'pg_mcv_list', 'pg_brin_bloom_summary',
        'pg_brin_minmax_multi_summary', 'int2vector', 'oidvector'))) as binary_io,
    min((select format('%I of domain %s', k.conname, k.contypid::regtype)
         from pg_constraint k where k.contypid = p.oid and not k.convalidated limit 1)) as unvalidated
  from parts p join pg_type t on t.oid = p.oid group by p.root
)
select coalesce(jsonb_agg(to_jsonb(x) order by x.attnum), '[]') from (
  select a.attnum,
    a.attname as name,
    format_type(a.atttypid, a.atttypmod) as data_type,
    concat(format_type(b.oid, b.typmod), case when a.attcollation <> 0 and a.attcollation <> u.typcollation
      then format(' COLLATE %I.%I', cn.nspname, co.collname) end) as base_type,
    a.atttypid::bigint as type_oid,
    t.typarray::bigint as array_type_oid,
    u.typtype = 'c' as composite,
    a.atttypmod as typmod,
    case when a.attcollation <> 0 and a.attcollation <> t.typcollation
      then jsonb_build_object('schema', cn.nspname, 'name', co.collname) end as collation,
    a.attnotnull and coalesce(k.convalidated, true) as not_null,
    a.attnotnull and not coalesce(k.convalidated, true) as not_null_unvalidated,
    k.conname as not_null_name,
    obj_description(k.oid, 'pg_constraint') as not_null_comment,
    case when a.attgenerated = '' then pg_get_expr(d.adbin, 0) end as default,
    -- What the default references by OID: the table itself, or sequences of its identity columns.
    (select case when count(*) > 0 then coalesce(jsonb_agg(distinct i.attname) filter (where i.attname is not null), '[]') end
     from pg_depend p
     left join pg_depend s on p.refobjid <> $1 and s.classid = 'pg_class'::regclass and s.objid = p.refobjid
       and s.refclassid = 'pg_class'::regclass and s.refobjid = $1 and s.deptype = 'i'
     left join pg_attribute i on i.attrelid = $1 and i.attnum = s.refobjsubid
     where a.attgenerated = '' and p.classid = 'pg_attrdef'::regclass and p.objid = d.oid
       and p.refclassid = 'pg_class'::regclass and (p.refobjid = $1 and p.refobjsubid = 0 or s.objid is not null)
    ) as default_names,
    case a.attidentity when 'a' then 'always' when 'd' then 'by_default' end as identity,
    case when a.attgenerated <> '' then jsonb_build_object(
      'expression', pg_get_expr(d.adbin, d.adrelid),
      'stored', a.attgenerated = 's',
      'columns', (
        select coalesce(jsonb_agg(distinct u.attname), '[]')
        from pg_depend p join pg_attribute u on u.attrelid = $1 and u.attnum = p.refobjsubid
        where p.refclassid = 'pg_class'::regclass and p.refobjid = $1 and u.attnum <> a.attnum
          and (p.classid = 'pg_attrdef'::regclass and p.objid = d.oid
            or p.classid = 'pg_class'::regclass and p.objid = $1 and p.objsubid = a.attnum))) end as generated,
    case when a.attstorage <> t.typstorage
      then case a.attstorage when 'p' then 'PLAIN' when 'e' then 'EXTERNAL' when 'm' then 'MAIN' else 'EXTENDED' end
    end as storage,
    case a.attcompression when 'p' then 'pglz' when 'l' then 'lz4' end as compression,
    nullif(a.attstattarget, -1) as statistics_target,
    coalesce((select jsonb_agg(o) from unnest(a.attoptions) o where o not like 'pg\_attver=%'), '[]') as options,
    col_description(a.attrelid, a.attnum) as comment,
    (select coalesce(jsonb_agg(to_jsonb(g) - 'granted' order by g.granted), '[]') from (
       select case when e.grantee = 0 then null else pg_get_userbyid(e.grantee) end as grantee,
         e.is_grantable as grantable,
         -- As in grants.sql.
         case when e.grantor <> r.relowner and has_schema_privilege(e.grantor, r.relnamespace, 'USAGE')
          and pg_has_role(e.grantor, case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end)
          then pg_get_userbyid(e.grantor) end as grantor,
         jsonb_agg(distinct e.privilege_type) as privileges, min(e.granted) as granted
       from aclexplode(a.attacl) with ordinality e (grantor, grantee, privilege_type, is_grantable, granted)
       join pg_class r on r.oid = a.attrelid
       group by 1, 2, 3) g) as grants,
    t.typlen = -1 and a.attstorage <> 'p' as toastable,
    w.binary_io,
    w.unvalidated as unvalidated_domain,
    case when t.typtype = 'd' then jsonb_build_object(
      'has_default', t.typdefault is not null,
      'not_null', (select min(format_type(d.oid, null)) from base i join pg_type d on d.oid = i.oid
        where i.attnum = a.attnum and d.typtype = 'd' and d.typnotnull),
      'checks', (select coalesce(jsonb_agg(format('%I of domain %s', k.conname, k.contypid::regtype) order by k.conname), '[]')
        from base i join pg_constraint k on k.contypid = i.oid and k.contype = 'c' where i.attnum = a.attnum)) end as domain
  from cols a
  join pg_type t on t.oid = a.atttypid
  join wire w on w.root = a.atttypid
  join base b on b.attnum = a.attnum
  join pg_type u on u.oid = b.oid and u.typtype <> 'd'
  left join pg_collation co on co.oid = a.attcollation
  left join pg_namespace cn on cn.oid = co.collnamespace
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  left join pg_constraint k on k.conrelid = a.attrelid and k.contype = 'n' and k.conkey = array[a.attnum]
) x
