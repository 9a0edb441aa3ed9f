-- The publications of others that have a table, by its name or by its schema. $1: the table's oid. Columns that not every
-- server version has are read as JSON.
with schemas as (
  -- From version 15 on; its entries depend on their publication and their schema.
  select o.refobjid as publication, d.refobjid as schema
  from pg_depend o join pg_depend d on d.classid = o.classid and d.objid = o.objid and d.refclassid = 'pg_namespace'::regclass
  where o.refclassid = 'pg_publication'::regclass and o.classid = to_regclass('pg_catalog.pg_publication_namespace')
)
select coalesce(jsonb_agg(to_jsonb(x) order by x.name), '[]') from (
  select p.pubname as name, r.oid is null as by_schema, p.pubviaroot as via_root,
    p.pubupdate or p.pubdelete as has_old_rows,
    case when to_jsonb(r)->>'prattrs' is not null then (
      select jsonb_agg(a.attname order by u.place)
      from unnest(string_to_array(btrim(regexp_replace(to_jsonb(r)->>'prattrs', '[^0-9]+', ' ', 'g')), ' ')::int2[])
        with ordinality u(attnum, place)
      join pg_attribute a on a.attrelid = c.oid and a.attnum = u.attnum) end as columns,
    case when to_jsonb(r)->>'prqual' is not null then (
      select to_jsonb(t)->>'rowfilter' from pg_publication_tables t
      where t.pubname = p.pubname and t.schemaname = n.nspname and t.tablename = c.relname) end as filter,
    exists (select from pg_publication_rel o join pg_class other on other.oid = o.prrelid
            where o.prpubid = p.oid and other.oid <> c.oid and other.relkind = 'p')
      or exists (select from schemas s join pg_class other on other.relnamespace = s.schema
                 where s.publication = p.oid and other.oid <> c.oid and other.relkind = 'p') as has_partitioned
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  join pg_publication p on not p.puballtables and p.pubname !~ '^projh_bg_'
  left join pg_publication_rel r on r.prpubid = p.oid and r.prrelid = c.oid
  where c.oid = $1
    and (r.oid is not null or exists (select from schemas s where s.publication = p.oid and s.schema = c.relnamespace))
) x
