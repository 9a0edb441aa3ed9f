-- The columns that a table's unique indexes are made of, with those of their expressions and
-- predicates; not those of its primary key. Read by lane.
select distinct a.attname::text as name
from pg_index i
join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
  and d.refclassid = 'pg_class'::regclass and d.refobjid = i.indrelid and d.refobjsubid > 0
join pg_attribute a on a.attrelid = i.indrelid and a.attnum = d.refobjsubid
where i.indrelid = to_regclass($1)
  and i.indisunique
  and not i.indisprimary
union
-- The columns of a constraint: its index depends on the constraint alone.
select a.attname::text
from pg_index i
join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey::int2[])
where i.indrelid = to_regclass($1)
  and i.indisunique
  and not i.indisprimary
