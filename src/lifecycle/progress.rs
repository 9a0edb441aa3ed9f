//! The fold: from facts to where a run stands, and what comes next.

use std::collections::BTreeSet;

use super::{Blocks, Fact, Prepared, SwapTimes, Verification};
use crate::pg::Lsn;

/// The stations of a run's journey, in their order.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    clap::ValueEnum,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Phase {
    /// Make green's home, green, the publication.
    Prepare,
    /// Copy every row that was there at a consistent point.
    Copy,
    /// Apply the stream until its lag is small.
    CatchUp,
    /// Build green's indexes.
    Index,
    /// Compare blue and green at one point in time.
    Verify,
    /// Exchange them.
    Swap,
    /// Validate foreign keys, drop slot and publication.
    Settle,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Phase::Prepare => "prepare",
            Phase::Copy => "copy",
            Phase::CatchUp => "catch up",
            Phase::Index => "index",
            Phase::Verify => "verify",
            Phase::Swap => "swap",
            Phase::Settle => "settle",
        })
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Blue is what it was before.
    RolledBack,
    /// Green is live, blue is gone.
    Finished,
}

/// The facts are not those of any possible run: the journal was tampered with, or a program of
/// another version wrote it.
#[derive(Debug, thiserror::Error)]
#[error("the journal cannot be right: {fact} cannot follow what came before it")]
pub struct IllegalFact {
    /// The fact, by name.
    pub fact: &'static str,
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
    pub fn left(&self) -> impl Iterator<Item = Phase> + use<> {
        let over = self.ended.is_some();
        self.stations().into_iter().filter(move |(_, done)| !done && !over).map(|(phase, _)| phase)
    }

    /// The phases that are done, in their order.
    #[must_use]
    pub fn done(&self) -> Vec<Phase> {
        self.stations().into_iter().filter(|(_, done)| *done).map(|(phase, _)| phase).collect()
    }

    /// Why nothing is left but a rollback, where that is so.
    #[must_use]
    pub fn only_rollback(&self) -> Option<String> {
        if self.rolling_back {
            return Some("the run is being rolled back".to_owned());
        }
        self.given_up.as_ref().map(|why| format!("the run was given up ({why})"))
    }

    fn stations(&self) -> [(Phase, bool); 7] {
        [
            (Phase::Prepare, self.prepared.is_some()),
            (Phase::Copy, self.copy_finished),
            (Phase::CatchUp, self.caught_up.is_some() || self.swapped.is_some()),
            (Phase::Index, self.indexed),
            (Phase::Verify, self.verified.is_some() || self.swapped.is_some()),
            (Phase::Swap, self.swapped.is_some()),
            (Phase::Settle, self.settled),
        ]
    }

    /// Takes one more fact in.
    ///
    /// # Errors
    /// If it cannot follow what came before it; nothing has changed then.
    pub fn add(&mut self, fact: &Fact) -> Result<(), IllegalFact> {
        let legal = |legal: bool, fact: &'static str| if legal { Ok(()) } else { Err(IllegalFact { fact }) };
        legal(self.ended.is_none(), "anything after the end")?;
        match fact {
            Fact::Started { host, pid, .. } => {
                self.orchestrator = Some((host.clone(), *pid));
                // What changed while nobody was looking was not tracked.
                self.verified = None;
                self.caught_up = None;
            }
            Fact::Prepared(prepared) => {
                legal(self.prepared.is_none(), "prepared")?;
                self.copied = vec![Blocks::default(); prepared.lanes.len()];
                self.rows_copied = vec![0; prepared.lanes.len()];
                self.prepared = Some((**prepared).clone());
            }
            Fact::SlotIntended => {
                legal(self.prepared.is_some(), "slot_intended")?;
                self.slot_intended = true;
            }
            Fact::SlotCreated { lsn, filenodes } => {
                legal(self.slot_intended && self.slot.is_none(), "slot_created")?;
                legal(filenodes.len() == self.copied.len(), "slot_created")?;
                self.slot = Some(*lsn);
                self.filenodes.clone_from(filenodes);
            }
            Fact::RoundBegan { .. } => self.rounds += 1,
            Fact::ChunkCopied { lane, span, rows } => {
                legal(self.slot.is_some() && !self.copy_finished, "chunk_copied")?;
                let blocks = self.copied.get_mut(*lane).ok_or(IllegalFact { fact: "chunk_copied" })?;
                legal(blocks.add(*span), "chunk_copied")?;
                self.rows_copied[*lane] += rows;
            }
            Fact::KeyBuilt { lane } => {
                self.keys_built.insert(*lane);
            }
            Fact::DirtyKeysRead { .. } | Fact::RoundEnded { .. } => {
                legal(self.slot.is_some(), "round_ended")?;
            }
            Fact::CopyRestarted { .. } => {
                legal(!self.copy_finished, "copy_restarted")?;
                self.restart_copy();
            }
            Fact::CopyFinished => {
                legal(self.copied.iter().all(Blocks::is_everything), "copy_finished")?;
                self.copy_finished = true;
            }
            _ => return self.add_after_copy(fact),
        }
        Ok(())
    }

    fn add_after_copy(&mut self, fact: &Fact) -> Result<(), IllegalFact> {
        let legal = |legal: bool, fact: &'static str| if legal { Ok(()) } else { Err(IllegalFact { fact }) };
        match fact {
            Fact::CaughtUp { xid } => {
                legal(self.copy_finished, "caught_up")?;
                self.caught_up = Some(*xid);
            }
            Fact::IndexBuilt { lane, step, what } => {
                legal(self.prepared.is_some() && self.swapped.is_none(), "index_built")?;
                self.index_steps.add(*lane, *step, what);
            }
            Fact::Indexed => self.indexed = true,
            Fact::Verified(verification) => {
                legal(self.indexed && self.swapped.is_none(), "verified")?;
                self.verified = Some(verification.clone());
            }
            Fact::VerificationVoided => self.verified = None,
            Fact::Swapped { times, .. } => {
                legal(self.verified.is_some() && self.swapped.is_none(), "swapped")?;
                self.swapped = Some(*times);
            }
            Fact::StepSettled { lane, step, what } => {
                legal(self.swapped.is_some(), "step_settled")?;
                self.settled_steps.add(*lane, *step, what);
            }
            Fact::Settled => {
                legal(self.swapped.is_some(), "settled")?;
                self.settled = true;
            }
            Fact::GivenUp { why } => {
                legal(self.prepared.is_some() && self.swapped.is_none(), "given_up")?;
                self.given_up = Some(why.clone());
            }
            Fact::PartitionsDropped => {
                legal(self.swapped.is_none(), "partitions_dropped")?;
                self.rolling_back = true;
            }
            Fact::RolledBack => {
                legal(self.swapped.is_none(), "rolled_back")?;
                self.ended = Some(Ending::RolledBack);
            }
            Fact::Finished => {
                legal(self.swapped.is_some(), "finished")?;
                self.ended = Some(Ending::Finished);
            }
            _ => {}
        }
        Ok(())
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
mod tests {
    use super::*;

    fn folded(facts: &[&str]) -> StepsDone {
        let mut done = StepsDone::default();
        for fact in facts {
            match serde_json::from_str(fact).unwrap() {
                Fact::IndexBuilt { lane, step, what } | Fact::StepSettled { lane, step, what } => {
                    done.add(lane, step, &what);
                }
                other => panic!("{other:?}"),
            }
        }
        done
    }

    #[test]
    fn a_step_is_known_by_what_it_does_and_where_version_0_1_0_wrote_it_by_its_number() {
        let old = folded(&[
            r#"{"fact":"index_built","lane":0,"step":3}"#,
            r#"{"fact":"step_settled","lane":1,"step":0}"#,
        ]);
        assert!(old.has(0, 3, "index a on public.t") && old.has(1, 0, "validate x on public.t"));
        assert!(!old.has(0, 0, "index a on public.t"));
        let new =
            folded(&[r#"{"fact":"step_settled","lane":0,"step":7,"what":"validate x on public.t_p1"}"#]);
        assert!(new.has(0, 2, "validate x on public.t_p1"), "another version numbers otherwise");
        assert!(!new.has(0, 7, "validate x on public.t_p2"));
        assert_eq!((old.count(), new.count()), (2, 1));
    }
}
