-- What determines how a column's values are hashed: the base type of its domain, its length and its collation, and
-- whether it may be NULL.
-- Read by lane::row_hash.
with recursive base as (
    select a.attname, a.attnum, a.attcollation, a.atttypid as declared, a.atttypid as type_oid, a.atttypmod as typmod,
           a.attnotnull and not exists (
             select from pg_constraint k
             where k.conrelid = a.attrelid and k.contype = 'n' and k.conkey[1] = a.attnum and not k.convalidated
           ) as not_null
    from pg_attribute a
    where a.attrelid = to_regclass($1) and a.attnum > 0 and not a.attisdropped
    union all
    select b.attname, b.attnum, b.attcollation, b.declared, t.typbasetype, t.typtypmod, b.not_null
    from base b
    join pg_type t on t.oid = b.type_oid
    where t.typtype = 'd'
)
select b.attname::text as name,
       n.nspname::text || '.' || t.typname::text as base_type,
       b.typmod <> -1 as has_length,
       t.typtype::text as kind,
       b.not_null,
       b.declared <> b.type_oid as is_domain,
       format_type(b.declared, -1) as type_name,
       coalesce(c.collisdeterministic, true) as deterministic
from base b
join pg_type t on t.oid = b.type_oid
join pg_namespace n on n.oid = t.typnamespace
left join pg_collation c on c.oid = b.attcollation
where t.typtype <> 'd'
order by b.attnum
