-- Roles that have privileges on columns of the table which do not reach for a view of it that reads and writes with their rights:
-- the role, and those privileges. $1: the table's oid; $2: the columns that the view reads; $3: whether a trigger writes all columns.
-- What a role has as a member of others counts.
WITH granted AS (
  SELECT DISTINCT CASE e.grantee WHEN 0 THEN 'public' ELSE pg_get_userbyid(e.grantee) END AS name, e.privilege_type AS privilege
  FROM pg_attribute a CROSS JOIN LATERAL aclexplode(a.attacl) e
  WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND e.privilege_type IN ('SELECT', 'INSERT', 'UPDATE')
)
SELECT CASE name WHEN 'public' THEN 'PUBLIC' ELSE quote_ident(name) END AS role, string_agg(privilege, ', ' ORDER BY privilege) AS privileges
FROM granted
WHERE CASE privilege
  WHEN 'SELECT' THEN EXISTS (
    SELECT FROM pg_attribute a WHERE a.attrelid = $1 AND a.attnum > 0 AND a.attname = ANY ($2)
      AND NOT has_column_privilege(name, $1, a.attnum, 'SELECT'))
  ELSE $3 AND NOT has_table_privilege(name, $1, privilege) END
GROUP BY name ORDER BY 1
