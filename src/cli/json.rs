//! Events for machines: one JSON object a line on standard output.

use super::screen::Screen;
use crate::error::Error;
use crate::event::{Event, Reporter};

pub(super) struct Lines(pub(super) Screen);

impl Reporter for Lines {
    fn tell(&self, event: &Event) {
        if let Ok(line) = serde_json::to_string(event) {
            self.0.out(&line);
        }
    }

    fn failed(&self, error: &Error) {
        match error {
            Error::Plan(problems) => {
                for problem in problems.iter() {
                    self.tell(&Event::Problem(problem.clone()));
                }
            }
            Error::Differences(differences) => {
                for difference in differences {
                    self.tell(&Event::Difference(difference.clone()));
                }
            }
            _ => {}
        }
        let (message, advice, code) = (error.to_string(), error.advice(), error.exit_code());
        self.tell(&Event::Error { message, advice, code });
    }
}
