//! Connections, for SQL and for replication alike: who gets in, how, and what a session is then.

use projh_bluegreen::testing::pg::connect::{ConnectError, Session, Target};
use projh_bluegreen::testing::replication::{ReplicationError, Walsender};

pub fn target(text: &str) -> Target {
    Target::resolve(Some(text), &|_| None).unwrap()
}

pub async fn sql(text: &str) -> Result<Session, ConnectError> {
    target(text).connect("it", &[]).await
}

pub async fn replication(text: &str) -> Result<Walsender, ConnectError> {
    Walsender::connect(&target(text), "it", &[]).await.map_err(|error| match error {
        ReplicationError::Connect(error) => error,
        other => panic!("{other}"),
    })
}

/// Both kinds of connection must come to the same end.
macro_rules! both_fail {
    ($text:expr, $pattern:pat) => {
        let text: &str = &$text;
        let error = sql(text).await.unwrap_err();
        assert!(matches!(error, $pattern), "{text}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("sesame"), "{error:?}");
        let error = replication(text).await.unwrap_err();
        assert!(matches!(error, $pattern), "replication {text}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("sesame"), "{error:?}");
    };
}

pub mod certificates;
mod libpq;
mod logins;
mod names;
mod sessions;
