-- Follows bound.sql. The defaults of other relations, views among them, that are bound to a table or to what belongs to
-- it: the sequence of an identity column, mostly, or a function with its row type. $1: the table's oid.
select coalesce(jsonb_agg(to_jsonb(x) order by x.on, x.column), '[]') from (
  select a.attname as column,
    jsonb_build_object('schema', n.nspname, 'name', c.relname) as "on",
    c.relkind = 'v' as is_view,
    pg_get_userbyid(c.relowner) as owner,
    pg_get_expr(f.adbin, 0) as default,
    -- The identity columns whose sequences it uses.
    (select coalesce(jsonb_agg(distinct i.attname), '[]')
     from pg_depend d
     join pg_depend s on s.classid = 'pg_class'::regclass and s.objid = d.refobjid and s.refclassid = 'pg_class'::regclass
       and s.refobjid = $1 and s.deptype = 'i'
     join pg_attribute i on i.attrelid = $1 and i.attnum = s.refobjsubid
     where d.classid = 'pg_attrdef'::regclass and d.objid = f.oid and d.refclassid = 'pg_class'::regclass) as of_columns
  from pg_attrdef f
  join pg_attribute a on a.attrelid = f.adrelid and a.attnum = f.adnum and a.attgenerated = ''
  join pg_class c on c.oid = f.adrelid and c.oid <> $1 and c.relpersistence <> 't'
  join pg_namespace n on n.oid = c.relnamespace and not starts_with(n.nspname, 'projh_bg_')
  where c.oid not in (select relid from pg_partition_tree($1::oid::regclass))
    and exists (select from bound b join pg_depend d on d.refclassid = b.classid and d.refobjid = b.objid
      where d.classid = 'pg_attrdef'::regclass and d.objid = f.oid)
) x
