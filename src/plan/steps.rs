//! `steps`: SQL of the plan around the swap, each with its way back.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::adorned::{self, Adornment};
use super::file;
use super::problem::{Collected, Position};
use super::sql;
use super::yaml::{Node, Value};
use crate::pg::sql::script;

/// The steps that the program adds for `compatibility: view`: the one that makes the views, and the one that drops them.
pub const OF_COMPATIBILITY: [&str; 2] = ["compatibility views", "compatibility views, at the end"];

/// SQL that a run executes at one time, and undoes when it is rolled back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its name, unique in the plan.
    pub name: String,
    /// When it is executed.
    pub when: StepTime,
    /// What it does.
    pub up: Script,
    /// What undoes it; `None` if nothing does, which the plan accepts in so many words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<Script>,
    /// Whether its statements are executed in one transaction, with the fact that they were.
    pub transactional: bool,
}

/// When a step is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepTime {
    /// Before green is designed.
    Prepare,
    /// Before the first attempt to swap, without its locks.
    BeforeSwap,
    /// In the swap's transaction, once green has taken its place.
    InSwap,
    /// After the swap.
    AfterSwap,
    /// When the run is finished, before blue is dropped.
    Finish,
}

impl StepTime {
    /// As a plan writes it.
    pub const WORDS: &'static [&'static str] = &["prepare", "before_swap", "in_swap", "after_swap", "finish"];

    fn of(word: &str) -> Option<Self> {
        let all = [Self::Prepare, Self::BeforeSwap, Self::InSwap, Self::AfterSwap, Self::Finish];
        Self::WORDS.iter().zip(all).find(|(known, _)| **known == word).map(|(_, when)| when)
    }
}

/// SQL statements, from the plan or from a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// The file, as the plan names it; `None` if the plan has the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its statements, in their order.
    pub statements: Vec<ScriptStatement>,
}

/// A statement of a script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptStatement {
    /// The line in which it begins, from 1.
    pub line: usize,
    /// The column in which it begins, in characters, from 1.
    pub column: usize,
    /// Its SQL, without a closing `;`.
    pub sql: String,
}

impl Step {
    /// The same, of statements that are executed one by one.
    #[must_use]
    pub(crate) fn alone(self) -> Self {
        Self { transactional: false, ..self }
    }
}

impl Script {
    /// Where a statement's character is, counted from 0: `views.sql:3:14`, or `line 3, column 14 of the plan's text`.
    #[must_use]
    pub fn place(&self, statement: &ScriptStatement, at: usize) -> String {
        let before: String = statement.sql.chars().take(at).collect();
        let (line, column) = script::position(&before, before.len());
        let column = if line == 1 { statement.column + column - 1 } else { column };
        let line = statement.line + line - 1;
        match &self.file {
            Some(file) => format!("{file}:{line}:{column}"),
            None => format!("line {line}, column {column} of the plan's text"),
        }
    }
}

/// Reads `policies` and `triggers` of a plan's tables: steps of the swap.
pub(super) fn of_tables(root: &Node, plan: &str, found: &mut Collected) -> Vec<Step> {
    let folder = Path::new(plan).parent().unwrap_or(Path::new(""));
    let mut steps = Vec::new();
    for node in root.get("tables").map_or(&[][..], Node::items) {
        let name = node.get("table").and_then(Node::scalar).map(|scalar| sql::qname(&scalar.text));
        let Some(Ok(table)) = name else { continue };
        for adornment in Adornment::ALL {
            let Some(written) = node.get(adornment.key()) else { continue };
            let Some(script) = script(written, adornment.key(), folder, found) else { continue };
            steps.push(adorned::step(adornment, &table, script, written.at, found));
        }
    }
    steps
}

/// Reads `steps` of a plan whose shape has been checked; files are sought beside `plan`.
pub(super) fn read_all(root: &Node, plan: &str, found: &mut Collected) -> Vec<Step> {
    let folder = Path::new(plan).parent().unwrap_or(Path::new(""));
    let mut steps = of_tables(root, plan, found);
    for node in root.get("steps").map_or(&[][..], Node::items) {
        let Some(step) = read(node, folder, found) else { continue };
        if steps.iter().any(|other| other.name == step.name) {
            let hint = "give each step a name of its own".to_owned();
            found.add_with_hint(node.at, format!("two steps are named `{}`", step.name), hint);
        } else if OF_COMPATIBILITY.contains(&step.name.as_str()) {
            let what = format!("`{}` is the name of a step that `compatibility: view` adds", step.name);
            found.add_with_hint(node.at, what, "give the step another name".to_owned());
        }
        steps.push(step);
    }
    steps
}

fn read(node: &Node, folder: &Path, found: &mut Collected) -> Option<Step> {
    let name = node.get("name")?.scalar()?.text.clone();
    let when = node.get("when").and_then(|node| StepTime::of(&node.scalar()?.text))?;
    let flag = |key: &str| node.get(key).and_then(|node| node.scalar()?.as_bool());
    let up = script(node.get("up")?, "up", folder, found);
    let down = node.get("down").map(|node| script(node, "down", folder, found));
    let one_way = flag("one_way") == Some(true);
    if down.is_none() && !one_way && when != StepTime::Finish {
        let hint = "`down: ...`, or `one_way: true` if a rollback is to leave what it did".to_owned();
        found.add_with_hint(node.at, format!("step `{name}` has no way back"), hint);
    }
    if let Some(at) = node.get("down").filter(|_| one_way) {
        found.add(at.at, format!("step `{name}` has `down`, and says `one_way: true`"));
    }
    let (up, down) = (up?, down.flatten());
    let statements = || up.statements.iter().chain(down.iter().flat_map(|down| &down.statements));
    let alone = statements().find(|statement| script::is_alone(&statement.sql));
    if let Some(alone) = alone
        && (when == StepTime::InSwap || flag("transactional") == Some(true))
    {
        let verb = script::verb(&alone.sql);
        let what = format!("step `{name}`: this `{verb}` cannot be executed in a transaction");
        let hint = match when {
            StepTime::InSwap => "`when: before_swap` or `after_swap`",
            _ => "leave out `transactional: true`",
        };
        found.add_with_hint(node.at, what, hint.to_owned());
    }
    if when == StepTime::InSwap && flag("transactional") == Some(false) {
        found.add(node.at, format!("step `{name}`: what is done in the swap is done in its transaction"));
    }
    let transactional = flag("transactional").unwrap_or(alone.is_none());
    Some(Step { name, when, up, down, transactional })
}

/// The statements of a text, or of `{file: ...}`.
fn script(node: &Node, key: &str, folder: &Path, found: &mut Collected) -> Option<Script> {
    let (file, text, at) = match &node.value {
        Value::Map(_) => {
            let name = node.get("file")?;
            let path = &name.scalar()?.text;
            let (_, text) = file::read(&folder.join(path))
                .map_err(|problems| {
                    for problem in problems.iter() {
                        let what = format!("`{key}`: {}: {}", problem.file, problem.message);
                        found.add_with_hint(name.at, what, problem.hint.clone());
                    }
                })
                .ok()?;
            (Some(path.clone()), text + "\n", name.at)
        }
        _ => (None, node.scalar()?.text.clone(), node.at),
    };
    let of = file.as_ref().map_or_else(|| format!("`{key}`"), |file| format!("`{key}`: {file}"));
    match statements(&text, &of, at, found) {
        Some(statements) if statements.is_empty() => {
            found.add(at, format!("{of} has no statement"));
            None
        }
        statements => Some(Script { file, statements: statements? }),
    }
}

fn statements(text: &str, of: &str, at: Position, found: &mut Collected) -> Option<Vec<ScriptStatement>> {
    let parts = match script::split(text) {
        Ok(parts) => parts,
        Err(error) => {
            found.add_with_hint(at, format!("{of}: {error}"), error.hint.map(str::to_owned));
            return None;
        }
    };
    let mut statements = Vec::new();
    for part in parts {
        let (line, column) = script::position(text, part.start);
        if let Some(why) = script::refused(&part.sql) {
            found.add(at, format!("{of}, line {line}, cannot have `{}`: {why}", first_word(&part.sql)));
        }
        statements.push(ScriptStatement { line, column, sql: part.sql });
    }
    Some(statements)
}

fn first_word(sql: &str) -> &str {
    sql.split(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default()
}
