-- The valid foreign keys of a table. $1: its name; $2: the name of one of them, valid or not, or null for all.
-- `orphans` is the text after the select list: the rows that reference no row, as the server itself finds them when it
-- validates a key. `definition` is that of the key, without NOT VALID.
select k.conname::text as name,
  k.confrelid::regclass::text as references,
  regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', '') as definition,
  format('from %s%s fk left join %s%s pk on %s where pk.%I is null and (%s)',
    case h.relkind when 'p' then '' else 'only ' end, k.conrelid::regclass, case r.relkind when 'p' then '' else 'only ' end, k.confrelid::regclass,
    c.joined, c.first, case k.confmatchtype when 'f' then c.any_is_set else c.all_are_set end) as orphans
from pg_constraint k
join pg_class r on r.oid = k.confrelid
join pg_class h on h.oid = k.conrelid
cross join lateral (
  select string_agg(format('pk.%I operator(%I.%s) fk.%I', p.attname, n.nspname, o.oprname, f.attname)
      || case when p.attcollation <> f.attcollation and p.attcollation <> 0
           then format(' collate %s', p.attcollation::regcollation) else '' end, ' and ' order by u.place) as joined,
    (array_agg(p.attname order by u.place))[1] as first,
    string_agg(format('fk.%I is not null', f.attname), ' and ' order by u.place) as all_are_set,
    string_agg(format('fk.%I is not null', f.attname), ' or ' order by u.place) as any_is_set
  from unnest(k.conkey, k.confkey, k.conpfeqop) with ordinality u(fk, pk, eq, place)
  join pg_attribute f on f.attrelid = k.conrelid and f.attnum = u.fk
  join pg_attribute p on p.attrelid = k.confrelid and p.attnum = u.pk
  join pg_operator o on o.oid = u.eq
  join pg_namespace n on n.oid = o.oprnamespace) c
where k.conrelid = to_regclass($1) and k.contype = 'f' and k.conparentid = 0
  -- A PERIOD key is compared by containment.
  and not coalesce((to_jsonb(k) ->> 'conperiod')::boolean, false)
  and case when $2::text is null then k.convalidated else k.conname = $2 end
order by 1
