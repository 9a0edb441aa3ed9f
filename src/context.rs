//! What a command was given: the server, the plan, and how to tell and be told.

use std::sync::Arc;

use tokio::sync::watch;

use crate::error::Error;
use crate::event::{Event, Reporter};
use crate::lifecycle::Phase;
use crate::pg::connect::Target;
use crate::plan::Plan;

/// What a command was given.
pub struct Context {
    /// The server.
    pub target: Target,
    /// The plan.
    pub plan: Plan,
    /// Where events go.
    pub reporter: Arc<dyn Reporter>,
    /// Stop after this phase.
    pub until: Option<Phase>,
    /// Asked right before the swap, where it may block; may wait for a person.
    pub may_swap: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Turns true when somebody asks to stop.
    pub interrupted: watch::Receiver<bool>,
}

impl Context {
    /// Tells an event.
    pub fn tell(&self, event: &Event) {
        self.reporter.tell(event);
    }

    /// Comes when somebody asks to stop.
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
