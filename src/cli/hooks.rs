//! The plan's hooks: commands that get what happens at the end of each phase, for chat and paging.
//!
//! Invariant: a hook holds up nothing. It is started, given one line of JSON on its standard input, and left alone; whether
//! it succeeds does not matter to the run.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jiff::Timestamp;

use crate::error::Error;
use crate::event::{Event, Reporter, line};

/// Reports to another reporter, and starts the hooks.
pub(super) struct Hooked {
    reporter: Arc<dyn Reporter>,
    /// The hooks of the plan, once it is read.
    hooks: OnceLock<Vec<Vec<String>>>,
    /// The run's short id, once it is known.
    run: Mutex<Option<String>>,
}

impl Hooked {
    pub(super) fn new(reporter: Arc<dyn Reporter>) -> Self {
        Self { reporter, hooks: OnceLock::new(), run: Mutex::default() }
    }

    /// Starts these from now on.
    pub(super) fn call(&self, hooks: &[Vec<String>]) {
        // The command has one plan.
        let _ = self.hooks.set(hooks.to_vec());
    }

    fn start_all(&self, event: &Event) {
        let known = self.run.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(hooks) = self.hooks.get().filter(|hooks| !hooks.is_empty()) else { return };
        if let Ok(line) = line::json(event, Timestamp::now(), known.as_deref()) {
            for hook in hooks {
                start(hook, &line);
            }
        }
    }
}

impl Reporter for Hooked {
    fn tell(&self, event: &Event) {
        self.reporter.tell(event);
        match event {
            Event::Run { run, .. } => {
                *self.run.lock().unwrap_or_else(PoisonError::into_inner) = Some(run.clone());
            }
            Event::PhaseDone { .. }
            | Event::Swapped { .. }
            | Event::Gate { why: Some(_), .. }
            | Event::End { .. } => self.start_all(event),
            _ => {}
        }
    }

    fn failed(&self, error: &Error) {
        self.reporter.failed(error);
        let (message, hint, code) = (error.to_string(), error.hint(), error.exit_code());
        self.start_all(&Event::Error { message, hint, code });
    }
}

/// What it prints goes nowhere. It outlives the program if it has to.
fn start(hook: &[String], line: &str) {
    let Some((program, arguments)) = hook.split_first() else { return };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.spawn() {
        Ok(mut child) => {
            if let Some(mut stdin) = child.stdin.take() {
                // A line is shorter than a pipe's buffer, so this does not block; a hook need not read it.
                let _ = writeln!(stdin, "{line}");
            }
            // Somebody has to wait for it, so that the system forgets it.
            std::thread::spawn(move || child.wait());
        }
        Err(error) => tracing::warn!(program, %error, "a hook could not be started"),
    }
}
