-- A table's indexes, including those of its constraints. $1: the table's oid.
-- `body` is the definition after `ON schema.table `, without WHERE; null if the text is not as expected.
select coalesce(jsonb_agg(to_jsonb(x) order by x.name), '[]') from (
  select c.relname as name,
    i.indisunique as unique,
    i.indisprimary as primary,
    i.indimmediate as immediate,
    i.indisexclusion as exclusion,
    i.indisvalid and i.indisready and i.indislive as valid,
    i.indisclustered as clustered,
    i.indexprs is not null as has_expressions,
    (select coalesce(jsonb_agg(a.attname order by u.place), '[]')
     from unnest(i.indkey::int2[]) with ordinality u(attnum, place)
     left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = u.attnum
     where u.place <= i.indnkeyatts) as keys,
    (select coalesce(jsonb_agg(a.attname order by u.place), '[]')
     from unnest(i.indkey::int2[]) with ordinality u(attnum, place)
     join pg_attribute a on a.attrelid = i.indrelid and a.attnum = u.attnum
     where u.place > i.indnkeyatts) as included,
    (select coalesce(jsonb_agg(a.attname order by a.attnum), '[]')
     from pg_attribute a
     where a.attrelid = i.indrelid and a.attnum > 0 and (a.attnum = any (i.indkey::int2[]) or exists (
       select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
         and d.refclassid = 'pg_class'::regclass and d.refobjid = i.indrelid and d.refobjsubid = a.attnum))
    ) as columns,
    case when starts_with(f.def, f.head) then
      case when f.tail is null then substr(f.def, length(f.head) + 1)
           when right(f.def, length(f.tail)) = f.tail
           then substr(f.def, length(f.head) + 1, length(f.def) - length(f.head) - length(f.tail)) end
    end as body,
    pg_get_expr(i.indpred, i.indrelid) as predicate,
    coalesce(to_jsonb(c.reloptions), '[]') as options,
    s.spcname as tablespace,
    obj_description(c.oid, 'pg_class') as comment,
    (select coalesce(jsonb_agg(jsonb_build_object('column', a.attnum, 'target', a.attstattarget) order by a.attnum), '[]')
     from pg_attribute a where a.attrelid = i.indexrelid and a.attstattarget >= 0) as statistics_targets,
    (select coalesce(jsonb_agg(e.extname order by e.extname), '[]')
     from pg_depend d join pg_extension e on e.oid = d.refobjid
     where d.classid = 'pg_class'::regclass and d.objid = c.oid
       and d.refclassid = 'pg_extension'::regclass and d.deptype = 'x') as extensions,
    case when k.oid is not null then jsonb_build_object(
      'name', k.conname,
      'definition', pg_get_constraintdef(k.oid),
      'deferrable', k.condeferrable,
      'comment', obj_description(k.oid, 'pg_constraint')) end as constraint
  from pg_index i
  join pg_class c on c.oid = i.indexrelid
  join pg_class r on r.oid = i.indrelid
  join pg_namespace n on n.oid = r.relnamespace
  left join pg_tablespace s on s.oid = c.reltablespace
  left join pg_constraint k on k.conindid = i.indexrelid and k.conrelid = i.indrelid and k.contype in ('p', 'u', 'x')
  cross join lateral (
    select pg_get_indexdef(i.indexrelid) as def,
      format('CREATE %sINDEX %I ON %s%I.%I ', case when i.indisunique then 'UNIQUE ' end, c.relname,
        case when r.relkind = 'p' then 'ONLY ' end, n.nspname, r.relname) as head,
      ' WHERE ' || pg_get_expr(i.indpred, i.indrelid) as tail) f
  where i.indrelid = $1
) x
