-- What `set` changes: the keys as in the plan's `settings`, their values as text; null goes back to the plan's value.
alter table projh_bluegreen.request add column settings jsonb;

-- The names of the gates of the plan that the run was executed with last: a swap without that plan would pass them over.
alter table projh_bluegreen.run add column gates jsonb;
