//! The fold of a run's facts into its state, and the phase that comes next.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Arrived, Blocks, Broken, Ending, Fact, Phase, Prepared, Steps, StepsDone, SwapTimes, Verification,
};
use crate::hangs_on::Fingerprint;
use crate::pg::{Colour, Lsn, QName};
use crate::plan::Step;

/// No run can have produced the facts: the journal was edited, or another version of the program wrote it.
#[derive(Debug, thiserror::Error)]
#[error("the journal cannot be right: {fact} cannot follow the facts before it")]
pub struct IllegalFact {
    /// The name of the first fact that cannot follow those before it.
    pub fact: String,
}

/// The state of a run.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Host and pid of the orchestrator that took the run over last.
    pub orchestrator: Option<(String, u32)>,
    /// What `prepare` created.
    pub prepared: Option<Prepared>,
    /// Whether a slot may exist even if `slot` is `None`.
    pub slot_intended: bool,
    /// The LSN of the slot's consistent point.
    pub slot: Option<Lsn>,
    /// The filenode of each lane's blue before the slot was created.
    pub filenodes: Vec<u32>,
    /// The blocks copied, by lane.
    pub copied: Vec<Blocks>,
    /// The rows copied in chunks, by lane.
    pub rows_copied: Vec<u64>,
    /// The number of rounds of the copy begun.
    pub rounds: u32,
    /// The lanes whose green has the index of its key.
    pub keys_built: BTreeSet<usize>,
    /// Whether green holds every row of the last round's consistent point.
    pub copy_finished: bool,
    /// The transaction id noted when the stream had caught up.
    pub caught_up: Option<u64>,
    /// The statements of the index phase that were executed.
    pub index_steps: StepsDone,
    /// Whether all indexes were built.
    pub indexed: bool,
    /// Each lane's green when they were: DDL on it would be carried into the swap.
    pub greens: Vec<Fingerprint>,
    /// The last verification, unless it has become void.
    pub verified: Option<Verification>,
    /// The steps that build indexes in place.
    pub in_place: Vec<Step>,
    /// How far the plan's steps are, and those.
    pub steps: Steps,
    /// What gates compare with, in milliseconds, by their names.
    pub measured: BTreeMap<String, f64>,
    /// The state of the way back.
    pub way_back: WayBack,
    /// The parts of the last swap's stall, while green is live.
    pub swapped: Option<SwapTimes>,
    /// The number of swaps, in both directions.
    pub swaps: u32,
    /// Whether the run was taken over since the last swap, and not verified since: which keys had changed was only known to
    /// the session before.
    pub is_uncompared: bool,
    /// What the live tables are since the last swap.
    pub arrived: Option<Arrived>,
    /// Since when the table that is not live does not follow the live one, and why; `None` while it does.
    pub broken: Option<Broken>,
    /// The statements of `settle` that were executed.
    pub settled_steps: StepsDone,
    /// Whether `settle` is complete.
    pub settled: bool,
    /// Whether the way back is being closed: some of it may have been dropped.
    pub closing: bool,
    /// Why the way back was lost, if it was.
    pub way_back_lost: Option<String>,
    /// Why the run was given up, if it was.
    pub given_up: Option<String>,
    /// Whether a rollback has dropped a part of green.
    pub rolling_back: bool,
    /// Where blue was archived when the run was finished.
    pub archived: Vec<QName>,
    /// The live tables that were not there any more when the run ended.
    pub lost: Vec<QName>,
    /// How the run ended, if it did.
    pub ended: Option<Ending>,
}

/// Whether a swap can be undone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WayBack {
    /// Nothing was made of it: the plan has no soak, or the run has not come that far.
    #[default]
    None,
    /// Some of it may exist.
    Intended,
    /// Green's stream exists from this position on.
    Open(Lsn),
    /// The soak is over, or the way back was lost: what exists of it was dropped.
    Closed,
}

impl Progress {
    /// The table that clients use.
    #[must_use]
    pub fn live(&self) -> Colour {
        if self.swapped.is_some() { Colour::Green } else { Colour::Blue }
    }

    /// Whether the run is complete once it is prepared: nothing is copied.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        let copies_none = self.prepared.as_ref().is_some_and(|prepared| prepared.lanes.is_empty());
        copies_none && !self.in_place.is_empty()
    }

    /// Whether a swap can be undone by another one.
    #[must_use]
    pub fn is_reversible(&self) -> bool {
        self.has_streams() && !self.closing && self.given_up.is_none()
    }

    /// Whether slots and publications of the way back may exist.
    #[must_use]
    pub fn has_streams(&self) -> bool {
        matches!(self.way_back, WayBack::Open(_))
    }

    /// The state after `facts`, which are in the journal's order.
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

    /// The next phase; `None` if none is left before `finish`, or the run has ended.
    #[must_use]
    pub fn next_phase(&self) -> Option<Phase> {
        self.left().next()
    }

    /// The phases that are left, in their order.
    pub fn left(&self) -> impl Iterator<Item = Phase> {
        let is_left = |phase: &Phase| self.ended.is_none() && self.has(*phase) && !self.is_done(*phase);
        Phase::FORWARD.into_iter().filter(is_left)
    }

    /// The phases that are complete, in their order.
    #[must_use]
    pub fn done(&self) -> Vec<Phase> {
        Phase::FORWARD.into_iter().filter(|phase| self.has(*phase) && self.is_done(*phase)).collect()
    }

    /// What the last swap, or the rollback that was one, has left to do, each as a verb phrase.
    #[must_use]
    pub fn unsettled(&self) -> Vec<String> {
        let Some(prepared) = self.prepared.as_ref().filter(|_| self.swaps > 0 && !self.settled) else {
            return Vec::new();
        };
        let steps = prepared.settle(self.live()).into_iter();
        let left = steps.filter(|(lane, number, step)| !self.settled_steps.has(*lane, *number, &step.what));
        left.map(|(_, _, step)| step.what).collect()
    }

    /// What a rollback has to do, however often it is asked for: bring blue back; and drop green, if it was never live or with
    /// `drop_green`.
    #[must_use]
    pub fn phases_back(&self, drop_green: bool) -> Vec<Phase> {
        let settle = if self.settled { &[][..] } else { &[Phase::Settle] };
        let (back, drop): (&[Phase], bool) = match self.live() {
            Colour::Green if self.is_reversible() => {
                (&[Phase::CatchUp, Phase::Verify, Phase::Swap, Phase::Settle], drop_green)
            }
            Colour::Blue if self.swaps > 0 => (settle, drop_green || self.rolling_back),
            // Says why green cannot be left any more.
            Colour::Green | Colour::Blue => (&[], true),
        };
        back.iter().copied().chain(drop.then_some(Phase::Rollback)).collect()
    }

    /// What is left up to the swap and its settling, of a run that was verified in an earlier session.
    #[must_use]
    pub fn phases_to_swap(&self) -> Vec<Phase> {
        let all = [Phase::CatchUp, Phase::Verify, Phase::Swap, Phase::Settle];
        all.into_iter().filter(|phase| !self.is_done(*phase)).collect()
    }

    /// Whether the run has a phase at all: without a way back there is no soak.
    fn has(&self, phase: Phase) -> bool {
        let is_left = !self.is_in_place() || phase <= Phase::Prepare;
        is_left && (phase != Phase::Soak || !matches!(self.way_back, WayBack::None | WayBack::Intended))
    }

    /// Why the run can only be rolled back; `None` if it can be resumed.
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
            Phase::Settle => swapped && self.settled,
            Phase::Soak => swapped && !self.has_streams(),
            Phase::Rollback => self.ended == Some(Ending::RolledBack),
            Phase::Finish => self.ended == Some(Ending::Finished),
        }
    }

    /// Adds the next fact.
    ///
    /// # Errors
    /// If it cannot follow the facts before it; the state is then unchanged.
    pub fn add(&mut self, fact: &Fact) -> Result<(), IllegalFact> {
        self.expect(fact)?;
        self.take_in(fact);
        Ok(())
    }

    /// Whether the fact can follow.
    ///
    /// # Errors
    /// If it cannot follow the facts before it.
    pub fn expect(&self, fact: &Fact) -> Result<(), IllegalFact> {
        if self.allows(fact) { Ok(()) } else { Err(IllegalFact { fact: fact.name() }) }
    }

    /// Whether a run in this state can produce the fact. A transaction may be in flight while the run is given up, so
    /// the facts of a copy or an index build are legal after that, too.
    fn allows(&self, fact: &Fact) -> bool {
        let (prepared, swapped) = (self.prepared.is_some(), self.swapped.is_some());
        let may_swap = !swapped || self.is_reversible();
        self.ended.is_none()
            && match fact {
                Fact::Started { .. } | Fact::StepDone { .. } | Fact::StepIntended { .. } => true,
                Fact::Prepared(_) | Fact::InPlace { .. } => !prepared,
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
                Fact::CaughtUp { .. } => self.copy_finished && may_swap,
                Fact::IndexBuilt { .. } | Fact::GivenUp { .. } => prepared && !swapped,
                Fact::Indexed { .. } => self.copy_finished && !swapped,
                Fact::Verified(_) => self.indexed && may_swap,
                Fact::VerificationVoided => may_swap,
                Fact::Measured { .. } => prepared && !swapped,
                Fact::WayBackIntended => self.indexed && !swapped && self.way_back == WayBack::None,
                Fact::WayBackOpened { .. } => !swapped && self.way_back == WayBack::Intended,
                Fact::Swapped { live, .. } => {
                    self.verified.is_some() && may_swap && *live == self.live().other()
                }
                Fact::PartitionsDropped | Fact::RolledBack { .. } => !swapped,
                Fact::StepSettled { .. } | Fact::Settled => self.swaps > 0,
                Fact::WayBroken { .. } | Fact::WayMended => self.is_reversible(),
                Fact::WayBackClosing | Fact::WayBackLost { .. } => swapped && self.is_reversible(),
                Fact::Soaked => swapped && self.has_streams(),
                Fact::Finished { .. } => swapped || self.is_in_place(),
            }
    }

    fn take_in(&mut self, fact: &Fact) {
        match fact {
            Fact::Started { host, pid, .. } => {
                self.orchestrator = Some((host.clone(), *pid));
                // Changes between two sessions were not tracked.
                (self.verified, self.caught_up) = (None, None);
                self.is_uncompared = self.swapped.is_some();
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
            // Only for people who read the journal.
            Fact::DirtyKeysRead { .. } | Fact::RoundEnded { .. } => {}
            Fact::CopyRestarted { .. } => self.restart_copy(),
            Fact::CopyFinished => self.copy_finished = true,
            Fact::CaughtUp { xid } => self.caught_up = Some(*xid),
            Fact::IndexBuilt { lane, step, what } => self.index_steps.add(*lane, *step, what),
            Fact::Indexed { greens } => {
                self.indexed = true;
                self.greens.clone_from(greens);
            }
            Fact::Verified(found) => (self.verified, self.is_uncompared) = (Some(found.clone()), false),
            Fact::VerificationVoided => self.verified = None,
            Fact::InPlace { steps } => self.in_place.clone_from(steps),
            Fact::StepDone { step, way } => self.steps.done(step, *way),
            Fact::StepIntended { step, way, statement } => self.steps.intended(step, *way, *statement),
            Fact::Measured { gate, ms } => {
                self.measured.insert(gate.clone(), *ms);
            }
            Fact::WayBackIntended => self.way_back = WayBack::Intended,
            Fact::WayBackOpened { lsn } => self.way_back = WayBack::Open(*lsn),
            Fact::Swapped { live, times, arrived, .. } => {
                self.swaps += 1;
                self.swapped = (*live == Colour::Green).then_some(*times);
                (self.verified, self.caught_up, self.broken) = (None, None, None);
                self.arrived.clone_from(arrived);
                (self.settled, self.is_uncompared, self.settled_steps) = (false, false, StepsDone::default());
            }
            Fact::StepSettled { lane, step, what } => self.settled_steps.add(*lane, *step, what),
            Fact::Settled => self.settled = true,
            Fact::WayBroken { since, why, keys } => {
                self.broken = Some(Broken { since: since.clone(), why: why.clone(), keys: keys.clone() });
            }
            Fact::WayMended => self.broken = None,
            Fact::WayBackClosing => self.closing = true,
            Fact::Soaked => self.way_back = WayBack::Closed,
            Fact::WayBackLost { why } => {
                self.way_back = WayBack::Closed;
                self.way_back_lost = Some(why.clone());
            }
            Fact::GivenUp { why } => self.given_up = Some(why.clone()),
            Fact::PartitionsDropped => self.rolling_back = true,
            Fact::RolledBack { lost } => self.end(Ending::RolledBack, &[], lost),
            Fact::Finished { archived, lost } => self.end(Ending::Finished, archived, lost),
        }
    }

    fn end(&mut self, how: Ending, archived: &[QName], lost: &[QName]) {
        (self.archived, self.lost) = (archived.to_vec(), lost.to_vec());
        self.ended = Some(how);
    }

    /// The copy begins again, with a new slot: what was known of green's rows is void. The index of green's key is
    /// kept.
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
