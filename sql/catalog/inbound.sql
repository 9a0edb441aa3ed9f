-- The foreign keys of other tables that reference a table. $1: its oid. That of a partitioned table is listed once; one that
-- a partition has without its parent is the partition's. `tail` is what follows the referenced columns, without NOT VALID;
-- null if the text is not as expected. `leaves` are the partitions that hold the referencing rows. In the order in which they
-- were made: the server carries out their actions in that order.
select coalesce(jsonb_agg(to_jsonb(x) order by x.oid), '[]') from (
  select k.oid::bigint,
    k.conname as name,
    jsonb_build_object('schema', n.nspname, 'name', c.relname) as child,
    pg_get_userbyid(c.relowner) as owner,
    (not (c.relrowsecurity and c.relforcerowsecurity) or o.rolsuper or o.rolbypassrls)
      and has_table_privilege(c.relowner, c.oid, 'SELECT') and has_schema_privilege(c.relowner, n.oid, 'USAGE')
      and pg_has_role(c.relowner, case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end)
      as owner_acts,
    c.relkind = 'p' as partitioned,
    l.leaves,
    greatest(c.reltuples, l.tuples, 0)::bigint as estimated_rows,
    l.other_owner,
    a.columns,
    a.referenced,
    e.period,
    case when starts_with(f.def, a.head)
      then regexp_replace(substr(f.def, length(a.head) + 1), ' NOT VALID$', '') end as tail,
    k.convalidated as validated,
    obj_description(k.oid, 'pg_constraint') as comment
  from pg_constraint k
  join pg_class c on c.oid = k.conrelid
  join pg_namespace n on n.oid = c.relnamespace
  join pg_roles o on o.oid = c.relowner
  cross join lateral (select pg_get_constraintdef(k.oid) as def) f
  -- Version 18 and later.
  cross join lateral (select coalesce((to_jsonb(k) ->> 'conperiod')::boolean, false) as period) e
  cross join lateral (
    select jsonb_agg(h.attname order by u.place) as columns, jsonb_agg(r.attname order by u.place) as referenced,
      format('FOREIGN KEY (%s) REFERENCES %s(%s)', string_agg(w.word || quote_ident(h.attname), ', ' order by u.place),
        k.confrelid::regclass, string_agg(w.word || quote_ident(r.attname), ', ' order by u.place)) as head
    from unnest(k.conkey, k.confkey) with ordinality u(child, parent, place)
    cross join lateral (select case when e.period and u.place = cardinality(k.conkey) then 'PERIOD ' else '' end as word) w
    join pg_attribute h on h.attrelid = k.conrelid and h.attnum = u.child
    join pg_attribute r on r.attrelid = k.confrelid and r.attnum = u.parent) a
  cross join lateral (
    select coalesce(jsonb_agg(jsonb_build_object('schema', pn.nspname, 'name', p.relname)
        order by pn.nspname, p.relname) filter (where t.isleaf and c.relkind = 'p'), '[]') as leaves,
      sum(greatest(p.reltuples, 0)) as tuples,
      min(pg_get_userbyid(p.relowner)) filter (where p.relowner <> c.relowner) as other_owner
    from pg_partition_tree(c.oid) t
    join pg_class p on p.oid = t.relid
    join pg_namespace pn on pn.oid = p.relnamespace) l
  where k.confrelid = $1 and k.contype = 'f' and k.conparentid = 0
    and k.conrelid <> $1 and pg_partition_root(k.conrelid) is distinct from $1::regclass
) x
