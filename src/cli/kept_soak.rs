//! An edit of the plan closes no way back: a soak that would be over by it, and at once, is ended by a command that says so.

use tokio_postgres::Client;

use crate::error::{Doing, Error};
use crate::journal::{self, requests};
use crate::plan::Plan;

/// Refuses a plan whose `soak` is over, if that of the plan executed before is not.
///
/// # Errors
/// If so. What else is wrong with the run is for the run itself to find.
pub(super) async fn expect(client: &Client, plan: &Plan) -> Result<(), Error> {
    let Ok(Some(run)) = journal::latest(client, &plan.name, false).await else { return Ok(()) };
    let progress = &run.progress;
    let is_open = progress.ended.is_none() && progress.swapped.is_some() && progress.is_reversible();
    let Some(arrived) = progress.arrived.as_ref().filter(|_| is_open) else { return Ok(()) };
    let id = &run.found.run;
    let (Ok(Some(before)), Ok(set)) = (journal::settings(client, id).await, requests::set(client, id).await)
    else {
        return Ok(());
    };
    let with = || set.iter().map(|(key, set)| (key, &set.value));
    let (before, now) = (before.with(with()), plan.settings.with(with()));
    if now.soak >= before.soak {
        return Ok(());
    }
    let sql = "SELECT extract(epoch FROM clock_timestamp())::float8 - $1::bigint";
    let passed: f64 = client.query_one(sql, &[&arrived.at]).await.doing("reading the server's time")?.get(0);
    if passed < now.soak.as_secs_f64() || passed >= before.soak.as_secs_f64() {
        return Ok(());
    }
    let shown = |settings: &crate::plan::Settings| settings.shown("soak").unwrap_or_default();
    let (was, is) = (shown(&before), shown(&now));
    Err(Error::Usage(format!(
        "the soak of run {id} was {was}, and is {is} in the plan now: it would be over at once, and the swap could not be undone any \
         more. `projh-bluegreen set {id} soak={is}` says that this is meant, and then execute; `projh-bluegreen finish {id}` ends the \
         run; otherwise give the plan its soak again"
    )))
}
