//! The state of a run's tables and the next command, in sentences; the only place that words them.
//!
//! Invariant: each sentence is true of the server in every state in which it is printed; a test compares them with
//! the catalog.

use super::{Ending, Phase, Progress};

/// The state of a run, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The state of the tables, in a sentence.
    pub state: String,
    /// The command to type next; `None` if there is none.
    pub next: Option<String>,
    /// Whether `execute` resumes the run.
    pub is_resumable: bool,
}

impl Standing {
    /// The standing of a run; `plan` is the plan's file as a person would type it.
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
                state: "swapped: green is live; blue is kept, but no longer written".to_owned(),
                next: Some(format!("projh-bluegreen finish {run}")),
                is_resumable: false,
            },
            Some(Phase::Soak) => {
                let state = match &progress.broken {
                    None => {
                        "swapped: green is live; the swap can be undone, and while `execute` runs, blue follows".to_owned()
                    }
                    Some((since, why)) => format!(
                        "swapped: green is live; blue has not followed it since {since}, and there is no way back as long as \
                         that lasts: {why}"
                    ),
                };
                let next = format!("projh-bluegreen execute {plan}, or projh-bluegreen rollback {run}");
                Self { state, next: Some(next), is_resumable: true }
            }
            Some(_) if progress.swapped.is_some() => Self {
                state: "swapped: green is live; some work after the swap is left".to_owned(),
                next: Some(format!("projh-bluegreen execute {plan}")),
                is_resumable: true,
            },
            Some(_) if progress.swaps > 0 => Self {
                state: "rolled back: blue is live, with all that was written to green; green is kept, and follows blue while \
                        `execute` runs; otherwise the slots make the server retain WAL"
                    .to_owned(),
                next: Some(format!(
                    "projh-bluegreen execute {plan} swaps again, or projh-bluegreen rollback {run} drops green"
                )),
                is_resumable: true,
            },
            Some(phase) => {
                let mut state =
                    format!("blue is live, and clients notice nothing; the run resumes with: {phase}");
                if progress.slot.is_some() {
                    state += "; until it does or is rolled back, its slot makes the server retain WAL";
                }
                let next = format!("projh-bluegreen execute {plan}, or projh-bluegreen rollback {run}");
                Self { state, next: Some(next), is_resumable: true }
            }
        }
    }

    /// The standing of a run that has ended.
    #[must_use]
    pub fn ended(ending: Ending) -> Self {
        let state = match ending {
            Ending::RolledBack => {
                "rolled back: blue is live and as it was; nothing of the run is left but its journal"
            }
            Ending::Finished => {
                "finished: green is live, blue was dropped; nothing of the run is left but its journal"
            }
        };
        Self { state: state.to_owned(), next: None, is_resumable: false }
    }
}
