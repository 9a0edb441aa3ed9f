-- Default privileges open nothing of the journal: it has the secrets of key digests, and whoever may write to it may ask for anything.
do $sealed$
declare
  others text := (
    select string_agg(distinct pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)), ', ')
    from pg_catalog.pg_default_acl d, pg_catalog.aclexplode(d.defaclacl) a
    where a.grantee <> 0 and a.grantee <> (select n.nspowner from pg_catalog.pg_namespace n where n.nspname = 'projh_bluegreen')
  );
begin
  others := pg_catalog.concat_ws(', ', 'public', others);
  execute pg_catalog.format('revoke all on schema projh_bluegreen from %s cascade', others);
  execute pg_catalog.format('revoke all on all tables in schema projh_bluegreen from %s cascade', others);
  execute pg_catalog.format('revoke all on all sequences in schema projh_bluegreen from %s cascade', others);
end
$sealed$;
