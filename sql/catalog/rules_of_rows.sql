-- The constraints on the rows of a relation: its CHECKs, NOT NULL, and those of its columns' domains. $1: its oid.
-- `column` is null for a CHECK; `base` is the type of VALUE in a domain's expression.
with recursive cols as (
  select a.attnum, a.attname, a.atttypid, a.attnotnull from pg_attribute a
  where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
),
domains(attname, oid, base, typmod, not_null) as (
  select c.attname, t.oid, t.typbasetype, t.typtypmod, t.typnotnull
  from cols c join pg_type t on t.oid = c.atttypid and t.typtype = 'd'
  union all
  select d.attname, t.oid, t.typbasetype, t.typtypmod, t.typnotnull
  from domains d join pg_type t on t.oid = d.base and t.typtype = 'd'
)
select coalesce(jsonb_agg(to_jsonb(x) order by x.name, x.columns), '[]') from (
  select format('CHECK %I', k.conname) as name, pg_get_expr(k.conbin, k.conrelid) as expression, null as base,
    (select coalesce(jsonb_agg(c.attname), '[]') from cols c where c.attnum = any (k.conkey)) as columns
  from pg_constraint k where k.conrelid = $1 and k.contype = 'c' and k.convalidated
  union all
  select format('NOT NULL of %I', c.attname), null, null, jsonb_build_array(c.attname) from cols c where c.attnotnull
  union all
  select format('NOT NULL of domain %s', d.oid::regtype), null, null, jsonb_build_array(d.attname)
  from domains d where d.not_null
  union all
  select format('CHECK %I of domain %s', k.conname, d.oid::regtype), pg_get_expr(k.conbin, 0), format_type(d.base, d.typmod),
    jsonb_build_array(d.attname)
  from domains d join pg_constraint k on k.contypid = d.oid and k.contype = 'c' and k.convalidated
) x
