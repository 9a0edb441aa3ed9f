//! Statistics: gathered so that the planner has them before the first client queries green.
//!
//! Gathering takes one CPU, and no lock that the stream or another index build would wait for long. So
//! it begins at the end of the copy, while the stream catches up and indexes are built.

use crate::error::{Doing, Error};
use crate::hangs_on::GreenIndex;
use crate::lifecycle::{LaneDesign, Phase};
use crate::pg::connect::Session;
use crate::pg::sql::{LockMode, Statement};
use crate::run::Run;

/// Begins in the background with every lane that needs no index for its statistics, if that has not begun, and the
/// index phase, which waits for it, is still to come.
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

/// Waits for the statistics that [`begin`] began with, and gathers the others.
pub(super) async fn finish(run: &mut Run<'_>) -> Result<(), Error> {
    while let Some(ended) = run.meanwhile.join_next().await {
        // Nobody aborts it while it is waited for: without an outcome it has panicked.
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

/// The lanes that may have an index on an expression if `computes`, otherwise the others. An expression's statistics
/// are those of its index, which has to be there first.
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

/// ANALYZE of green's parent, and with it of each of its partitions.
pub(crate) fn analyze(lane: &LaneDesign) -> Statement {
    let green = lane.green.at_home();
    Statement::on(&green, LockMode::ShareUpdateExclusive, "analyze", format!("ANALYZE {green}"))
}
