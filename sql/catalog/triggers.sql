-- The triggers that users have made on a table. $1: the table's oid. A function's text is read without its comments, but
-- not parsed.
select coalesce(jsonb_agg(to_jsonb(x) order by x.name), '[]') from (
  select g.tgname as name,
    pg_get_triggerdef(g.oid) as definition,
    case g.tgenabled when 'O' then 'origin' when 'D' then 'disabled' when 'R' then 'replica' else 'always' end as enabled,
    g.tgtype & 1 <> 0 as for_each_row,
    g.tgtype & 2 <> 0 as before,
    array_remove(array[
      case when g.tgtype & 4 <> 0 then 'INSERT' end, case when g.tgtype & 8 <> 0 then 'DELETE' end,
      case when g.tgtype & 16 <> 0 then 'UPDATE' end, case when g.tgtype & 32 <> 0 then 'TRUNCATE' end], null) as events,
    g.tgoldtable is not null or g.tgnewtable is not null as transition_tables,
    g.tgdeferrable as deferrable,
    (select coalesce(jsonb_agg(distinct a.attname), '[]')
     from pg_depend d join pg_attribute a on a.attrelid = g.tgrelid and a.attnum = d.refobjsubid
     where d.classid = 'pg_trigger'::regclass and d.objid = g.oid
       and d.refclassid = 'pg_class'::regclass and d.refobjid = g.tgrelid and d.refobjsubid > 0) as columns,
    jsonb_build_object('schema', n.nspname, 'name', p.proname) as function,
    (select coalesce(jsonb_agg(a.attname order by a.attnum), '[]') from pg_attribute a
     where a.attrelid = g.tgrelid and a.attnum > 0 and not a.attisdropped
       and position('\x00'::bytea || convert_to(a.attname::text, getdatabaseencoding()) || '\x00'::bytea
         in '\x00'::bytea || g.tgargs) > 0) as arguments,
    (select coalesce(jsonb_agg(a.attname order by a.attnum), '[]') from pg_attribute a
     where a.attrelid = g.tgrelid and a.attnum > 0 and not a.attisdropped and l.lanname = 'plpgsql'
       and a.attname::text in (
         select case when m[1] like '"%' then replace(trim('"' from m[1]), '""', '"') else lower(m[1]) end
         from regexp_matches(body, '\m(?:new|old)\s*\.\s*("(?:[^"]|"")+"|[[:alpha:]_][[:alnum:]_$]*)', 'gi') m)) as reads,
    (select coalesce(jsonb_agg(distinct upper(m[1])), '[]') from regexp_matches(body,
       case when l.lanname ~ '^pl(perl|python)' then '\m(table_name|relname|table_schema|relid)\M'
         else '\m(tg_table_name|tg_relname|tg_table_schema|tg_relid)\M' end, 'gi') m) as names_of_table,
    (select coalesce(jsonb_agg(e.extname order by e.extname), '[]')
     from pg_depend d join pg_extension e on e.oid = d.refobjid
     where d.classid = 'pg_trigger'::regclass and d.objid = g.oid
       and d.refclassid = 'pg_extension'::regclass and d.deptype = 'x') as extensions,
    obj_description(g.oid, 'pg_trigger') as comment,
    obj_description(nullif(g.tgconstraint, 0), 'pg_constraint') as constraint_comment,
    (select k.conname from pg_constraint k where k.oid = nullif(g.tgconstraint, 0) and k.conname <> g.tgname) as constraint_name
  from pg_trigger g
  join pg_proc p on p.oid = g.tgfoid
  join pg_namespace n on n.oid = p.pronamespace
  join pg_language l on l.oid = p.prolang,
  lateral (select regexp_replace(regexp_replace(p.prosrc, '/\*.*?\*/', ' ', 'g'), '--[^\n]*', '', 'g') as body) b
  where g.tgrelid = $1 and not g.tgisinternal
) x
