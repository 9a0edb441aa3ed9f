-- The tables of keys of a table ("registry"), which its triggers maintain, with the foreign keys that reference them. $1: the
-- table's oid. `matches`: a condition that a row `c` references a row `p` of the table by.
select coalesce(jsonb_agg(jsonb_build_object(
  'name', jsonb_build_object('schema', n.nspname, 'name', t.relname),
  'columns', (select jsonb_agg(a.attname order by a.attnum) from pg_attribute a
    where a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped),
  'referencing', (select coalesce(jsonb_agg(jsonb_build_object(
      'child', jsonb_build_object('schema', cn.nspname, 'name', c.relname),
      'name', k.conname,
      'matches', (select string_agg(format('c.%I = p.%I', h.attname, r.attname), ' AND ' order by u.place)
        from unnest(k.conkey, k.confkey) with ordinality u(child, parent, place)
        join pg_attribute h on h.attrelid = k.conrelid and h.attnum = u.child
        join pg_attribute r on r.attrelid = k.confrelid and r.attnum = u.parent)) order by cn.nspname, c.relname, k.conname), '[]')
    from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace cn on cn.oid = c.relnamespace
    where k.confrelid = t.oid and k.contype = 'f' and k.conparentid = 0)) order by n.nspname, t.relname), '[]')
from pg_trigger g
join pg_proc p on p.oid = g.tgfoid
join pg_class t on t.relname = p.proname and t.relnamespace = p.pronamespace and t.relkind = 'r'
join pg_namespace n on n.oid = t.relnamespace
where g.tgrelid = $1 and not g.tgisinternal and g.tgname = '!' || t.relname || '_delete'
