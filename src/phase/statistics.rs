//! Statistics: so that the planner knows green before the first client does.
//!
//! They take one processor, and no lock that the stream or another index build would wait for long. So
//! they are gathered from the end of the copy on, while the stream catches up and indexes are built.

use tokio::task::JoinSet;

use crate::engine::Run;
use crate::error::Error;
use crate::hangs_on::GreenIndex;
use crate::lifecycle::LaneDesign;
use crate::pg::connect::Session;

/// Statistics of all lanes, being gathered. Dropping it ends that.
pub struct Statistics {
    meanwhile: JoinSet<Result<(), Error>>,
    /// Statistics of an expression are those of its index: there has to be one.
    after: Vec<LaneDesign>,
}

impl Statistics {
    /// Begins to gather those that need no index.
    ///
    /// # Errors
    /// If the run has not been prepared.
    pub(super) fn begin(run: &Run<'_>) -> Result<Self, Error> {
        let computes = |lane: &LaneDesign| lane.green.indexes.iter().any(GreenIndex::may_compute);
        let (after, now): (Vec<_>, Vec<_>) = super::prepared(run)?.lanes.into_iter().partition(computes);
        let mut meanwhile = JoinSet::new();
        if !now.is_empty() {
            let (target, name) = (run.cx.target.clone(), run.role("statistics"));
            meanwhile.spawn(async move { gather(&target.connect(&name, &[]).await?, &now).await });
        }
        Ok(Self { meanwhile, after })
    }

    /// Waits for them, and gathers those that need an index.
    ///
    /// # Errors
    /// If the server said no.
    pub(super) async fn finish(mut self, run: &Run<'_>) -> Result<(), Error> {
        while let Some(ended) = self.meanwhile.join_next().await {
            // A task of ours ends in no other way than by its own outcome, unless it panics.
            ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        }
        if !self.after.is_empty() {
            gather(&run.connect("statistics").await?, &self.after).await?;
        }
        Ok(())
    }
}

async fn gather(session: &Session, lanes: &[LaneDesign]) -> Result<(), Error> {
    for lane in lanes {
        session.batch_execute(&analyze(lane)).await.map_err(Error::doing("gathering statistics of green"))?;
        tracing::info!(table = lane.table.plain(), "statistics gathered");
    }
    Ok(())
}

/// Green's parent, and with it each of its partitions.
pub(crate) fn analyze(lane: &LaneDesign) -> String {
    format!("ANALYZE {}", lane.green.at_home())
}
