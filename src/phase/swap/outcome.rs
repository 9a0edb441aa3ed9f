//! How an attempt to swap ends.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::error::{Doing, Error};
use crate::lane::feed::FeedError;
use crate::lifecycle::SwapTimes;
use crate::pg::activity::{ActivityError, Holder, Wait};
use crate::phase::is_lock_wait;

pub(super) enum Outcome {
    Swapped(Swapped),
    /// `must_end`: only what nobody should end is in the way, an autovacuum to prevent wraparound.
    Postponed {
        why: String,
        blockers: Vec<String>,
        must_end: bool,
    },
}

pub(super) struct Swapped {
    pub(super) compared: u64,
    pub(super) times: SwapTimes,
    pub(super) commit_ms: f64,
    pub(super) stall_ms: f64,
}

/// Why an attempt is rolled back.
pub(super) enum Stop {
    /// Something took too long: the next attempt may succeed.
    Postpone(String),
    /// An error, which ends the phase.
    Fail(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Fail(error)
    }
}

impl From<FeedError> for Stop {
    fn from(error: FeedError) -> Self {
        Self::Fail(error.into())
    }
}

impl From<ActivityError> for Stop {
    fn from(error: ActivityError) -> Self {
        match error {
            // Sessions that we may not see may have an old snapshot.
            ActivityError::Blind(_) => Self::Postpone(error.to_string()),
            ActivityError::Postgres(_) => Self::Fail(error.into()),
        }
    }
}

/// Why an attempt ends, and who blocked it.
pub(super) struct Blocked {
    pub(super) stop: Stop,
    pub(super) blockers: Vec<String>,
    pub(super) must_end: bool,
}

impl Blocked {
    /// Postpones if a lock was not granted in time, and fails on any other error.
    pub(super) fn of(error: tokio_postgres::Error, doing: &str, why: &str, wait: Option<&Wait>) -> Self {
        let is_late = is_lock_wait(&error) || error.code() == Some(&SqlState::QUERY_CANCELED);
        if !is_late {
            return Self {
                stop: Stop::Fail(Error::Postgres { doing: doing.to_owned(), source: error }),
                blockers: Vec::new(),
                must_end: false,
            };
        }
        let on = wait.map_or_else(String::new, |wait| format!(" ({} on {})", wait.mode, wait.on));
        let holders: Vec<&Holder> = wait.into_iter().flat_map(|wait| &wait.holders).collect();
        let must_end =
            |holder: &&Holder| matches!(holder, Holder::Backend(backend) if backend.prevents_wraparound);
        Self {
            stop: Stop::Postpone(format!("{why}{on}")),
            must_end: !holders.is_empty() && holders.iter().all(must_end),
            blockers: holders.into_iter().map(ToString::to_string).collect(),
        }
    }

    pub(super) async fn end(self, client: &Client) -> Result<Outcome, Error> {
        // If the connection was lost, the server has rolled back already.
        let rolled_back = roll_back(client).await;
        match self.stop {
            Stop::Fail(error) => Err(error),
            Stop::Postpone(why) => {
                rolled_back?;
                Ok(Outcome::Postponed { why, blockers: self.blockers, must_end: self.must_end })
            }
        }
    }
}

async fn roll_back(client: &Client) -> Result<(), Error> {
    client.batch_execute("ROLLBACK").await.doing("rolling back an attempt to swap")
}
