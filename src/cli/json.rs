//! Events for machines: one JSON object a line on standard output.

use serde_json::json;

use super::print;
use crate::error::Error;
use crate::event::{Event, Reporter};
use crate::plan::Problem;

pub(super) struct Lines;

impl Reporter for Lines {
    fn tell(&self, event: &Event) {
        if let Ok(line) = serde_json::to_string(event) {
            print(&line);
        }
    }

    fn failed(&self, error: &Error) {
        match error {
            Error::Plan(problems) => {
                for problem in problems.iter() {
                    print(&typed("problem", problem));
                }
            }
            Error::Differences(differences) => {
                for difference in differences {
                    let difference = serde_json::to_value(difference).unwrap_or_default();
                    print(&typed_value("difference", difference));
                }
            }
            _ => {}
        }
        let line = json!({
            "type": "error",
            "message": error.to_string(),
            "advice": error.advice(),
            "code": error.exit_code(),
        });
        print(&line.to_string());
    }
}

fn typed(name: &str, problem: &Problem) -> String {
    typed_value(name, serde_json::to_value(problem).unwrap_or_default())
}

fn typed_value(name: &str, mut value: serde_json::Value) -> String {
    if let Some(object) = value.as_object_mut() {
        object.insert("type".to_owned(), name.into());
    }
    value.to_string()
}
