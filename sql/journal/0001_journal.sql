-- The journal: what runs did, as facts in the past tense. The state of a run is the fold of its facts.
create schema if not exists projh_bluegreen;

create table projh_bluegreen.migration (
    version integer primary key,
    applied_at timestamptz not null default now()
);

-- One execution of one plan. `epoch` counts the orchestrators that have held the run: each effect is
-- committed under the epoch of its orchestrator, so that one that was believed dead can no longer act.
create table projh_bluegreen.run (
    run text primary key check (run ~ '^[0-9a-f]{8}$'),
    plan_name text not null,
    plan jsonb not null,
    epoch bigint not null default 0,
    started_at timestamptz not null default now(),
    ended_at timestamptz
);

-- At most one run of a plan is under way.
create unique index run_under_way on projh_bluegreen.run (plan_name) where ended_at is null;

-- How far the stream has been applied to green: written in the transaction of the applied rows.
create table projh_bluegreen.stream (
    run text primary key references projh_bluegreen.run,
    applied_lsn pg_lsn not null
);

create table projh_bluegreen.fact (
    n bigint generated always as identity,
    run text not null references projh_bluegreen.run,
    epoch bigint not null,
    at timestamptz not null default clock_timestamp(),
    fact jsonb not null,
    primary key (run, n)
);

-- Called in every transaction that has an effect, before its commit. Holds the run's row against a
-- new orchestrator, which raises the epoch first of all.
create function projh_bluegreen.fence(which text, held bigint) returns void
language plpgsql set search_path = pg_catalog as $$
begin
    perform 1 from projh_bluegreen.run where run = which and epoch = held for share;
    if not found then
        raise exception 'run % is held by another orchestrator', which using errcode = 'PB001';
    end if;
end
$$;

revoke all on schema projh_bluegreen from public;
