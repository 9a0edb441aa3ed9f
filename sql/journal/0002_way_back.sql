-- A run has a stream of each table: of blue from the copy on, of green from before the swap on.
alter table projh_bluegreen.stream add column source text not null default 'blue' check (source in ('blue', 'green'));
alter table projh_bluegreen.stream drop constraint stream_pkey, add primary key (run, source);
comment on column projh_bluegreen.stream.source is 'the table that the changes are of; they are applied to the other one';

-- How the run was executed last: a rollback that is given the run's id goes by it.
alter table projh_bluegreen.run add column settings jsonb;

-- What commands on other terminals ask of the process that holds a run, and its answers.
create table projh_bluegreen.request (
    n bigint generated always as identity primary key,
    run text not null references projh_bluegreen.run,
    what text not null,
    asked_by text not null,
    asked_at timestamptz not null default clock_timestamp(),
    taken_at timestamptz,
    answered_at timestamptz,
    answer jsonb
);
create index request_open on projh_bluegreen.request (run) where answered_at is null;
