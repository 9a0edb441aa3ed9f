//! Policies for row-level security.
//!
//! They are created on green while it still has blue's column names, so that the server rewrites them when a column is
//! renamed. A policy that reads its own table, a materialized view over it, or the sequence of an identity column, would then
//! read blue's forever: it is created in the swap, when the name means green's.

use serde::{Deserialize, Serialize};

use super::Question;
use super::canonical::same;
use super::part::{AGAIN, Compared, Conflict, Part, counted};
use super::shape::Green;
use crate::pg::sql::lexer::mentions;
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Colour, Ident, QName, list};
use crate::plan::TablePlan;

pub(super) const POLICIES: Question =
    Question { what: "its policies", sql: include_str!("../../sql/catalog/policies.sql") };

/// A policy, as found in the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The policy's name.
    pub name: Ident,
    /// PERMISSIVE if true, otherwise RESTRICTIVE.
    pub permissive: bool,
    /// SELECT, INSERT, UPDATE, DELETE or ALL.
    pub command: String,
    /// The roles that it applies to; `None` is PUBLIC.
    pub roles: Vec<Option<Ident>>,
    /// The condition of USING, as SQL text.
    pub using: Option<String>,
    /// The condition of WITH CHECK, as SQL text.
    pub check: Option<String>,
    /// The table's columns that it reads.
    pub columns: Vec<Ident>,
    /// The text of COMMENT ON POLICY.
    pub comment: Option<String>,
}

/// The [`Part`] of policies.
pub(super) struct Policies;

impl Part for Policies {
    fn conflicts(&self, green: &Green, _plan: &TablePlan) -> Vec<Conflict> {
        let table = green.live().plain();
        let mut conflicts = Vec::new();
        for policy in &green.blue.policies {
            if let Some(column) = green.dropped_of(&policy.columns) {
                let what = format!("policy {} uses column {column}, which the plan drops", policy.name);
                let drop = format!("drop policy {} on {table}", policy.name);
                conflicts.push(Conflict::new(what, format!("{drop}; {AGAIN}, or give the plan one")));
            }
            let texts = || policy.using.iter().chain(&policy.check);
            let mut renamed =
                green.blue.columns.iter().map(|column| &column.name).filter(|name| green.is_renamed(name));
            let named = renamed.find(|name| texts().any(|sql| mentions(sql, name.as_str())));
            if let Some(name) = named.filter(|_| policy.is_late(green)) {
                let what = format!(
                    "policy {} names {table}, its sequence, a function with its row type or a materialized view over it, and column \
                     {name}, which is renamed",
                    policy.name
                );
                let hint = format!("drop policy {} on {table}, and create it after the swap", policy.name);
                conflicts.push(Conflict::new(what, hint));
            }
        }
        conflicts
    }

    fn create(&self, green: &Green) -> Vec<Statement> {
        let early = green.blue.policies.iter().filter(|policy| !policy.is_late(green));
        early.flat_map(|policy| policy.create(&green.at_home())).collect()
    }

    fn rehearse(&self, green: &Green) -> Vec<Statement> {
        let home = green.at_home();
        let tried = late_policies(green).flat_map(|policy| {
            let drop = policy.drop(&home, "undo the rehearsal of a policy on");
            let calling = |sql: &Option<String>| sql.as_ref().map(|sql| green.calling_greens(sql));
            let policy =
                Policy { using: calling(&policy.using), check: calling(&policy.check), ..policy.clone() };
            policy.create(&home).into_iter().chain([drop])
        });
        let names = green.functions_in_place(&green.blue.row_functions);
        if late_policies(green).next().is_some() { names.around(tried.collect()) } else { Vec::new() }
    }

    fn leave(&self, green: &Green, who: Colour) -> Vec<Statement> {
        let late = late_policies(green).filter(|_| who == Colour::Green);
        late.map(|policy| policy.drop(green.live(), "drop a policy of")).collect()
    }

    fn arrive(&self, green: &Green, who: Colour) -> Vec<Statement> {
        if who == Colour::Blue {
            return Vec::new();
        }
        // A run that an earlier version has prepared has these on green, bound to the old materialized views.
        let views: Vec<&QName> = green.blue.materialized.iter().map(|view| &view.name).collect();
        let mut arriving = green.drop_policies_naming(green.live(), &views);
        arriving.extend(late_policies(green).flat_map(|policy| policy.create(green.live())));
        arriving
    }

    fn kept(&self, green: &Green) -> Vec<String> {
        counted(green.blue.policies.len(), "policy", "policies").into_iter().collect()
    }

    fn compare(&self, compared: &mut Compared<'_>) {
        for was in &compared.was.policies {
            match compared.is.policies.iter().find(|is| is.name == was.name) {
                Some(is) => was.compare(is, compared),
                None => compared.note(format!("policy {} is missing", was.name)),
            }
        }
        for is in &compared.is.policies {
            if compared.was.policies.iter().all(|was| was.name != is.name) {
                compared.note(format!("policy {} is new", is.name));
            }
        }
    }
}

/// Policies that name their own table, a function with its row type, a materialized view over it, or the sequence of an
/// identity column: created in the swap.
pub(crate) fn late_policies(green: &Green) -> impl Iterator<Item = &Policy> {
    green.blue.policies.iter().filter(|policy| policy.is_late(green))
}

impl Green {
    /// Drops from a table the policies that name one of these.
    pub(crate) fn drop_policies_naming(&self, table: &QName, names: &[&QName]) -> Vec<Statement> {
        let naming = self.blue.policies.iter().filter(|policy| names.iter().any(|name| policy.names(name)));
        let drop = naming.map(|policy| {
            let sql = format!("DROP POLICY IF EXISTS {} ON {table}", policy.name);
            Statement::on(table, LockMode::AccessExclusive, "drop a policy of", sql)
        });
        drop.collect()
    }
}

impl Policy {
    fn drop(&self, table: &QName, verb: &str) -> Statement {
        let sql = format!("DROP POLICY {} ON {table}", self.name);
        Statement::on(table, LockMode::AccessExclusive, verb, sql)
    }

    /// CREATE POLICY, and its comment.
    fn create(&self, table: &QName) -> Vec<Statement> {
        let roles = list(self.roles.iter().map(|role| match role {
            Some(role) => role.to_string(),
            None => "PUBLIC".to_owned(),
        }));
        let using = self.using.as_ref().map(|sql| format!(" USING ({sql})")).unwrap_or_default();
        let check = self.check.as_ref().map(|sql| format!(" WITH CHECK ({sql})")).unwrap_or_default();
        let kind = if self.permissive { "PERMISSIVE" } else { "RESTRICTIVE" };
        let sql = format!(
            "CREATE POLICY {} ON {table} AS {kind} FOR {} TO {roles}{using}{check}",
            self.name, self.command
        );
        let verb = format!("create policy {} on", self.name.as_str());
        let create = Statement::on(table, LockMode::AccessExclusive, &verb, sql);
        let what = format!("POLICY {} ON {table}", self.name);
        std::iter::once(create).chain(super::table::comment_on(&what, self.comment.as_ref())).collect()
    }

    /// Whether its text names something that green has a copy of. A name in a string literal counts too: such a policy
    /// is created in the swap, which is correct for every policy.
    fn is_late(&self, green: &Green) -> bool {
        let identities = green.blue.sequences.iter().filter(|sequence| sequence.identity);
        let functions = green.blue.row_functions.iter().map(|of| &of.function.name);
        let views = green.blue.materialized.iter().map(|view| &view.name);
        let mut names = std::iter::once(green.live())
            .chain(identities.map(|sequence| &sequence.name))
            .chain(functions)
            .chain(views);
        names.any(|name| self.names(name))
    }

    /// Whether this name stands in its text.
    pub(super) fn names(&self, name: &QName) -> bool {
        let names = [name.plain(), name.to_string()];
        let mut texts = self.using.iter().chain(&self.check);
        texts.any(|sql| names.iter().any(|name| sql.contains(name)))
    }

    fn compare(&self, is: &Self, compared: &mut Compared<'_>) {
        let of = |what: &str| format!("{what} of policy {}", self.name);
        compared.check(of("comment"), &self.comment, &is.comment);
        compared.check(of("roles"), &self.roles, &is.roles);
        let (was_for, is_for) = ((&self.command, self.permissive), (&is.command, is.permissive));
        compared.check(of("command and kind"), &was_for, &is_for);
        let changed = self.columns.iter().any(|name| compared.is_changed(name));
        let equal = same(self.using.as_deref(), is.using.as_deref())
            && same(self.check.as_deref(), is.check.as_deref());
        let present =
            self.using.is_some() == is.using.is_some() && self.check.is_some() == is.check.is_some();
        if !present || !changed && !equal {
            let (was, is) = ((&self.using, &self.check), (&is.using, &is.check));
            compared.note(format!(
                "{}: was {:?} {:?}, is {:?} {:?}",
                of("condition"),
                was.0,
                was.1,
                is.0,
                is.1
            ));
        }
    }
}
