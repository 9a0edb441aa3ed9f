-- What Project-H's upgrade has hanging on the tables of sql/project-h/schema.sql: audit triggers, policies that read other
-- tables, views for its API, a report that a view builds on.
set role project_h;

create function audit_row() returns trigger language plpgsql security definer set search_path = pg_catalog as $$
declare
  row jsonb := to_jsonb(case when tg_op = 'DELETE' then old else new end);
begin
  insert into public.audit_logs (action, entity_type, entity_id, details, user_id)
  values (lower(tg_op), tg_table_name, (row ->> tg_argv[0])::uuid, jsonb_build_object('txid', pg_current_xact_id()::text), null);
  return null;
end $$;
create trigger audit_patients after insert or update or delete on patients
  for each row execute function audit_row('patient_id');
create trigger audit_appointments after insert or update or delete on appointments
  for each row execute function audit_row('appointment_id');
create function touch_updated_at() returns trigger language plpgsql as
  $$ begin new.updated_at := clock_timestamp(); return new; end $$;
create trigger appointments_updated_at before update on appointments
  for each row when (old.* is distinct from new.*) execute function touch_updated_at();
comment on trigger audit_appointments on appointments is 'Evidence of every change, without values.';

create policy psychotherapy_notes_access on appointments as restrictive for select to authenticated using (
  type <> 'psychotherapy' or provider_id = auth.uid() or patient_id = auth.uid()
  or exists (select from patient_consents c where c.patient_id = appointments.patient_id and c.granted_to = auth.uid())
);
create policy crisis_intervention_access on appointments for select to authenticated using (
  type = 'crisis_intervention'
  and exists (select from users u where u.user_id = auth.uid() and u.crisis_access_expires > now())
);

create view calendar with (security_barrier) as
  select a.appointment_id, a.provider_id, p.last_name as patient, a.start_time, a.end_time, a.status
  from appointments a join patients p using (patient_id)
  where a.status <> 'cancelled';
create view provider_load as
  select provider_id, date_trunc('week', start_time) as week, count(*) as visits, sum(end_time - start_time) as booked
  from calendar group by provider_id, date_trunc('week', start_time);
create view bookable as select * from appointment_slots where status = 'available' with check option;
grant select on calendar, provider_load to authenticated;
comment on view calendar is 'What the front end lists.';

-- A chain of visits, and what is billed for one: foreign keys to the busiest table, and from it to itself.
alter table appointments add column follows uuid constraint appointments_follows_foreign references appointments on delete set null;
create table invoices (
  invoice_id bigint generated always as identity primary key,
  appointment_id uuid not null constraint invoices_appointment_id_foreign references appointments on delete cascade,
  amount numeric(10, 2) not null check (amount >= 0)
);

reset role;

insert into practices (name, email) select 'practice ' || n, n || '@example.org' from generate_series(1, 3) n;
insert into providers (practice_id, first_name, last_name, email)
  select (select practice_id from practices limit 1), 'first ' || n, 'last ' || n, n || '@example.org' from generate_series(1, 20) n;
insert into patients (first_name, last_name, email)
  select 'first ' || n, 'last ' || n, 'p' || n || '@example.org' from generate_series(1, 200) n;
insert into appointments (provider_id, patient_id, start_time, end_time)
  select p.provider_id, q.patient_id, t, t + interval '50 minutes'
  from providers p, (select * from patients limit 30) q, generate_series(timestamptz '2025-01-01 09:00 UTC', '2025-01-03 09:00 UTC', '1 day') t;
update appointments a set follows = (select appointment_id from appointments b where b.patient_id = a.patient_id and b.start_time < a.start_time limit 1);
insert into invoices (appointment_id, amount) select appointment_id, 80 from appointments;
