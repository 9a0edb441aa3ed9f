//! Extended statistics: CREATE STATISTICS.
//!
//! They are objects with a schema of their own, which does not follow their table's. Green's are created in the run's
//! schema while green is empty, so that the ANALYZE after the copy fills them, and change places with blue's in the
//! swap. A query that reads a single partition is planned with that partition's statistics: each gets the same, under a
//! name of its own.

use serde::{Deserialize, Serialize};

use super::Question;
use super::indexes::name_on_leaf;
use super::part::{Compared, Conflict, Part, counted};
use super::shape::Green;
use super::table::comment_on;
use crate::pg::sql::Statement;
use crate::pg::{Colour, Ident, QName};
use crate::plan::TablePlan;

pub(super) const STATISTICS: Question =
    Question { what: "its extended statistics", sql: include_str!("../../sql/catalog/statistics.sql") };

/// An object of extended statistics, as found in the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Its name, schema-qualified.
    pub name: QName,
    /// Its owner, who need not be the table's.
    pub owner: Ident,
    /// ndistinct, dependencies, mcv; empty for statistics on a single expression.
    pub kinds: Vec<String>,
    /// The columns in its ON list.
    pub columns: Vec<Ident>,
    /// The expressions in its ON list, as SQL text.
    pub expressions: Vec<String>,
    /// Every column that it reads.
    pub reads: Vec<Ident>,
    /// The statistics target, if one is set.
    pub target: Option<i32>,
    /// The text of COMMENT ON STATISTICS.
    pub comment: Option<String>,
}

/// The [`Part`] of extended statistics.
pub(super) struct ExtendedStatistics;

impl Part for ExtendedStatistics {
    fn conflicts(&self, green: &Green, _plan: &TablePlan) -> Vec<Conflict> {
        let mut conflicts = Vec::new();
        for (at, statistics) in green.blue.statistics.iter().enumerate() {
            let name = statistics.name.plain();
            let hint = format!("drop statistics {name}, and create them again after the swap");
            if let Some(column) = green.dropped_of(&statistics.reads) {
                let what = format!("statistics {name} use column {column}, which the plan drops");
                conflicts.push(Conflict::new(what, hint.clone()));
            }
            let in_text = !statistics.expressions.is_empty();
            if let Some(column) = green.renamed_of(&statistics.reads).filter(|_| in_text) {
                let what =
                    format!("statistics {name} have column {column}, which is renamed, in an expression");
                conflicts.push(Conflict::new(what, hint.clone()));
            }
            let same_name = |other: &Statistics| other.name.name == statistics.name.name;
            if green.blue.statistics[..at].iter().any(same_name) {
                let what =
                    format!("statistics {name} have the name of others of this table in another schema");
                conflicts.push(Conflict::new(what, format!("alter statistics {name} rename to ...")));
            }
        }
        conflicts
    }

    fn adorn(&self, green: &Green) -> Vec<Statement> {
        let mut statements = Vec::new();
        for (number, statistics) in green.blue.statistics.iter().enumerate() {
            let at_home = statistics.name.in_schema(&green.homes.green);
            let columns = green.green_names(&statistics.columns);
            statements.extend(statistics.create(&at_home, &green.at_home(), &columns));
            statements.push(statistics.give(&at_home));
            statements.extend(statistics.comment_on(&at_home));
            let Some(partition) = &green.partition else { continue };
            for (leaf, relation) in green.row_holders_at_home().iter().enumerate() {
                let name = name_on_leaf(relation, leaf, &format!("_s{number}"));
                let name = QName { schema: partition.schema.clone(), name };
                statements.extend(statistics.create(&name, relation, &columns));
                statements.push(statistics.give(&name));
            }
        }
        statements
    }

    /// Tests whether blue's may be moved: their owner need not be the table's.
    fn rehearse(&self, green: &Green) -> Vec<Statement> {
        let there_and_back = green.blue.statistics.iter().flat_map(|statistics| {
            let away = statistics.name.in_schema(&green.homes.blue);
            [set_schema(&statistics.name, &green.homes.blue), set_schema(&away, &statistics.name.schema)]
        });
        there_and_back.collect()
    }

    fn leave(&self, green: &Green, who: Colour) -> Vec<Statement> {
        let home = green.homes.of(who);
        green.blue.statistics.iter().map(|statistics| set_schema(&statistics.name, home)).collect()
    }

    fn arrive(&self, green: &Green, who: Colour) -> Vec<Statement> {
        let arrive = |statistics: &Statistics| {
            set_schema(&statistics.name.in_schema(green.homes.of(who)), &statistics.name.schema)
        };
        green.blue.statistics.iter().map(arrive).collect()
    }

    fn archive(&self, green: &Green, schema: &Ident) -> Vec<Statement> {
        let blue = green.homes.of(Colour::Blue);
        let archive = |statistics: &Statistics| set_schema(&statistics.name.in_schema(blue), schema);
        green.blue.statistics.iter().map(archive).collect()
    }

    fn kept(&self, green: &Green) -> Vec<String> {
        let count = green.blue.statistics.len();
        counted(count, "object of extended statistics", "objects of extended statistics")
            .into_iter()
            .collect()
    }

    fn compare(&self, compared: &mut Compared<'_>) {
        for was in &compared.was.statistics {
            let name = was.name.plain();
            let Some(is) = compared.is.statistics.iter().find(|is| is.name == was.name) else {
                compared.note(format!("statistics {name} are missing"));
                continue;
            };
            let mut expected = was.clone();
            expected.columns = compared.green.green_names(&was.columns);
            expected.reads = compared.green.green_names(&was.reads);
            expected.reads.sort();
            if was.reads.iter().any(|column| compared.is_changed(column)) {
                // The server prints them differently.
                expected.expressions.clone_from(&is.expressions);
            }
            compared.check(format!("statistics {name}"), &expected, is);
        }
    }
}

impl Statistics {
    /// `columns`: what the relation calls those in its ON list.
    pub(super) fn create(&self, name: &QName, relation: &QName, columns: &[Ident]) -> Vec<Statement> {
        let kinds =
            if self.kinds.is_empty() { String::new() } else { format!(" ({})", self.kinds.join(", ")) };
        let columns = columns.iter().map(Ident::to_string);
        let expressions = self.expressions.iter().map(|sql| format!("({sql})"));
        let on: Vec<String> = columns.chain(expressions).collect();
        let sql = format!("CREATE STATISTICS {name}{kinds} ON {} FROM {relation}", on.join(", "));
        let mut statements = vec![Statement::making(relation, "create extended statistics on", sql)];
        if let Some(target) = self.target {
            let sql = format!("ALTER STATISTICS {name} SET STATISTICS {target}");
            statements.push(Statement::new("set the statistics target of extended statistics", sql));
        }
        statements
    }

    pub(super) fn give(&self, name: &QName) -> Statement {
        let sql = format!("ALTER STATISTICS {name} OWNER TO {}", self.owner);
        Statement::new("set the owner of extended statistics", sql)
    }

    pub(super) fn comment_on(&self, name: &QName) -> Option<Statement> {
        comment_on(&format!("STATISTICS {name}"), self.comment.as_ref())
    }
}

/// Takes no lock that a client's statement waits for.
pub(super) fn set_schema(name: &QName, schema: &Ident) -> Statement {
    let what = format!("move extended statistics {} to another schema", name.name.as_str());
    Statement::new(what, format!("ALTER STATISTICS {name} SET SCHEMA {schema}"))
}
