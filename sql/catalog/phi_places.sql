-- What holds or shows the plaintext of some columns ($2) of a table ($1), besides the table: kind, and object.
WITH RECURSIVE rel AS (
  SELECT $1::oid AS oid UNION SELECT relid::oid FROM pg_catalog.pg_partition_tree($1::oid::pg_catalog.regclass)
), col AS (
  SELECT a.attrelid, a.attnum, a.attname, n.nspname, c.relname
  FROM rel
  JOIN pg_catalog.pg_class c ON c.oid = rel.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid = rel.oid
  WHERE a.attname = ANY ($2::text[]) AND NOT a.attisdropped
), idx AS (
  -- One of a constraint has no dependencies on its columns, one over expressions has no others.
  SELECT DISTINCT i.indexrelid, i.indkey
  FROM col JOIN pg_catalog.pg_index i ON i.indrelid = col.attrelid
  WHERE col.attnum = ANY (i.indkey) OR EXISTS (SELECT FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.indexrelid
      AND d.refobjid = col.attrelid AND d.refobjsubid = col.attnum)
), rule AS (
  -- Of rules, also those of views: they depend on columns, or on a whole row, and what reads a view may read any of its columns.
  SELECT r.oid, r.ev_class, r.rulename
  FROM col
  JOIN pg_catalog.pg_depend d ON d.refobjid = col.attrelid AND d.refobjsubid IN (0, col.attnum)
    AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
  JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid AND (r.ev_class <> col.attrelid OR d.refobjsubid <> 0)
  UNION
  SELECT r.oid, r.ev_class, r.rulename
  FROM rule
  JOIN pg_catalog.pg_class v ON v.oid = rule.ev_class AND v.relkind IN ('v', 'm')
  JOIN pg_catalog.pg_depend d ON d.refobjid = v.oid AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
  JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid AND r.ev_class <> v.oid
)
SELECT 'index', idx.indexrelid::pg_catalog.regclass::text FROM idx
UNION
SELECT CASE v.relkind WHEN 'm' THEN 'materialized_view' WHEN 'v' THEN 'view' ELSE 'trigger' END,
  CASE WHEN v.relkind NOT IN ('v', 'm') THEN pg_catalog.format('rule %s on ', rule.rulename) ELSE '' END
    || v.oid::pg_catalog.regclass::text
FROM rule JOIN pg_catalog.pg_class v ON v.oid = rule.ev_class
UNION
SELECT 'statistics', pg_catalog.format('%s.%s.%s', s.schemaname, s.tablename, s.attname)
FROM col JOIN pg_catalog.pg_stats s ON (s.schemaname, s.tablename, s.attname) = (col.nspname, col.relname, col.attname)
WHERE s.most_common_vals IS NOT NULL OR s.histogram_bounds IS NOT NULL
UNION
-- Whoever may not read the statistics of an index does not see whether there are any: without a target of 0, there may be.
SELECT 'statistics', pg_catalog.format('%s.%s', idx.indexrelid::pg_catalog.regclass, a.attname)
FROM idx
JOIN pg_catalog.pg_attribute a ON a.attrelid = idx.indexrelid AND idx.indkey[a.attnum - 1] = 0
JOIN pg_catalog.pg_class c ON c.oid = idx.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE a.attstattarget IS DISTINCT FROM 0 AND NOT pg_catalog.has_column_privilege(c.oid, a.attnum, 'select')
  OR EXISTS (SELECT FROM pg_catalog.pg_stats s
    WHERE (s.schemaname, s.tablename, s.attname) = (n.nspname, c.relname, a.attname)
      AND (s.most_common_vals IS NOT NULL OR s.histogram_bounds IS NOT NULL))
UNION
-- Those of several columns have values if they are lists of the most common ones, or of expressions.
SELECT 'statistics', pg_catalog.format('%s.%s', e.stxnamespace::pg_catalog.regnamespace, e.stxname)
FROM col
JOIN pg_catalog.pg_depend d ON d.refobjid = col.attrelid AND d.refobjsubid = col.attnum
  AND d.classid = 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass
JOIN pg_catalog.pg_statistic_ext e ON e.oid = d.objid
JOIN pg_catalog.pg_namespace n ON n.oid = e.stxnamespace
WHERE e.stxkind && '{m,e}'::"char"[]
  AND (e.stxstattarget IS DISTINCT FROM 0
    OR EXISTS (SELECT FROM pg_catalog.pg_stats_ext s
      WHERE (s.statistics_schemaname, s.statistics_name) = (n.nspname, e.stxname)
        AND s.most_common_vals IS NOT NULL)
    OR EXISTS (SELECT FROM pg_catalog.pg_stats_ext_exprs s
      WHERE (s.statistics_schemaname, s.statistics_name) = (n.nspname, e.stxname)
        AND (s.most_common_vals IS NOT NULL OR s.histogram_bounds IS NOT NULL)))
UNION
SELECT 'trigger', pg_catalog.format('%s on %s', t.tgname, t.tgrelid::pg_catalog.regclass)
FROM col JOIN pg_catalog.pg_trigger t ON t.tgrelid = col.attrelid
WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgname !~ '^projh_bg' AND t.tgenabled <> 'D'
UNION
SELECT 'publication', p.pubname::text
FROM col JOIN pg_catalog.pg_publication_tables p ON (p.schemaname, p.tablename) = (col.nspname, col.relname)
WHERE p.pubname !~ '^projh_bg_' AND coalesce(pg_catalog.to_jsonb(p) -> 'attnames' ? col.attname::text, true)
ORDER BY 1, 2
