-- What holds or shows the plaintext of some columns ($2) of a table ($1), besides the table: kind, and object.
WITH rel AS (
  SELECT $1::oid AS oid UNION SELECT relid::oid FROM pg_catalog.pg_partition_tree($1::oid::pg_catalog.regclass)
), col AS (
  SELECT a.attrelid, a.attnum, a.attname, n.nspname, c.relname
  FROM rel
  JOIN pg_catalog.pg_class c ON c.oid = rel.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid = rel.oid
  WHERE a.attname = ANY ($2::text[]) AND NOT a.attisdropped
)
SELECT 'index', i.indexrelid::pg_catalog.regclass::text
FROM col JOIN pg_catalog.pg_index i ON i.indrelid = col.attrelid
WHERE EXISTS (SELECT FROM pg_catalog.pg_depend d
  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.indexrelid
    AND d.refobjid = col.attrelid AND d.refobjsubid = col.attnum)
UNION
SELECT CASE v.relkind WHEN 'm' THEN 'materialized_view' ELSE 'view' END, v.oid::pg_catalog.regclass::text
FROM col
JOIN pg_catalog.pg_depend d ON d.refobjid = col.attrelid AND d.refobjsubid = col.attnum
  AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.oid <> col.attrelid
UNION
SELECT 'statistics', pg_catalog.format('%s.%s.%s', s.schemaname, s.tablename, s.attname)
FROM col JOIN pg_catalog.pg_stats s ON (s.schemaname, s.tablename, s.attname) = (col.nspname, col.relname, col.attname)
WHERE s.most_common_vals IS NOT NULL OR s.histogram_bounds IS NOT NULL
UNION
SELECT 'statistics', pg_catalog.format('%s.%s', e.stxnamespace::pg_catalog.regnamespace, e.stxname)
FROM col JOIN pg_catalog.pg_statistic_ext e ON e.stxrelid = col.attrelid AND col.attnum = ANY (e.stxkeys)
UNION
SELECT 'trigger', pg_catalog.format('%s on %s', t.tgname, t.tgrelid::pg_catalog.regclass)
FROM col JOIN pg_catalog.pg_trigger t ON t.tgrelid = col.attrelid
WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgname !~ '^projh_bg' AND t.tgenabled <> 'D'
UNION
SELECT 'publication', p.pubname::text
FROM col JOIN pg_catalog.pg_publication_tables p ON (p.schemaname, p.tablename) = (col.nspname, col.relname)
WHERE p.pubname !~ '^projh_bg_' AND coalesce(pg_catalog.to_jsonb(p) -> 'attnames' ? col.attname::text, true)
ORDER BY 1, 2
