//! Rows that fit into none of green's partitions.
//!
//! The server itself says what fits: a default partition, made in a transaction that is rolled
//! back, has everything else as its constraint.

use super::{Finding, Subject};
use crate::error::Error;
use crate::hangs_on::Green;
use crate::pg::connect::Session;
use crate::pg::sql::{self, Statement};
use crate::pg::{QName, list};
use crate::plan::partition::joined;

pub(super) async fn check(session: &Session, subject: &Subject<'_>) -> Result<Vec<Finding>, Error> {
    let Some(design) = &subject.design else { return Ok(Vec::new()) };
    let Some(partition) = &design.green.partition else { return Ok(Vec::new()) };
    if partition.strategy == "HASH" || partition.leaves.iter().any(|leaf| leaf.bound == "DEFAULT") {
        return Ok(Vec::new());
    }
    session.batch_execute("BEGIN").await.map_err(Error::doing("looking for rows without a partition"))?;
    // One partition instead of many, where that holds the same: the server compares with two bounds then.
    let mut green = design.green.clone();
    if let Some((partition, one)) = green.partition.as_mut().zip(joined(&partition.leaves)) {
        partition.leaves = vec![one];
    }
    let strays = strays(session, &green, &subject.definition.table.name).await;
    session.batch_execute("ROLLBACK").await.map_err(Error::doing("looking for rows without a partition"))?;
    let strays = strays.map_err(Error::doing("looking for rows without a partition"))?;
    if strays == 0 {
        return Ok(Vec::new());
    }
    let what = format!("{strays} rows fit into none of the partitions by {}", partition.column);
    let mend = "give partition_by a `default: true`, or bounds that hold them";
    Ok(vec![Finding::table("partitions", &subject.definition.table.name, what, mend)])
}

async fn strays(session: &Session, green: &Green, blue: &QName) -> Result<i64, tokio_postgres::Error> {
    let made: Vec<Statement> = green.homes.create().into_iter().chain(green.create()).collect();
    session.batch_execute(&sql::joined(&made)).await?;
    let rest = QName::new(green.homes.green.clone(), "projh_rest");
    session.batch_execute(&format!("CREATE TABLE {rest} PARTITION OF {} DEFAULT", green.at_home())).await?;
    let constraint = "SELECT coalesce(pg_get_partition_constraintdef(to_regclass($1)), 'true')";
    let constraint: String = session.query_one(constraint, &[&rest.to_string()]).await?.get(0);
    let (columns, expressions) = green.select_list();
    let values = list(columns.iter().zip(&expressions).map(|(column, sql)| format!("{sql} AS {column}")));
    let sql = format!("SELECT count(*) FROM (SELECT {values} FROM {blue}) AS s WHERE {constraint}");
    Ok(session.query_one(&sql, &[]).await?.get(0))
}
