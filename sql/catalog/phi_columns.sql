-- The columns of these tables ($1, as SQL text), and in all other tables those whose comment marks them: it begins with the word
-- PHI, in any case. Partitions are part of their table, with their comments.
SELECT c.oid, n.nspname::text, c.relname::text, a.attname::text,
  marked.is_phi,
  -- Of a domain, the type below all domains.
  (WITH RECURSIVE base AS (
      SELECT t.oid, t.typbasetype
      UNION ALL SELECT b.oid, b.typbasetype FROM base JOIN pg_catalog.pg_type b ON b.oid = base.typbasetype)
    SELECT base.oid = 'pg_catalog.bytea'::pg_catalog.regtype FROM base WHERE base.typbasetype = 0)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
CROSS JOIN LATERAL (SELECT coalesce(pg_catalog.col_description(c.oid, a.attnum) ~* '^\s*phi\M', false)
  OR c.relkind = 'p' AND EXISTS (
    SELECT FROM pg_catalog.pg_partition_tree(c.oid) p
    JOIN pg_catalog.pg_attribute pa ON pa.attrelid = p.relid AND pa.attname = a.attname
    WHERE pg_catalog.col_description(pa.attrelid, pa.attnum) ~* '^\s*phi\M')) marked(is_phi)
WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
  AND (c.oid IN (SELECT pg_catalog.to_regclass(of) FROM unnest($1::text[]) of)
    OR n.nspname !~ '^(pg_|information_schema$|projh_bg_|projh_bluegreen$)'
      AND marked.is_phi)
ORDER BY n.nspname, c.relname, a.attnum
