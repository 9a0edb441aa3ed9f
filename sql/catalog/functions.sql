-- Follows bound.sql. The functions with an SQL body that only reads what is in `bound`, without its row types in the
-- signature. $1: the table's oid.
select coalesce(jsonb_agg(to_jsonb(x) - 'oid' order by x.name, x.arguments), '[]') from (
  select d.*,
    (select coalesce(jsonb_agg(e.extname order by e.extname), '[]')
     from pg_depend v join pg_extension e on e.oid = v.refobjid
     where v.classid = 'pg_proc'::regclass and v.objid = d.oid
       and v.refclassid = 'pg_extension'::regclass and v.deptype = 'x') as extensions,
    exists (select from pg_depend e
            join pg_constraint k on e.refclassid = 'pg_constraint'::regclass and k.oid = e.refobjid and k.conrelid = $1
            where e.classid = 'pg_proc'::regclass and e.objid = d.oid) as needs_key
  from carried c join described d on d.oid = c.oid
) x
