//! Rules: those on the table, and those on other tables that name it.
//!
//! One on the table exists once: on the table that is live, so that it acts for clients and never for this program,
//! which writes to the other one. It is dropped and created again in the swap. One on another table is replaced in the
//! swap, as views are. Rules of views are theirs ([`super::views`]).

use serde::{Deserialize, Serialize};

use super::Question;
use super::part::{Compared, Dependent, Part};
use super::shape::Green;
use super::table::comment_on;
use crate::pg::sql::{LockMode, Statement, lexer};
use crate::pg::{Colour, Ident, QName};

pub(super) const RULES: Question = Question {
    what: "its rules",
    sql: concat!(include_str!("../../sql/catalog/bound.sql"), include_str!("../../sql/catalog/rules.sql")),
};

/// A rule, as found in the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The rule's name.
    pub name: Ident,
    /// The table that it is on.
    pub on: QName,
    /// Whether that is the table itself.
    pub own: bool,
    /// The owner of the table that it is on.
    pub owner: Ident,
    /// The whole CREATE RULE statement, without a closing `;`.
    pub definition: String,
    /// What ALTER TABLE ... RULE says of it: DISABLE, ENABLE REPLICA or ENABLE ALWAYS; `None` for the default.
    pub state: Option<String>,
    /// The text of COMMENT ON RULE.
    pub comment: Option<String>,
    /// The table's columns that it uses.
    #[serde(default)]
    pub uses: Vec<Ident>,
}

/// The [`Part`] of rules.
pub(super) struct Rules;

impl Part for Rules {
    fn dependents(&self, green: &Green, who: Colour) -> Vec<Dependent> {
        let rules = green.blue.rules.iter().enumerate();
        rules.map(|(number, rule)| rule.dependent(green, who, number)).collect()
    }

    fn compare(&self, compared: &mut Compared<'_>) {
        for was in &compared.was.rules {
            let name = format!("rule {} on {}", was.name, was.on.plain());
            match compared.is.rules.iter().find(|is| (&is.name, &is.on) == (&was.name, &was.on)) {
                Some(is) => {
                    compared.check(format!("state of {name}"), &was.state, &is.state);
                    compared.check(format!("comment on {name}"), &was.comment, &is.comment);
                }
                None => compared.note(format!("{name} is missing, or no longer names it")),
            }
        }
    }
}

impl Rule {
    fn dependent(&self, green: &Green, who: Colour, number: usize) -> Dependent {
        let what = format!("rule {} on {}", self.name.plain(), self.on.plain());
        let becomes = if self.own {
            "in the swap it is dropped on the old table and created on the new one"
        } else {
            "in the swap it is bound to the new table"
        };
        let again =
            format!("drop rule {} on {}; and create it again after the swap", self.name, self.on.plain());
        let lock = format!("LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE", self.on);
        Dependent {
            hint: green.keeping(&self.uses, again),
            what,
            becomes: becomes.to_owned(),
            is_table: !self.own,
            // The table itself is locked in any case.
            lock: (!self.own).then_some(lock),
            trial: self.trial(green, number),
            before: self.own.then(|| self.drop(&self.on)).into_iter().collect(),
            after: self.create(),
            names: green.old_names_of(who, &self.uses),
            ..Dependent::of(&self.on, &self.owner)
        }
    }

    fn create(&self) -> Vec<Statement> {
        // The same statement for either kind: a rule on one table of a run may name another one.
        let create = or_replace(&self.on, &self.definition);
        if !self.own {
            return vec![create];
        }
        let state = self.state.as_ref().map(|state| {
            let sql = format!("ALTER TABLE {} {state} RULE {}", self.on, self.name);
            Statement::on(&self.on, LockMode::AccessExclusive, "set the state of a rule on", sql)
        });
        let comment = comment_on(&format!("RULE {} ON {}", self.name, self.on), self.comment.as_ref());
        std::iter::once(create).chain(state).chain(comment).collect()
    }

    fn drop(&self, on: &QName) -> Statement {
        let sql = format!("DROP RULE {} ON {on}", self.name);
        Statement::on(on, LockMode::AccessExclusive, "drop a rule of", sql)
    }

    /// Creates it on green, or on a copy of the other table's columns, and drops it again.
    fn trial(&self, green: &Green, number: usize) -> Vec<Statement> {
        let home = green.at_home();
        let on_green = green.on_green(&self.definition);
        let names = green.trial_names(&self.uses);
        if self.own {
            let create = Statement::on(&home, LockMode::AccessExclusive, "try a rule on", on_green);
            return names.around(vec![create, self.drop(&home)]);
        }
        let trial = QName { schema: green.homes.green.clone(), name: format!("projh_rule_{number}").into() };
        let on_trial = lexer::renamed(&on_green, &self.on, &trial);
        let like = format!("CREATE TABLE {trial} (LIKE {})", self.on);
        names.around(vec![
            Statement::making(&trial, "make a table for a trial,", like),
            Statement::making(&trial, "try a rule on", on_trial),
            Statement::making(&trial, "drop the trial", format!("DROP TABLE {trial}")),
        ])
    }
}

/// Replaces a rule by this CREATE RULE statement: its state and its comment stay.
pub(super) fn or_replace(on: &QName, definition: &str) -> Statement {
    let sql = definition.replacen("CREATE RULE", "CREATE OR REPLACE RULE", 1);
    Statement::on(on, LockMode::AccessExclusive, "replace a rule of", sql)
}
