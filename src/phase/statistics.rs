//! Statistics: so that the planner knows green before the first client does.
//!
//! They take one processor, and no lock that the stream or another index build would wait for long. So
//! they are gathered from the end of the copy on, while the stream catches up and indexes are built.

use crate::error::{Doing, Error};
use crate::hangs_on::GreenIndex;
use crate::lifecycle::{LaneDesign, Phase};
use crate::pg::connect::Session;
use crate::pg::sql::{LockMode, Statement};
use crate::run::Run;

/// Begins to gather those of every lane that needs no index for them, if that has not begun, and the index
/// phase, which waits for them, is still to come.
pub(super) fn begin(run: &mut Run<'_>) -> Result<(), Error> {
    let lanes = lanes(run, false)?;
    let is_waited_for = !run.journal.progress().indexed && run.forward.reaches(Phase::Index);
    if is_waited_for && run.meanwhile.is_empty() && !lanes.is_empty() {
        let target = run.cx.target.clone();
        let name = run.role("statistics");
        run.meanwhile.spawn(async move { gather(&target.connect(&name, &[]).await?, &lanes).await });
    }
    Ok(())
}

/// Waits for them, and gathers the others.
pub(super) async fn finish(run: &mut Run<'_>) -> Result<(), Error> {
    while let Some(ended) = run.meanwhile.join_next().await {
        // Nobody ends it while it is waited for: without an outcome it has panicked.
        match ended.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(outcome) => outcome?,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            Err(Err(_)) => return Err(Error::Interrupted),
        }
    }
    let lanes = lanes(run, true)?;
    if !lanes.is_empty() {
        gather(&run.connect("statistics").await?, &lanes).await?;
    }
    Ok(())
}

/// Statistics of an expression are those of its index: there has to be one. The lanes that may have such,
/// or those that have not.
fn lanes(run: &Run<'_>, computes: bool) -> Result<Vec<LaneDesign>, Error> {
    let lanes = super::prepared(run)?.lanes.into_iter();
    let may_compute = |lane: &LaneDesign| lane.green.indexes.iter().any(GreenIndex::may_compute);
    Ok(lanes.filter(|lane| may_compute(lane) == computes).collect())
}

async fn gather(session: &Session, lanes: &[LaneDesign]) -> Result<(), Error> {
    for lane in lanes {
        session.batch_execute(&analyze(lane).sql).await.doing("gathering statistics of green")?;
        tracing::info!(table = lane.table.plain(), "statistics gathered");
    }
    Ok(())
}

/// Green's parent, and with it each of its partitions.
pub(crate) fn analyze(lane: &LaneDesign) -> Statement {
    let green = lane.green.at_home();
    Statement::on(&green, LockMode::ShareUpdateExclusive, "analyze", format!("ANALYZE {green}"))
}
