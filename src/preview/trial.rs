//! Creates green in a transaction that is rolled back, to learn what only a server can tell: how its rows are hashed,
//! how long a DDL statement takes, and the pace of a sample.
//!
//! Invariant: it has names of its own, so that a real run that begins at the same moment neither waits for
//! it nor finds it.

use std::time::Instant;

use crate::error::{Doing, Error};
use crate::hangs_on::Homes;
use crate::lane::Lane;
use crate::lane::compare::Comparison;
use crate::lifecycle::{LaneDesign, distinct_homes};
use crate::pg::connect::Session;
use crate::pg::sql::{Statement, joined};
use crate::pg::{self, ConnectionRole, RunObjects, rolled_back};

use super::sample::{self, Sample, Sampled};
use super::subject::Subject;

/// What the trial has measured.
#[derive(Default)]
pub(super) struct Trial {
    /// The comparison of each lane; empty once the lanes are swapped.
    pub(super) comparisons: Vec<Comparison>,
    /// Seconds per DDL statement; `None` if that was not measured.
    pub(super) ddl_s: Option<f64>,
    /// The sample of each lane; `None` for a table that was not sampled.
    pub(super) samples: Vec<Option<Sample>>,
    /// Why a table was not sampled; `None` if all were.
    pub(super) why_not: Option<String>,
}

impl Trial {
    pub(super) async fn make(session: &Session, subject: &Subject<'_>) -> Result<Self, Error> {
        if subject.lanes.is_empty() {
            return Ok(Self::default());
        }
        let tried = rolled_back(session, "BEGIN", Self::of_green(session, subject)).await;
        tried.doing("trying green out")?
    }

    async fn of_green(session: &Session, subject: &Subject<'_>) -> Result<Self, Error> {
        let mut trial = Self::default();
        let lanes = if subject.has_green() {
            subject.lanes.iter().cloned().zip(subject.prepared.lanes.iter().cloned()).collect()
        } else {
            trial.make_green(session, subject).await?
        };
        for (number, (lane, _)) in lanes.iter().enumerate() {
            let comparison = Comparison::of(session, lane).await?;
            trial.comparisons.push(comparison.along(&subject.lanes[number]));
        }
        trial.why_not = if !subject.forward.settings.now().preview.sample {
            Some("the plan does not allow a sample".to_owned())
        } else if subject.is_live {
            Some("the run is being executed, and is not disturbed by a sample".to_owned())
        } else {
            trial.take_samples(session, subject, &lanes).await?
        };
        Ok(trial)
    }

    /// The lanes to a green of this trial's own.
    async fn make_green(
        &mut self,
        session: &Session,
        subject: &Subject<'_>,
    ) -> Result<Vec<(Lane, LaneDesign)>, Error> {
        let ours = RunObjects::passing("preview");
        let mut designs = subject.prepared.lanes.clone();
        let homes = Homes::of_tables(&ours, subject.prepared.lanes.iter().map(|design| &design.table));
        for (design, homes) in designs.iter_mut().zip(homes) {
            design.green.homes = homes;
        }
        let mut statements: Vec<Statement> =
            distinct_homes(&designs).into_iter().flat_map(Homes::create).collect();
        let mut lanes = Vec::new();
        for (lane, design) in subject.lanes.iter().zip(designs) {
            statements.extend(design.green.create());
            lanes.push((Lane { target: design.green.at_home(), ..lane.clone() }, design));
        }
        let begun = Instant::now();
        session.batch_execute(&joined(&statements)).await.doing("trying green out")?;
        self.ddl_s = Some(begun.elapsed().as_secs_f64() / statements.len() as f64);
        Ok(lanes)
    }

    /// Samples each table; returns why one was not sampled.
    async fn take_samples(
        &mut self,
        session: &Session,
        subject: &Subject<'_>,
        lanes: &[(Lane, LaneDesign)],
    ) -> Result<Option<String>, Error> {
        let connect = |_| subject.cx.target.connect(ConnectionRole::of_command("preview"), &[]);
        let workers = (0..subject.forward.settings.now().workers).map(connect);
        let workers: Vec<Session> = futures_util::future::try_join_all(workers).await?;
        let share = sample::TIME / u32::try_from(lanes.len().max(1)).unwrap_or(1);
        let mut why_not = None;
        for ((lane, design), comparison) in lanes.iter().zip(&self.comparisons) {
            match sample::sample(session, &workers, &Sampled { lane, design, comparison }, share).await {
                Ok(sample) => self.samples.push(Some(sample).filter(|sample| sample.rows > 0)),
                Err(error) if error.is_closed() => return Err(error).doing("taking a sample"),
                Err(error) => {
                    self.samples.push(None);
                    why_not = Some(format!("{}: {}", lane.table.plain(), pg::describe(&error)));
                }
            }
        }
        Ok(why_not)
    }
}
