//! libpq's keywords: those that are used, those that change nothing here, and those that must not be ignored.
//!
//! Invariant: a setting that asks for more protection than this program gives is an error, never ignored.

use super::ConnectError;

/// Keywords that are used, each with its environment variable.
const OURS: [(&str, &str); 23] = [
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("dbname", "PGDATABASE"),
    ("passfile", "PGPASSFILE"),
    ("service", "PGSERVICE"),
    ("servicefile", "PGSERVICEFILE"),
    ("options", "PGOPTIONS"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
    ("keepalives", ""),
    ("keepalives_idle", ""),
    ("keepalives_interval", ""),
    ("keepalives_count", ""),
    ("tcp_user_timeout", ""),
    ("application_name", ""),
];

/// Keywords of libpq that change nothing here, or that this program sets itself.
const IGNORED: [&str; 12] = [
    "client_encoding",
    "fallback_application_name",
    "gssdelegation",
    "gsslib",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "replication",
    "ssl_max_protocol_version",
    "sslcompression",
    "sslsni",
];

/// Keywords that may ask for what this program does not do: the variable, and the values that do not ask for it.
const BEYOND_US: [(&str, &str, &[&str]); 8] = [
    ("gssencmode", "PGGSSENCMODE", &["disable", "prefer"]),
    ("require_auth", "PGREQUIREAUTH", &[]),
    ("requirepeer", "PGREQUIREPEER", &[]),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", &["TLSv1", "TLSv1.1", "TLSv1.2"]),
    ("sslcertmode", "PGSSLCERTMODE", &["allow"]),
    ("sslcrl", "PGSSLCRL", &[]),
    ("sslcrldir", "PGSSLCRLDIR", &[]),
    ("sslnegotiation", "PGSSLNEGOTIATION", &["postgres"]),
];

/// Each keyword that has an environment variable, with that variable.
pub(super) fn variables() -> impl Iterator<Item = (&'static str, &'static str)> {
    let ours = OURS.iter().filter(|(_, variable)| !variable.is_empty()).copied();
    ours.chain(BEYOND_US.iter().map(|(keyword, variable, _)| (*keyword, *variable)))
}

/// Whether a keyword is used; false if its value changes nothing here.
///
/// # Errors
/// If the keyword is unknown, or its value asks for what this program does not do.
pub(super) fn is_ours(keyword: &str, value: &str, place: &str) -> Result<bool, ConnectError> {
    if OURS.iter().any(|(known, _)| *known == keyword) {
        return Ok(true);
    }
    if let Some((_, _, harmless)) = BEYOND_US.iter().find(|(known, ..)| *known == keyword) {
        if value.is_empty() || harmless.contains(&value) {
            return Ok(false);
        }
        let problem = format!("{keyword} is not supported by this program, and must not be ignored");
        return Err(ConnectError::setting(place, problem, "remove it if you can do without it"));
    }
    if IGNORED.contains(&keyword) {
        return Ok(false);
    }
    let problem = format!("unknown parameter `{}`", keyword.escape_debug());
    let likeness = |known: &str| strsim::jaro_winkler(known, keyword);
    let near = OURS.iter().map(|(known, _)| *known).max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let hint = near
        .filter(|near| likeness(near) > 0.85)
        .map_or_else(|| "remove it".to_owned(), |near| format!("did you mean `{near}`?"));
    Err(ConnectError::setting(place, problem, hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_asks_for_more_protection_than_we_give_is_an_error() {
        for (keyword, variable, harmless) in BEYOND_US {
            let error = is_ours(keyword, "something", variable).unwrap_err().to_string();
            assert!(error.starts_with(variable) && error.contains("not supported"), "{error}");
            assert!(harmless.iter().all(|value| !is_ours(keyword, value, variable).unwrap()), "{keyword}");
        }
    }

    #[test]
    fn a_slip_is_understood_and_a_stranger_is_not() {
        let told = |keyword| is_ours(keyword, "x", "p").unwrap_err().to_string();
        assert!(told("sslmod").ends_with("did you mean `sslmode`?"), "{}", told("sslmod"));
        assert!(told("colour").ends_with("remove it"), "{}", told("colour"));
    }
}
