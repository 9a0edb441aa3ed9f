-- The type with a length that a domain is made of, directly or through other domains and arrays; $1 is the name of a type. A
-- cast to such a domain is explicit, and truncates what is too long.
WITH RECURSIVE of AS (
  SELECT t.typtype, t.typbasetype, t.typtypmod, t.typcategory, t.typelem FROM pg_type t WHERE t.oid = to_regtype($1)
  UNION ALL
  SELECT t.typtype, t.typbasetype, t.typtypmod, t.typcategory, t.typelem FROM pg_type t
  JOIN of ON t.oid = CASE WHEN of.typtype = 'd' THEN of.typbasetype WHEN of.typcategory = 'A' THEN of.typelem END
)
SELECT format_type(typbasetype, typtypmod) FROM of
WHERE typtype = 'd' AND typtypmod >= 0
  AND typbasetype = ANY ('{"character varying",character,bit,"bit varying","character varying[]","character[]","bit[]","bit varying[]"}'::regtype[])
