//! Events for machines: one JSON object a line on standard output.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::screen::Screen;
use crate::error::{Error, ExitCode};
use crate::event::{Event, Reporter, line};

pub(super) struct Lines {
    screen: Screen,
    /// The run, once it is known.
    run: Mutex<Option<String>>,
}

impl Lines {
    pub(super) fn new(screen: Screen) -> Self {
        Self { screen, run: Mutex::new(None) }
    }

    /// Reports a command line that is not valid; `text` is the message for people.
    pub(super) fn misused(&self, text: &str) {
        let words = text.lines().take_while(|line| !line.is_empty()).flat_map(str::split_whitespace);
        // A database URL may hold a password.
        let words = words.map(|word| if word.contains("://") && word.contains('@') { "..." } else { word });
        let message = words.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned();
        let (code, next) = (ExitCode::Usage, Some("projh-bluegreen --help".to_owned()));
        self.tell(&Event::Error { message, hint: None, code });
        self.tell(&Event::End { code, state: "nothing was changed".to_owned(), next });
    }
}

impl Reporter for Lines {
    fn tell(&self, event: &Event) {
        if let Event::Run { run, .. } = event {
            self.about(run);
        }
        let known = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(line) = line::json(event, Timestamp::now(), known.as_deref()) {
            self.screen.out(&line);
        }
    }

    fn failed(&self, error: &Error) {
        if let Error::Plan(problems) = error {
            for problem in problems.iter() {
                self.tell(&Event::Problem(problem.clone()));
            }
        }
        for difference in error.differences().into_iter().flat_map(|differences| &differences.shown) {
            self.tell(&Event::Difference(difference.clone()));
        }
        let (message, hint, code) = (error.to_string(), error.hint(), error.exit_code());
        self.tell(&Event::Error { message, hint, code });
    }

    fn about(&self, run: &str) {
        *self.run.lock().unwrap_or_else(PoisonError::into_inner) = Some(run.to_owned());
    }
}
