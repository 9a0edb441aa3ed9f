-- A table's own foreign keys, not those that reference it. $1: the table's oid.
-- `tail` is the definition from REFERENCES on, `actions` what follows the referenced columns in it; null if the text is
-- not as expected.
select coalesce(jsonb_agg(to_jsonb(x) order by x.name), '[]') from (
  select k.conname as name,
    c.columns,
    c.referenced,
    jsonb_build_object('schema', n.nspname, 'name', r.relname) as references,
    k.confrelid = k.conrelid as to_itself,
    e.period,
    case when starts_with(f.def, c.head)
      then regexp_replace(substr(f.def, length(c.head) + 1), ' NOT VALID$', '') end as tail,
    case when starts_with(f.def, c.head || c.to)
      then regexp_replace(substr(f.def, length(c.head || c.to) + 1), ' NOT VALID$', '') end as actions,
    k.convalidated as validated,
    obj_description(k.oid, 'pg_constraint') as comment
  from pg_constraint k
  join pg_class r on r.oid = k.confrelid
  join pg_namespace n on n.oid = r.relnamespace
  -- Version 18 and later.
  cross join lateral (select coalesce((to_jsonb(k) ->> 'conperiod')::boolean, false) as period) e
  cross join lateral (
    select jsonb_agg(a.attname order by u.place) as columns, jsonb_agg(p.attname order by u.place) as referenced,
      'FOREIGN KEY (' || string_agg(w.word || quote_ident(a.attname), ', ' order by u.place) || ') ' as head,
      format('REFERENCES %s(%s)', k.confrelid::regclass, string_agg(w.word || quote_ident(p.attname), ', ' order by u.place)) as to
    from unnest(k.conkey, k.confkey) with ordinality u(attnum, referenced, place)
    cross join lateral (select case when e.period and u.place = cardinality(k.conkey) then 'PERIOD ' else '' end as word) w
    join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.attnum
    join pg_attribute p on p.attrelid = k.confrelid and p.attnum = u.referenced) c
  cross join lateral (select pg_get_constraintdef(k.oid) as def) f
  where k.conrelid = $1 and k.contype = 'f' and k.conparentid = 0
) x
