//! Synchronous standbys: without them no commit of a run completes, and a run's stream must not count as one.

use super::{CheckId, Finding};
use crate::error::{Doing, Error};
use crate::pg::connect::Session;
use crate::pg::standbys::{self, Standbys};

pub(super) async fn check(session: &Session) -> Result<Vec<Finding>, Error> {
    let found = standbys::synchronous(session).await.doing("asking for standbys")?;
    let Some(standbys) = found else { return Ok(Vec::new()) };
    let mut findings = Vec::new();
    if standbys.are_missing() {
        let what = format!("every commit waits for a standby that is not connected: {standbys}");
        findings.push(Finding::server(CheckId::Standbys, what, Standbys::HINT));
    }
    if standbys.are_anybody() {
        let what = format!(
            "synchronous_standby_names is `{}`: a run's own stream would count as a standby, and clients' commits \
             would be confirmed that no standby has",
            standbys.names
        );
        findings.push(Finding::server(
            CheckId::Standbys,
            what,
            "name the standbys in synchronous_standby_names",
        ));
    }
    Ok(findings)
}
