//! The terminal's echo of `^C`: it would be printed into the lines that are redrawn, which would then be cleared a
//! line too low.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

/// Switches the echo of control characters off and back on.
#[derive(Clone, Default)]
pub(super) struct Echo {
    before: Arc<Mutex<Option<Termios>>>,
}

impl Echo {
    /// Switches the echo of control characters off. Does nothing if standard input is not a terminal, or is the
    /// terminal of another job.
    pub(super) fn mute(&self) {
        let is_ours = tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp());
        let Some(mut modes) = tcgetattr(io::stdin()).ok().filter(|_| is_ours) else { return };
        let before = modes.clone();
        modes.local_modes.remove(LocalModes::ECHOCTL);
        if tcsetattr(io::stdin(), OptionalActions::Now, &modes).is_ok() {
            self.before.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(before);
        }
    }

    /// Restores the setting from before [`Self::mute`].
    pub(super) fn restore(&self) {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(modes) = before {
            // A terminal that was closed needs no settings.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &modes);
        }
    }
}
