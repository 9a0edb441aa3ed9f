-- A table's CHECK constraints. $1: the table's oid.
select coalesce(jsonb_agg(to_jsonb(x) order by x.name), '[]') from (
  select k.conname as name,
    pg_get_constraintdef(k.oid) as definition,
    k.convalidated as validated,
    k.connoinherit as no_inherit,
    (select coalesce(jsonb_agg(a.attname order by a.attnum), '[]')
     from pg_attribute a where a.attrelid = $1 and a.attnum = any (k.conkey)) as columns,
    obj_description(k.oid, 'pg_constraint') as comment
  from pg_constraint k
  where k.conrelid = $1 and k.contype = 'c'
) x
