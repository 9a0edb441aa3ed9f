-- Which unqualified names only exist outside of pg_catalog. $1: functions, $2: tables, $3: types, $4: operators.
select 'function ' || n.name, array_agg(distinct s.nspname::text)
from unnest($1::text[]) n(name) join pg_proc p on p.proname = n.name join pg_namespace s on s.oid = p.pronamespace
group by n.name having bool_and(s.nspname <> 'pg_catalog')
union all
select 'table ' || n.name, array_agg(distinct s.nspname::text)
from unnest($2::text[]) n(name) join pg_class c on c.relname = n.name and c.relkind in ('r', 'p', 'v', 'm', 'f')
join pg_namespace s on s.oid = c.relnamespace
group by n.name having bool_and(s.nspname <> 'pg_catalog')
union all
select 'type ' || n.name, array_agg(distinct s.nspname::text)
from unnest($3::text[]) n(name) join pg_type t on t.typname = n.name join pg_namespace s on s.oid = t.typnamespace
group by n.name having bool_and(s.nspname <> 'pg_catalog')
union all
select 'operator ' || n.name, array_agg(distinct s.nspname::text)
from unnest($4::text[]) n(name) join pg_operator o on o.oprname = n.name join pg_namespace s on s.oid = o.oprnamespace
group by n.name having bool_and(s.nspname <> 'pg_catalog')
order by 1
