-- The nastiest table we could think of. Sent in parts, split where a line says that it is committed.
do $$ declare r text; begin
  foreach r in array array['Owner Ö', 'app', 'reader', 'anon', 'grantor'] loop
    if not exists (select from pg_roles where rolname = r) then execute format('create role %I', r); end if;
  end loop;
end $$;
grant create on schema public to "Owner Ö";
create schema "Other schema";
create function "Other schema".current_provider() returns int language sql stable as $$ select 7 $$;
create table "Other schema"."Pat""ients" (id int primary key, clinic text not null, unique (id, clinic));
create table public.providers (id bigint primary key);
insert into "Other schema"."Pat""ients" select g, 'c' || g from generate_series(1, 50) g;
insert into public.providers select g from generate_series(1, 50) g;
alter default privileges grant select on tables to anon;
alter default privileges grant usage, select on sequences to anon;
alter default privileges grant usage on schemas to anon;
create table public."Termine für ""alle""" (
  gone_first text,
  id bigint generated always as identity (start with 100 increment by 3 cache 5),
  "Start" timestamptz not null default now(),
  "Serial" serial,
  patient int not null,
  clinic text not null,
  provider bigint,
  status varchar(20) not null default 'scheduled',
  notes text collate "C",
  tags text[] default '{}',
  payload jsonb,
  price numeric(10,2) check (price >= 0),
  minutes int generated always as (patient * 2) stored,
  gone_last int,
  constraint "Termine_pkey" primary key (id, "Start") include (status) with (fillfactor = 80),
  constraint "status is known" check (status in ('scheduled', 'done', 'it''s off')),
  constraint "not too late" check ("Start" < '2100-01-01') no inherit,
  constraint one_per_provider unique (provider, "Start", patient),
  constraint to_patient foreign key (patient, clinic) references "Other schema"."Pat""ients" (id, clinic) on update cascade on delete cascade,
  constraint to_provider foreign key (provider) references public.providers (id) on delete set null deferrable initially deferred
) with (fillfactor = 70, autovacuum_enabled = false, toast.autovacuum_enabled = false);
alter table public."Termine für ""alle""" drop column gone_first, drop column gone_last;
alter table public."Termine für ""alle""" add constraint old_rows_break_it check (patient <> 13) not valid;
alter table public."Termine für ""alle""" owner to "Owner Ö";
alter table public."Termine für ""alle""" alter column notes set storage external;
alter table public."Termine für ""alle""" alter column notes set compression pglz;
alter table public."Termine für ""alle""" alter column status set statistics 321;
alter table public."Termine für ""alle""" alter column provider set (n_distinct = 50, n_distinct_inherited = 51);
create index by_lower on public."Termine für ""alle""" (lower(notes) text_pattern_ops desc nulls last, "Start") include (clinic) where status <> 'done' and status in ('scheduled', 'x');
create index by_tags on public."Termine für ""alle""" using gin (tags) with (fastupdate = off);
create unique index unique_serial on public."Termine für ""alle""" ("Serial", "Start");
create index brin_start on public."Termine für ""alle""" using brin ("Start" timestamptz_minmax_ops);
create index "where is "" on table" on public."Termine für ""alle""" (patient) where notes <> ' WHERE x';
alter index public.by_lower alter column 1 set statistics 77;
alter index public.by_lower depends on extension plpgsql;
alter table public."Termine für ""alle""" cluster on one_per_provider;
alter table public."Termine für ""alle""" enable row level security, force row level security;
create policy p_select on public."Termine für ""alle""" for select to app, reader using (provider = "Other schema".current_provider() or status in ('done', 'scheduled'));
create policy p_insert on public."Termine für ""alle""" for insert to app with check (patient > 0);
create policy p_update on public."Termine für ""alle""" for update to public using (true) with check (provider is not null);
create policy "p delete" on public."Termine für ""alle""" as restrictive for delete to app using (exists (select 1 from public.providers p where p.id = provider));
create policy p_itself on public."Termine für ""alle""" to reader using (exists (select 1 from public."Termine für ""alle""" t where t.patient = "Termine für ""alle""".patient and t.id < "Termine für ""alle""".id));
grant select, insert on public."Termine für ""alle""" to app;
grant update (status, notes) on public."Termine für ""alle""" to app;
grant select (id) on public."Termine für ""alle""" to public;
grant select on public."Termine für ""alle""" to grantor with grant option;
set role grantor; grant select on public."Termine für ""alle""" to reader; reset role;
revoke truncate on public."Termine für ""alle""" from "Owner Ö";
grant usage on sequence public."Termine für ""alle""_id_seq" to app;
comment on table public."Termine für ""alle""" is 'it''s a table';
comment on column public."Termine für ""alle"""."Start" is 'when \ "it" begins';
comment on constraint "status is known" on public."Termine für ""alle""" is 'c1';
comment on constraint "Termine_pkey" on public."Termine für ""alle""" is 'c2';
comment on constraint to_patient on public."Termine für ""alle""" is 'c3';
comment on constraint old_rows_break_it on public."Termine für ""alle""" is 'c4';
comment on index public.by_lower is 'c5';
comment on index public."Termine_pkey" is 'c6';
comment on policy p_itself on public."Termine für ""alle""" is 'c7';
comment on policy p_select on public."Termine für ""alle""" is 'c8';
comment on sequence public."Termine für ""alle""_id_seq" is 'c9';
create function "Other schema"."Trigger"() returns trigger language plpgsql as $$ begin return coalesce(new, old); end $$;
create trigger "T ä" before insert or update of status, notes on public."Termine für ""alle""" for each row when (new.notes is distinct from 'x') execute function "Other schema"."Trigger"('a''b', '');
create trigger each_row after update on public."Termine für ""alle""" for each row when (old.* is distinct from new.*) execute function "Other schema"."Trigger"();
create trigger off after delete on public."Termine für ""alle""" for each row when (old.notes is distinct from (null::public."Termine für ""alle""").notes) execute function "Other schema"."Trigger"();
create trigger inserted after insert on public."Termine für ""alle""" referencing new table as n for each statement execute function "Other schema"."Trigger"();
create constraint trigger later after insert or delete on public."Termine für ""alle""" deferrable initially deferred for each row execute function "Other schema"."Trigger"();
alter table public."Termine für ""alle""" enable always trigger each_row, enable replica trigger inserted, disable trigger off;
comment on constraint later on public."Termine für ""alle""" is 'c12';
comment on type public."Termine für ""alle""" is 'c13';
grant usage on type public."Termine für ""alle""" to app; revoke usage on type public."Termine für ""alle""" from public;
comment on trigger "T ä" on public."Termine für ""alle""" is 'c11';
alter trigger later on public."Termine für ""alle""" depends on extension plpgsql;
create statistics public."Statistik ä" (dependencies, mcv) on clinic, status from public."Termine für ""alle""";
create statistics public.of_text on (lower(notes)), status, (patient % 7) from public."Termine für ""alle""";
create statistics public.of_one on (lower(notes)) from public."Termine für ""alle""";
alter statistics public."Statistik ä" set statistics 77;
alter statistics public."Statistik ä" owner to "Owner Ö";
alter statistics public.of_text owner to "Owner Ö";
alter statistics public.of_one owner to "Owner Ö";
comment on statistics public.of_text is 'c10';
alter table public."Termine für ""alle""" drop constraint old_rows_break_it;
insert into public."Termine für ""alle""" ("Start", patient, clinic, provider, status, notes, tags, payload, price)
  select '2026-01-01'::timestamptz + g * interval '1 hour', g % 50 + 1, 'c' || g % 50 + 1, g % 50 + 1, 'done', repeat('n', g), array['a', g::text], '{}', g
  from generate_series(1, 1500) g;
-- committed
alter table public."Termine für ""alle""" add constraint old_rows_break_it check (patient <> 13) not valid;
comment on constraint old_rows_break_it on public."Termine für ""alle""" is 'c4';
