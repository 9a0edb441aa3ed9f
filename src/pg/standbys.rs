//! Synchronous standbys, which every commit waits for.

use std::fmt;

use tokio_postgres::Client;

use super::ours::LIKE_OURS;

/// What commits on this server wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standbys {
    /// The setting `synchronous_standby_names`.
    pub names: String,
    /// How many of them have to confirm a commit.
    pub wanted: i64,
    /// How many can confirm one now; `None` if the role may not see it.
    pub connected: Option<i64>,
}

impl Standbys {
    /// Whether no commit can complete, because too few standbys are connected.
    #[must_use]
    pub fn are_missing(&self) -> bool {
        self.connected.is_some_and(|connected| connected < self.wanted)
    }

    /// Whether the setting has a `*`: any standby counts, and so would a run's own stream.
    #[must_use]
    pub fn are_anybody(&self) -> bool {
        self.names.split([',', '(', ')', ' ', '"']).any(|name| name == "*")
    }

    /// What to do if they are missing.
    pub const HINT: &'static str =
        "start the standby, or alter system set synchronous_standby_names = ''; select pg_reload_conf()";
}

impl fmt::Display for Standbys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "synchronous_standby_names is `{}`", self.names)?;
        match self.connected {
            Some(connected) => write!(f, ", which needs {} to confirm, and {connected} can", self.wanted),
            None => Ok(()),
        }
    }
}

/// The standbys that commits wait for; `None` if they wait for none.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub async fn synchronous(client: &Client) -> Result<Option<Standbys>, tokio_postgres::Error> {
    let sql = format!(
        "SELECT current_setting('synchronous_standby_names'), CASE WHEN pg_has_role('pg_read_all_stats', 'USAGE') \
         THEN (SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum') \
         AND state = 'streaming' AND application_name NOT {LIKE_OURS}) END"
    );
    let row = client.query_one(&sql, &[]).await?;
    let names: String = row.get(0);
    let wanted = wanted(&names);
    Ok((!names.trim().is_empty()).then(|| Standbys { names, wanted, connected: row.get(1) }))
}

/// The standbys that a commit of this role and program waits for in vain; `None` if none does.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub async fn waited_for(client: &Client) -> Result<Option<Standbys>, tokio_postgres::Error> {
    let sql = format!(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND usename = session_user \
         AND datname = current_database() AND application_name {LIKE_OURS})"
    );
    if !client.query_one(&sql, &[]).await?.get::<_, bool>(0) {
        return Ok(None);
    }
    // A standby that is connected confirms it shortly.
    Ok(synchronous(client).await?.filter(|standbys| standbys.connected.is_none() || standbys.are_missing()))
}

/// How many have to confirm: `FIRST 2 (a, b)`, `ANY 2 (a, b)`, `2 (a, b)`, or a list, of which one is enough.
fn wanted(names: &str) -> i64 {
    let Some((before, _)) = names.split_once('(') else { return 1 };
    before.split_whitespace().last().and_then(|number| number.parse().ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_have_to_confirm() {
        for (names, number) in
            [("a, b", 1), ("FIRST 2 (a, b, c)", 2), ("any 3(a,b,c)", 3), ("2 (a, b)", 2), ("*", 1)]
        {
            assert_eq!(wanted(names), number, "{names}");
        }
    }

    #[test]
    fn a_star_is_anybody() {
        let of = |names: &str| Standbys { names: names.to_owned(), wanted: 1, connected: None };
        for names in ["*", "ANY 1 (*)", "a, *", "\"*\""] {
            assert!(of(names).are_anybody(), "{names}");
        }
        assert!(!of("a, \"b*\"").are_anybody());
    }
}
