//! Rows that break a rule marked valid for all of them: a CHECK, NOT NULL, a constraint of a domain.
//!
//! A rule was checked when a row was written. The row can break it since: its function was replaced, its
//! expression reads the clock, the row came from a restore with other functions, or a domain's NULL came
//! out of an outer join. The copy writes every row again, and would fail there. If the plan gives a
//! column new values, these are checked against green's rules.

use postgres_types::Json;
use serde::Deserialize;

use super::count::{Count, Row, ToFinding};
use super::{CheckId, Finding, Subject};
use crate::hangs_on::{Green, GreenColumn, Source, without_length};
use crate::pg::connect::Session;
use crate::pg::sql::lexer::replaced;
use crate::pg::{Ident, QName, list};

/// A rule of green, read from the rehearsed table.
#[derive(Debug, Deserialize)]
pub(super) struct Rule {
    /// `CHECK positive`, `NOT NULL of at`, ...
    name: String,
    /// `None` for NOT NULL.
    expression: Option<String>,
    /// For a domain's rule: the type of VALUE in `expression`.
    base: Option<String>,
    /// The columns that it reads.
    columns: Vec<Ident>,
}

/// The rules of green, which has been made in this transaction.
pub(super) async fn read(session: &Session, green: &Green) -> Result<Vec<Rule>, tokio_postgres::Error> {
    let oid = "SELECT to_regclass($1)::oid";
    let oid: u32 = session.query_one(oid, &[&green.at_home().to_string()]).await?.get(0);
    let row = session.query_one(include_str!("../../sql/catalog/rules_of_rows.sql"), &[&oid]).await?;
    Ok(row.try_get::<_, Json<Vec<Rule>>>(0)?.0)
}

/// The questions about the rules of green, and about the values that the plan's expressions give.
pub(super) fn counts(subject: &Subject<'_>) -> Vec<Count> {
    let Some(design) = &subject.design else { return Vec::new() };
    let green = &design.green;
    let of_rules = subject.rules.iter().filter_map(|rule| of_rule(green, rule));
    of_rules.chain(green.columns.iter().filter_map(|column| of_value(green, column))).collect()
}

fn of_rule(green: &Green, rule: &Rule) -> Option<Count> {
    let sources: Vec<&GreenColumn> =
        green.columns.iter().filter(|column| rule.columns.contains(&column.name)).collect();
    // An added column gets its default, which the server has checked by then.
    if sources.iter().any(|column| column.source == Source::Added) {
        return None;
    }
    let as_in_blue = sources.iter().all(|column| column.source.unchanged() == Some(&column.name));
    let condition = broken(rule)?;
    let (name, table) = (rule.name.clone(), green.live().clone());
    let computed: Vec<&Ident> = sources.iter().filter_map(|column| computed(column)).collect();
    let raises = if computed.is_empty() {
        format!("find out why it fails: select * from {} where {condition}", table.plain())
    } else {
        let columns = list(computed.iter().map(|name| name.as_str()));
        format!("change `using` of {columns} in the plan so that it has a value for every row")
    };
    let found: ToFinding = if computed.is_empty() {
        Box::new({
            let condition = if as_in_blue { condition.clone() } else { "...".to_owned() };
            move |rows, _| broken_in_blue(&table, &name, &condition, rows)
        })
    } else {
        let columns = list(computed.iter().map(|name| name.as_str()));
        Box::new(move |rows, _| {
            let what = format!("{rows} rows would break {name} with their new value of {columns}");
            let hint = format!("change `using` of {columns} in the plan, or these rows");
            Finding::table(CheckId::Rows, &table, what, hint)
        })
    };
    Some(Count {
        of: format!("rows that break {}", rule.name),
        row: if as_in_blue { Row::Blue } else { Row::Green },
        condition,
        found,
        raises: (CheckId::Rows, raises),
    })
}

fn broken_in_blue(table: &QName, rule: &str, condition: &str, rows: i64) -> Finding {
    let what = format!(
        "{rows} rows break {rule}, which says that it holds for all rows: none of them could be copied"
    );
    let find = format!("select * from {} where {condition}", table.plain());
    let hint = match rule.strip_prefix("CHECK ").filter(|name| !name.contains(" of domain ")) {
        Some(name) => format!(
            "change these rows ({find}), or say that it holds for new ones alone: alter table {0} drop constraint \
             {name}, add constraint {name} check (...) not valid",
            table.plain()
        ),
        None => format!("change these rows: {find}"),
    };
    Finding::table(CheckId::Rows, table, what, hint)
}

/// SQL that is true for rows that break the rule.
fn broken(rule: &Rule) -> Option<String> {
    match (&rule.expression, &rule.base, rule.columns.first()) {
        (None, _, Some(column)) => Some(format!("num_nulls({column}) > 0")),
        (Some(expression), None, _) => Some(format!("NOT ({expression})")),
        (Some(expression), Some(base), Some(column)) => {
            let value = format!("CAST({column} AS {base})");
            Some(format!("NOT ({})", replaced(expression, "value", &value)?))
        }
        _ => None,
    }
}

/// The question about the values of a column that the plan computes: each row has one, and it fits the type.
fn of_value(green: &Green, column: &GreenColumn) -> Option<Count> {
    computed(column)?;
    let (name, table) = (column.name.clone(), green.live().clone());
    let bare = without_length(&column.data_type);
    let condition = if bare == column.data_type {
        // Never true; what matters is that it can be computed.
        format!("num_nulls({name}) > 1")
    } else {
        let text = |data_type: &str| format!("rtrim(CAST(CAST({name} AS {data_type}) AS text))");
        format!("{} <> {}", text(&column.data_type), text(&bare))
    };
    let (shown, data_type) = (name.as_str().to_owned(), column.data_type.clone());
    let raises =
        format!("change `using` of {shown} in the plan so that it has a value for every row, or the rows");
    Some(Count {
        of: format!("values of {shown} that do not fit {data_type}"),
        row: Row::Green,
        condition,
        found: Box::new(move |rows, _| {
            let what = format!("{rows} values of column {shown} do not fit into {data_type}");
            Finding::table(
                CheckId::Rows,
                &table,
                what,
                format!("give {shown} a longer type in the plan, or shorten it with `using`"),
            )
        }),
        raises: (CheckId::Rows, raises),
    })
}

/// The column's name, if the plan gives it other values or another type.
fn computed(column: &GreenColumn) -> Option<&Ident> {
    matches!(column.source, Source::Expression { .. }).then_some(&column.name)
}
