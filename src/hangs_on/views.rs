//! Views over the table.
//!
//! A view is bound to the table's OID. In the swap, once the names are exchanged, the text that the server printed
//! before is executed again as CREATE OR REPLACE VIEW: its names then mean the table that is live, or the materialized
//! view that has moved with it. The view keeps its
//! OID, and with it its owner, privileges, comments, column defaults and INSTEAD OF triggers; what depends on it, other
//! views included, needs nothing. The columns must keep their names and types, which a trial in the run's schema finds
//! out: one that the plan renames keeps its name ([`super::old_shape`]), one that gets another type is cast back
//! ([`super::fitted`]). Rules of a view that name the table are replaced the same way.
//!
//! LOCK TABLE on a view would lock every table that it reads. SET SCHEMA to the schema that it is in locks the view
//! alone, and changes nothing.

use serde::{Deserialize, Serialize};

use super::Question;
use super::canonical::same;
use super::fitted::{self, Fitted};
use super::part::{Compared, Dependent, Part};
use super::rules::or_replace;
use super::shape::Green;
use super::table::option_sql;
use crate::pg::sql::{LockMode, Statement, lexer};
use crate::pg::{Colour, Ident, QName};

pub(super) const VIEWS: Question = Question {
    what: "the views over it",
    sql: concat!(include_str!("../../sql/catalog/bound.sql"), include_str!("../../sql/catalog/views.sql")),
};

/// A view that depends on the table, as found in the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Its name, schema-qualified.
    pub name: QName,
    /// Its owner, who need not be the table's.
    pub owner: Ident,
    /// How many views are between it and the table, on the longest way.
    pub depth: u32,
    /// Whether its query names the table itself, or a materialized view that moves with it.
    pub reads: bool,
    /// Its options, as `name=value`.
    pub options: Vec<String>,
    /// Its query, as SQL text without a closing `;`.
    pub query: String,
    /// The table's columns that its query uses.
    pub uses: Vec<Ident>,
    /// Whether its query groups by the primary key, and uses other columns.
    pub needs_key: bool,
    /// Its rules that name the table, besides its query.
    pub rules: Vec<ViewRule>,
    /// Its columns.
    #[serde(default)]
    pub columns: Vec<ViewColumn>,
}

/// A column of a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewColumn {
    /// Its name.
    pub name: Ident,
    /// Its type as SQL text, schema-qualified.
    pub data_type: String,
    /// Whether the server writes it through to the table.
    pub updatable: bool,
}

/// A rule of a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewRule {
    /// The rule's name.
    pub name: Ident,
    /// The whole CREATE RULE statement, without a closing `;`.
    pub definition: String,
}

/// The [`Part`] of views.
pub(super) struct Views;

impl Part for Views {
    fn dependents(&self, green: &Green, who: Colour) -> Vec<Dependent> {
        let views = green.blue.views.iter().enumerate();
        views.map(|(number, view)| view.dependent(green, who, number)).collect()
    }

    fn compare(&self, compared: &mut Compared<'_>) {
        for was in &compared.was.views {
            let name = was.name.plain();
            let Some(is) = compared.is.views.iter().find(|is| is.name == was.name) else {
                compared.note(format!("view {name} no longer reads it"));
                continue;
            };
            compared.check(format!("owner of view {name}"), &was.owner, &is.owner);
            compared.check(format!("options of view {name}"), &was.options, &is.options);
            if !compared.has_changed(&was.uses) && !same(Some(&was.query), Some(&is.query)) {
                compared.note(format!("query of view {name}: was {:?}, is {:?}", was.query, is.query));
            }
            let rules = |of: &View| of.rules.iter().map(|rule| rule.name.clone()).collect::<Vec<_>>();
            compared.check(format!("rules of view {name}"), &rules(was), &rules(is));
        }
    }
}

impl View {
    fn fitted(&self, green: &Green) -> Fitted {
        let retyped: Vec<&Ident> = green.cast_among(&self.uses).collect();
        fitted::fitted(&self.query, &self.columns, &retyped)
    }

    fn dependent(&self, green: &Green, who: Colour, number: usize) -> Dependent {
        let what = format!("view {}", self.name.plain());
        let again = format!("drop {what}; and create it again after the swap");
        let hint = green.keeping(&self.uses, again);
        let moves = self.reads || !self.rules.is_empty();
        let becomes = match (self.reads, moves) {
            (true, _) => "in the swap its query is bound to the new table; all else of it stays",
            (_, true) => "in the swap its rules are bound to the new table; all else of it stays",
            _ => "it reads the table through other views, and stays as it is",
        };
        let fitted = self.fitted(green);
        let query = if who == Colour::Green { fitted.query } else { self.query.clone() };
        Dependent {
            what,
            becomes: format!("{becomes}{}", fitted.notes),
            hint,
            is_created: true,
            rank: self.depth,
            lock: moves.then(|| format!("ALTER VIEW {} SET SCHEMA {}", self.name, self.name.schema)),
            trial: if moves { self.trial(green, number) } else { Vec::new() },
            after: self.replace(&query),
            names: green.old_names_of(who, &self.uses),
            ..Dependent::of(&self.name, &self.owner)
        }
    }

    /// CREATE OR REPLACE of what names the table.
    fn replace(&self, query: &str) -> Vec<Statement> {
        let query = self.reads.then(|| self.create_or_replace(&self.name, query));
        let rules = self.rules.iter().map(|rule| or_replace(&self.name, &rule.definition));
        query.into_iter().chain(rules).collect()
    }

    /// The same, on a view with the same columns over green, where green is before the swap.
    fn trial(&self, green: &Green, number: usize) -> Vec<Statement> {
        let trial = QName { schema: green.homes.green.clone(), name: format!("projh_view_{number}").into() };
        let named = |sql: &str| lexer::renamed(&green.on_green(sql), &self.name, &trial);
        let sql = format!("CREATE VIEW {trial} AS SELECT * FROM {}", self.name);
        let key = green.indexes.iter().find(|index| index.primary && self.needs_key);
        let [add_key, drop_key] =
            key.map(|key| key.rehearse(&green.at_home())).map_or([None, None], |both| both.map(Some));
        let mut statements: Vec<Statement> = add_key.into_iter().collect();
        statements.push(Statement::making(&trial, "try a view over green:", sql));
        statements
            .extend(self.reads.then(|| self.create_or_replace(&trial, &named(&self.fitted(green).query))));
        statements.extend(self.rules.iter().map(|rule| or_replace(&trial, &named(&rule.definition))));
        statements.push(Statement::making(&trial, "drop the trial", format!("DROP VIEW {trial}")));
        statements.extend(drop_key);
        green.trial_names(&self.uses).around(statements)
    }

    fn create_or_replace(&self, name: &QName, query: &str) -> Statement {
        let options: Vec<String> = self.options.iter().map(|option| option_sql("", option)).collect();
        let with = if options.is_empty() { String::new() } else { format!(" WITH ({})", options.join(", ")) };
        let sql = format!("CREATE OR REPLACE VIEW {name}{with} AS\n{query}");
        Statement::on(name, LockMode::AccessExclusive, "replace the query of view", sql)
    }
}
