//! PostgreSQL's errors, described without row values.
//!
//! DETAIL, HINT and CONTEXT quote rows, and so can the messages of many classes (data, constraints, whatever a function
//! raises). Of those, only the SQLSTATE and the names of objects are shown.

use std::fmt::Write;

use tokio_postgres::Error;

/// Classes of SQLSTATE whose messages are about objects, rights and resources, never about a row.
pub(crate) const TELLING: [&str; 14] =
    ["08", "0A", "25", "28", "2B", "3D", "3F", "42", "53", "54", "55", "57", "58", "PB"];

/// The error of the server or of the driver, without row values.
#[must_use]
pub fn describe(error: &Error) -> String {
    let Some(db) = error.as_db_error() else {
        return if error.is_closed() {
            "the connection to the server was lost".to_owned()
        } else {
            std::error::Error::source(error)
                .map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
        };
    };
    let code = db.code().code();
    let is_damage = matches!(code, "XX001" | "XX002");
    let mut text = if is_damage || TELLING.contains(&code.get(..2).unwrap_or_default()) {
        format!("{} (SQLSTATE {code}", db.message())
    } else {
        format!("the server rejected the statement (SQLSTATE {code}")
    };
    let named = [("table", db.table()), ("column", db.column()), ("constraint", db.constraint())];
    for (what, name) in named {
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            // Writing to a String cannot fail.
            let _ = write!(text, ", {what} {name}");
        }
    }
    text.push(')');
    text
}

/// Whether a retry, perhaps on a new connection, may succeed.
#[must_use]
pub fn is_transient(error: &Error) -> bool {
    // The session that exported the snapshot was lost, which its owner learns later than we do.
    let imports = |routine: &str| matches!(routine, "ImportSnapshot" | "SetTransactionSnapshot");
    if error.as_db_error().and_then(tokio_postgres::error::DbError::routine).is_some_and(imports) {
        return true;
    }
    match error.code().map(tokio_postgres::error::SqlState::code) {
        // Connection trouble, lack of resources, an administrator's command, a transaction that was idle for too long, or
        // failed by what was sent before; a lock not granted, a deadlock.
        Some(code) => {
            code.starts_with("08")
                || code.starts_with("53")
                || matches!(
                    code,
                    "57P01" | "57P02" | "57P03" | "25P02" | "25P03" | "55P03" | "40P01" | "40001" | "57014"
                )
        }
        None => {
            error.is_closed()
                || std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
        }
    }
}
