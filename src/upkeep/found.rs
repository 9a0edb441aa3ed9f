//! A table's partitions as they are now, and why nothing can be done about them.

use serde::Deserialize;
use tokio_postgres::Client;

use super::keys::KeyTable;
use crate::error::{Doing, Error};
use crate::finding::{CheckId, Finding};
use crate::hangs_on::{self, Definition};
use crate::pg::{Ident, QName, RunObjects};
use crate::plan::{PartitionBy, TablePlan};

const PARTITIONS: &str = include_str!("../../sql/catalog/partitions_now.sql");

/// A partition, as found in the catalog.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Partition {
    /// Its name, schema-qualified.
    pub(super) name: QName,
    /// Whether it holds rows itself.
    pub(super) leaf: bool,
    /// `FOR VALUES ...`, or DEFAULT.
    pub(super) bound: String,
    /// Whether its DETACH CONCURRENTLY has begun and not ended.
    pub(super) detaching: bool,
    /// Heap blocks.
    pub(super) blocks: u32,
    /// Whether its replica identity is an index.
    pub(super) by_index: bool,
    /// What depends on it, and not on its parent.
    pub(super) dependents: Vec<String>,
    /// What it has of its own that a new one would lack.
    pub(super) own: Vec<String>,
}

/// A partitioned table of the plan.
pub(super) struct Found<'a> {
    /// What the plan says about it.
    pub(super) by: &'a PartitionBy,
    /// The table's definition.
    pub(super) table: Definition,
    /// Its partitions.
    pub(super) partitions: Vec<Partition>,
    /// One of them, which new ones are to be like; the table itself if there is none.
    pub(super) sibling: Definition,
    /// The default partition, if there is one: the one that takes its place is like it.
    pub(super) default_itself: Option<Definition>,
    /// Its tables of keys.
    pub(super) key_tables: Vec<KeyTable>,
    /// The run whose way back follows the table, if there is one.
    pub(super) soaking: Option<String>,
}

impl Found<'_> {
    /// The table's name.
    pub(super) fn name(&self) -> &QName {
        &self.table.table.name
    }

    /// The default partition.
    pub(super) fn default(&self) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.bound == "DEFAULT")
    }

    /// Reads a table of the plan that it partitions.
    pub(super) async fn read<'a>(
        client: &Client,
        plan: &'a TablePlan,
        by: &'a PartitionBy,
    ) -> Result<Found<'a>, Error> {
        let name = &plan.table;
        let table = match hangs_on::read(client, name).await {
            Err(hangs_on::Error::NoTable(_)) => {
                return Err(refused(name, "there is no such table", "correct the name, or the database"));
            }
            table => table?,
        };
        let Some(key) = &table.table.partition_key else {
            let what = "it is not partitioned";
            return Err(refused(name, what, "execute the plan first: its swap makes it partitioned"));
        };
        let column = key.strip_prefix("RANGE (").and_then(|key| key.strip_suffix(')'));
        if column != Some(by.column.as_str()) && column != Some(by.column.to_string().as_str()) {
            let what = format!("it is partitioned by {key}, and the plan says range ({})", by.column.plain());
            return Err(refused(name, what, "execute the plan first; or correct it"));
        }
        let soaking = soaking(client, name).await?;
        let failed = "reading the partitions";
        let row = client.query_one(PARTITIONS, &[&table.table.oid]).await.doing(failed)?;
        let partitions: Vec<Partition> = serde_json::from_value(row.get(0))
            .map_err(|source| hangs_on::Error::Shape { what: "its partitions", source })?;
        let like = partitions.iter().filter(|partition| partition.leaf);
        let like = like.max_by_key(|partition| (partition.bound != "DEFAULT", partition.bound.clone()));
        if let Some(sibling) = like.filter(|sibling| sibling.by_index) {
            let what = format!("the replica identity of {} is an index", sibling.name.plain());
            let hint =
                "a new partition would lack it: give the table a primary key, and REPLICA IDENTITY DEFAULT";
            return Err(refused(name, what, hint));
        }
        let sibling = match like {
            Some(sibling) => hangs_on::read(client, &sibling.name).await?,
            None => table.clone(),
        };
        let default_itself = match partitions.iter().find(|partition| partition.bound == "DEFAULT") {
            Some(default) => Some(hangs_on::read(client, &default.name).await?),
            None => None,
        };
        let key_tables = KeyTable::of(client, table.table.oid).await?;
        Ok(Found { by, table, partitions, sibling, default_itself, key_tables, soaking })
    }
}

/// The run that follows the table; an error if a run has not swapped it yet, because it would notice new partitions.
async fn soaking(client: &Client, table: &QName) -> Result<Option<String>, Error> {
    let sql = "SELECT p.pubname::text FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid \
               WHERE r.prrelid = to_regclass($1)";
    let rows = client.query(sql, &[&table.to_string()]).await.doing("asking which run follows the table")?;
    let mut soaking = None;
    for row in rows {
        let publication: String = row.get(0);
        let Some(run) = RunObjects::run_of(&publication) else { continue };
        if Ident(publication.clone()) == RunObjects::of(run).slot(crate::pg::Colour::Blue) {
            let what = format!("run {run} is under way, and has not swapped it");
            let hint = "new partitions would stop the run: wait for its swap, or roll it back".to_owned();
            return Err(refused(table, what, hint));
        }
        soaking = Some(run.to_owned());
    }
    Ok(soaking)
}

/// A refusal.
pub(super) fn refused(table: &QName, what: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::Refused(vec![Finding::table(CheckId::Upkeep, table, what, hint)])
}
