-- Undoes phi.sql. Keys are not dropped: with a key, all values under it would be lost. While the registry has a key that was
-- not destroyed, it stays, with its role and its audit, and only the functions go. If phi.sql was executed for another plan, too,
-- all of it stays.

do $down$
declare
  path text := pg_catalog.current_setting('search_path');
  is_member boolean;
  has_keys boolean;
  has_brought boolean;
  is_last boolean := true;
  one text;
begin
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  is_member := (select rolsuper from pg_roles where rolname = current_user);
  has_brought := obj_description('phi'::regnamespace, 'pg_namespace') like '%came with%';
  select format('%s (owner: %s)', c.oid::regclass, pg_get_userbyid(c.relowner)) into one from pg_class c
    where c.relnamespace = 'phi'::regnamespace
      and c.relowner not in (select oid from pg_roles where rolsuper or rolname in ('phi_keeper', current_user)) limit 1;
  if one is not null then
    raise exception '% is none of phi.sql''s', one using hint = 'Its triggers would be executed: find out what it is for, and drop it.';
  end if;
  if not is_member then
    execute format('grant phi_keeper to %I', current_user);
  end if;
  if to_regclass('phi.installed') is not null then
    delete from phi.installed i where i.ctid = (select o.ctid from phi.installed o order by o.at desc limit 1);
    is_last := not exists (select from phi.installed);
  end if;
  if not is_last then
    if not is_member then
      execute format('revoke phi_keeper from %I', current_user);
    end if;
    perform set_config('search_path', path, true);
    return;
  end if;
  drop function if exists public.encrypt_phi(text, uuid);
  drop function if exists public.decrypt_phi(bytea, uuid);
  drop function if exists public.phi_blind_index(text, uuid);
  drop function if exists public.phi_tag(text, uuid, text, text, text[]);
  drop function if exists public.get_encryption_key(uuid);
  has_keys := exists (select from phi.keys where state <> 'destroyed');
  if not has_keys then
    drop schema phi cascade;
    begin
      if has_brought then
        drop extension pgcrypto;
      end if;
    exception when dependent_objects_still_exist then
      null;  -- something else uses it by now
    end;
  end if;
  if not is_member then
    execute format('revoke phi_keeper from %I', current_user);
  end if;
  foreach one in array case when has_keys then array['phi_user'] else array['phi_user', 'phi_keeper'] end loop
    begin
      execute format('drop role if exists %I', one);
    exception when dependent_objects_still_exist then
      null;  -- another database of this server uses it
    end;
  end loop;
  perform set_config('search_path', path, true);
end
$down$;
