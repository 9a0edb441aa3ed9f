-- What stands for the files of a table: that of a plain one, and of a partitioned one a hash of its partitions'. Another
-- number after a rewrite, and where partitions come or go; 0 where there is none. Read by lane::copy.
select coalesce(
  pg_relation_filenode(to_regclass($1)),
  (select (hashtextextended(string_agg(pg_relation_filenode(t.relid)::text, ' ' order by t.relid::oid), 0)
           & 4294967295)::oid
   from pg_partition_tree(to_regclass($1)) t
   where t.isleaf),
  0::oid)
