//! What is wrong with a plan: every problem with its position, as a good compiler reports it.
//!
//! Invariants: [`Problems`] is never empty and is in the order of the text. A snippet shows the plan's own lines, never
//! a value of the environment, and a password in a URL is masked.

use std::fmt;

use serde::Serialize;

/// A position in the plan's text; both count from 1, the column in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// One problem of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Problem {
    /// The plan's file, as the user named it.
    pub file: String,
    /// Its line, from 1; null if it is about the file as a whole.
    pub line: Option<usize>,
    /// Its column in characters, from 1; null if it is about the file as a whole.
    pub column: Option<usize>,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to write instead, if that is known.
    pub hint: Option<String>,
    /// The line of the plan, with passwords masked.
    #[serde(skip)]
    source: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        writeln!(f, ": {}", self.message)?;
        if let (Some(line), Some(column), Some(source)) = (self.line, self.column, &self.source) {
            let (source, caret) = excerpt(source, column);
            let number = line.to_string();
            let gutter = " ".repeat(number.len());
            writeln!(f, "  {number} | {source}")?;
            writeln!(f, "  {gutter} | {}^", " ".repeat(caret))?;
        }
        match &self.hint {
            Some(hint) => writeln!(f, "  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// All problems of a plan; at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(transparent)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// A single problem of the file as a whole.
    pub(super) fn of_file(file: &str, message: String, hint: Option<&str>) -> Self {
        let hint = hint.map(str::to_owned);
        Self(vec![Problem { file: file.to_owned(), line: None, column: None, message, hint, source: None }])
    }

    /// Each problem, in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// The number of problems; never 0.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        match self.len() {
            1 => write!(f, "the plan has 1 problem"),
            many => write!(f, "the plan has {many} problems"),
        }
    }
}

/// The problems found while a plan is read.
#[derive(Debug, Default)]
pub(super) struct Collected(Vec<(Position, String, Option<String>)>);

impl Collected {
    /// Adds a problem that needs no hint.
    pub(super) fn add(&mut self, at: Position, message: impl Into<String>) {
        self.0.push((at, message.into(), None));
    }

    /// Adds a problem with what to write instead.
    pub(super) fn add_with_hint(
        &mut self,
        at: Position,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        self.0.push((at, message.into(), hint.into()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The problems in the order of the text; `None` if there are none.
    pub(super) fn into_problems(mut self, file: &str, text: &str) -> Option<Problems> {
        self.0.sort_by_key(|(at, ..)| *at);
        self.0.dedup();
        let lines: Vec<&str> = text.lines().collect();
        let problems: Vec<Problem> = self
            .0
            .into_iter()
            .map(|(at, message, hint)| Problem {
                file: file.to_owned(),
                line: Some(at.line),
                column: Some(at.column),
                message,
                hint,
                source: lines.get(at.line.saturating_sub(1)).map(|line| mask_passwords(line)),
            })
            .collect();
        (!problems.is_empty()).then_some(Problems(problems))
    }
}

/// The part of a line that fits a terminal, and the number of spaces that put the caret under `column`.
fn excerpt(line: &str, column: usize) -> (String, usize) {
    const WIDTH: usize = 100;
    const BEFORE: usize = 60;
    let skip = if column > WIDTH { column - BEFORE } else { 0 };
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    let mut shown: String = line.chars().skip(skip).take(WIDTH).map(visible).collect();
    if line.chars().count() > skip + WIDTH {
        shown.push('…');
    }
    let before = if skip > 0 { "…" } else { "" };
    let caret = column.saturating_sub(1).saturating_sub(skip) + before.chars().count();
    (format!("{before}{}", shown.trim_end()), caret)
}

/// `postgres://app:secret@db` with the secret replaced by stars, column by column.
fn mask_passwords(line: &str) -> String {
    let mut masked = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + "://".len());
        masked.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || c == '/').unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        match authority.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?, host))) {
            Some(((user, password), host)) => {
                let stars = "*".repeat(password.chars().count());
                masked.push_str(&format!("{user}:{stars}@{host}"));
            }
            None => masked.push_str(authority),
        }
        rest = tail;
    }
    let masked = masked + rest;
    match masked.find("password=") {
        Some(at) => {
            let (before, after) = masked.split_at(at + "password=".len());
            let end = after.find(|c: char| c.is_whitespace() || "&\"',}".contains(c)).unwrap_or(after.len());
            format!("{before}{}{}", "*".repeat(after[..end].chars().count()), &after[end..])
        }
        None => masked,
    }
}

/// The word in `known` that was most likely meant by `word`.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_near() {
        let known = ["partition_by", "primary_key", "columns", "table"];
        assert_eq!(nearest("partion_by", known), Some("partition_by"));
        assert_eq!(nearest("Primary-Key", known), Some("primary_key"));
        assert_eq!(nearest("tabel", known), Some("table"));
        assert_eq!(nearest("encrypt", known), None);
    }

    #[test]
    fn a_password_in_the_plan_is_not_echoed() {
        let line = "  url: postgres://app:s3c:r@t@db/x";
        let masked = mask_passwords(line);
        assert_eq!(masked, "  url: postgres://app:*******@db/x");
        assert_eq!(mask_passwords("url: host=db password=s3cret x"), "url: host=db password=****** x");
        assert_eq!(mask_passwords("see https://example.org/@me"), "see https://example.org/@me");
    }

    #[test]
    fn a_long_line_is_cut_around_its_column() {
        let line = format!("{}X{}", "a".repeat(200), "b".repeat(200));
        let (shown, caret) = excerpt(&line, 201);
        assert_eq!(shown.chars().nth(caret), Some('X'));
        assert!(shown.chars().count() <= 102);
    }
}
