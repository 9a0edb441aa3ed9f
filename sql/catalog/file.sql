-- A number for the files of a table: the filenode of a plain one, a hash of those of its partitions for a partitioned one.
-- It changes when the table is rewritten, and when partitions are added or removed; 0 without a file. Read by lane::copy.
select coalesce(
  pg_relation_filenode(to_regclass($1)),
  (select (hashtextextended(string_agg(pg_relation_filenode(t.relid)::text, ' ' order by t.relid::oid), 0)
           & 4294967295)::oid
   from pg_partition_tree(to_regclass($1)) t
   where t.isleaf),
  0::oid)
