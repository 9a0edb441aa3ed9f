-- Encrypted values in SQL, in the format `pgp` of docs/phi-format.md: what encrypt_phi writes the program reads, and what
-- the program writes decrypt_phi reads. A step of plans/project-h/patients.yaml; phi.down.sql undoes it. It can be
-- executed again at any time. It needs a role that may create roles and the extension pgcrypto.
--
--   encrypt_phi(text, key_id uuid) returns bytea
--   decrypt_phi(bytea, key_id uuid) returns text    the key that the value names counts; key_id is for those that name none
--   phi_blind_index(text, key_id uuid) returns bytea  for equality look-ups: where ssn_blind_index = phi_blind_index($1, $2)
--   phi_tag(text, key_id uuid, table text, column text, key text, ...) returns bytea  whether a value is its row's:
--     where ssn_tag <> phi_tag(decrypt_phi(ssn), $1, 'public.patients', 'ssn', id::text)
--   get_encryption_key(key_id uuid) returns text    for a plan's `provider: {function: get_encryption_key}`
--
-- Roles: phi_keeper owns all of it and is the only one that reads keys; members of phi_user may call all but the last.
--
-- Keys are rows of phi.keys. Load them by COPY, because the server's log has nothing of what it transfers, unless a line is none
-- of these columns. A key that is there with the same secret stays as it is:
--   \copy phi.keys (key_id, state, secret) from 'keys.tsv'
-- A key whose `secret` was set to NULL later is expected in the session: `set phi.key_6f2d1c1e_0f6b_... = '<secret>'`. The
-- registry keeps a digest of it, so that a session cannot encrypt with another one.
--
-- Nothing that somebody else has made is adopted: its privileges, its triggers or its code would open the keys to others. Where
-- others can create objects in schema public, clients call `public.encrypt_phi` with arguments of exactly these types, so that
-- no function of the same name is called instead.
--
-- Each transaction that encrypts or decrypts leaves one row for each key in phi.audit, and one line in the server's log, which
-- stays if it is rolled back. One that may not write leaves a line for each value instead. Neither has a value.

-- What of phi.sql belongs to others, or came with an older version of it that adopted it. The last block asks again.
do $begin$
declare
  stranger record;
  wanted name;
begin
  -- The last block sets it back, if all of this is one transaction.
  perform pg_catalog.set_config('phi.path', pg_catalog.current_setting('search_path'), false),
    pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  perform set_config('phi.functions', 'phi.seal(text, text); phi.open(bytea, text); phi.mac(text, text); phi.mac(bytea, text); '
    'phi.key_of(bytea); phi.note(text, uuid); phi.key_changes(); phi.key_loads(); public.encrypt_phi(text, uuid); '
    'public.get_encryption_key(uuid); public.decrypt_phi(bytea, uuid); public.phi_blind_index(text, uuid); '
    'public.phi_tag(text, uuid, text, text, text[])', false);
  perform set_config('phi.strangers', $sql$
    select pg_describe_object(o.catalog, o.id, 0) as what, pg_get_userbyid(o.owner) as owner
    from (
      select 'pg_namespace'::regclass, oid, nspowner, true from pg_namespace where nspname = 'phi'
      union all select 'pg_class'::regclass, oid, relowner, true from pg_class where relnamespace = to_regnamespace('phi')
      union all select 'pg_type'::regclass, oid, typowner, true from pg_type where typnamespace = to_regnamespace('phi')
      union all select 'pg_proc'::regclass, p.oid, p.proowner, p.proowner <> coalesce(to_regrole('phi_keeper'), 0)
          or format('%s.%s(%s)', p.pronamespace::regnamespace, p.proname, oidvectortypes(p.proargtypes))
            = any (string_to_array(current_setting('phi.functions'), '; '))
        from pg_proc p where p.pronamespace = to_regnamespace('phi') or p.pronamespace = to_regnamespace('public')
          and p.proname in ('encrypt_phi', 'decrypt_phi', 'phi_blind_index', 'phi_tag', 'get_encryption_key')
      union all select 'pg_proc'::regclass, p.oid, p.proowner, true
        from pg_extension e join pg_proc p on p.pronamespace = e.extnamespace
        where e.extname = 'pgcrypto' and format('%s(%s)', p.proname, oidvectortypes(p.proargtypes)) in (
          'pgp_sym_encrypt(text, text, text)', 'pgp_sym_decrypt(bytea, text)', 'hmac(bytea, bytea, text)')
      union all select 'pg_trigger'::regclass, t.oid, p.proowner,
          p.pronamespace = c.relnamespace and t.tgname in (p.proname, p.proname || '_end') and c.relname = 'keys'
        from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_proc p on p.oid = t.tgfoid
        where c.relnamespace = to_regnamespace('phi') and not t.tgisinternal
    ) o(catalog, id, owner, is_known)
    where not is_known
      or owner not in (select oid from pg_roles where rolsuper or rolname in ('phi_keeper', current_user))
    order by 1 limit 1
  $sql$, false);
  execute current_setting('phi.strangers') into stranger;
  if stranger.what is not null then
    raise exception '% (owner: %) is none of phi.sql''s', stranger.what, stranger.owner
      using errcode = 'object_not_in_prerequisite_state', hint = 'Whoever made it could get all keys by it. Find out what it is for, '
        'drop it, or give it another name, and execute phi.sql again. Revoke CREATE on schema public from whoever does not need it.';
  end if;
  if current_setting('server_encoding') <> 'UTF8' then
    raise exception 'the text of encrypted values is in UTF8, and the encoding of this database is %',
      current_setting('server_encoding');
  end if;
  foreach wanted in array array['phi_keeper', 'phi_user']::name[] loop
    if to_regrole(wanted::text) is null then
      begin
        execute format('create role %I nologin', wanted);
      exception when duplicate_object or unique_violation then
        null;  -- created at the same time for another database
      end;
    end if;
  end loop;
  -- Whoever gives objects to a role has to be its member; the end of this file revokes it.
  if not (select rolsuper from pg_catalog.pg_roles where rolname = current_user) then
    execute format('grant phi_keeper to %I', current_user);
  end if;
  grant create on schema public to phi_keeper;
  create schema if not exists phi;
  if not exists (select from pg_catalog.pg_extension where extname = 'pgcrypto') then
    create extension pgcrypto with schema public;
    comment on schema phi is 'Encrypted values; it came with the extension pgcrypto.';
  end if;
  if to_regtype('phi.key_state') is null then
    create type phi.key_state as enum ('active', 'decrypt-only', 'destroyed');
  end if;
  -- Each plan has this as a step. What the first of them brought stays for its clients when another one is undone.
  if to_regclass('phi.installed') is null then
    create table phi.installed (at timestamptz not null default clock_timestamp());
    comment on table phi.installed is 'Each time phi.sql was executed, and not undone by phi.down.sql.';
    if to_regprocedure('public.decrypt_phi(bytea, uuid)') is not null then
      insert into phi.installed default values;
    end if;
  end if;
  insert into phi.installed default values;
end
$begin$;

-- Without constraints on the secret: an error of one would show the row.
create table if not exists phi.keys (
  key_id uuid primary key,
  state phi.key_state not null default 'active',
  secret text,
  digest bytea,
  changed_at timestamptz not null default now()
);
comment on table phi.keys is 'Keys of encrypted values. Only phi_keeper reads it.';
comment on column phi.keys.state is
  'active: encrypts and decrypts; decrypt-only; destroyed: its secret is gone, and with it all values under this key.';
comment on column phi.keys.secret is
  '32 random bytes in base64, as `projh-bluegreen phi keygen` prints them; or a passphrase, which only decrypts. NULL: the session gives it.';
comment on column phi.keys.digest is 'HMAC-SHA-256 of the key''s id, keyed with the secret.';

create table if not exists phi.audit (
  at timestamptz not null,
  xact xid8 not null,
  action text not null,
  key_id uuid not null,
  session_role name not null,
  acting_role text not null,
  primary key (at, xact, action, key_id)
);
comment on table phi.audit is 'Which role encrypted or decrypted with which key: one row a transaction. Never a value.';

-- pgcrypto may be in any schema. These bodies are bound to its functions now, so that no search_path matters later. All types
-- are exact, so that no function of the same name fits better.
do $bound$
declare
  pgcrypto text;
begin
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  pgcrypto := (select extnamespace::regnamespace::text from pg_extension where extname = 'pgcrypto');
  execute format($sql$
    create or replace function phi.seal(data text, secret text) returns bytea volatile return
      %1$s.pgp_sym_encrypt(data, secret, 'cipher-algo=aes256, s2k-mode=3, s2k-count=1024, s2k-digest-algo=sha256'::text);
    create or replace function phi.open(message bytea, secret text) returns text immutable
      return %1$s.pgp_sym_decrypt(message, secret);
    create or replace function phi.mac(data text, secret text) returns bytea immutable
      return %1$s.hmac(convert_to(data, 'UTF8'), convert_to(secret, 'UTF8'), 'sha256'::text);
    create or replace function phi.mac(data bytea, secret text) returns bytea immutable
      return %1$s.hmac(data, convert_to(secret, 'UTF8'), 'sha256'::text);
  $sql$, pgcrypto);
  -- The id of the key that a value names, in either format.
  create or replace function phi.key_of(value bytea) returns uuid
    language sql immutable
    return case
      when substr(value, 1, 5) = '\xca13504750' and octet_length(value) >= 21 then encode(substr(value, 6, 16), 'hex')::uuid
      when substr(value, 1, 4) = '\x50484901' and octet_length(value) >= 60 then encode(substr(value, 5, 16), 'hex')::uuid
    end;
end
$bound$;

-- A destroyed key stays so; its secret is gone from the row at once, and from the disk after the next vacuum. Whatever is raised
-- for a row of COPY, the server logs with the row's line, and so with the secret: rows that cannot be added are left out here,
-- and key_loads says so at the end.
create or replace function phi.key_changes() returns trigger
  language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  known phi.keys;
  refused text;
begin
  if tg_op = 'UPDATE' and old.state = 'destroyed' and new.state <> 'destroyed' then
    raise exception 'key % was destroyed', old.key_id using errcode = 'object_not_in_prerequisite_state';
  end if;
  new.changed_at := now();
  if tg_op = 'INSERT' then
    select k.* into known from phi.keys k where k.key_id = new.key_id;
    if known.key_id is not null or new.key_id is null or new.state is null then
      refused := case
        when known.key_id is null then 'a row has no id or no state'
        when new.secret is not null and known.digest is distinct from phi.mac(new.key_id::text, new.secret)
          then format('key %s is there with another secret', new.key_id)
        when new.state not in ('active', known.state) then format('key %s is there as %s', new.key_id, known.state)
      end;
      perform set_config('phi.refused', concat_ws('; ', nullif(current_setting('phi.refused', true), ''), refused), true);
      return null;
    end if;
  end if;
  if new.secret is not null then
    new.digest := phi.mac(new.key_id::text, new.secret);
  end if;
  if new.state = 'destroyed' then
    new.secret := null;
  end if;
  return new;
end
$$;
create or replace trigger key_changes before insert or update on phi.keys
  for each row execute function phi.key_changes();

create or replace function phi.key_loads() returns trigger
  language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_when = 'BEFORE' then
    -- A key that another transaction adds, and key_changes does not see, would be an error of COPY.
    if current_setting('transaction_isolation') not like 'read %' then
      raise exception 'keys can only be loaded in a transaction of READ COMMITTED' using errcode = 'invalid_transaction_state';
    end if;
    perform pg_advisory_xact_lock(tg_relid::bigint), set_config('phi.refused', '', true);
  elsif current_setting('phi.refused') <> '' then
    raise exception '%', current_setting('phi.refused')
      using errcode = 'unique_violation', hint = 'Nothing was loaded. A key that is there is changed by UPDATE.';
  end if;
  return null;
end
$$;
create or replace trigger key_loads before insert on phi.keys for each statement execute function phi.key_loads();
create or replace trigger key_loads_end after insert on phi.keys for each statement execute function phi.key_loads();

create or replace function public.get_encryption_key(key_id uuid) returns text
  language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  known record;
  given text;
begin
  select k.state, k.secret, k.digest into known from phi.keys k where k.key_id = get_encryption_key.key_id;
  if not found then
    raise exception 'key % is not in the key registry', key_id using errcode = 'invalid_parameter_value';
  elsif known.state = 'destroyed' then
    raise exception 'key % was destroyed', key_id using errcode = 'invalid_parameter_value';
  elsif known.secret is not null then
    return known.secret;
  end if;
  given := nullif(current_setting('phi.key_' || replace(key_id::text, '-', '_'), true), '');
  if given is null then
    raise exception 'the session has to give key %', key_id using errcode = 'object_not_in_prerequisite_state',
      hint = format('Set phi.key_%s in the session.', replace(key_id::text, '-', '_'));
  elsif phi.mac(key_id::text, given) is distinct from known.digest then
    raise exception 'what the session gives as key % is another key', key_id using errcode = 'invalid_parameter_value';
  end if;
  return given;
end
$$;

-- The first use in a transaction is noted.
create or replace function phi.note(action text, key_id uuid) returns void
  language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  acting text := current_setting('role');
begin
  if current_setting('transaction_read_only')::boolean then
    raise log 'phi: % with key % by % (role %)', action, key_id, session_user, acting;
    return;
  end if;
  -- It reads nothing: of SERIALIZABLE transactions, those that read this table would fail beside others that insert.
  insert into phi.audit values (now(), pg_current_xact_id(), action, key_id, session_user, acting) on conflict do nothing;
  if found then
    raise log 'phi: % with key % by % (role %)', action, key_id, session_user, acting;
  end if;
end
$$;

create or replace function public.encrypt_phi(data text, key_id uuid) returns bytea
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  secret text;
begin
  if data is null then
    return null;
  end if;
  secret := public.get_encryption_key(key_id);
  if (select k.state from phi.keys k where k.key_id = encrypt_phi.key_id) <> 'active' then
    raise exception 'key % only decrypts', key_id using errcode = 'invalid_parameter_value';
  elsif secret !~ '^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$' then
    raise exception 'key % is not 32 bytes in base64, so it only decrypts', key_id using errcode = 'invalid_parameter_value';
  end if;
  perform phi.note('encrypt'::text, key_id);
  return '\xca13504750'::bytea || uuid_send(key_id) || phi.seal(data, secret);
end
$$;

create or replace function public.decrypt_phi(encrypted_data bytea, key_id uuid default null) returns text
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  named uuid := coalesce(phi.key_of(encrypted_data), key_id);
begin
  if encrypted_data is null then
    return null;
  elsif substr(encrypted_data, 1, 3) = '\x504849' then
    raise exception 'pgcrypto cannot read values of the format aes-gcm' using errcode = 'feature_not_supported',
      hint = 'examples/phi has readers in Node and Python.';
  elsif named is null then
    raise exception 'the value names no key, and none is given' using errcode = 'invalid_parameter_value';
  end if;
  perform phi.note('decrypt'::text, named);
  return phi.open(encrypted_data, public.get_encryption_key(named));
end
$$;

-- STABLE, so that a condition with it can use an index.
create or replace function public.phi_blind_index(data text, key_id uuid) returns bytea
  language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if data is null then
    return null;
  end if;
  return phi.mac(lower(btrim(data) collate "C"), public.get_encryption_key(key_id));
end
$$;

-- The tag of a value in a row: of the table as `schema.table`, the encrypted column, the values of the row's key as text, and
-- the value, each with its length before it.
create or replace function public.phi_tag(data text, key_id uuid, of_table text, of_column text, variadic row_key text[])
  returns bytea
  language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  parts bytea := (
    select string_agg(int4send(octet_length(p.part)) || p.part, ''::bytea order by p.n)
    from (select convert_to(u.part, 'UTF8'), u.n
          from unnest(array[of_table, of_column] || row_key || data) with ordinality u(part, n)) p(part, n)
  );
begin
  if data is null then
    return null;
  end if;
  return phi.mac(parts, public.get_encryption_key(key_id));
end
$$;

do $owner$
declare
  stranger record;
  one record;
  backend name;
  owned text;
  others text;
  readers text;
begin
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  execute current_setting('phi.strangers') into stranger;
  if stranger.what is not null then
    raise exception '% (owner: %) is none of phi.sql''s, and came while it was executed', stranger.what, stranger.owner
      using errcode = 'object_not_in_prerequisite_state', hint = 'Drop it, and execute phi.sql again.';
  end if;
  foreach owned in array array['schema phi', 'type phi.key_state', 'table phi.keys', 'table phi.audit', 'table phi.installed'] loop
    execute format('alter %s owner to phi_keeper', owned);
  end loop;
  -- ANALYZE copies values into pg_statistic: none of these. A new type, here the same one, removes what is there.
  if exists (select from pg_attribute where attrelid = 'phi.keys'::regclass and attname = 'secret' and attstattarget is distinct from 0) then
    alter table phi.keys alter secret set statistics 0, alter digest set statistics 0, alter secret type text, alter digest type bytea;
  end if;
  -- Default privileges may have granted something to others: who is to use the functions becomes a member of phi_user.
  others := concat_ws(', ', 'public', (
    select string_agg(distinct quote_ident(pg_get_userbyid(a.grantee)), ', ')
    from pg_default_acl d, aclexplode(d.defaclacl) a where a.grantee <> 0
  ));
  execute format('revoke all on schema phi from %s', others);
  execute format('revoke all on all tables in schema phi from %s', others);
  grant usage, create on schema phi to phi_keeper;
  grant all on all tables in schema phi to phi_keeper;
  -- By name: what somebody makes meanwhile is left alone.
  for one in
    select it::regprocedure as it, it like 'public.%' and it not like '%get_encryption_key%' as is_for_users
    from unnest(string_to_array(current_setting('phi.functions'), '; ')) it
  loop
    execute format('alter function %s owner to phi_keeper', one.it);
    execute format('revoke all on function %s from %s', one.it, others);
    execute format('grant execute on function %s to phi_keeper', one.it);
    if one.is_for_users then
      execute format('grant execute on function %s to phi_user', one.it);
      -- Project-H's backend; some of its roles do not inherit. Row security decides which rows they see.
      for backend in select rolname from pg_roles where rolname in ('project_h', 'service_role') loop
        execute format('grant execute on function %s to %I', one.it, backend);
      end loop;
    end if;
  end loop;
  -- What was granted stays, whoever granted it: an earlier version of this file adopted what it found.
  select string_agg(distinct pg_get_userbyid(g.grantee), ', ') into readers from (
    select member from pg_auth_members where roleid = 'phi_keeper'::regrole
    union all select a.grantee from pg_proc p, aclexplode(p.proacl) a where p.oid = 'public.get_encryption_key(uuid)'::regprocedure
    union all select a.grantee from pg_class c, aclexplode(c.relacl) a where c.oid = 'phi.keys'::regclass
  ) g(grantee) where pg_get_userbyid(g.grantee) not in ('phi_keeper', current_user);
  if readers is not null then
    raise warning 'these roles can get keys, or change them: %', readers
      using hint = 'By membership in phi_keeper, or privileges on get_encryption_key or phi.keys: revoke what was not meant.';
  end if;
  revoke create on schema public from phi_keeper;
  if not (select rolsuper from pg_roles where rolname = current_user) then
    execute format('revoke phi_keeper from %I', current_user);
  end if;
  perform set_config('search_path', current_setting('phi.path'), true);
end
$owner$;
