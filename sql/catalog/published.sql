-- Whether the stream carries every change of a table. $1: the table's oid; $2: the run's publication; $3: whether it has to
-- publish via the partition root.
-- `lacks`: why changes are missing from it. `version`: changes with every ALTER PUBLICATION, even one that was undone.
-- Columns that not every server version has are read from the row as JSON.
select jsonb_build_object(
  'version', concat_ws(' ', p.oid, p.xmin, r.oid, r.xmin),
  'replica_identity', jsonb_build_object(
    -- Of a partitioned table, that of its partitions counts.
    'kind', case coalesce(l.identity, c.relreplident::text) when 'd' then 'default' when 'f' then 'full' when 'n' then 'nothing' else 'index' end,
    'index', (select x.relname from pg_index i join pg_class x on x.oid = i.indexrelid
              where i.indrelid = c.oid and i.indisreplident)),
  'lacks', to_jsonb(array_remove(array[
    case when p.oid is null then format('publication %I is gone', $2::text) end,
    case when p.oid is not null and r.oid is null then format('publication %I does not list it', $2::text) end,
    case when not p.pubinsert then format('publication %I does not publish insert', $2::text) end,
    case when not p.pubupdate then format('publication %I does not publish update', $2::text) end,
    case when not p.pubdelete then format('publication %I does not publish delete', $2::text) end,
    case when not p.pubtruncate then format('publication %I does not publish truncate', $2::text) end,
    case when p.pubviaroot and not $3 then format('publication %I publishes via the partition root', $2::text) end,
    case when not p.pubviaroot and $3 then format('publication %I does not publish via the partition root', $2::text) end,
    case when coalesce(to_jsonb(p)->>'pubgencols', 'n') not in ('n', 'false')
      then format('publication %I publishes generated columns', $2::text) end,
    case when to_jsonb(r)->>'prqual' is not null then format('publication %I has a row filter for it', $2::text) end,
    case when to_jsonb(r)->>'prattrs' is not null then format('publication %I has a column list for it', $2::text) end
  ], null)))
from pg_class c
left join pg_publication p on p.pubname = $2::text
left join pg_publication_rel r on r.prpubid = p.oid and r.prrelid = c.oid
left join lateral (
  select case when count(distinct x.relreplident) > 1 then 'n' else min(x.relreplident::text) end as identity
  from pg_partition_tree(c.oid) t join pg_class x on x.oid = t.relid where t.isleaf and c.relkind = 'p') l on true
where c.oid = $1
