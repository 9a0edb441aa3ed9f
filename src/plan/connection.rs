//! The plan's own connection string.
//!
//! Invariant: it may hold a password, so no `Debug` shows it.

use std::fmt;

use super::problem::{Collected, Problems};
use super::yaml::{Node, Value};

/// Where to connect, as far as the plan says.
#[derive(Clone, Default)]
pub struct Connection(Given);

#[derive(Clone, Default)]
enum Given {
    /// The plan says nothing: the command line and libpq's variables decide.
    #[default]
    Nothing,
    Url(String),
    /// It names an environment variable that is not set.
    Unset(Problems),
}

impl Connection {
    /// The connection string, if the plan has one.
    ///
    /// # Errors
    /// If it names a variable that is not set. That matters only to whoever needs the string: a command line with a
    /// connection of its own does not.
    pub fn url(&self) -> Result<Option<&str>, Problems> {
        match &self.0 {
            Given::Nothing => Ok(None),
            Given::Url(url) => Ok(Some(url)),
            Given::Unset(problems) => Err(problems.clone()),
        }
    }

    /// Reads `database` of the plan in `text`. An empty URL, as from `${DATABASE_URL:-}`, counts as none.
    pub(super) fn read(plan: &Node, file: &str, text: &str) -> Self {
        let url = plan.get("database").and_then(|database| database.get("url"));
        let Some(node) = url else { return Self::default() };
        Self(match &node.value {
            Value::Scalar(url) if !url.text.trim().is_empty() => Given::Url(url.text.clone()),
            Value::Unset(unset) => {
                let mut found = Collected::default();
                found.add_with_hint(node.at, unset.message.clone(), unset.hint.clone());
                found.into_problems(file, text).map_or(Given::Nothing, Given::Unset)
            }
            _ => Given::Nothing,
        })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Given::Nothing => "Connection(none)",
            Given::Url(_) => "Connection(..)",
            Given::Unset(_) => "Connection(unset)",
        })
    }
}
