-- The columns of these tables ($1, as SQL text), and in all other tables those whose comment marks them: it begins with the word
-- PHI, in any case. Partitions are part of their table.
SELECT c.oid, n.nspname::text, c.relname::text, a.attname::text,
  coalesce(pg_catalog.col_description(c.oid, a.attnum) ~* '^\s*phi\M', false),
  coalesce(nullif(t.typbasetype, 0), t.oid) = 'pg_catalog.bytea'::pg_catalog.regtype
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
  AND (c.oid IN (SELECT pg_catalog.to_regclass(of) FROM unnest($1::text[]) of)
    OR n.nspname !~ '^(pg_|information_schema$|projh_bg_|projh_bluegreen$)'
      AND pg_catalog.col_description(c.oid, a.attnum) ~* '^\s*phi\M')
ORDER BY n.nspname, c.relname, a.attnum
