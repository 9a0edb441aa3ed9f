-- The tables that stay when a run ends: whether each is there, and under which name. $1, $2: their schemas and names; $3: their
-- OIDs, 0 where the journal does not have them; $4: the schemas of the tables of the same names that are dropped; $5: their
-- OIDs, 0 where not known. Names are looked up without rights on their schemas, which whoever asks for the state may lack.
with named as (
  select t.*,
    (select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = t.schema and c.relname = t.name) as now,
    (select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = t.other and c.relname = t.name) as other_now
  from unnest($1::text[], $2::text[], $3::oid[], $4::text[], $5::oid[])
    with ordinality t(schema, name, known, other, known_other, number)
)
select c.oid is not null as is_there, n.nspname::text as schema, c.relname::text as name,
  t.now is not null as is_replaced, t.other_now is not null as has_other
from named t
left join pg_class c on c.relkind in ('r', 'p') and c.oid <> t.known_other
  -- In a database that was restored from a dump all OIDs are others than those of the journal.
  and c.oid = case when t.known = 0 or t.other_now <> nullif(t.known_other, 0) then t.now else t.known end
left join pg_namespace n on n.oid = c.relnamespace
order by t.number
