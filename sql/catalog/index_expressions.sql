-- The expressions and predicates of a relation's indexes. $1: its name. Those over a whole row cannot be tried on other
-- rows, and are left out.
select c.relname::text, x.sql
from pg_index i join pg_class c on c.oid = i.indexrelid
cross join lateral (
  select pg_get_indexdef(i.indexrelid, n, false) from generate_series(1, i.indnatts) n where i.indkey[n - 1] = 0
  union all
  select pg_get_expr(i.indpred, i.indrelid) where i.indpred is not null
) x(sql)
where i.indrelid = to_regclass($1) and x.sql not like '%.*%'
order by 1, 2
