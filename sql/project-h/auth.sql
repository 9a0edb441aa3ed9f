-- What a hosted Supabase has and a plain PostgreSQL lacks: the API's roles, the schema "auth", and
-- the functions by which row security policies identify the caller. Load it before schema.sql; it
-- can be loaded again at any time, and into several databases of one server at once (roles belong to
-- the whole server).

-- The API connects as authenticator and becomes one of the other three for each request.
-- project_h owns the application's tables; the Node backend acts through it.
do $roles$
declare
  wanted record;
begin
  for wanted in
    select * from (values
      ('anon',          'nologin noinherit'),
      ('authenticated', 'nologin noinherit'),
      ('service_role',  'nologin noinherit bypassrls'),
      ('authenticator', 'login noinherit'),
      ('project_h',     'nologin')) as r(name, options)
  loop
    if not exists (select from pg_catalog.pg_roles where rolname = wanted.name) then
      begin
        execute format('create role %I %s', wanted.name, wanted.options);
      exception when duplicate_object or unique_violation then
        null;  -- created at the same time for another database
      end;
    end if;
  end loop;

  for wanted in
    select name from unnest(array['anon', 'authenticated', 'service_role']) as r(name)
    where not exists (
      select from pg_catalog.pg_auth_members m
      where m.roleid = to_regrole(r.name) and m.member = to_regrole('authenticator'))
  loop
    begin
      execute format('grant %I to authenticator', wanted.name);
    exception when unique_violation then
      null;
    end;
  end loop;
end
$roles$;

create schema if not exists auth;
grant usage on schema auth to anon, authenticated, service_role, project_h;

create table if not exists auth.users (
  id uuid primary key,
  email text unique,
  raw_app_meta_data jsonb not null default '{}',
  created_at timestamptz not null default now()
);

-- The claims of the request's token. The API sets them for the transaction, as one JSON object
-- (request.jwt.claims) or, in its older form, one setting a claim. A setting that was never set
-- reads as NULL, one that was set in an earlier transaction as '': both mean "no claims".
create or replace function auth.jwt() returns jsonb
  language sql stable
  return nullif(current_setting('request.jwt.claims', true), '')::jsonb;

-- The calling user: NULL without a token, so that a comparison with it is never true.
create or replace function auth.uid() returns uuid
  language sql stable
  return coalesce(
    nullif(current_setting('request.jwt.claim.sub', true), ''),
    auth.jwt() ->> 'sub')::uuid;

-- The caller's role.
create or replace function auth.role() returns text
  language sql stable
  return coalesce(
    nullif(current_setting('request.jwt.claim.role', true), ''),
    auth.jwt() ->> 'role');

grant execute on all functions in schema auth to anon, authenticated, service_role, project_h;

-- Supabase grants every new table of public to the API's roles; row security protects it. A
-- migration that creates tables has to cope with that.
grant usage on schema public to anon, authenticated, service_role;
grant usage, create on schema public to project_h;
alter default privileges for role project_h in schema public
  grant all on tables to anon, authenticated, service_role;
alter default privileges in schema public
  grant all on tables to anon, authenticated, service_role;
