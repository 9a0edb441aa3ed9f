-- Project-H's tables as its own code has them (PostgreSQL through Knex, hence the names of keys and
-- indexes), plus what its database upgrade plan presumes: the PHI columns of patients,
-- patient_consents, specialties, provider_specialties, mood_entries, users.crisis_access_expires.
-- Load auth.sql first. Plain SQL, no psql commands.
--
-- Where the upgrade plan and the live schema disagree, this file keeps the live one:
--   * users.id of the plan's crisis policy is users.user_id, and the audit trigger's NEW.id is each
--     table's own key. specialties and mood_entries exist only in the plan and keep its "id".
--   * The plan copies appointments and audit_logs with LIKE ... INCLUDING ALL under PARTITION BY,
--     which PostgreSQL rejects: the primary key lacks the partition key. These tables are not
--     partitioned here; plans/project-h/appointments.yaml partitions them.
--   * mood_entries.created_at and updated_at may be NULL in the plan; NOT NULL here, as everywhere else.
--
-- Not here, because of all that depends on appointments and audit_logs only policies, grants and
-- foreign keys can be migrated yet: the audit triggers, the materialized views, the policies for
-- psychotherapy notes and crisis intervention, the encryption of PHI.

set role project_h;

-- Practices and their people ------------------------------------------------------------

create table practices (
  practice_id uuid primary key default gen_random_uuid(),
  name varchar(255) not null,
  address jsonb,
  phone varchar(20),
  email varchar(255) not null constraint practices_email_unique unique,
  settings jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table providers (
  provider_id uuid primary key default gen_random_uuid(),
  practice_id uuid not null constraint providers_practice_id_foreign
    references practices on delete cascade,
  first_name varchar(100) not null,
  last_name varchar(100) not null,
  email varchar(255) not null constraint providers_email_unique unique,
  specialties jsonb not null default '[]',
  modalities jsonb not null default '[]',
  availability jsonb not null default '{}',
  experience integer not null default 0,
  telehealth boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index providers_practice_id_index on providers (practice_id);
create index providers_email_index on providers (email);

-- The upgrade plan's view joins these two; the live code keeps providers.specialties as JSON.
create table specialties (
  id uuid primary key default gen_random_uuid(),
  name varchar(100) not null constraint specialties_name_unique unique,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table provider_specialties (
  provider_id uuid not null constraint provider_specialties_provider_id_foreign
    references providers on delete cascade,
  specialty_id uuid not null constraint provider_specialties_specialty_id_foreign
    references specialties on delete cascade,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (provider_id, specialty_id)
);
create index provider_specialties_specialty_id_index on provider_specialties (specialty_id);

-- Patients ------------------------------------------------------------------------------------

create table patients (
  patient_id uuid primary key default gen_random_uuid(),
  first_name varchar(100) not null,
  last_name varchar(100) not null,
  email varchar(255) not null constraint patients_email_unique unique,
  phone varchar(20),
  date_of_birth date,
  insurance_info jsonb not null default '{}',
  preferences jsonb not null default '{}',
  ssn varchar(11),
  medical_history text,
  insurance_details text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index patients_email_index on patients (email);

comment on column patients.ssn is 'PHI. Plain text until the encryption phase of the upgrade.';
comment on column patients.medical_history is 'PHI. Plain text until the encryption phase of the upgrade.';
comment on column patients.insurance_details is 'PHI. Plain text until the encryption phase of the upgrade.';

create table patient_consents (
  consent_id uuid primary key default gen_random_uuid(),
  patient_id uuid not null constraint patient_consents_patient_id_foreign
    references patients on delete cascade,
  consent_type varchar(100) not null,
  granted_to uuid not null,
  valid_until timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index patient_consents_patient_id_index
  on patient_consents (patient_id, consent_type, granted_to);

create table mood_entries (
  id uuid primary key default gen_random_uuid(),
  patient_id uuid not null constraint mood_entries_patient_id_foreign references patients,
  mood_score integer not null
    constraint mood_entries_mood_score_check check (mood_score between 1 and 10),
  mood_color varchar(7) not null,
  notes text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index idx_mood_entries_patient_date on mood_entries (patient_id, created_at desc);

-- From waiting to an appointment --------------------------------------------------------------

create table waitlists (
  waitlist_id uuid primary key default gen_random_uuid(),
  practice_id uuid not null constraint waitlists_practice_id_foreign
    references practices on delete cascade,
  name varchar(255) not null,
  description text,
  criteria jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index waitlists_practice_id_index on waitlists (practice_id);

create table waitlist_entries (
  entry_id uuid primary key default gen_random_uuid(),
  waitlist_id uuid not null constraint waitlist_entries_waitlist_id_foreign
    references waitlists on delete cascade,
  patient_id uuid not null constraint waitlist_entries_patient_id_foreign
    references patients on delete cascade,
  provider_id uuid constraint waitlist_entries_provider_id_foreign
    references providers on delete set null,
  priority_score real not null default 0,
  status varchar(50) not null default 'active',
  notes text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index waitlist_entries_waitlist_id_index on waitlist_entries (waitlist_id);
create index waitlist_entries_patient_id_index on waitlist_entries (patient_id);
create index waitlist_entries_provider_id_index on waitlist_entries (provider_id);
create index waitlist_entries_priority_score_index on waitlist_entries (priority_score);
create index waitlist_entries_status_index on waitlist_entries (status);

create table appointment_slots (
  slot_id uuid primary key default gen_random_uuid(),
  provider_id uuid not null constraint appointment_slots_provider_id_foreign
    references providers on delete cascade,
  start_time timestamptz not null,
  end_time timestamptz not null,
  status varchar(50) not null default 'available',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index appointment_slots_provider_id_index on appointment_slots (provider_id);
create index appointment_slots_start_time_index on appointment_slots (start_time);
create index appointment_slots_provider_id_status_index on appointment_slots (provider_id, status);

create table appointment_requests (
  request_id uuid primary key default gen_random_uuid(),
  patient_id uuid not null constraint appointment_requests_patient_id_foreign
    references patients on delete cascade,
  provider_id uuid not null constraint appointment_requests_provider_id_foreign
    references providers on delete cascade,
  waitlist_entry_id uuid constraint appointment_requests_waitlist_entry_id_foreign
    references waitlist_entries on delete set null,
  appointment_slot_id uuid not null constraint appointment_requests_appointment_slot_id_foreign
    references appointment_slots on delete cascade,
  status varchar(50) not null default 'pending',
  requested_time timestamptz not null default now(),
  notes text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index appointment_requests_patient_id_index on appointment_requests (patient_id);
create index appointment_requests_provider_id_index on appointment_requests (provider_id);
create index appointment_requests_appointment_slot_id_index on appointment_requests (appointment_slot_id);
create index appointment_requests_status_index on appointment_requests (status);

create table appointments (
  appointment_id uuid primary key default gen_random_uuid(),
  provider_id uuid not null constraint appointments_provider_id_foreign
    references providers on delete cascade,
  patient_id uuid not null constraint appointments_patient_id_foreign
    references patients on delete cascade,
  waitlist_entry_id uuid constraint appointments_waitlist_entry_id_foreign
    references waitlist_entries on delete set null,
  start_time timestamptz not null,
  end_time timestamptz not null,
  status varchar(50) not null default 'scheduled',
  type varchar(50) not null default 'in-person',
  notes text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint appointments_times_check check (end_time > start_time)
) with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05);
create index appointments_provider_id_index on appointments (provider_id);
create index appointments_patient_id_index on appointments (patient_id);
create index appointments_start_time_index on appointments (start_time);
create index appointments_status_index on appointments (status);

comment on table appointments is 'Every booking, past and to come. The busiest table of Project-H.';
comment on column appointments.type is
  'in-person, telehealth, psychotherapy (its notes need more protection), group, crisis_intervention';
comment on column appointments.notes is 'PHI: what was said. Never in logs.';
comment on constraint appointments_times_check on appointments is 'An appointment ends after it starts.';
comment on index appointments_start_time_index is 'The calendar of a day or week.';

-- Few providers have most of the bookings; the default sample misses the long tail.
alter table appointments alter column provider_id set statistics 500;
alter table appointments alter column patient_id set statistics 300;

-- Accounts, messages, evidence ----------------------------------------------------------------

create table users (
  user_id uuid primary key default gen_random_uuid(),
  email varchar(255) not null constraint users_email_unique unique,
  password_hash varchar(255) not null,
  role varchar(50) not null,
  reference_id uuid,
  reference_type varchar(50),
  active boolean not null default true,
  last_login timestamptz,
  crisis_access_expires timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index users_email_index on users (email);
create index users_role_index on users (role);
create index users_reference_id_reference_type_index on users (reference_id, reference_type);

comment on column users.crisis_access_expires is
  'Until when this account may read crisis interventions of other providers'' patients.';

create table roles (
  role_id varchar(50) primary key,
  name varchar(100) not null,
  description text,
  permissions jsonb not null default '[]',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table notifications (
  notification_id uuid primary key default gen_random_uuid(),
  recipient_id uuid not null,
  recipient_type varchar(50) not null,
  type varchar(50) not null,
  content jsonb not null,
  status varchar(50) not null default 'pending',
  sent_at timestamptz,
  read_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index notifications_recipient_id_recipient_type_index on notifications (recipient_id, recipient_type);
create index notifications_status_index on notifications (status);

create table audit_logs (
  log_id uuid primary key default gen_random_uuid(),
  user_id uuid constraint audit_logs_user_id_foreign references users on delete set null,
  action varchar(100) not null,
  entity_type varchar(100) not null,
  entity_id uuid,
  details jsonb not null default '{}',
  ip_address varchar(50),
  created_at timestamptz not null default now()
) with (autovacuum_vacuum_insert_scale_factor = 0.1);
create index audit_logs_user_id_index on audit_logs (user_id);
create index audit_logs_action_index on audit_logs (action);
create index audit_logs_entity_type_entity_id_index on audit_logs (entity_type, entity_id);
create index audit_logs_created_at_index on audit_logs (created_at);

comment on table audit_logs is 'Who did what to which record, and when. Append-only for the application.';
comment on column audit_logs.details is 'Names of changed fields and the session; never the values of PHI.';
alter table audit_logs alter column entity_id set statistics 300;

-- Row security --------------------------------------------------------------------------------
-- The frontend reads the database directly, so every table has row security. A table without a
-- policy is closed to the API except for service_role, which bypasses row security.

alter table practices enable row level security;
alter table providers enable row level security;
alter table specialties enable row level security;
alter table provider_specialties enable row level security;
alter table patients enable row level security;
alter table patient_consents enable row level security;
alter table mood_entries enable row level security;
alter table waitlists enable row level security;
alter table waitlist_entries enable row level security;
alter table appointment_slots enable row level security;
alter table appointment_requests enable row level security;
alter table appointments enable row level security;
alter table users enable row level security;
alter table roles enable row level security;
alter table notifications enable row level security;
alter table audit_logs enable row level security;

create policy practices_public_read on practices for select using (true);
create policy providers_public_read on providers for select using (true);
create policy specialties_public_read on specialties for select using (true);
create policy provider_specialties_public_read on provider_specialties for select using (true);
create policy appointment_slots_public_read on appointment_slots for select
  using (status = 'available');

create policy users_own_account on users for select to authenticated using (user_id = auth.uid());
create policy patients_own_record on patients for select to authenticated using (patient_id = auth.uid());
create policy mood_entries_own on mood_entries to authenticated
  using (patient_id = auth.uid()) with check (patient_id = auth.uid());
create policy patient_consents_own on patient_consents to authenticated
  using (patient_id = auth.uid()) with check (patient_id = auth.uid());

create policy appointments_patient_read on appointments for select to authenticated
  using (patient_id = auth.uid());
create policy appointments_provider_all on appointments to authenticated
  using (provider_id = auth.uid()) with check (provider_id = auth.uid());
-- Restrictive: nobody changes the past through the API, whatever other policies allow.
create policy appointments_no_backdating on appointments as restrictive for insert to authenticated
  with check (start_time > now() - interval '1 day');
comment on policy appointments_provider_all on appointments is 'Providers keep their own calendar.';

create policy audit_logs_admin_read on audit_logs for select to authenticated
  using (exists (select from users u where u.user_id = auth.uid() and u.role = 'admin'));

-- Grants ---------------------------------------------------------------------------------------
-- The default privileges of auth.sql grant everything to the API's roles; revoke what they must not have.

revoke all on appointments, audit_logs, patients, users from anon;
revoke truncate, references, trigger on appointments from authenticated;
revoke all on audit_logs from authenticated, service_role;
grant select on audit_logs to authenticated;
grant select, insert on audit_logs to service_role;
revoke all on users from authenticated;
grant select (user_id, email, role, reference_id, reference_type, active) on users to authenticated;

reset role;
