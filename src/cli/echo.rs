//! The terminal's own `^C`: it would stand where what lives on the terminal is drawn, which would then be
//! cleared a line too low.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

/// Whether a control character is shown as such. What it was before is kept.
#[derive(Clone, Default)]
pub(super) struct Echo {
    before: Arc<Mutex<Option<Termios>>>,
}

impl Echo {
    /// Control characters are not shown. Nothing happens where standard input is no terminal, or is that
    /// of another job, whose settings are not ours.
    pub(super) fn mute(&self) {
        let is_ours = tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp());
        let Some(mut modes) = tcgetattr(io::stdin()).ok().filter(|_| is_ours) else { return };
        let before = modes.clone();
        modes.local_modes.remove(LocalModes::ECHOCTL);
        if tcsetattr(io::stdin(), OptionalActions::Now, &modes).is_ok() {
            self.before.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(before);
        }
    }

    /// As it was.
    pub(super) fn restore(&self) {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(modes) = before {
            // A terminal that is gone needs no settings.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &modes);
        }
    }
}
