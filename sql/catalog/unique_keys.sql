-- The keys of a table's unique indexes, as SQL over its columns, and their predicates. $1: the table's name. Read by hangs_on::unique_keys.
select c.relname::text as name,
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false) as nulls_are_keys,
       pg_get_expr(i.indpred, i.indrelid) as predicate,
       (select array_agg(pg_get_indexdef(i.indexrelid, n, false) order by n)
        from generate_series(1, i.indnkeyatts) n) as keys
from pg_index i
join pg_class c on c.oid = i.indexrelid
where i.indrelid = to_regclass($1) and i.indisunique
order by c.relname
