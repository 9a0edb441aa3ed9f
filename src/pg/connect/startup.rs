//! The settings that every session starts with, and how the server's answer to a login is read.

use tokio_postgres::error::SqlState;

use super::ConnectError;
use super::target::{Target, Wanted};

/// The settings of every connection; the caller's follow and win.
///
/// With row security off, a policy that would hide rows becomes an error. A fixed `search_path` and fixed output styles
/// make text the same whatever the settings of the role or the database are.
#[must_use]
pub const fn base_settings() -> &'static [(&'static str, &'static str)] {
    &[
        ("row_security", "off"),
        // A role may be configured to become another one on login, which may have fewer rights.
        ("role", "none"),
        // Whatever the role or the database has set: a commit is durable, and a statement sees what
        // was committed before it.
        ("synchronous_commit", "on"),
        ("default_transaction_isolation", "read committed"),
        ("default_transaction_deferrable", "off"),
        ("transform_null_equals", "off"),
        // Plans over many partitions look costly, and compiling them costs more than running them.
        ("jit", "off"),
        ("search_path", "pg_catalog"),
        ("client_min_messages", "warning"),
        ("DateStyle", "ISO"),
        ("IntervalStyle", "postgres"),
        ("TimeZone", "UTC"),
        ("extra_float_digits", "1"),
        ("bytea_output", "hex"),
        // An XML fragment is as valid as a document.
        ("xmloption", "content"),
        // Our statements are read as we wrote them, and the catalog prints expressions as it does elsewhere.
        ("standard_conforming_strings", "on"),
        ("quote_all_identifiers", "off"),
        ("array_nulls", "on"),
        ("plan_cache_mode", "auto"),
        // It would leave rows out of an index scan.
        ("gin_fuzzy_search_limit", "0"),
        // Rows are bound as parameters, which would be logged.
        ("log_parameter_max_length_on_error", "0"),
        ("debug_print_parse", "off"),
        ("debug_print_rewritten", "off"),
        ("debug_print_plan", "off"),
        // Green's tablespaces are blue's, not the role's.
        ("default_tablespace", ""),
        ("default_table_access_method", "heap"),
        // Whoever wants a shorter wait sets one.
        ("lock_timeout", "0"),
        ("statement_timeout", "0"),
        ("idle_in_transaction_session_timeout", "0"),
        // A server that lost the client keeps its locks until it notices: after a minute, not after two hours.
        ("tcp_keepalives_idle", "30"),
        ("tcp_keepalives_interval", "10"),
        ("tcp_keepalives_count", "3"),
        // The same while an answer of the server is on its way, when no probes are sent.
        ("tcp_user_timeout", "60000"),
    ]
}

/// In place of a value: the server's, the database's or the role's configuration counts, not a base setting.
pub(crate) const AS_CONFIGURED: &str = "\0";

/// The `options` of the startup message: the user's own, then the base settings, then `settings`.
pub(crate) fn options(own: Option<&str>, settings: &[(&str, &str)]) -> String {
    let mut text = own.unwrap_or_default().to_owned();
    let is_left = |name: &str| settings.contains(&(name, AS_CONFIGURED));
    for (name, value) in base_settings().iter().chain(settings).filter(|(name, _)| !is_left(name)) {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str("-c ");
        text.push_str(name);
        text.push('=');
        for c in value.chars() {
            if c == '\\' || c.is_ascii_whitespace() {
                text.push('\\');
            }
            text.push(c);
        }
    }
    text
}

/// A statement ends with the connection that waits for it: an index build or a comparison would otherwise continue for
/// hours after us, with its locks and its snapshot. Not every operating system can detect this; where it cannot, the
/// server rejects the setting.
const NOTICES_OUR_END: &str =
    "SELECT set_config('client_connection_check_interval', '2s', false) WHERE version() LIKE '%linux%'";

/// Settings that keep row values out of the server's log, and that only a superuser, or a role that was granted the
/// right, may set: rows are bound as parameters, plans show them, and errors quote them. Statements are logged as the
/// server is configured to: their texts hold no row value. Parameters of a library that is not loaded are left alone.
const SILENCE: &str = "(VALUES ('log_parameter_max_length', '0'), ('log_min_messages', 'log'), \
                       ('auto_explain.log_min_duration', '-1'), ('pgaudit.log_parameter', 'off')) AS wanted (name, value)";

/// Settings that would still log row values and that meet `condition`: `selected` columns of `wanted`
/// (name, value) and `found`.
fn louder(selected: &str, condition: &str) -> String {
    format!(
        "SELECT {selected} FROM {SILENCE} JOIN pg_settings AS found ON found.name = wanted.name \
         WHERE found.setting <> wanted.value AND (found.name, found.setting) NOT IN \
         (('log_min_messages', 'fatal'), ('log_min_messages', 'panic')) AND {condition}"
    )
}

/// The query for settings that this session was not allowed to change, so that the server may log row values: name
/// and value of each.
pub(crate) fn values_in_log() -> String {
    let logs_statements = "(current_setting('log_statement') IN ('mod', 'all') \
                           OR current_setting('log_min_duration_statement') <> '-1' \
                           OR current_setting('log_min_duration_sample') <> '-1' \
                           OR current_setting('log_transaction_sample_rate') <> '0')";
    let condition = format!("(found.name <> 'log_parameter_max_length' OR {logs_statements})");
    louder("wanted.name, wanted.value", &condition)
}

/// Settings that depend on the server's version: in the startup message an unknown setting, or one that the role may
/// not set, would make the connection fail.
pub(crate) fn after_login(server_version_num: u32) -> Option<String> {
    let timeouts = match server_version_num {
        170_000.. => "SET idle_session_timeout = 0; SET transaction_timeout = 0",
        140_000.. => "SET idle_session_timeout = 0",
        _ => return None,
    };
    let granted = match server_version_num {
        150_000.. => "has_parameter_privilege(found.name, 'SET')",
        _ => "current_setting('is_superuser') = 'on'",
    };
    let silence = louder("set_config(wanted.name, wanted.value, false)", granted);
    Some(format!("{timeouts}; {NOTICES_OUR_END}; {silence}"))
}

/// `server_version` as a number: `15.18 (Debian 15.18-1)` is 150018, `18beta1` is 180000.
pub(crate) fn server_version_num(text: Option<&str>, address: &str) -> Result<u32, ConnectError> {
    let text = text.unwrap_or_default();
    let number = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text[..end].parse::<u32>().ok().filter(|number| *number < 10_000)
    };
    let minor = text.split_once('.').and_then(|(_, rest)| number(rest)).unwrap_or(0);
    number(text).map(|major| major * 10_000 + minor).ok_or_else(|| ConnectError::Protocol {
        address: address.to_owned(),
        problem: format!("its server_version is `{}`", text.escape_debug()),
    })
}

/// Asks for the process id of the backend that answers.
pub(crate) const SERVING_PROCESS: &str = "SELECT pg_backend_pid()";

/// Refuses a connection pooler. At login a pooler announces a process id that is not the one of the backend that then
/// answers. A forwarded port or a translated address changes neither.
pub(crate) fn check_direct(address: &str, announced: i32, serving: Option<i32>) -> Result<(), ConnectError> {
    let serving = match serving {
        Some(serving) if serving == announced => return Ok(()),
        serving => serving.map_or_else(|| "none".to_owned(), |pid| pid.to_string()),
    };
    let why = format!("the login announced process {announced}, and process {serving} answers");
    Err(ConnectError::Pooler { address: address.to_owned(), why })
}

/// Refuses a read-only server where the target wants one that accepts writes.
pub(crate) fn check_role<'a>(
    target: &Target,
    address: &str,
    parameter: impl Fn(&str) -> Option<&'a str>,
) -> Result<(), ConnectError> {
    let is_on = |name| parameter(name) == Some("on");
    let passed_over = match target.wanted {
        Wanted::Any => false,
        Wanted::Primary => is_on("in_hot_standby"),
        Wanted::ReadWrite => is_on("in_hot_standby") || is_on("default_transaction_read_only"),
    };
    if passed_over { Err(ConnectError::Standby { address: address.to_owned() }) } else { Ok(()) }
}

impl Target {
    pub(crate) fn password_missing(&self, address: &str) -> ConnectError {
        ConnectError::PasswordMissing {
            address: address.to_owned(),
            user: self.user.clone(),
            note: self.password_note.clone(),
        }
    }

    /// What the server's refusal of a login means. Such a message names roles and databases only.
    pub(crate) fn refused(&self, address: &str, sqlstate: &SqlState, message: &str) -> ConnectError {
        let (address, user, message) = (address.to_owned(), self.user.clone(), message.to_owned());
        match *sqlstate {
            // Every version knows our settings; `options` is the only other place that sets any.
            SqlState::UNDEFINED_OBJECT | SqlState::INVALID_PARAMETER_VALUE if self.options.is_some() => {
                ConnectError::setting("PGOPTIONS, or options", message, "correct it, or remove it")
            }
            SqlState::INVALID_PASSWORD => {
                ConnectError::Password { address, user, origin: self.password_origin.clone() }
            }
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION => ConnectError::Role { address, user, message },
            SqlState::INSUFFICIENT_PRIVILEGE => ConnectError::Privilege { address, user, message },
            SqlState::INVALID_CATALOG_NAME => {
                ConnectError::Database { address, database: self.database.clone() }
            }
            SqlState::TOO_MANY_CONNECTIONS => ConnectError::TooMany { address, message },
            SqlState::CANNOT_CONNECT_NOW | SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN => {
                ConnectError::NotNow { address, sqlstate: sqlstate.clone(), message }
            }
            // PgBouncer's message; PostgreSQL itself knows these parameters.
            SqlState::PROTOCOL_VIOLATION if message.contains("startup parameter") => {
                ConnectError::Pooler { address, why: message }
            }
            _ => ConnectError::Refused { address, sqlstate: sqlstate.clone(), message },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        let cases = [
            ("15.18 (Debian 15.18-0+deb12u1)", 150_018),
            ("14.0", 140_000),
            ("18beta1", 180_000),
            ("17rc1", 170_000),
            ("19devel", 190_000),
            ("16.4-YB-2.25", 160_004),
        ];
        for (text, number) in cases {
            assert_eq!(server_version_num(Some(text), "a").unwrap(), number, "{text}");
        }
        for text in [None, Some(""), Some("CockroachDB"), Some("99999999999")] {
            assert!(server_version_num(text, "a").is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_caller_comes_last_and_blanks_are_protected() {
        let left = options(None, &[("TimeZone", AS_CONFIGURED)]);
        assert!(!left.contains("TimeZone") && left.contains("-c DateStyle=ISO"), "{left}");
        let text = options(Some("-c a=b"), &[("lock_timeout", "2 s"), ("x", r"a\b")]);
        assert!(text.starts_with("-c a=b -c row_security=off "), "{text}");
        assert!(text.ends_with(r" -c lock_timeout=2\ s -c x=a\\b"), "{text}");
    }

    #[test]
    fn only_servers_that_know_a_timeout_are_told_of_it() {
        let told = |version, name| after_login(version).is_some_and(|sql: String| sql.contains(name));
        assert_eq!(after_login(130_022), None);
        assert!(told(140_000, "idle_session_timeout") && !told(160_009, "transaction_timeout"));
        assert!(told(170_000, "idle_session_timeout") && told(170_000, "transaction_timeout"));
    }
}
