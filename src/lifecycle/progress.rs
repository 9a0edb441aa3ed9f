//! The fold: from facts to where a run stands, and what comes next.

use std::collections::BTreeSet;

use super::{Blocks, Fact, Phase, Prepared, SwapTimes, Verification};
use crate::pg::Lsn;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Blue is what it was before.
    RolledBack,
    /// Green is live, blue is gone.
    Finished,
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::RolledBack => "rolled back",
            Self::Finished => "finished",
        })
    }
}

/// The facts are not those of any possible run: the journal was tampered with, or a program of
/// another version wrote it.
#[derive(Debug, thiserror::Error)]
#[error("the journal cannot be right: {fact} cannot follow the facts before it")]
pub struct IllegalFact {
    /// The fact, by name.
    pub fact: String,
}

/// Statements of a phase that are done, each by what it does on what. Where version 0.1.0 wrote the fact, by their
/// number among the lane's; that numbering is kept.
#[derive(Clone, Debug, Default)]
pub struct StepsDone {
    numbers: BTreeSet<(usize, usize)>,
    names: BTreeSet<(usize, String)>,
}

impl StepsDone {
    fn add(&mut self, lane: usize, step: usize, what: &str) {
        if what.is_empty() {
            self.numbers.insert((lane, step));
        } else {
            self.names.insert((lane, what.to_owned()));
        }
    }

    /// Whether a step of a lane is done.
    #[must_use]
    pub fn has(&self, lane: usize, step: usize, what: &str) -> bool {
        self.numbers.contains(&(lane, step)) || self.names.contains(&(lane, what.to_owned()))
    }

    /// How many are done.
    #[must_use]
    pub fn count(&self) -> usize {
        self.numbers.len() + self.names.len()
    }
}

/// Where a run stands.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Host, pid of the orchestrator that took the run over last.
    pub orchestrator: Option<(String, u32)>,
    /// What was made.
    pub prepared: Option<Prepared>,
    /// A slot may exist though `slot` is none.
    pub slot_intended: bool,
    /// The slot's consistent point.
    pub slot: Option<Lsn>,
    /// Blue's filenodes before the slot, by lane.
    pub filenodes: Vec<u32>,
    /// What was copied, by lane.
    pub copied: Vec<Blocks>,
    /// Rows that chunks brought, by lane.
    pub rows_copied: Vec<u64>,
    /// Rounds begun.
    pub rounds: u32,
    /// Lanes whose green has its key index.
    pub keys_built: BTreeSet<usize>,
    /// Green holds all.
    pub copy_finished: bool,
    /// The transaction id noted when the stream had caught up.
    pub caught_up: Option<u64>,
    /// Index statements done.
    pub index_steps: StepsDone,
    /// All indexes are there.
    pub indexed: bool,
    /// The last verification, as long as it counts.
    pub verified: Option<Verification>,
    /// The swap's times.
    pub swapped: Option<SwapTimes>,
    /// Statements after the swap done.
    pub settled_steps: StepsDone,
    /// The work after the swap is done.
    pub settled: bool,
    /// Why the run was given up.
    pub given_up: Option<String>,
    /// A part of green has been dropped.
    pub rolling_back: bool,
    /// The end.
    pub ended: Option<Ending>,
}

impl Progress {
    /// The state after all of `facts`.
    ///
    /// # Errors
    /// If no run can have produced them.
    pub fn of<'a>(facts: impl IntoIterator<Item = &'a Fact>) -> Result<Self, IllegalFact> {
        let mut progress = Self::default();
        for fact in facts {
            progress.add(fact)?;
        }
        Ok(progress)
    }

    /// What is to be done next; `None` if there is nothing left but to soak, or the run has ended.
    #[must_use]
    pub fn next_phase(&self) -> Option<Phase> {
        self.left().next()
    }

    /// What is left to be done, in its order.
    pub fn left(&self) -> impl Iterator<Item = Phase> {
        let is_left = |phase: &Phase| self.ended.is_none() && !self.is_done(*phase);
        Phase::FORWARD.into_iter().filter(is_left)
    }

    /// The phases that are done, in their order.
    #[must_use]
    pub fn done(&self) -> Vec<Phase> {
        Phase::FORWARD.into_iter().filter(|phase| self.is_done(*phase)).collect()
    }

    /// Why nothing is left but a rollback, where that is so.
    #[must_use]
    pub fn only_rollback(&self) -> Option<String> {
        if self.rolling_back {
            return Some("the run is being rolled back".to_owned());
        }
        self.given_up.as_ref().map(|why| format!("the run was given up ({why})"))
    }

    /// Whether a phase has nothing left to do.
    #[must_use]
    pub fn is_done(&self, phase: Phase) -> bool {
        let swapped = self.swapped.is_some();
        match phase {
            // A run begins once its checks have passed.
            Phase::Check => self.orchestrator.is_some(),
            Phase::Prepare => self.prepared.is_some(),
            Phase::Copy => self.copy_finished,
            Phase::CatchUp => self.caught_up.is_some() || swapped,
            Phase::Index => self.indexed,
            Phase::Verify => self.verified.is_some() || swapped,
            Phase::Swap => swapped,
            Phase::Settle => self.settled,
            Phase::Rollback => self.ended == Some(Ending::RolledBack),
            Phase::Finish => self.ended == Some(Ending::Finished),
        }
    }

    /// Takes one more fact in.
    ///
    /// # Errors
    /// If it cannot follow the facts before it; nothing has changed then.
    pub fn add(&mut self, fact: &Fact) -> Result<(), IllegalFact> {
        if !self.allows(fact) {
            return Err(IllegalFact { fact: fact.name() });
        }
        self.take_in(fact);
        Ok(())
    }

    /// Whether a run that stands here can produce the fact. A transaction may be on its way while the run is given up:
    /// what a copy or an index makes is legal after that, too.
    fn allows(&self, fact: &Fact) -> bool {
        let (prepared, swapped) = (self.prepared.is_some(), self.swapped.is_some());
        self.ended.is_none()
            && match fact {
                Fact::Started { .. } => true,
                Fact::Prepared(_) => !prepared,
                Fact::SlotIntended => prepared && !swapped,
                Fact::SlotCreated { filenodes, .. } => {
                    self.slot_intended && self.slot.is_none() && filenodes.len() == self.copied.len()
                }
                Fact::RoundBegan { .. } => self.slot.is_some() && !self.copy_finished,
                Fact::ChunkCopied { lane, span, .. } => {
                    let is_missing = |copied: &Blocks| copied.lacks(*span);
                    self.slot.is_some()
                        && !self.copy_finished
                        && self.copied.get(*lane).is_some_and(is_missing)
                }
                Fact::KeyBuilt { lane } => *lane < self.copied.len() && !swapped,
                Fact::DirtyKeysRead { .. } | Fact::RoundEnded { .. } => self.slot.is_some() && !swapped,
                Fact::CopyRestarted { .. } => prepared && !self.copy_finished,
                Fact::CopyFinished => {
                    self.slot.is_some()
                        && !self.copy_finished
                        && self.copied.iter().all(Blocks::is_everything)
                }
                Fact::CaughtUp { .. } => self.copy_finished && !swapped,
                Fact::IndexBuilt { .. } | Fact::GivenUp { .. } => prepared && !swapped,
                Fact::Indexed => self.copy_finished && !swapped,
                Fact::Verified(_) => self.indexed && !swapped,
                Fact::Swapped { .. } => self.verified.is_some() && !swapped,
                Fact::VerificationVoided | Fact::PartitionsDropped | Fact::RolledBack => !swapped,
                Fact::StepSettled { .. } | Fact::Settled | Fact::Finished => swapped,
            }
    }

    fn take_in(&mut self, fact: &Fact) {
        match fact {
            Fact::Started { host, pid, .. } => {
                self.orchestrator = Some((host.clone(), *pid));
                // What changed while nobody was looking was not tracked.
                self.verified = None;
                self.caught_up = None;
            }
            Fact::Prepared(prepared) => {
                self.copied = vec![Blocks::default(); prepared.lanes.len()];
                self.rows_copied = vec![0; prepared.lanes.len()];
                self.prepared = Some((**prepared).clone());
            }
            Fact::SlotIntended => self.slot_intended = true,
            Fact::SlotCreated { lsn, filenodes } => {
                self.slot = Some(*lsn);
                self.filenodes.clone_from(filenodes);
            }
            Fact::RoundBegan { .. } => self.rounds += 1,
            Fact::ChunkCopied { lane, span, rows } => {
                self.copied[*lane].add(*span);
                self.rows_copied[*lane] += rows;
            }
            Fact::KeyBuilt { lane } => {
                self.keys_built.insert(*lane);
            }
            // For people who read the journal.
            Fact::DirtyKeysRead { .. } | Fact::RoundEnded { .. } => {}
            Fact::CopyRestarted { .. } => self.restart_copy(),
            Fact::CopyFinished => self.copy_finished = true,
            Fact::CaughtUp { xid } => self.caught_up = Some(*xid),
            Fact::IndexBuilt { lane, step, what } => self.index_steps.add(*lane, *step, what),
            Fact::Indexed => self.indexed = true,
            Fact::Verified(verification) => self.verified = Some(verification.clone()),
            Fact::VerificationVoided => self.verified = None,
            Fact::Swapped { times, .. } => self.swapped = Some(*times),
            Fact::StepSettled { lane, step, what } => self.settled_steps.add(*lane, *step, what),
            Fact::Settled => self.settled = true,
            Fact::GivenUp { why } => self.given_up = Some(why.clone()),
            Fact::PartitionsDropped => self.rolling_back = true,
            Fact::RolledBack => self.ended = Some(Ending::RolledBack),
            Fact::Finished => self.ended = Some(Ending::Finished),
        }
    }

    /// The copy begins again, at a slot of its own: all that was known of green's rows is void.
    /// Green's key index stays.
    fn restart_copy(&mut self) {
        let lanes = self.copied.len();
        self.slot = None;
        self.slot_intended = true;
        self.filenodes.clear();
        self.copied = vec![Blocks::default(); lanes];
        self.rows_copied = vec![0; lanes];
    }
}

#[cfg(test)]
mod tests;
