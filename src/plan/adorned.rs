//! `policies` and `triggers` of a table: steps of the swap, whose ways back follow from their statements.
//!
//! What they make is on green alone, so a rollback needs no more than to drop it there: the old table has its own.

use crate::pg::sql::lexer::{self, Token};
use crate::pg::sql::script;
use crate::pg::{Ident, QName};

use super::problem::{Collected, Position};
use super::steps::{Script, ScriptStatement, Step, StepTime};

/// What a table gets in the swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adornment {
    /// Policies, and the table's row security.
    Policies,
    /// Triggers, and their functions.
    Triggers,
}

impl Adornment {
    pub(crate) const ALL: [Self; 2] = [Self::Policies, Self::Triggers];

    /// The key of the plan.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Policies => "policies",
            Self::Triggers => "triggers",
        }
    }

    /// One object of it, as SQL calls it.
    fn noun(self) -> &'static str {
        match self {
            Self::Policies => "policy",
            Self::Triggers => "trigger",
        }
    }

    /// The name of its step.
    pub(crate) fn step(self, table: &QName) -> String {
        format!("{} of {}", self.key(), table.plain())
    }

    /// The statement, if `sql` can be one of them.
    fn take<'a>(self, sql: &'a str, table: &QName) -> Result<Statement<'a>, &'static str> {
        let verb = script::verb(sql);
        let noun = self.noun();
        let has = |word: &str| lexer::mentions(sql, word);
        if self == Self::Triggers && verb == "create function" {
            let replaces = has("replace");
            return if replaces { Ok(Statement::Other) } else { Err("write `create or replace function`") };
        }
        let is_made = verb == format!("create {noun}");
        let is_own = is_made
            || (self == Self::Policies && (verb == "alter policy" || verb == "drop policy"))
            || (verb == "comment on" && has(noun));
        let alters = match self {
            Self::Policies => verb == "alter table" && has("row") && has("level") && has("security"),
            Self::Triggers => verb == "alter table" && has("trigger"),
        };
        let after = if alters { "table" } else { "on" };
        if !is_own && !alters {
            return Err("only what belongs to it is written here; `steps` has everything else");
        }
        let of_comment = || script::named_last(sql, "on");
        let named = if verb == "comment on" { of_comment() } else { script::named(sql, after) };
        if named.as_ref() != Some(table) {
            return Err("it is not on this table");
        }
        match object(sql, noun).filter(|_| is_made) {
            Some(name) => Ok(Statement::Makes(name)),
            None if is_made => Err("it has no name"),
            None => Ok(Statement::Other),
        }
    }
}

/// A statement, and what it makes.
enum Statement<'a> {
    Makes(std::borrow::Cow<'a, str>),
    Other,
}

/// The name after the kind of an object.
fn object(sql: &str, noun: &str) -> Option<std::borrow::Cow<'static, str>> {
    let tokens = lexer::tokens(sql).ok()?;
    let at = tokens.iter().position(|token| token.is_word(noun))?;
    Some(tokens.get(at + 1).and_then(Token::name)?.to_owned().into())
}

/// The step that carries out a table's `policies` or `triggers`.
pub(super) fn step(
    adornment: Adornment,
    table: &QName,
    written: Script,
    at: Position,
    found: &mut Collected,
) -> Step {
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let noun = adornment.noun();
    for statement in written.statements {
        match adornment.take(&statement.sql, table) {
            Ok(Statement::Makes(name)) => {
                let sql = format!("drop {noun} if exists {} on {table}", Ident::from(&*name));
                let drop = ScriptStatement { sql, ..statement.clone() };
                // One of the old table with this name is replaced.
                if adornment == Adornment::Policies {
                    up.push(drop.clone());
                }
                down.insert(0, drop);
            }
            Ok(Statement::Other) => {}
            Err(why) => {
                let what =
                    format!("`{}` of `{}`, line {}: {why}", adornment.key(), table.plain(), statement.line);
                found.add(at, what);
            }
        }
        up.push(statement);
    }
    let file = written.file;
    let down = (!down.is_empty()).then(|| Script { file: file.clone(), statements: down });
    Step {
        name: adornment.step(table),
        when: StepTime::InSwap,
        up: Script { file, statements: up },
        down,
        transactional: true,
    }
}
