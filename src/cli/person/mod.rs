//! Events for a person: a checklist that is redrawn on the terminal, or plain lines.
//!
//! Results go to standard output, everything else to standard error.

mod checklist;
mod lines;
pub(super) mod units;
mod words;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::screen::Screen;
use crate::error::{Error, ExitCode};
use crate::event::{Event, Reporter};

use checklist::Checklist;
use lines::Lines;
use words::words;

/// Reports events to a person.
pub(super) struct Person {
    screen: Screen,
    lines: Mutex<Lines>,
    /// The checklist; `None` if standard error is not a terminal.
    checklist: Option<Arc<Mutex<Checklist>>>,
}

impl Person {
    pub(super) fn new(screen: Screen) -> Self {
        let now = Instant::now();
        let checklist = screen.is_live().then(|| Arc::new(Mutex::new(Checklist::new(screen.glyphs()))));
        if let Some(checklist) = &checklist {
            let (drawn, printed) = (Arc::clone(checklist), Arc::clone(checklist));
            screen.show(
                move |width| lock(&drawn).lines(Instant::now(), width),
                move |width| lock(&printed).print_done(Instant::now(), width),
            );
        }
        Self { screen, lines: Mutex::new(Lines::new(now)), checklist }
    }

    /// Prints the final checklist permanently, and the swap below it.
    fn end(&self, is_well: bool) {
        let Some(checklist) = &self.checklist else { return };
        let (last, swapped) = {
            let mut checklist = lock(checklist);
            checklist.end(is_well, Instant::now());
            (checklist.lines(Instant::now(), self.screen.width()), checklist.take_swapped())
        };
        self.screen.end(&last);
        if let Some(swapped) = swapped {
            self.screen.out(&swapped);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reporter for Person {
    fn tell(&self, event: &Event) {
        let now = Instant::now();
        let is_shown = self.checklist.as_ref().is_some_and(|checklist| lock(checklist).take_in(event, now));
        match event {
            Event::Swapped { .. } if is_shown => {}
            Event::Verified { .. } | Event::Swapped { .. } => self.screen.out(&words(event)),
            Event::End { code, state, next } => {
                self.end(matches!(code, ExitCode::Done | ExitCode::RolledBack));
                self.screen.out(state);
                if let Some(next) = next {
                    self.screen.out(&format!("next: {next}"));
                }
            }
            _ if is_shown => {}
            _ => {
                for line in lock(&self.lines).of(event, now) {
                    self.screen.err(&line);
                }
            }
        }
    }

    fn failed(&self, error: &Error) {
        self.end(false);
        self.screen.err(&match error {
            Error::Plan(problems) => problems.to_string(),
            other => format!("error: {other}"),
        });
        if let Some(differences) = error.differences() {
            for difference in &differences.shown {
                let kind = format!("{:?}", difference.kind).to_lowercase();
                let (table, digest) = (&difference.table, &difference.key_digest);
                let columns = match difference.columns.as_slice() {
                    [] => String::new(),
                    columns => format!(" in {}", columns.join(", ")),
                };
                self.screen.err(&format!("  {table}: {kind}{columns}, key digest {digest}"));
            }
        }
        if let Some(hint) = error.hint() {
            self.screen.err(&format!("hint: {hint}"));
        }
    }

    // The run is named where it matters.
    fn about(&self, _run: &str) {}
}
