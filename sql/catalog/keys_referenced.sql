-- The foreign keys that reference a table of keys of this table ("registry"), which its triggers maintain. $1: the table's oid.
-- `rows`: a query for the rows of the referencing table whose row is in the partition $2.
select format('%I.%I', n.nspname, c.relname) as child, k.conname::text as name,
  format('SELECT count(*) FROM %s c JOIN %s p ON %s', c.oid::regclass, $2::text, (
    select string_agg(format('c.%I = p.%I', h.attname, r.attname), ' AND ' order by u.place)
    from unnest(k.conkey, k.confkey) with ordinality u(child, parent, place)
    join pg_attribute h on h.attrelid = k.conrelid and h.attnum = u.child
    join pg_attribute r on r.attrelid = k.confrelid and r.attnum = u.parent)) as rows
from pg_trigger g
join pg_proc p on p.oid = g.tgfoid
join pg_class t on t.relname = p.proname and t.relnamespace = p.pronamespace and t.relkind = 'r'
join pg_constraint k on k.confrelid = t.oid and k.contype = 'f' and k.conparentid = 0
join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
where g.tgrelid = $1 and not g.tgisinternal and g.tgname = '!' || t.relname || '_delete'
order by 1, 2
