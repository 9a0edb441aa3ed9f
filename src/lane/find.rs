//! Finds the rows that a key's digest stands for, on each side that has them. Only a row's place is reported, never
//! its values.

use postgres_types::ToSql;
use schemars::JsonSchema;
use serde::Serialize;
use tokio_postgres::Client;

use super::Ends;
use super::compare::CompareError;
use super::row_hash::key_digest;
use super::sent_secret;
use crate::lifecycle::LaneDesign;
use crate::pg::{Acting, Colour, Literal, QName, list};

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

/// Finds the rows whose key has this digest, by a scan of both sides of a lane as they are now.
///
/// # Errors
/// If green lacks a column of the key, or the server rejects the query.
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
    let green = &design.green;
    // Where the server may log it, beside digests, the secret is no parameter.
    let is_sent = ends.mapping.iter().any(|mapped| mapped.transform.is_some());
    let secret = if is_sent { sent_secret::sent(0) } else { "$2::text".to_owned() };
    let failed = |source| CompareError::Postgres { table: table.clone(), source };
    if is_sent {
        sent_secret::send(client, (0, &design.secret), &ends.owner).await.map_err(failed)?;
    }
    let mut sides = [
        Place {
            side: Side::Blue,
            table: if is_swapped { green.home_of(Colour::Blue) } else { design.table.clone() },
            digests: vec![
                key_digest(&secret, pairs.iter().map(|mapped| &mapped.expression)),
                // As blue has it: of a row that green could not take, or that was compared while green was live.
                key_digest(&secret, pairs.iter().map(|mapped| &mapped.source)),
            ],
        },
        Place {
            side: Side::Green,
            table: if is_swapped { design.table.clone() } else { green.at_home() },
            digests: vec![key_digest(&secret, pairs.iter().map(|mapped| &mapped.target))],
        },
    ];
    for place in &mut sides {
        place.digests.dedup();
    }
    let key = design.secret.key();
    let params: &[&(dyn ToSql + Sync)] = if is_sent { &[&digest] } else { &[&digest, &key] };
    let mut found = Vec::new();
    for place in sides {
        let rows = place.rows(client, &green.blue.table.acting(), params).await;
        found.extend(rows.map_err(failed)?);
    }
    Ok(found)
}

/// A table to search.
struct Place {
    side: Side,
    table: QName,
    /// SQL for digests that may name a row.
    digests: Vec<String>,
}

impl Place {
    /// The rows with the digest `$1`; empty if the table does not exist (any more).
    async fn rows(
        &self,
        client: &Client,
        acting: &Acting,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<RowFound>, tokio_postgres::Error> {
        let Self { side, table, digests } = self;
        let there = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table.to_string()]).await?;
        if !there.get::<_, bool>(0) {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT tableoid::regclass::text, ctid::text FROM {table} WHERE $1 IN ({})",
            list(digests)
        );
        let found = |row: &tokio_postgres::Row| {
            let relation: String = row.get(0);
            let ctid: String = row.get(1);
            let sql = format!("select * from only {relation} where ctid = {}", Literal(&ctid));
            RowFound { side: *side, relation, sql }
        };
        Ok(acting.ask(client, &sql, params).await?.iter().map(found).collect())
    }
}
