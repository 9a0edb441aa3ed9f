//! Where the tables of a run stand, and what to type next: one place says it, whoever asks.
//!
//! Invariant: each sentence is true of the server in every state that it is said of; a test compares them with the
//! catalog.

use super::{Ending, Phase, Progress};

/// Where a run stands, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The state of the tables.
    pub state: String,
    /// What to type next.
    pub next: Option<String>,
    /// Whether `execute` goes on with it.
    pub is_resumable: bool,
}

impl Standing {
    /// Of a run; `plan` is the plan's file as somebody would type it.
    #[must_use]
    pub fn of(progress: &Progress, run: &str, plan: &str) -> Self {
        if let Some(ending) = progress.ended {
            let next = (ending == Ending::RolledBack).then(|| format!("projh-bluegreen execute {plan}"));
            return Self { next, ..Self::ended(ending) };
        }
        if let Some(why) = progress.only_rollback() {
            let state =
                format!("blue is live, and clients notice nothing; {why}, and can only be rolled back");
            return Self {
                state,
                next: Some(format!("projh-bluegreen rollback {run}")),
                is_resumable: false,
            };
        }
        match progress.next_phase() {
            None => Self {
                state: "swapped: green is live; blue is kept, and is not written any more".to_owned(),
                next: Some(format!("projh-bluegreen finish {run}")),
                is_resumable: false,
            },
            Some(Phase::Settle) => Self {
                state: "swapped: green is live; some work after the swap is left".to_owned(),
                next: Some(format!("projh-bluegreen execute {plan}")),
                is_resumable: true,
            },
            Some(phase) => {
                let mut state =
                    format!("blue is live, and clients notice nothing; the run goes on with: {phase}");
                if progress.slot.is_some() {
                    state += "; until it does or is rolled back, its slot keeps the server from reusing WAL";
                }
                let next = format!("projh-bluegreen execute {plan}, or projh-bluegreen rollback {run}");
                Self { state, next: Some(next), is_resumable: true }
            }
        }
    }

    /// Of a run that has ended so.
    #[must_use]
    pub fn ended(ending: Ending) -> Self {
        let state = match ending {
            Ending::RolledBack => {
                "rolled back: blue is live and as it was; nothing of the run is left but its journal"
            }
            Ending::Finished => {
                "finished: green is live, blue is gone; nothing of the run is left but its journal"
            }
        };
        Self { state: state.to_owned(), next: None, is_resumable: false }
    }
}
