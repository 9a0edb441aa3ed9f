-- Whether a cast between two types reads settings of the session: TimeZone, DateStyle, IntervalStyle, lc_monetary,
-- search_path and so on. $1, $2: the types, as SQL text. What the catalog does not say: the output of bytea and of
-- floating-point types depends on settings too, although it is marked immutable.
WITH RECURSIVE part (side, oid) AS (
    SELECT side, to_regtype(name)::oid FROM (VALUES (1, $1::text), (2, $2::text)) AS given (side, name)
    UNION
    SELECT part.side, inner_type.oid
    FROM part
    JOIN pg_type AS t ON t.oid = part.oid
    CROSS JOIN LATERAL (
        SELECT t.typbasetype WHERE t.typtype = 'd'
        UNION ALL
        SELECT t.typelem WHERE t.typcategory = 'A' AND t.typelem <> 0
        UNION ALL
        SELECT r.rngsubtype FROM pg_range AS r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
        UNION ALL
        SELECT a.atttypid FROM pg_attribute AS a
        WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
    ) AS inner_type (oid)
),
cast_function AS (
    SELECT p.provolatile
    FROM pg_cast AS c
    JOIN part AS f ON f.side = 1 AND f.oid = c.castsource
    JOIN part AS t ON t.side = 2 AND t.oid = c.casttarget
    LEFT JOIN pg_proc AS p ON p.oid = c.castfunc
    WHERE c.castmethod <> 'i'
),
leaf AS (
    SELECT part.side, t.oid, i.provolatile AS reads, o.provolatile AS writes
    FROM part
    JOIN pg_type AS t ON t.oid = part.oid AND t.typtype = 'b' AND t.typcategory <> 'A'
    JOIN pg_proc AS i ON i.oid = t.typinput
    JOIN pg_proc AS o ON o.oid = t.typoutput
)
SELECT EXISTS (SELECT FROM cast_function WHERE provolatile <> 'i')
    OR NOT EXISTS (SELECT FROM cast_function)
       AND NOT EXISTS (SELECT FROM leaf AS f JOIN leaf AS t ON t.oid = f.oid WHERE f.side = 1 AND t.side = 2)
       AND EXISTS (
           SELECT FROM leaf
           WHERE side = 2 AND reads <> 'i' OR side = 1 AND writes <> 'i'
              OR side = 1 AND oid IN ('bytea'::regtype, 'real'::regtype, 'double precision'::regtype)
       )
