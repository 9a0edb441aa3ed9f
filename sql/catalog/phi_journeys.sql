-- Where the server has sent what is written, or sends it now: kind, and object.
SELECT 'slot', slot_name::text FROM pg_catalog.pg_replication_slots
WHERE slot_type = 'logical' AND database = pg_catalog.current_database() AND slot_name !~ '^projh_bg_'
UNION ALL
SELECT 'replica', slot_name::text FROM pg_catalog.pg_replication_slots WHERE slot_type = 'physical'
UNION ALL
SELECT 'replica', application_name FROM pg_catalog.pg_stat_replication r
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots s WHERE s.active_pid = r.pid)
UNION ALL
SELECT 'archive', 'archive_mode is ' || pg_catalog.current_setting('archive_mode')
WHERE pg_catalog.current_setting('archive_mode') <> 'off'
