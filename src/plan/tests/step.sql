-- a comment
grant select on appointments to reader;

grant select on audit_logs to reader
