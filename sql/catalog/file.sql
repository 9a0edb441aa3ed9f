-- A number for the files of a table: the filenode of a plain one, a hash of those of its partitions for a partitioned one.
-- It changes when the table is rewritten, and when partitions are added or removed, even if they are the same again: what
-- was written to a partition while it was detached is not in the stream. 0 without a file. Read by lane::copy.
select coalesce(
  pg_relation_filenode(to_regclass($1)),
  (select (hashtextextended(string_agg(concat_ws(' ', pg_relation_filenode(t.relid), i.xmin), ' ' order by t.relid::oid), 0)
           & 4294967295)::oid
   from pg_partition_tree(to_regclass($1)) t
   join pg_inherits i on i.inhrelid = t.relid),
  0::oid)
