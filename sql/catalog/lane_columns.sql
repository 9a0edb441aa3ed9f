-- The columns of a table in the order of its row type. Read by lane.
-- `base_oid` is the base type of a domain. `equals` is the operator that a unique index over the column uses,
-- qualified: that of the type's default operator class, in whatever schema an extension has put it. A type without a
-- class of its own (varchar, arrays, enums, ranges) uses one of pg_catalog.
with recursive cols as (
  select c.oid as relation, c.reltype as row_type, c.relkind = 'p' as is_partitioned, a.*
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid
  where c.oid = to_regclass($1) and a.attnum > 0 and not a.attisdropped
),
base(attnum, oid) as (
  select attnum, atttypid from cols
  union all
  select b.attnum, t.typbasetype from base b join pg_type t on t.oid = b.oid where t.typtype = 'd'
)
select a.relation,
       a.row_type,
       a.is_partitioned,
       a.attname::text as name,
       convert_to(a.attname::text, getdatabaseencoding()) as stored_name,
       a.atttypid as type_oid,
       b.oid as base_oid,
       a.attgenerated <> '' as generated,
       format_type(b.oid, -1) as base_type,
       -- Without a modifier: -1, because null would give `character` and `bit` of length one.
       format_type(a.atttypid, -1) as type_name,
       coalesce(
         (select format('OPERATOR(%I.%s)', n.nspname, o.oprname)
          from pg_opclass k
          join pg_am m on m.oid = k.opcmethod and m.amname = 'btree'
          join pg_amop p on p.amopfamily = k.opcfamily and p.amopstrategy = 3
            and p.amoplefttype = k.opcintype and p.amoprighttype = k.opcintype
          join pg_operator o on o.oid = p.amopopr
          join pg_namespace n on n.oid = o.oprnamespace
          where k.opcdefault and k.opcintype = b.oid),
         'OPERATOR(pg_catalog.=)') as equals
from cols a
join base b on b.attnum = a.attnum
join pg_type t on t.oid = b.oid and t.typtype <> 'd'
order by a.attnum
