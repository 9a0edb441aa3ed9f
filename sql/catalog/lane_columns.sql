-- The columns of a table in the order of its row type. Read by lane.
select c.oid as relation,
       c.reltype as row_type,
       a.attname::text as name,
       a.atttypid as type_oid,
       a.attgenerated <> '' as generated,
       format_type(a.atttypid, null) as type_name
from pg_class c
join pg_attribute a on a.attrelid = c.oid
where c.oid = to_regclass($1)
  and a.attnum > 0
  and not a.attisdropped
order by a.attnum
