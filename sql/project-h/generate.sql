-- Fills Project-H's empty tables with invented data, for psql:
--
--   psql -v appointments=1000000 -v seed=42 -v reference_date=2025-06-15 -f sql/project-h/generate.sql
--
--   appointments    how many (default 100000); everything else follows from it: half as many audit
--                   logs, a twentieth of patients, a provider for 400
--   seed            another seed gives other data (default 42)
--   reference_date  the "today" of the data (default: today), on any day of the week: appointments
--                   begin two years before it and end three months after it
--
-- The same three values give the same rows, whatever the machine, the day and the session: nothing
-- is random, each value is a hash of its row's number, the seed and its purpose. Names are made up,
-- e-mail addresses are under example.org, telephone numbers are 555-01xx, and social security
-- numbers begin with 000, which is never issued.
--
-- The data is as uneven as that of a real practice: few providers have most of the bookings, nights
-- and weekends are empty, few visits are at noon, bookings grow over the years, most notes are
-- absent and some so long that they are stored out of line, and names are spelled as people do.

\set ON_ERROR_STOP on
\if :{?appointments}
\else
  \set appointments 100000
\endif
\if :{?seed}
\else
  \set seed 42
\endif
\if :{?reference_date}
\else
  select current_date as reference_date \gset
\endif

set client_min_messages = warning;
set timezone = 'UTC';
set datestyle = 'ISO';
set synchronous_commit = off;
set maintenance_work_mem = '256MB';
set jit = off;  -- compiling these expressions takes longer than it saves

begin;

do $$ begin
  if exists (select from practices) then
    raise exception 'Project-H already holds data here'
      using hint = 'Generate into freshly loaded tables (sql/project-h/schema.sql).';
  end if;
end $$;

-- Random values, and what they are drawn from --------------------------------------------------------------

create function pg_temp.n_practices() returns bigint immutable language sql
  return greatest(1, :appointments::bigint / 20000);
create function pg_temp.n_providers() returns bigint immutable language sql
  return greatest(5, :appointments::bigint / 400);
create function pg_temp.n_patients() returns bigint immutable language sql
  return greatest(10, :appointments::bigint / 20);
create function pg_temp.n_users() returns bigint immutable language sql
  return pg_temp.n_providers() + pg_temp.n_patients() / 4;
create function pg_temp.n_waitlist_entries() returns bigint immutable language sql
  return greatest(5, :appointments::bigint / 50);
create function pg_temp.n_slots() returns bigint immutable language sql
  return greatest(5, :appointments::bigint / 50);

-- The n-th draw for a purpose: uniform in [0, 1).
create function pg_temp.u(n bigint, purpose int) returns double precision
  immutable parallel safe language sql
  return (hashint8extended(n, :seed::bigint * 1000003 + purpose) & 9007199254740991) / 9007199254740992.0::float8;

-- One of 0 .. below-1, uniformly; with a power > 1, low ones far more often (a power law).
create function pg_temp.pick(n bigint, purpose int, below bigint) returns bigint
  immutable parallel safe language sql
  return floor(pg_temp.u(n, purpose) * below)::bigint;
create function pg_temp.pick_low(n bigint, purpose int, below bigint, power float8) returns bigint
  immutable parallel safe language sql
  return floor(pg_temp.u(n, purpose) ^ power * below)::bigint;
create function pg_temp.one_of(n bigint, purpose int, choices text[]) returns text
  immutable parallel safe language sql
  return choices[1 + pg_temp.pick(n, purpose, cardinality(choices))];

-- The key of the n-th row of a table, in the form of a random (version 4) UUID: two hashes, with
-- the bits of version and variant set.
create function pg_temp.key(kind text, n bigint) returns uuid
  immutable parallel safe language sql
  return (
    lpad(to_hex(hashint8extended(n, hashtextextended(kind, :seed)) & ~x'f000'::bigint | x'4000'::bigint), 16, '0') ||
    to_hex(hashint8extended(n, hashtextextended(kind, ~ :seed::bigint)) & x'0fffffffffffffff'::bigint
      | x'9000000000000000'::bigint))::uuid;

-- Working days since the first Monday of the data: day 0, 1, 2, 3, 4, then next Monday is day 5.
create function pg_temp.working_day(day bigint) returns date immutable parallel safe language sql
  return date_trunc('week', :'reference_date'::date - interval '2 years' + interval '6 days')::date
    + (day / 5 * 7 + day % 5)::int;
-- How many of them are before the reference date.
create function pg_temp.days_past() returns bigint immutable language sql
  return (select max(d) from generate_series(0, 530) as d where pg_temp.working_day(d) < :'reference_date'::date);

-- A time of that day between 8:00 and 17:00, in steps of 15 minutes; most of those at noon are moved
-- to the morning.
create function pg_temp.quarter(n bigint, purpose int) returns interval immutable parallel safe language sql
  return interval '8 hours' + interval '15 minutes' * (pg_temp.pick(n, purpose, 37) - case
    when pg_temp.pick(n, purpose, 37) between 16 and 19 and pg_temp.u(n, purpose + 1) < 0.6 then 12 else 0 end);

create function pg_temp.first_name(n bigint, purpose int) returns text immutable parallel safe language sql
  return pg_temp.one_of(n, purpose, array['Ada','Ben','Chloé','Dimitri','Elif','Fátima','Grace','Håkon','Ines',
    'José María','Jürgen','Kwame','Léa','Łukasz','Mei','Mónica','Nguyễn','Noah','Olena','Øystein','Priya',
    'Quentin','Rósa','Siobhán','Søren','Tariq','Ulla','Vojtěch','Wanjirũ','Xochitl','Yūki','Zoë','Ольга','Γιώργος',
    'عمر','שרה','陽子','민준','ณัฐ','Anne-Marie','D''Arcy','Renée','Emma','Liam','Olivia','James','Sophia','Lucas']);
create function pg_temp.last_name(n bigint, purpose int) returns text immutable parallel safe language sql
  return pg_temp.one_of(n, purpose, array['O''Brien','Müller','García Márquez','Nowak','Sørensen','Đặng','de la Cruz',
    'van der Berg','Håkansson','Öztürk','Żółć','Ivanov','Παπαδόπουλος','Kovács','Nakamura','李','김','Mbeki','al-Farsi',
    'Cohen','Smith','Johnson','Williams','Jones','Brown','Davis','Miller','Wilson','Taylor','Anderson','Thomas',
    'Jackson','Ferreira','Silva','Rossi','Dubois','Lefèvre','Novák','Popescu','Haddad','Okafor','Singh','Kaur','Tan']);

-- A sentence of a note, with a number in it, so that long notes do not compress to nothing.
create function pg_temp.sentence(n bigint) returns text stable parallel safe language sql
  return format(pg_temp.one_of(n, 40, array[
    'Sleep has improved since the last session; reports %s hours in all.',
    'Discussed coping strategies for work-related stress (score %s).',
    'Patient arrived late and left calmer than on arrival; room %s.',
    'Continues medication as prescribed; prescription %s.',
    'Talked about family: „es geht besser“, says the partner, after difficult days (%s).',
    'No change in appetite. Weight stable; sheet %s.',
    'Homework: breathing exercise no. %s, three times a day 🧘.',
    'GAD-7 and PHQ-9 repeated; see the scanned sheet %s.',
    'Consent for telehealth renewed — reference %s.',
    'Risk assessed: none at present. Safety plan %s gone through again.',
    'Asked for an interpreter (français) for the next visits, request %s.',
    'Insurance asks for a progress report, case %s.',
    'Denies suicidal ideation; protective factors: children, faith, job. Form %s.',
    'Follow-up call agreed, code word №%s.']),
    pg_temp.pick(n, 41, 1000000));

-- Practices, providers, patients --------------------------------------------------------------

insert into practices (practice_id, name, address, phone, email, settings, created_at, updated_at)
select pg_temp.key('practice', n),
  pg_temp.last_name(n, 1) || pg_temp.one_of(n, 2, array[' & Partners', ' Counseling', ' Psychotherapie', ' Wellness Center']),
  jsonb_build_object('street', 1 + pg_temp.pick(n, 3, 400) || ' Invented Street', 'city', 'Sampleton', 'zip', '00000'),
  '+1-555-01' || lpad((n % 100)::text, 2, '0'), 'practice' || n || '@example.org',
  jsonb_build_object('reminders', pg_temp.u(n, 4) < 0.8), begun, begun
from generate_series(1, pg_temp.n_practices()) as n,
  lateral (select pg_temp.working_day(0) - interval '1 year' + n * interval '1 minute' as begun) t;

insert into specialties (id, name, created_at, updated_at)
select pg_temp.key('specialty', n), name, pg_temp.working_day(0), pg_temp.working_day(0)
from unnest(array['Anxiety', 'Depression', 'Trauma', 'Couples', 'Children', 'Addiction', 'Eating disorders', 'ADHD',
  'Grief', 'Sleep', 'Crisis intervention', 'Burn-out']) with ordinality as s(name, n);

insert into providers (provider_id, practice_id, first_name, last_name, email, specialties, modalities,
  availability, experience, telehealth, created_at, updated_at)
select pg_temp.key('provider', n), pg_temp.key('practice', 1 + pg_temp.pick_low(n, 1, pg_temp.n_practices(), 1.5)),
  pg_temp.first_name(n, 2), pg_temp.last_name(n, 3), 'provider' || n || '@example.org',
  jsonb_build_array(pg_temp.one_of(n, 4, array['Anxiety', 'Depression', 'Trauma', 'Couples']),
    pg_temp.one_of(n, 5, array['Grief', 'Sleep', 'ADHD', 'Burn-out'])),
  jsonb_build_array(pg_temp.one_of(n, 6, array['CBT', 'EMDR', 'DBT', 'systemic'])),
  jsonb_build_object('mon', '08:00-18:00', 'fri', '08:00-14:00'),
  pg_temp.pick_low(n, 7, 40, 1.6)::int, pg_temp.u(n, 8) < 0.6, begun, begun
from generate_series(1, pg_temp.n_providers()) as n,
  lateral (select pg_temp.working_day(0) - interval '300 days' + n * interval '1 second' as begun) t;

insert into provider_specialties (provider_id, specialty_id, created_at, updated_at)
select distinct pg_temp.key('provider', n), pg_temp.key('specialty', 1 + pg_temp.pick_low(n * 3 + i, 10, 12, 1.5)),
  pg_temp.working_day(0)::timestamptz, pg_temp.working_day(0)::timestamptz
from generate_series(1, pg_temp.n_providers()) as n, generate_series(0, 2) as i;

insert into patients (patient_id, first_name, last_name, email, phone, date_of_birth, insurance_info, preferences,
  ssn, medical_history, insurance_details, created_at, updated_at)
select pg_temp.key('patient', n), pg_temp.first_name(n, 1), pg_temp.last_name(n, 2), 'patient' || n || '@example.org',
  case when pg_temp.u(n, 3) < 0.9 then '+1-555-01' || lpad((n % 100)::text, 2, '0') end,
  case when pg_temp.u(n, 4) < 0.97 then :'reference_date'::date - (6000 + pg_temp.pick(n, 5, 24000))::int end,
  case when pg_temp.u(n, 6) < 0.8 then jsonb_build_object('plan', pg_temp.one_of(n, 7, array['basic', 'plus', 'family'])) else '{}' end,
  case when pg_temp.u(n, 8) < 0.3 then jsonb_build_object('language', pg_temp.one_of(n, 9, array['de', 'es', 'fr', '日本語'])) else '{}' end,
  case when pg_temp.u(n, 10) < 0.85 then format('000-%s-%s', lpad((n / 10000 % 100)::text, 2, '0'), lpad((n % 10000)::text, 4, '0')) end,
  case when pg_temp.u(n, 11) < 0.5 then (
    select string_agg(pg_temp.sentence(-n * 512 - i), ' ' order by i)
    from generate_series(1, 1 + pg_temp.pick_low(n, 12, 60, 4)) as i) end,
  case when pg_temp.u(n, 13) < 0.7 then 'member ' || pg_temp.pick(n, 14, 100000000) || ', group ' || pg_temp.pick(n, 15, 1000) end,
  begun, begun
from generate_series(1, pg_temp.n_patients()) as n,
  lateral (select pg_temp.working_day(0) - interval '200 days' + n * interval '1 second' as begun) t;

insert into patient_consents (consent_id, patient_id, consent_type, granted_to, valid_until, created_at, updated_at)
select pg_temp.key('consent', n), pg_temp.key('patient', n),
  pg_temp.one_of(n, 1, array['psychotherapy_notes_access', 'telehealth', 'data_sharing']),
  pg_temp.key('provider', 1 + pg_temp.pick_low(n, 2, pg_temp.n_providers(), 2)),
  case when pg_temp.u(n, 3) < 0.9 then :'reference_date'::date + (pg_temp.pick(n, 4, 700) - 300)::int end,
  pg_temp.working_day(0), pg_temp.working_day(0)
from generate_series(1, pg_temp.n_patients(), 3) as n;

insert into mood_entries (id, patient_id, mood_score, mood_color, notes, created_at, updated_at)
select pg_temp.key('mood', n), pg_temp.key('patient', 1 + pg_temp.pick_low(n, 1, pg_temp.n_patients(), 3)),
  score, (array['#b71c1c', '#d84315', '#ef6c00', '#ff8f00', '#f9a825', '#9e9d24', '#558b2f', '#2e7d32', '#00695c', '#0277bd'])[score],
  case when pg_temp.u(n, 3) < 0.2 then pg_temp.one_of(n, 4, array['🙂', 'tired', 'besser heute', 'mal dormi', 'ok']) end, at, at
from generate_series(1, :appointments::bigint / 20) as n,
  lateral (select 1 + pg_temp.pick(n, 2, 10)::int as score,
    :'reference_date'::date - pg_temp.pick_low(n, 5, 200, 2)::int - interval '1 day' + pg_temp.pick(n, 6, 86400) * interval '1 second' as at) t;

-- Accounts. Providers and patients sign in under their own key, which the policies compare.

insert into roles (role_id, name, description, permissions, created_at, updated_at)
select id, initcap(replace(id, '_', ' ')), null, '["read"]', pg_temp.working_day(0), pg_temp.working_day(0)
from unnest(array['admin', 'provider', 'patient', 'emergency_provider', 'crisis_counselor']) as id;

insert into users (user_id, email, password_hash, role, reference_id, reference_type, active, last_login,
  crisis_access_expires, created_at, updated_at)
select id, kind || n || '@example.org', '$2b$10$' || md5(kind || n),
  case when kind = 'patient' then 'patient' when n = 1 then 'admin' when n % 50 = 2 then 'crisis_counselor'
    when n % 50 = 3 then 'emergency_provider' else 'provider' end,
  id, kind, pg_temp.u(n, 1) < 0.95,
  case when pg_temp.u(n, 2) < 0.8 then :'reference_date'::date - pg_temp.pick_low(n, 3, 200, 3)::int - interval '3 hours' end,
  case when kind = 'provider' and n % 50 in (2, 3) then :'reference_date'::date + interval '30 days' end,
  pg_temp.working_day(0), pg_temp.working_day(0)
from (
  select 'provider' as kind, n, pg_temp.key('provider', n) as id from generate_series(1, pg_temp.n_providers()) as n
  union all
  select 'patient', n, pg_temp.key('patient', n) from generate_series(1, pg_temp.n_patients() / 4) as n) as account;

-- Waiting, slots, requests, messages ----------------------------------------------------------

insert into waitlists (waitlist_id, practice_id, name, description, criteria, created_at, updated_at)
select pg_temp.key('waitlist', n), pg_temp.key('practice', n), 'New patients', null, '{"new": true}',
  pg_temp.working_day(0), pg_temp.working_day(0)
from generate_series(1, pg_temp.n_practices()) as n;

insert into waitlist_entries (entry_id, waitlist_id, patient_id, provider_id, priority_score, status, notes, created_at, updated_at)
select pg_temp.key('entry', n), pg_temp.key('waitlist', 1 + pg_temp.pick(n, 1, pg_temp.n_practices())),
  pg_temp.key('patient', 1 + pg_temp.pick(n, 2, pg_temp.n_patients())),
  case when pg_temp.u(n, 3) < 0.4 then pg_temp.key('provider', 1 + pg_temp.pick(n, 4, pg_temp.n_providers())) end,
  (pg_temp.u(n, 5) * 100)::real, case when pg_temp.u(n, 6) < 0.3 then 'active' else 'fulfilled' end,
  case when pg_temp.u(n, 7) < 0.1 then 'prefers evenings' end, at, at
from generate_series(1, pg_temp.n_waitlist_entries()) as n,
  lateral (select pg_temp.working_day(pg_temp.pick(n, 8, pg_temp.days_past())) + pg_temp.quarter(n, 9) as at) t;

insert into appointment_slots (slot_id, provider_id, start_time, end_time, status, created_at, updated_at)
select pg_temp.key('slot', n), pg_temp.key('provider', 1 + pg_temp.pick(n, 1, pg_temp.n_providers())), at, at + interval '50 minutes',
  case when pg_temp.u(n, 2) < 0.7 then 'available' else 'booked' end, :'reference_date'::date - 1, :'reference_date'::date - 1
from generate_series(1, pg_temp.n_slots()) as n,
  lateral (select pg_temp.working_day(pg_temp.days_past() + 1 + pg_temp.pick(n, 3, 60)) + pg_temp.quarter(n, 4) as at) t;

insert into appointment_requests (request_id, patient_id, provider_id, waitlist_entry_id, appointment_slot_id, status,
  requested_time, notes, created_at, updated_at)
select pg_temp.key('request', n), pg_temp.key('patient', 1 + pg_temp.pick(n, 1, pg_temp.n_patients())), s.provider_id, null, s.slot_id,
  'pending', s.start_time, null, s.created_at, s.created_at
from generate_series(1, pg_temp.n_slots(), 5) as n join appointment_slots s on s.slot_id = pg_temp.key('slot', n);

insert into notifications (notification_id, recipient_id, recipient_type, type, content, status, sent_at, read_at, created_at, updated_at)
select pg_temp.key('notification', n), pg_temp.key('patient', 1 + pg_temp.pick_low(n, 1, pg_temp.n_patients(), 1.5)), 'patient',
  'reminder', '{"template": "appointment-tomorrow"}', 'sent', at, case when pg_temp.u(n, 2) < 0.6 then at + interval '2 hours' end, at, at
from generate_series(1, :appointments::bigint / 20) as n,
  lateral (select pg_temp.working_day(pg_temp.pick(n, 3, pg_temp.days_past())) + pg_temp.quarter(n, 4) as at) t;

-- Keys, indexes and foreign keys of the two large tables are dropped and built again once the rows
-- are loaded, which takes half the time of maintaining them row by row.

create temp table set_aside on commit drop as
select 1 as step, format('alter table %s drop constraint %I', conrelid::regclass, conname) as away,
  format('alter table %s add constraint %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) as back,
  format('comment on constraint %I on %s is %L', conname, conrelid::regclass, obj_description(oid, 'pg_constraint')) as remark
from pg_constraint
where conrelid in ('appointments'::regclass, 'audit_logs'::regclass) and contype in ('p', 'u', 'f')
union all
select 2, format('drop index %s', indexrelid::regclass), pg_get_indexdef(indexrelid),
  format('comment on index %s is %L', indexrelid::regclass, obj_description(indexrelid, 'pg_class'))
from pg_index
where indrelid in ('appointments'::regclass, 'audit_logs'::regclass)
  and not exists (select from pg_constraint where conindid = indexrelid and contype in ('p', 'u'));

do $$ declare away text; begin
  for away in select s.away from set_aside s loop execute away; end loop;
end $$;

-- Appointments --------------------------------------------------------------------------------
-- In the order in which they were booked, as a real table grows: day by day, a little more every
-- year, each for a day up to thirteen weeks ahead. Two of five have a note: most a sentence, some a
-- page, few a whole history of several kB.

insert into appointments (appointment_id, provider_id, patient_id, waitlist_entry_id, start_time, end_time, status, type,
  notes, created_at, updated_at)
select pg_temp.key('appointment', n),
  pg_temp.key('provider', 1 + pg_temp.pick_low(n, 1, pg_temp.n_providers(), 2)),
  pg_temp.key('patient', 1 + pg_temp.pick_low(n, 2, pg_temp.n_patients(), 1.5)),
  case when pg_temp.u(n, 3) < 0.04 then pg_temp.key('entry', 1 + pg_temp.pick(n, 4, pg_temp.n_waitlist_entries())) end,
  start_time, start_time + minutes * interval '1 minute',
  case when start_time < :'reference_date'::date then
    case when chance < 0.80 then 'completed' when chance < 0.91 then 'cancelled' when chance < 0.97 then 'no-show'
      when chance < 0.997 then 'rescheduled' else 'scheduled' end
  else case when chance < 0.86 then 'scheduled' when chance < 0.95 then 'confirmed' else 'cancelled' end end,
  type,
  case when note < 0.58 then null when note < 0.60 then '' when note < 0.93 then pg_temp.sentence(n * 512)
    else (
      -- A history refers to scanned letters, so that it stays long when it is compressed.
      select string_agg(case when note < 0.994 then pg_temp.sentence(n * 512 + i)
        else pg_temp.sentence(n * 512 + i) || ' Letter ' || pg_temp.key('letter', n * 512 + i) end, E'\n' order by i)
      from generate_series(1, case when note < 0.994 then 2 + pg_temp.pick(n, 43, 6)
        else 40 + pg_temp.pick_low(n, 44, 160, 2) end) as i) end,
  booked,
  -- Last changed after the visit; before it, at most a day after the booking.
  case when start_time < :'reference_date'::date then start_time + minutes * interval '1 minute' + pg_temp.u(n, 5) * interval '5 hours'
    else least(booked + pg_temp.u(n, 5) * interval '1 day', :'reference_date'::date) end
from generate_series(1, :appointments::bigint) as n
cross join (select pg_temp.days_past() as days_past) as span,
lateral (select floor(days_past * ((n - 1)::float8 / :appointments) ^ 0.85)::bigint as day, pg_temp.u(n, 6) as chance,
  pg_temp.u(n, 7) as kind, pg_temp.u(n, 8) as length, pg_temp.u(n, 42) as note,
  1 + pg_temp.pick_low(n, 10, 64, 2) as ahead offset 0) as draw,
lateral (select
  pg_temp.working_day(day) + interval '8 hours' + pg_temp.u(n, 9) * interval '10 hours' as booked,
  case when kind < 0.42 then 'in-person' when kind < 0.70 then 'telehealth' when kind < 0.92 then 'psychotherapy'
    when kind < 0.985 then 'group' else 'crisis_intervention' end as type,
  pg_temp.working_day(day + ahead) + pg_temp.quarter(n, 11) as start_time,
  case when length < 0.6 then 50 when length < 0.8 then 30 when length < 0.9 then 45 when length < 0.97 then 60 else 15 end as minutes
  offset 0) as visit;

-- Audit logs ----------------------------------------------------------------------------------
-- Also in the order of time; one in twelve is of a nightly batch job, which has no user.

insert into audit_logs (log_id, user_id, action, entity_type, entity_id, details, ip_address, created_at)
select pg_temp.key('log', n),
  case when not nightly and pg_temp.u(n, 1) < 0.93 then pg_temp.key('provider', 1 + pg_temp.pick_low(n, 2, pg_temp.n_providers(), 2)) end,
  case when nightly then 'EXPORT' when kind < 0.45 then 'READ' when kind < 0.75 then 'UPDATE' when kind < 0.96 then 'INSERT' else 'DELETE' end,
  entity,
  case entity when 'appointments' then pg_temp.key('appointment', 1 + pg_temp.pick(n, 3, :appointments))
    when 'patients' then pg_temp.key('patient', 1 + pg_temp.pick_low(n, 4, pg_temp.n_patients(), 1.5)) end,
  case when nightly then '{}'
    when kind >= 0.45 and kind < 0.75 then jsonb_build_object('changed', jsonb_build_array(pg_temp.one_of(n, 5, array['status', 'notes', 'start_time'])), 'session', pg_temp.pick(n, 6, 1000000))
    when pg_temp.u(n, 7) < 0.002 then jsonb_build_object('trail', (select jsonb_agg(md5(n::text || i)) from generate_series(1, 120) as i))
    else jsonb_build_object('session', pg_temp.pick(n, 6, 1000000)) end,
  case when nightly then null when n % 5 = 0 then '2001:db8::' || to_hex(n % 65536) else '192.0.2.' || n % 254 + 1 end,
  at
from generate_series(1, :appointments::bigint / 2) as n
cross join (select pg_temp.days_past() as days_past) as span,
lateral (select n % 12 = 0 as nightly, pg_temp.u(n, 8) as kind, pg_temp.u(n, 9) as about,
  floor(days_past * (n::float8 / (:appointments / 2 + 1)) ^ 0.85)::bigint as day offset 0) as draw,
lateral (select case when about < 0.7 then 'appointments' when about < 0.93 then 'patients' else 'users' end as entity,
  pg_temp.working_day(day) + case when nightly then interval '2 hours' + pg_temp.u(n, 10) * interval '20 minutes'
    else interval '8 hours' + pg_temp.u(n, 10) * interval '10 hours' end as at offset 0) as entry;

do $$ declare item record; begin
  for item in select * from set_aside order by step, back loop
    execute item.back;
    execute item.remark;
  end loop;
end $$;

commit;

-- Otherwise autovacuum would process the new tables within a minute, during whatever is measured.
vacuum (analyze);

reset all;
