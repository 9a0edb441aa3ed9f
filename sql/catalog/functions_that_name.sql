-- Functions whose source text contains a table's name, in languages that cache types by OID for the session. $1: the
-- table's name. A comment counts, too: the text is not parsed.
select format('%I.%I', n.nspname, p.proname)
from pg_proc p
join pg_language l on l.oid = p.prolang
join pg_namespace n on n.oid = p.pronamespace
where l.lanname not in ('internal', 'c', 'sql')
  and n.nspname not in ('pg_catalog', 'information_schema', 'projh_bluegreen')
  and p.prosrc ~* ('(^|[^[:alnum:]_$])' || regexp_replace($1, '([^[:alnum:]])', '\\\1', 'g') || '($|[^[:alnum:]_$])')
group by 1
order by 1
