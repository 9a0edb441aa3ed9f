//! Rows that fit into none of green's partitions, or only into the default one.
//!
//! The server itself says what fits: the constraint of a default partition, made in a transaction that is rolled
//! back, is everything else.

use super::count::{Count, Row};
use super::{CheckId, Finding, Subject};
use crate::error::{Doing, Error};
use crate::hangs_on::Green;
use crate::pg::connect::Session;
use crate::pg::sql::{self, Statement};
use crate::pg::{Ident, QName, rolled_back};
use crate::plan::Partitions;
use crate::plan::partition::joined;

const DEFAULT: &str = "DEFAULT";
const DOING: &str = "looking for rows without a partition";

pub(super) async fn count(session: &Session, subject: &Subject<'_>) -> Result<Option<Count>, Error> {
    let Some(design) = &subject.design else { return Ok(None) };
    let Some(partition) = &design.green.partition else { return Ok(None) };
    let default = partition.leaves.iter().any(|leaf| leaf.bound == DEFAULT);
    // Which values a list leaves to the default partition is the plan's choice.
    if partition.strategy == "HASH" || partition.strategy == "LIST" && default {
        return Ok(None);
    }
    let mut green = design.green.clone();
    if let Some(partition) = green.partition.as_mut() {
        partition.leaves.retain(|leaf| leaf.bound != DEFAULT);
        // One partition instead of many, if it holds the same: the server then compares with two bounds only.
        if let Some(one) = joined(&partition.leaves) {
            partition.leaves = vec![one];
        }
    }
    let rest = rolled_back(session, "BEGIN", rest(session, &green)).await.flatten();
    let by = subject.plan.partition_by.as_ref();
    let chosen = !by.is_some_and(|by| matches!(by.into, Partitions::Every { from: None, until: None, .. }));
    let partitions = Ranges {
        table: subject.definition.table.name.clone(),
        column: partition.column.clone(),
        default,
        chosen,
    };
    Ok(Some(Count {
        of: format!("rows that fit into none of the partitions by {}", partition.column.plain()),
        row: Row::Green,
        condition: rest.doing(DOING)?,
        found: Box::new(move |strays, rows| partitions.finding(strays, rows)),
        raises: (CheckId::Partitions, "give partition_by bounds that hold every row".to_owned()),
    }))
}

/// The partitions that rows may not fit into.
struct Ranges {
    table: QName,
    column: Ident,
    /// Whether there is a default partition beside them.
    default: bool,
    /// Whether the plan says where they begin or end.
    chosen: bool,
}

impl Ranges {
    /// A refusal if there is no default partition, or if most rows are in no range and the plan has not chosen the
    /// ranges; otherwise a note.
    fn finding(&self, strays: i64, rows: i64) -> Finding {
        let Self { table, column, default, chosen } = self;
        if !default {
            let what = format!("{strays} rows fit into none of the partitions by {column}");
            let hint = "give partition_by a `default: true`, or bounds that hold them";
            return Finding::table(CheckId::Partitions, table, what, hint);
        }
        let what = format!(
            "{strays} of {rows} rows fit into none of the ranges of {column}: the default partition takes them"
        );
        if strays > rows / 2 && !chosen {
            let hint = "choose `from`, `until` or `bounds` in partition_by so that the ranges hold most of the rows, \
                        or partition by another column";
            return Finding::table(CheckId::Partitions, table, what, hint);
        }
        let hint = "accept it, or choose other ranges in partition_by: a range can be added later only after its rows \
                    have been moved out of the default partition";
        Finding::table(CheckId::Partitions, table, what, hint).into_note()
    }
}

/// The constraint of a default partition of green, as SQL from the server.
async fn rest(session: &Session, green: &Green) -> Result<String, tokio_postgres::Error> {
    let made: Vec<Statement> = green.homes.create().into_iter().chain(green.create()).collect();
    session.batch_execute(&sql::joined(&made)).await?;
    let rest = QName::new(green.homes.green.clone(), "projh_rest");
    session.batch_execute(&format!("CREATE TABLE {rest} PARTITION OF {} DEFAULT", green.at_home())).await?;
    let constraint = "SELECT coalesce(pg_get_partition_constraintdef(to_regclass($1)), 'true')";
    Ok(session.query_one(constraint, &[&rest.to_string()]).await?.get(0))
}
