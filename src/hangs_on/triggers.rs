//! The table's triggers.
//!
//! Both tables have them all the time, but those of the table that is not live are disabled: what a copy or a feed
//! writes fires none of them, not even one that is ENABLE ALWAYS. So no session of ours needs `session_replication_role`,
//! which only a superuser may set. The swap disables those of the table that leaves, and gives those of the table that
//! arrives the states that blue's had. It does all of them in one ALTER TABLE: the server then reads the definition of
//! each partition again once, and not once for each trigger.
//!
//! Green's are created once its rows and indexes exist: even a disabled one costs the copy a quarter of its time, and more
//! if it has transition tables. One that names a renamed column in WHEN or UPDATE OF is created while green still has
//! blue's column names, so that the server rewrites them.

mod told;

use serde::{Deserialize, Serialize};

use super::Question;
use super::canonical::same;
use super::part::{Compared, Conflict, Part, counted};
use super::shape::Green;
use super::table::{comment_on, comment_on_constraint};
use crate::pg::sql::lexer::renamed;
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Colour, Ident, QName};
use crate::plan::TablePlan;

pub(crate) use told::told;

pub(super) const TRIGGERS: Question =
    Question { what: "its triggers", sql: include_str!("../../sql/catalog/triggers.sql") };

/// A trigger, as found in the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// The trigger's name.
    pub name: Ident,
    /// The whole CREATE TRIGGER statement, without a closing `;`.
    pub definition: String,
    /// When it fires, by `session_replication_role`.
    pub enabled: Enabled,
    /// FOR EACH ROW if true, otherwise FOR EACH STATEMENT.
    pub for_each_row: bool,
    /// BEFORE if true, otherwise AFTER.
    pub before: bool,
    /// INSERT, DELETE, UPDATE, TRUNCATE.
    pub events: Vec<String>,
    /// Whether it has a REFERENCING clause.
    pub transition_tables: bool,
    /// Whether it is a constraint trigger that SET CONSTRAINTS can defer.
    pub deferrable: bool,
    /// The table's columns in its UPDATE OF and WHEN clauses.
    pub columns: Vec<Ident>,
    /// The function that it executes.
    pub function: QName,
    /// The table's columns whose names are among its arguments.
    pub arguments: Vec<Ident>,
    /// The table's columns that the text of its function reads as `new.column` or `old.column`.
    pub reads: Vec<Ident>,
    /// The variables in the text of its function that say which relation it fires for.
    pub names_of_table: Vec<String>,
    /// The extensions that it depends on.
    pub extensions: Vec<Ident>,
    /// The text of COMMENT ON TRIGGER.
    pub comment: Option<String>,
    /// The text of COMMENT ON CONSTRAINT, if it is a constraint trigger.
    #[serde(default)]
    pub constraint_comment: Option<String>,
    /// The constraint's name, if the trigger was renamed and has another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint_name: Option<Ident>,
}

/// `tgenabled`: for which values of `session_replication_role` a trigger fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enabled {
    /// `origin` and `local`, as after CREATE TRIGGER.
    Origin,
    /// `replica`.
    Replica,
    /// All of them.
    Always,
    /// None.
    Disabled,
}

/// The [`Part`] of triggers.
pub(super) struct Triggers;

impl Part for Triggers {
    fn conflicts(&self, green: &Green, _plan: &TablePlan) -> Vec<Conflict> {
        told::conflicts(green)
    }

    fn create(&self, green: &Green) -> Vec<Statement> {
        create_disabled(green, green.blue.triggers.iter().filter(|trigger| !trigger.is_late(green)))
    }

    fn rehearse(&self, green: &Green) -> Vec<Statement> {
        let home = green.at_home();
        let undo = late_triggers(green).map(|trigger| {
            let sql = format!("DROP TRIGGER {} ON {home}", trigger.name);
            Statement::on(&home, LockMode::AccessExclusive, "undo the rehearsal of a trigger on", sql)
        });
        create_disabled(green, late_triggers(green)).into_iter().chain(undo).collect()
    }

    fn complete(&self, green: &Green) -> Vec<Statement> {
        create_disabled(green, late_triggers(green))
    }

    fn leave(&self, green: &Green, _who: Colour) -> Vec<Statement> {
        if !green.has_enabled_triggers() {
            return Vec::new();
        }
        vec![disable(green.live())]
    }

    fn arrive(&self, green: &Green, who: Colour) -> Vec<Statement> {
        let triggers = &green.blue.triggers;
        if !green.has_enabled_triggers() {
            return Vec::new();
        }
        let others = triggers.iter().filter_map(|trigger| {
            let verb = match trigger.enabled {
                Enabled::Origin => return None,
                Enabled::Replica => "ENABLE REPLICA",
                Enabled::Always => "ENABLE ALWAYS",
                Enabled::Disabled => "DISABLE",
            };
            Some(format!(", {verb} TRIGGER {}", trigger.name))
        });
        let (others, keys) = (others.collect::<String>(), green.enable_key_triggers(who));
        let sql = format!("ALTER TABLE {} ENABLE TRIGGER USER{others}{keys}", green.live());
        vec![Statement::on(green.live(), LockMode::ShareRowExclusive, "enable the triggers of", sql)]
    }

    fn kept(&self, green: &Green) -> Vec<String> {
        counted(green.blue.triggers.len(), "trigger", "triggers").into_iter().collect()
    }

    fn compare(&self, compared: &mut Compared<'_>) {
        for was in &compared.was.triggers {
            match compared.is.triggers.iter().find(|is| is.name == was.name) {
                Some(is) => was.compare(is, compared),
                None => compared.note(format!("trigger {} is missing", was.name)),
            }
        }
        for is in &compared.is.triggers {
            let is_new = compared.was.triggers.iter().all(|was| was.name != is.name);
            if is_new && !compared.green.is_key_trigger(&is.name) {
                compared.note(format!("trigger {} is new", is.name));
            }
        }
    }
}

impl Green {
    /// Whether a swap has triggers to disable and to enable.
    fn has_enabled_triggers(&self) -> bool {
        let enabled = |trigger: &Trigger| trigger.enabled != Enabled::Disabled;
        !self.widened.registries.is_empty() || self.blue.triggers.iter().any(enabled)
    }

    /// How many triggers of its partitions a swap enables or disables.
    pub(crate) fn triggers_of_leaves(&self) -> usize {
        let enabled = |trigger: &&Trigger| trigger.for_each_row && trigger.enabled != Enabled::Disabled;
        let leaves = self.partition.as_ref().map_or(0, |partition| partition.leaves.len());
        self.blue.triggers.iter().filter(enabled).count() * leaves
    }
}

fn late_triggers(green: &Green) -> impl Iterator<Item = &Trigger> {
    green.blue.triggers.iter().filter(|trigger| trigger.is_late(green))
}

/// Creates triggers on green, where it is before the swap, and disables all that it has. In one transaction: between the
/// two they would fire.
fn create_disabled<'a>(green: &Green, triggers: impl Iterator<Item = &'a Trigger>) -> Vec<Statement> {
    let mut statements: Vec<Statement> = triggers.flat_map(|trigger| trigger.create(green)).collect();
    if !statements.is_empty() {
        statements.push(disable(&green.at_home()));
    }
    statements
}

/// Those of its partitions, too.
fn disable(table: &QName) -> Statement {
    let sql = format!("ALTER TABLE {table} DISABLE TRIGGER USER");
    Statement::on(table, LockMode::ShareRowExclusive, "disable the triggers of", sql)
}

impl Trigger {
    /// Whether it is created once the rows are there.
    fn is_late(&self, green: &Green) -> bool {
        green.renamed_of(&self.columns).is_none()
    }

    /// CREATE TRIGGER, and what is said about it.
    fn create(&self, green: &Green) -> Vec<Statement> {
        let home = green.at_home();
        let mut sql = renamed(&self.definition, green.live(), &home);
        let constraint = self.constraint_name.as_ref().unwrap_or(&self.name);
        // It is made with the constraint's name, which partitions get, too; unless another trigger has that.
        let is_free = green.blue.triggers.iter().all(|other| other.name != *constraint);
        let name = self.name.to_string();
        let rename = self.constraint_name.as_ref().map(|constraint| {
            let sql = match is_free {
                true => format!("ALTER TRIGGER {constraint} ON {home} RENAME TO {name}"),
                false => format!("ALTER TABLE {home} RENAME CONSTRAINT {name} TO {constraint}"),
            };
            Statement::on(
                &home,
                LockMode::AccessExclusive,
                "tell a trigger's name from its constraint's on",
                sql,
            )
        });
        if rename.is_some() && is_free {
            sql = renamed_constraint_trigger(&sql, &self.name, constraint);
        }
        let verb = format!("create trigger {} on", self.name.as_str());
        let what = format!("TRIGGER {} ON {home}", self.name);
        let depends = self.extensions.iter().map(|extension| {
            let sql = format!("ALTER {what} DEPENDS ON EXTENSION {extension}");
            Statement::on(&home, LockMode::AccessExclusive, "let a trigger depend on an extension, of", sql)
        });
        std::iter::once(Statement::on(&home, LockMode::ShareRowExclusive, &verb, sql))
            .chain(rename)
            .chain(depends)
            .chain(comment_on(&what, self.comment.as_ref()))
            .chain(comment_on_constraint(constraint, &home, self.constraint_comment.as_ref()))
            .collect()
    }

    fn compare(&self, is: &Self, compared: &mut Compared<'_>) {
        let of = |what: &str| format!("{what} of trigger {}", self.name);
        compared.check(of("comment"), &self.comment, &is.comment);
        compared.check(of("comment on the constraint"), &self.constraint_comment, &is.constraint_comment);
        compared.check(of("name of the constraint"), &self.constraint_name, &is.constraint_name);
        compared.check(of("state"), &self.enabled, &is.enabled);
        compared.check(of("extensions"), &self.extensions, &is.extensions);
        let changed = self.columns.iter().any(|name| compared.is_changed(name));
        if !changed && !same(Some(&self.definition), Some(&is.definition)) {
            compared.note(format!("{}: was {:?}, is {:?}", of("definition"), self.definition, is.definition));
        }
    }
}

/// `CREATE CONSTRAINT TRIGGER name ...`, as the server writes it, with another name.
fn renamed_constraint_trigger(sql: &str, from: &Ident, to: &Ident) -> String {
    let head = "CREATE CONSTRAINT TRIGGER ";
    let rest = [from.to_string(), from.plain()].into_iter().find_map(|name| {
        let after = sql.strip_prefix(head)?.strip_prefix(&name)?;
        after.starts_with(' ').then(|| after.to_owned())
    });
    rest.map_or_else(|| sql.to_owned(), |rest| format!("{head}{to}{rest}"))
}
