//! What a command was given: the server, the reporter, and its goal.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use backon::BackoffBuilder as _;
use tokio::sync::watch;

use crate::error::Error;
use crate::event::{Event, Reporter};
use crate::in_force::InForce;
use crate::journal::requests::Finish;
use crate::lifecycle::Phase;
use crate::pg::connect::Target;
use crate::plan::Plan;

/// What every command on a run is given.
pub struct Context {
    /// How to connect to the server.
    pub target: Target,
    /// Receives the events.
    pub reporter: Arc<dyn Reporter>,
    /// Becomes true when somebody asks to stop.
    pub interrupted: watch::Receiver<bool>,
    /// How long to keep trying to reconnect to a server that was lost while a run was under way.
    pub reconnect_for: Duration,
    /// Set once a run may have been started or was taken over: from then on only the journal knows the state of the
    /// tables, and a lost connection is opened again.
    pub has_begun: Arc<AtomicBool>,
}

/// What a command is to achieve.
pub enum Goal {
    /// The plan has been checked, and nothing changed.
    Checked(Plan),
    /// The plan has been executed.
    Forward(Forward),
    /// A run has been rolled back: what it made was dropped; or, if green was live, the tables were exchanged again.
    Back {
        /// Its id, or its plan's name.
        run: String,
        /// How to do so.
        forward: Forward,
        /// Whether green is dropped even after a swap that was undone; otherwise it is kept, for another swap.
        drop_green: bool,
    },
    /// All rows of a run's tables have been compared again; nothing else of it is done.
    Compared {
        /// Its id, or its plan's name.
        run: String,
        /// How to do so.
        forward: Forward,
    },
    /// A run that was verified before has been swapped and settled.
    Swapped {
        /// Its id, or its plan's name.
        run: String,
        /// How to do so.
        forward: Forward,
    },
    /// The blue tables of a run have been dropped, or archived.
    Finished {
        /// Its id, or its plan's name.
        run: String,
        /// How to do what precedes it, and where blue is archived.
        forward: Forward,
        /// What it does not wait for.
        how: Finish,
    },
}

impl Goal {
    /// How long to try to reconnect to a server that was lost.
    #[must_use]
    pub fn reconnect_for(&self, cx: &Context) -> Duration {
        match self {
            Self::Forward(forward)
            | Self::Back { forward, .. }
            | Self::Compared { forward, .. }
            | Self::Swapped { forward, .. } => forward.settings.now().reconnect_for,
            Self::Checked(_) | Self::Finished { .. } => cx.reconnect_for,
        }
    }
}

/// A plan to execute, and how far.
pub struct Forward {
    /// The plan to execute.
    pub plan: Plan,
    /// The settings that it is executed with, which can change meanwhile.
    pub settings: InForce,
    /// The phase to stop after; `None` to run to the end.
    pub until: Option<Phase>,
    /// Whether the swap waits until a command on another terminal releases it.
    pub holds_swap: bool,
    /// Called right before the swap, on a thread where it may block; it may wait for a person's answer.
    pub may_swap: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Forward {
    /// A plan to execute to the end, without a question.
    #[must_use]
    pub fn of(plan: Plan) -> Self {
        let settings = InForce::of(&plan.settings);
        Self { plan, settings, until: None, holds_swap: false, may_swap: Arc::new(|| true) }
    }

    /// The same plan, for another goal of the run.
    #[must_use]
    pub fn again(&self) -> Self {
        let (settings, may_swap) = (self.settings.clone(), Arc::clone(&self.may_swap));
        Self { plan: self.plan.clone(), settings, until: None, holds_swap: false, may_swap }
    }

    /// The phases of the plan up to `until`, in their order.
    #[must_use]
    pub fn phases(&self) -> Vec<Phase> {
        let has_soak = !self.settings.now().soak.is_zero();
        let is_in = |phase: &Phase| self.reaches(*phase) && (has_soak || *phase != Phase::Soak);
        Phase::FORWARD.into_iter().filter(is_in).chain(self.finishes().then_some(Phase::Finish)).collect()
    }

    /// Whether the run is finished when the soak is over.
    #[must_use]
    pub fn finishes(&self) -> bool {
        self.settings.now().finishes_after_soak && self.until.is_none()
    }

    /// Whether a phase comes no later than `until`, and the plan has it: without a copy, preparing is all there is.
    #[must_use]
    pub fn reaches(&self, phase: Phase) -> bool {
        let last = if self.plan.is_in_place() { Phase::Prepare } else { Phase::Finish };
        phase <= self.until.map_or(last, |until| until.min(last))
    }
}

/// Pauses before a session that was lost is opened again, ever longer ones.
pub(crate) fn pauses() -> impl Iterator<Item = Duration> {
    backon::ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(Duration::from_secs(20))
        .without_max_times()
        .with_jitter()
        .build()
}

impl Context {
    /// Reports an event.
    pub fn tell(&self, event: &Event) {
        self.reporter.tell(event);
    }

    /// Resolves when somebody asks to stop.
    pub fn interrupted(&self) -> impl Future<Output = Error> + use<> {
        let mut interrupted = self.interrupted.clone();
        async move {
            // An error means that nobody is left who could ask.
            if interrupted.wait_for(|asked| *asked).await.is_err() {
                std::future::pending::<()>().await;
            }
            Error::Interrupted
        }
    }

    /// Whether somebody has asked to stop.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        *self.interrupted.borrow()
    }
}
