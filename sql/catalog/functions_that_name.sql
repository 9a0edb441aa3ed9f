-- Functions whose source text contains one of the names in $1, in languages that cache types by OID for the session. A
-- comment counts, too: the text is not parsed. `anew` is a statement that changes nothing, and makes every session compile the
-- function again at its next call; `may`, whether this role may execute it; `age`, that of the function's row.
select format('%I.%I', n.nspname, p.proname) as name,
  format('ALTER ROUTINE %I.%I(%s) SECURITY %s', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid),
    case when p.prosecdef then 'DEFINER' else 'INVOKER' end) as anew,
  pg_has_role(p.proowner, 'USAGE') and has_schema_privilege(n.oid, 'USAGE') and not pg_is_other_temp_schema(n.oid) as may,
  age(p.xmin) as age
from pg_proc p
join pg_language l on l.oid = p.prolang
join pg_namespace n on n.oid = p.pronamespace
where l.lanname not in ('internal', 'c', 'sql')
  and n.nspname not in ('pg_catalog', 'information_schema', 'projh_bluegreen')
  and p.prosrc ~* ('(^|[^[:alnum:]_$])('
    || (select string_agg(regexp_replace(replace(name, '"', '""'), '([^[:alnum:]])', '\\\1', 'g'), '|') from unnest($1::text[]) name)
    || ')($|[^[:alnum:]_$])')
order by 1, 2
