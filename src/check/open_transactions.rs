//! Transactions that have been open for long: they delay the consistent points, and the swap.

use std::time::Duration;

use super::{CheckId, Finding};
use crate::error::Error;
use crate::pg::activity::{self, ActivityError, Holder};
use crate::pg::connect::Session;

/// A transaction that has been open for longer is worth a note.
const LONG: Duration = Duration::from_secs(5);

pub(super) async fn check(session: &Session) -> Result<Vec<Finding>, Error> {
    let open = match activity::open_transactions(session, LONG).await {
        Ok(open) => open,
        // The check of rights refuses that.
        Err(ActivityError::Blind(_)) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let note = |backend| {
        let what = format!("an open transaction will hold up the run: {backend}");
        let hint = format!("end it, or wait: {}", Holder::Backend(backend).hint());
        Finding::server(CheckId::OpenTransactions, what, hint).into_note()
    };
    let mut findings: Vec<Finding> = open.into_iter().map(note).collect();
    for prepared in activity::prepared(session).await? {
        let (gid, owner, since) = (&prepared.gid, &prepared.owner, &prepared.since);
        let what = format!(
            "prepared transaction `{gid}` of {owner}, prepared at {since} UTC, prevents a slot from being created"
        );
        findings.push(Finding::server(
            CheckId::PreparedTransactions,
            what,
            Holder::Prepared(prepared).hint(),
        ));
    }
    Ok(findings)
}
