-- Columns whose type is one of these kinds, or is made of one, each with that. $1: the columns' names; $2: the OIDs of their
-- types; $3: kinds as in pg_type.typtype.
with recursive made(name, type) as (
  select * from unnest($1::text[], $2::oid[])
  union
  select made.name, of.type
  from made join pg_type y on y.oid = made.type
  cross join lateral (
    select y.typbasetype where y.typtype = 'd'
    union all select y.typelem where y.typelem <> 0
    union all select a.atttypid from pg_attribute a
      where y.typtype = 'c' and a.attrelid = y.typrelid and a.attnum > 0 and not a.attisdropped) of(type)
)
select distinct made.name, format_type(y.oid, null)
from made join pg_type y on y.oid = made.type
where y.typtype::text = any($3::text[])
order by 1, 2
