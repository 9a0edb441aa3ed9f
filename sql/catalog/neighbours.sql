-- Tables that other runs migrate, and that a foreign key of a table references, or that reference it. $1: the table's name;
-- $2: the names of the plan's tables, which have runs of their own only if one is under way.
with own as (select to_regclass($1)::oid as relid union select relid from pg_partition_tree(to_regclass($1))),
keys as (
  select k.conname, k.confrelid as relid from own join pg_constraint k on k.conrelid = own.relid and k.contype = 'f'
  union all
  select k.conname, k.conrelid from own join pg_constraint k on k.confrelid = own.relid and k.contype = 'f'
)
select distinct n.nspname::text, c.relname::text, k.conname::text, p.pubname::text
from keys k
join pg_class at on at.oid = coalesce(pg_partition_root(k.relid), k.relid)
-- The table itself instead of its table of keys, which a trigger of it maintains.
left join pg_trigger g on g.tgname = '!' || at.relname || '_delete' and g.tgparentid = 0
join pg_class c on c.oid = coalesce(g.tgrelid, at.oid)
join pg_namespace n on n.oid = c.relnamespace
cross join lateral (select c.oid as relid union select relid from pg_partition_tree(c.oid::regclass)) t
join pg_publication_rel r on r.prrelid = t.relid
join pg_publication p on p.oid = r.prpubid and p.pubname ~ '^projh_bg_'
where c.oid <> all (select to_regclass(name)::oid from unnest($2::text[]) name where to_regclass(name) is not null)
  and not starts_with(n.nspname, 'projh_bg_')
order by 1, 2, 3, 4
