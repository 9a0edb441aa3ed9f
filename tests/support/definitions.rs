//! All definitions of a database as text that can be compared.

use super::Cluster;

/// What pg_dump writes; for servers that Debian's pg_dump cannot read, what their catalog prints.
const CATALOG: &str = "set search_path = pg_catalog; select string_agg(x, E'\\n' order by x collate \"C\") from (
  with own as (select oid, nspname from pg_namespace where nspname !~ '^(pg_|information_schema$|projh_)')
  select concat_ws(' ', pg_get_functiondef(p.oid), p.proowner::regrole, (select string_agg(a::text, ',' order by a::text) from unnest(coalesce(p.proacl, acldefault('f', p.proowner))) a),
    obj_description(p.oid, 'pg_proc')) from pg_proc p join own on own.oid = p.pronamespace where p.prokind <> 'a'
  union all select concat_ws(' ', 'relation', c.oid::regclass, c.relkind, c.relowner::regrole, (select string_agg(a::text, ',' order by a::text) from unnest(coalesce(c.relacl, acldefault('r', c.relowner))) a),
    c.reloptions, c.relrowsecurity, pg_get_viewdef(c.oid), pg_get_expr(c.relpartbound, c.oid))
    from pg_class c join own on own.oid = c.relnamespace where c.relkind in ('r', 'p', 'v', 'm', 'S')
  union all select concat_ws(' ', 'column', c.oid::regclass, a.attname, a.atttypid::regtype, a.attnotnull, a.attidentity, pg_get_expr(d.adbin, d.adrelid),
    a.attstorage, a.attcompression, a.attstattarget, a.attoptions, (select string_agg(x::text, ',' order by x::text) from unnest(a.attacl) x))
    from pg_class c join own on own.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum where c.relkind in ('r', 'p', 'v', 'm')
  union all select concat_ws(' ', k.conrelid::regclass, k.conname, k.convalidated, pg_get_constraintdef(k.oid), obj_description(k.oid, 'pg_constraint'))
    from pg_constraint k join own on own.oid = k.connamespace where k.contype <> 't'
  union all select pg_get_indexdef(i.indexrelid) from pg_index i join pg_class c on c.oid = i.indrelid join own on own.oid = c.relnamespace
  union all select concat_ws(' ', p.polname, p.polrelid::regclass, p.polcmd, p.polpermissive, p.polroles::regrole[], pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
    from pg_policy p join pg_class c on c.oid = p.polrelid join own on own.oid = c.relnamespace
  union all select concat_ws(' ', pg_get_ruledef(r.oid), r.ev_enabled) from pg_rewrite r join pg_class c on c.oid = r.ev_class join own on own.oid = c.relnamespace
    where r.rulename <> '_RETURN'
  union all select concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled) from pg_trigger t join pg_class c on c.oid = t.tgrelid join own on own.oid = c.relnamespace
    where not t.tgisinternal
  union all select concat_ws(' ', 'comment on', pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description)
    from pg_description d where d.objoid >= 16384 and pg_describe_object(d.classoid, d.objoid, d.objsubid) !~ 'projh_') s(x)";

/// Without what a run itself has.
pub fn definitions(cluster: &Cluster, db: &str) -> String {
    let version: u32 = cluster.psql(db, "show server_version_num").trim().parse().unwrap();
    if version >= 160_000 {
        return cluster.psql(db, CATALOG);
    }
    let lines = cluster.pg_dump(db, &["--schema-only", "--exclude-schema=projh_*"]);
    let is_ours = |line: &str| line.contains("projh_bg_") || line.contains("restrict ");
    let is_kept = |line: &&str| !is_ours(line) && !line.is_empty() && !line.starts_with("--");
    lines.lines().filter(is_kept).map(|line| format!("{line}\n")).collect()
}
