//! The rows that a key's digest stands for, on each side that has them. Only where a row is is told, never
//! what is in it.

use schemars::JsonSchema;
use serde::Serialize;
use tokio_postgres::Client;

use super::Ends;
use super::compare::CompareError;
use super::row_hash::key_digest;
use crate::lifecycle::LaneDesign;
use crate::pg::{Acting, Literal, QName};

/// Which table a row is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The original table.
    Blue,
    /// Its shadow.
    Green,
}

/// Where a row is.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RowFound {
    /// Which table it is in.
    pub side: Side,
    /// The relation that holds it: the table, or one of its partitions.
    pub relation: String,
    /// What to type to read it, until it is changed.
    pub sql: String,
}

/// Reads both sides of a lane through, as they are now.
///
/// # Errors
/// If the server rejects the query.
pub async fn find(
    client: &Client,
    design: &LaneDesign,
    is_swapped: bool,
    digest: &str,
) -> Result<Vec<RowFound>, CompareError> {
    let table = design.table.plain();
    let ends = Ends::of(design);
    let pairs = ends.mapped_key();
    if pairs.len() != design.key.columns.len() {
        let why = "not every column of the key is in green".to_owned();
        return Err(CompareError::Incomplete { table, why });
    }
    let (blue, green) = if is_swapped {
        (design.green.blue_at_home(), design.table.clone())
    } else {
        (design.table.clone(), design.green.at_home())
    };
    let of_blue = key_digest(pairs.iter().map(|mapped| &mapped.expression));
    let of_green = key_digest(pairs.iter().map(|mapped| &mapped.target));
    let mut found = Vec::new();
    for (side, relation, keyed) in [(Side::Blue, blue, of_blue), (Side::Green, green, of_green)] {
        let rows = rows(
            client,
            (&design.green.blue.table.acting(), &relation),
            &keyed,
            (design.secret.key(), digest),
        )
        .await;
        let rows = rows.map_err(|source| CompareError::Postgres { table: table.clone(), source })?;
        found.extend(rows.into_iter().map(|(relation, ctid)| RowFound {
            side,
            sql: format!("select * from only {relation} where ctid = {}", Literal(&ctid)),
            relation,
        }));
    }
    Ok(found)
}

/// Relation and ctid of the rows with a digest; none where the table is not there (any more).
async fn rows(
    client: &Client,
    (acting, relation): (&Acting, &QName),
    keyed: &str,
    (key, digest): (&str, &str),
) -> Result<Vec<(String, String)>, tokio_postgres::Error> {
    let there = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&relation.to_string()]).await?;
    if !there.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT tableoid::regclass::text, ctid::text FROM {relation} WHERE {keyed} = $1");
    let rows = acting.ask(client, &sql, &[&digest, &key]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
