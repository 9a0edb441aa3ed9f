//! Replication slots and WAL senders: free ones, the right to use them, the output plugin. Probed by
//! creating a temporary slot, which is dropped with its connection.

use tokio_postgres::error::SqlState;

use super::{CheckId, Finding};
use crate::context::Context;
use crate::error::{Doing, Error};
use crate::pg::Ident;
use crate::pg::connect::Session;
use crate::pg::{Colour, ConnectionRole, RunObjects};
use crate::plan::Plan;
use crate::replication::{ReplicationError, Walsender};

/// The run's own slot, and one for a round or a verification; with a soak, that of green's changes, too.
fn needed(plan: &Plan) -> i64 {
    if plan.settings.soak.is_zero() { 2 } else { 3 }
}

pub(super) async fn check(plan: &Plan, session: &Session) -> Result<Vec<Finding>, Error> {
    let needed = needed(plan);
    let mut findings = Vec::new();
    let sql = "SELECT current_setting('max_replication_slots')::bigint - (SELECT count(*) FROM pg_replication_slots), \
               current_setting('max_wal_senders')::bigint - (SELECT count(*) FROM pg_stat_get_wal_senders())";
    let row = session.query_one(sql, &[]).await.doing("counting slots")?;
    for (at, what, setting) in
        [(0, "replication slots", "max_replication_slots"), (1, "WAL senders", "max_wal_senders")]
    {
        let free: i64 = row.get(at);
        if free < needed {
            let what = format!("{free} {what} are free, and a run needs {needed}");
            let hint = format!("drop unused ones, or raise {setting} and restart the server");
            findings.push(Finding::server(CheckId::Slots, what, hint));
        }
    }
    Ok(findings)
}

/// Tries to create a temporary logical slot.
pub(super) async fn probe(cx: &Context, session: &Session) -> Result<Option<Finding>, Error> {
    let role = session.query_one("SELECT current_user::text", &[]).await.doing("asking for the role")?;
    let role = Ident(role.get(0));
    let settings = [("lock_timeout", "2s")];
    let mut walsender =
        match Walsender::connect(&cx.target, &ConnectionRole::of_command("check").to_string(), &settings)
            .await
        {
            Ok(walsender) => walsender,
            Err(error) => return finding(error, &role).map(Some),
        };
    let ours = RunObjects::passing("check");
    match walsender.create_slot(ours.slot(Colour::Blue).as_str(), true).await {
        Ok(_) => Ok(None),
        // An open transaction delays it; `open_transactions` names that.
        Err(error) if error.sqlstate() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(None),
        Err(error) => finding(error, &role).map(Some),
    }
}

fn finding(error: ReplicationError, role: &Ident) -> Result<Finding, Error> {
    let hint = match error.sqlstate() {
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => format!("alter role {role} replication"),
        Some(code) if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            format!("let pg_hba.conf allow {role} to connect to this database for replication")
        }
        Some(code) if *code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE => {
            "alter system set wal_level = 'logical'; then restart the server".to_owned()
        }
        Some(_) => format!("let {role} create a logical slot with the plugin pgoutput"),
        None => return Err(error.into()),
    };
    Ok(Finding::server(CheckId::Replication, error.to_string(), hint))
}
