//! What a command was given: the server, whom to tell, and what is to be reached.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::watch;

use crate::error::Error;
use crate::event::{Event, Reporter};
use crate::lifecycle::Phase;
use crate::pg::connect::Target;
use crate::plan::Plan;

/// What every command on a run has.
pub struct Context {
    /// The server.
    pub target: Target,
    /// Where events go.
    pub reporter: Arc<dyn Reporter>,
    /// Turns true when somebody asks to stop.
    pub interrupted: watch::Receiver<bool>,
    /// How long a server that is lost in the middle of the work is waited for.
    pub reconnect_for: Duration,
    /// Set once a run is to be begun, or was taken over: from then on the journal has to be asked for the state of the
    /// tables, and a server that is lost is waited for.
    pub has_begun: Arc<AtomicBool>,
}

/// What a command is to reach.
pub enum Goal {
    /// The plan was checked, and nothing changed.
    Checked(Plan),
    /// The plan was carried out.
    Forward(Forward),
    /// A run, by its id or its plan's name, was rolled back.
    Back {
        /// The run.
        run: String,
    },
    /// The blue tables of a run, by its id or its plan's name, were dropped.
    Finished {
        /// The run.
        run: String,
        /// Also where work after the swap is left, which is never done then.
        as_is: bool,
        /// Without waiting for sessions that may use blue's row types.
        now: bool,
    },
}

/// A plan that is to be carried out.
pub struct Forward {
    /// The plan.
    pub plan: Plan,
    /// Stop after this phase.
    pub until: Option<Phase>,
    /// Asked right before the swap, where it may block; may wait for a person.
    pub may_swap: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Forward {
    /// Whether a phase is within what was asked for.
    #[must_use]
    pub fn reaches(&self, phase: Phase) -> bool {
        self.until.is_none_or(|until| phase <= until)
    }
}

impl Context {
    /// Tells an event.
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
