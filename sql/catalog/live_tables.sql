-- The tables that stay when a run ends: whether each is there, and under which name. $1: their names; $2: their OIDs, 0
-- where the journal does not have them; $3: the names of the tables that are dropped; $4: their OIDs, 0 where not known.
select c.oid is not null as is_there, n.nspname::text as schema, c.relname::text as name,
  to_regclass(t.name) is not null as is_replaced, to_regclass(t.other) is not null as has_other
from unnest($1::text[], $2::oid[], $3::text[], $4::oid[]) with ordinality t(name, known, other, known_other, number)
left join pg_class c on c.relkind in ('r', 'p') and c.oid <> t.known_other
  and c.oid = case t.known when 0 then to_regclass(t.name)::oid else t.known end
left join pg_namespace n on n.oid = c.relnamespace
order by t.number
