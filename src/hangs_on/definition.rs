//! A table's whole definition, read from the catalog at once, and the list of the kinds that it consists of.
//!
//! A new kind is a file of this module, its query under `sql/catalog`, and three lines here: its field, its query, and
//! its place in [`PARTS`]. A field that is added later is `#[serde(default)]`, because journals contain definitions.

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use super::checks::Check;
use super::columns::Column;
use super::defaults_elsewhere::DefaultElsewhere;
use super::foreign_keys::ForeignKey;
use super::functions::Function;
use super::inbound::InboundKey;
use super::indexes::Index;
use super::materialized::MaterializedView;
use super::part::Part;
use super::partitions::Partition;
use super::policies::Policy;
use super::policies_elsewhere::PolicyElsewhere;
use super::privileges::Grants;
use super::publications::Publication;
use super::row_functions::RowFunction;
use super::rules::Rule;
use super::sequences::Sequence;
use super::statistics::Statistics;
use super::table::{LeafState, Table};
use super::triggers::Trigger;
use super::views::View;
use super::{
    Error, checks, columns, defaults_elsewhere, foreign_keys, functions, inbound, indexes, leaf_keys,
    materialized, partitions, policies, policies_elsewhere, privileges, publications, registry,
    row_functions, rules, sequences, statistics, table, triggers, views,
};
use crate::pg::{Ident, QName};

/// The whole definition of a table. All SQL text in it is schema-qualified.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// The table's own properties.
    pub table: Table,
    /// Its columns, in the order of `attnum`.
    pub columns: Vec<Column>,
    /// The sequences that its columns own.
    pub sequences: Vec<Sequence>,
    /// The table's CHECK constraints.
    pub checks: Vec<Check>,
    /// The foreign keys of the table itself.
    pub foreign_keys: Vec<ForeignKey>,
    /// Its indexes, including those of primary key and unique constraints.
    pub indexes: Vec<Index>,
    /// Its policies for row-level security.
    pub policies: Vec<Policy>,
    /// The privileges on the table.
    pub grants: Grants,
    /// Its extended statistics (CREATE STATISTICS).
    #[serde(default)]
    pub statistics: Vec<Statistics>,
    /// The triggers that users have made on it.
    #[serde(default)]
    pub triggers: Vec<Trigger>,
    /// The views that depend on it, directly or through others; those of a lower depth first.
    #[serde(default)]
    pub views: Vec<View>,
    /// The materialized views that are bound to it or to each other, in an order in which they can be created.
    #[serde(default)]
    pub materialized: Vec<MaterializedView>,
    /// The functions with an SQL body that read it.
    #[serde(default)]
    pub functions: Vec<Function>,
    /// The functions with its row type in their signature, in an order in which they can be created.
    #[serde(default)]
    pub row_functions: Vec<RowFunction>,
    /// The policies of other tables that read it.
    #[serde(default)]
    pub policies_elsewhere: Vec<PolicyElsewhere>,
    /// The defaults of other tables that are bound to it or to its sequences.
    #[serde(default)]
    pub defaults_elsewhere: Vec<DefaultElsewhere>,
    /// The foreign keys of other tables that reference it.
    #[serde(default)]
    pub inbound: Vec<InboundKey>,
    /// The rules on it, and those on other tables that name it.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Its partitions at all depths, if it is partitioned; those of a lower depth first.
    #[serde(default)]
    pub partitions: Vec<Partition>,
    /// The publications of others that have it.
    #[serde(default)]
    pub publications: Vec<Publication>,
    /// The state of its leaves, if it is partitioned.
    pub leaves: Vec<LeafState>,
}

/// Every kind, in the order in which its statements are executed.
pub(crate) const PARTS: [&dyn Part; 22] = [
    &columns::Columns,
    &sequences::Sequences,
    &checks::Checks,
    &policies::Policies,
    &table::TableItself,
    &privileges::Privileges,
    &indexes::Indexes,
    &foreign_keys::ForeignKeys,
    &leaf_keys::LeafKeys,
    &statistics::ExtendedStatistics,
    &triggers::Triggers,
    &registry::Registries,
    &materialized::MaterializedViews,
    &views::Views,
    &functions::Functions,
    &row_functions::RowFunctions,
    &policies_elsewhere::PoliciesElsewhere,
    &defaults_elsewhere::DefaultsElsewhere,
    &inbound::InboundKeys,
    &rules::Rules,
    &partitions::Partitions,
    &publications::Publications,
];

/// Reads a table's definition.
///
/// # Errors
/// If there is no such table, or the catalog cannot be read.
pub async fn read(client: &Client, table: &QName) -> Result<Definition, Error> {
    let oid = super::oid_of(client, table).await?;
    super::with_bare_path(client, read_by_oid(client, oid)).await
}

/// Reads the properties of a table itself.
///
/// # Errors
/// As [`read`].
pub(crate) async fn read_table(client: &Client, table: &QName) -> Result<Table, Error> {
    let oid = super::oid_of(client, table).await?;
    super::with_bare_path(client, table::TABLE.ask(client, oid)).await
}

/// Reads a table's columns.
///
/// # Errors
/// As [`read`].
pub(crate) async fn read_columns(client: &Client, table: &QName) -> Result<Vec<Column>, Error> {
    let oid = super::oid_of(client, table).await?;
    super::with_bare_path(client, columns::COLUMNS.ask(client, oid)).await
}

async fn read_by_oid(client: &Client, oid: u32) -> Result<Definition, Error> {
    let table: Table = table::TABLE.ask(client, oid).await?;
    let (leaves, partitions) = match table.is_partitioned() {
        true => (table::LEAVES.ask(client, oid).await?, partitions::PARTITIONS.ask(client, oid).await?),
        false => (Vec::new(), Vec::new()),
    };
    let mut partitions: Vec<Partition> = partitions;
    for partition in partitions.iter_mut().filter(|partition| partition.has_keys) {
        partition.foreign_keys = foreign_keys::FOREIGN_KEYS.ask(client, partition.oid).await?;
    }
    Ok(Definition {
        table,
        leaves,
        partitions,
        columns: columns::COLUMNS.ask(client, oid).await?,
        sequences: sequences::SEQUENCES.ask(client, oid).await?,
        checks: checks::CHECKS.ask(client, oid).await?,
        foreign_keys: foreign_keys::FOREIGN_KEYS.ask(client, oid).await?,
        indexes: indexes::INDEXES.ask(client, oid).await?,
        policies: policies::POLICIES.ask(client, oid).await?,
        grants: privileges::GRANTS.ask(client, oid).await?,
        statistics: statistics::STATISTICS.ask(client, oid).await?,
        triggers: triggers::TRIGGERS.ask(client, oid).await?,
        views: views::VIEWS.ask(client, oid).await?,
        materialized: materialized::MATERIALIZED.ask(client, oid).await?,
        functions: functions::FUNCTIONS.ask(client, oid).await?,
        row_functions: row_functions::ROW_FUNCTIONS.ask(client, oid).await?,
        policies_elsewhere: policies_elsewhere::POLICIES_ELSEWHERE.ask(client, oid).await?,
        defaults_elsewhere: defaults_elsewhere::DEFAULTS_ELSEWHERE.ask(client, oid).await?,
        inbound: inbound::INBOUND.ask(client, oid).await?,
        rules: rules::RULES.ask(client, oid).await?,
        publications: publications::PUBLICATIONS.ask(client, oid).await?,
    })
}

impl Definition {
    /// The column with this name.
    #[must_use]
    pub fn column(&self, name: &Ident) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == *name)
    }

    /// The index of the primary key, if there is one.
    #[must_use]
    pub fn primary_key(&self) -> Option<&Index> {
        self.indexes.iter().find(|index| index.primary)
    }

    /// The tables that foreign keys of it, or of its partitions, reference, without itself.
    #[must_use]
    pub fn referenced(&self) -> Vec<&QName> {
        let of_partitions = self.partitions.iter().flat_map(|partition| &partition.foreign_keys);
        let mut referenced: Vec<&QName> =
            self.foreign_keys.iter().chain(of_partitions).map(|key| &key.references).collect();
        referenced.sort();
        referenced.dedup();
        referenced.retain(|table| **table != self.table.name);
        referenced
    }

    /// The sequence that a column owns, if there is one.
    #[must_use]
    pub fn sequence_of(&self, column: &Ident) -> Option<&Sequence> {
        self.sequences.iter().find(|sequence| sequence.column == *column)
    }
}
