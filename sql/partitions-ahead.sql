-- projh_partitions_ahead: creates the partitions of a table that are missing ahead of time, by itself, without
-- projh-bluegreen: for pg_cron, or any other scheduler.
--
--   select cron.schedule('partitions ahead', '17 3 * * *',
--     $$select projh_partitions_ahead('app.visits', '1 month', 3)$$);
--
-- `every` and `named` as the plan has them: a length of time, and to_char's pattern for what follows the table's name
-- (month: _pYYYY_MM, day: _pYYYY_MM_DD, quarter: _pYYYY_"q"Q, year: _pYYYY). Ranges begin at midnight in `zone`.
-- It returns the names of the partitions that it created. Each gets the owner, the row security, the privileges and the
-- storage parameters of the partition before it; indexes, constraints and triggers come from the table.
--
-- It takes SHARE UPDATE EXCLUSIVE on the table, and waits for no lock longer than 300 ms. A range that the default
-- partition has rows of is left out with a warning: `projh-bluegreen partitions` moves these. So is one for which the
-- default partition would have to be scanned, if it is larger than 8 MB.
create or replace function projh_partitions_ahead(
  parent regclass, every interval, ahead int default 3, named text default '_pYYYY_MM', zone text default 'UTC')
returns setof text language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '300ms' as $$
declare
  of pg_class; sibling pg_class; rest regclass; key text; first timestamp; lower text; upper text;
  made text; found bigint; g record;
begin
  select c.* into of from pg_class c where c.oid = parent;
  select substring(pg_get_partkeydef(parent) from '^RANGE \((.*)\)$') into key;
  if key is null then raise exception '% is not partitioned by range', parent; end if;
  select nullif(partdefid, 0) into rest from pg_partitioned_table where partrelid = parent;
  -- One before the other ones, as long as they are months: of ranges of days, their own.
  first := case when every >= interval '1 year' then date_trunc('year', now() at time zone zone)
    when every >= interval '3 months' then date_trunc('quarter', now() at time zone zone)
    when every >= interval '1 month' then date_trunc('month', now() at time zone zone)
    when every = interval '7 days' then date_trunc('week', now() at time zone zone)
    else date_trunc('day', now() at time zone zone) end;
  for n in 0..ahead loop
    made := format('%I.%I', of.relnamespace::regnamespace, of.relname || to_char(first + n * every, named));
    continue when to_regclass(made) is not null;
    lower := to_char((first + n * every) at time zone zone, 'YYYY-MM-DD HH24:MI:SSOF');
    upper := to_char((first + (n + 1) * every) at time zone zone, 'YYYY-MM-DD HH24:MI:SSOF');
    if rest is not null then
      execute format('select count(*) from only %s where %s >= %L and %s < %L', rest, key, lower, key, upper) into found;
      if found > 0 or pg_relation_size(rest) > 8 * 1024 * 1024 then
        raise warning '% was not created: % has % rows of it, or is large', made, rest, found
          using hint = 'projh-bluegreen partitions PLAN creates it without blocking clients';
        continue;
      end if;
    end if;
    select c.* into sibling from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = parent and c.relkind = 'r' order by (c.oid = rest), pg_get_expr(c.relpartbound, c.oid) desc limit 1;
    execute format('create table %s (like %s including all excluding identity excluding comments excluding statistics)%s',
      made, parent, case when sibling.reloptions is not null then ' with (' || array_to_string(sibling.reloptions, ', ') || ')' end);
    execute format('alter table %s owner to %I', made, pg_get_userbyid(of.relowner));
    for g in select distinct case e.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(e.grantee)) end as role
      from pg_class c, aclexplode(c.relacl) e where c.oid = made::regclass and e.grantee <> c.relowner
    loop execute format('revoke all on %s from %s', made, g.role); end loop;
    for g in select case e.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(e.grantee)) end as role, e.privilege_type
      from aclexplode(sibling.relacl) e where e.grantee <> sibling.relowner
    loop execute format('grant %s on %s to %s', g.privilege_type, made, g.role); end loop;
    if coalesce(sibling.relrowsecurity, of.relrowsecurity) then
      execute format('alter table %s enable row level security', made);
    end if;
    if sibling.relreplident = 'f' then execute format('alter table %s replica identity full', made); end if;
    execute format('alter table %s attach partition %s for values from (%L) to (%L)', parent, made, lower, upper);
    return next made;
  end loop;
end $$;
