//! A lane: one directed pair of tables, and what the phases do with it.
//!
//! ```text
//! source ──ctid chunks at a snapshot──────────────────────────────► target      copy
//!    └──WAL──► stream ──► Coalesced (one net change per key) ─────► target      feed, apply
//! source ◄──row hashes at one point──► target                                   compare
//! ```
//!
//! Invariant: a lane does not know which side is live, or which one came first. What it does from one table
//! to the other it can do in reverse: only [`Ends`] says in which direction.

pub mod apply;
mod batch;
mod cipher;
pub mod coalesce;
pub mod compare;
pub mod copy;
mod ends;
pub mod feed;
pub mod find;
mod lost;
mod mapping;
pub mod point;
pub mod raw;
mod row_hash;
mod sent_keys;
mod sent_secret;
mod working;

use tokio_postgres::Client;

use crate::lifecycle::Secret;
use crate::pg::{Acting, Encoding, Ident, QName, list};
use crate::phi::{Codec, Keyring};
use crate::replication::pgoutput::{Tuple, Value};

use self::coalesce::Key;

pub use cipher::{CipherError, Ciphers};
pub use ends::{Ends, NoWayBack};
pub use mapping::{Mapped, TRANSFORMED, Transform};
pub use working::{dirty_table, row_type, transformed_field, working_objects};

/// A column of the source that, with the others of the key, pairs its rows with the target's.
#[derive(Clone, Debug)]
pub struct LaneKeyColumn {
    /// Its name in the source.
    pub name: Ident,
    /// The OID of its type.
    pub type_oid: u32,
    /// The type's name, as SQL.
    pub type_name: String,
    /// The equality operator of the source's key, qualified.
    pub equals: String,
    /// The equality operator of the target's key, qualified.
    pub equals_in_target: String,
    /// How its binary form becomes text; `None` if that is not supported.
    pub codec: Option<Codec>,
}

/// A column of the source's key, in the target.
#[derive(Clone, Copy, Debug)]
pub struct TargetKeyColumn<'a> {
    /// Its name in the target.
    pub column: &'a Ident,
    /// Its value in the target, as SQL over the source's key columns.
    pub value: &'a str,
    /// The equality operator of the target's key, qualified.
    pub equals: &'a str,
}

/// A column of the source, in the order of its row type.
#[derive(Clone, Debug)]
pub struct SourceColumn {
    /// Its name, in UTF-8.
    pub name: Ident,
    /// Its name as the stream has it: in the database's encoding.
    pub stored_name: Vec<u8>,
    /// The OID of its type, as in the stream.
    pub type_oid: u32,
    /// The OID of its type under all domains, as which its values are sent.
    pub base_oid: u32,
    /// Whether it is generated, and so not in the stream.
    pub generated: bool,
}

/// One directed pair of tables.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Its table's position in the plan, from 0.
    pub number: usize,
    /// The name that clients use.
    pub table: QName,
    /// The table that rows come from, by its present name.
    pub source: QName,
    /// The table that they go to, by its present name.
    pub target: QName,
    /// Whether the source is partitioned.
    pub source_is_partitioned: bool,
    /// The source's OID, as in the stream.
    pub source_oid: u32,
    /// The composite type in which rows of the stream are sent to the server: the columns that the stream carries,
    /// each of its type under all domains, so that a value that was not sent may be NULL.
    pub row_type: QName,
    /// The OID of `row_type`.
    pub row_type_oid: u32,
    /// The source's columns, in order.
    pub columns: Vec<SourceColumn>,
    /// The columns that pair the rows of both tables.
    pub key: Vec<LaneKeyColumn>,
    /// The columns that identify a row in the stream, by their positions there: those of the key, then the others by
    /// which the stream names old rows.
    pub identity: Vec<usize>,
    /// Whether those are all of a row's columns, some of which may be NULL: its key is deferrable.
    pub by_whole_rows: bool,
    /// Whether the target has a deferrable key.
    pub defers: bool,
    /// The target's columns that are written.
    pub mapping: Vec<Mapped>,
    /// The target's columns that are not: the source has no value for them, so a row keeps those that it has.
    pub kept: Vec<Ident>,
    /// The keys of columns that this program transforms; `None` if there is none.
    pub keyring: Option<Keyring>,
    /// The target's columns that are compared: also those that the server computes.
    pub verified: Vec<Mapped>,
    /// The source's columns that the target has to give back, each as the inverse: they are compared, too.
    pub given_back: Vec<Mapped>,
    /// The columns of a unique index of the target that contains those of the key.
    pub target_key: Vec<Ident>,
    /// The target's columns that must keep their values if a row is updated in place, as two rows that
    /// exchange unique values would violate the index half-way; `None` if they are not known.
    pub keep_in_place: Option<Vec<Ident>>,
    /// The target's partition key, by which a row is looked up first; `None` if the key alone leads to one
    /// partition, or the partition key is not a copy of a column of the source.
    pub partition_hint: Option<PartitionHint>,
    /// The schema of the run's working tables.
    pub home: Ident,
    /// The secret of its row hashes and of digests of keys.
    pub secret: Secret,
    /// The database's encoding, in which its rows are sent.
    pub encoding: Encoding,
    /// The owner of both tables.
    pub owner: Ident,
    /// The role with whose rights the rows of both tables are read and written.
    pub acting: Acting,
}

/// The partition in which to look for a row first.
#[derive(Clone, Debug)]
pub struct PartitionHint {
    /// The target's partition key.
    pub target: Ident,
    /// Its equality operator, qualified.
    pub equals: String,
}

const COLUMNS: &str = include_str!("../../sql/catalog/lane_columns.sql");

impl Lane {
    /// Loads a lane between two tables from the catalog. [`Lane::is_whole`] says whether everything was found.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub async fn load(client: &Client, number: usize, ends: &Ends) -> Result<Self, tokio_postgres::Error> {
        Self::load_at(client, number, ends, (&ends.table, ends.at_home())).await
    }

    /// The same while source and target have these names: before a swap, the lane for after it.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub async fn load_at(
        client: &Client,
        number: usize,
        ends: &Ends,
        (source, target): (&QName, QName),
    ) -> Result<Self, tokio_postgres::Error> {
        let home = &ends.target.home;
        let row_type = row_type(home, number);
        let found = CatalogRelation::read(client, source).await?;
        let in_target = CatalogRelation::read(client, &target).await?;
        let travelling = CatalogRelation::read(client, &row_type).await?;
        let key = |name: &Ident| key_column(name, &found, &in_target, &ends.mapping);
        let is_mapped = |name: &Ident| ends.mapping.iter().any(|to| to.target == *name);
        let others = in_target.columns.iter().map(|column| &column.column);
        let others = others.filter(|column| !column.generated && !is_mapped(&column.name));
        let written = |name: &&Ident| ends.mapping.iter().any(|to| to.target == **name && !to.generated);
        let mut lane = Self {
            number,
            table: ends.table.clone(),
            source: source.clone(),
            target,
            source_is_partitioned: found.is_partitioned,
            source_oid: found.relation,
            row_type,
            row_type_oid: travelling.row_type,
            key: ends.source.key.iter().filter_map(key).collect(),
            identity: ends.identity().filter_map(|name| found.place(name)).collect(),
            by_whole_rows: ends.by_whole_rows,
            defers: ends.target.defers,
            partition_hint: partition_hint(ends, &found, &in_target),
            keep_in_place: None,
            mapping: ends.mapping.iter().filter(|mapped| !mapped.generated).cloned().collect(),
            kept: others.map(|column| column.name.clone()).collect(),
            keyring: None,
            verified: ends.mapping.clone(),
            given_back: Vec::new(),
            target_key: ends.target.unique_key.clone(),
            columns: found.columns.into_iter().map(|column| column.column).collect(),
            home: home.clone(),
            secret: ends.secret.clone(),
            encoding: Encoding::of(client).await?,
            owner: ends.owner.clone(),
            acting: ends.acting.clone(),
        };
        for (number, mapped) in
            lane.mapping.iter_mut().filter(|mapped| mapped.transform.is_some()).enumerate()
        {
            mapped.expression = mapped.expression.replace(TRANSFORMED, transformed_field(number).as_str());
        }
        // A row that is found by its key keeps its key.
        let keyed: Vec<Ident> = lane.key_in_target().into_iter().map(|key| key.column.clone()).collect();
        let is_kept = |name: &&Ident| written(name) && !keyed.contains(name);
        let unique = ends.target.unique.as_ref();
        lane.keep_in_place = unique.map(|unique| unique.iter().filter(is_kept).cloned().collect());
        Ok(lane)
    }

    /// Whether the catalog has both tables with all columns that identify rows. Without them, rows would be confused.
    #[must_use]
    pub fn is_whole(&self, ends: &Ends) -> bool {
        self.source_oid != 0
            && self.key.len() == ends.source.key.len()
            && self.identity.len() == ends.identity().count()
            && self.key_in_target().len() == self.key.len()
    }

    /// All rows of the source, for FROM: those of its partitions, or its own alone (ONLY), as in the stream.
    #[must_use]
    pub fn source_rows(&self) -> String {
        if self.source_is_partitioned { self.source.to_string() } else { format!("ONLY {}", self.source) }
    }

    /// The target's columns that are written, as a list for SQL.
    #[must_use]
    pub fn target_columns(&self) -> String {
        list(self.mapping.iter().map(|mapped| &mapped.target))
    }

    /// Their expressions over the source's columns, as a list for SQL.
    #[must_use]
    pub fn expressions(&self) -> String {
        list(self.mapping.iter().map(|mapped| &mapped.expression))
    }

    /// The source's key columns, as a list for SQL.
    #[must_use]
    pub fn key_columns(&self) -> String {
        list(self.key.iter().map(|column| &column.name))
    }

    /// The source's key columns as the target has them.
    #[must_use]
    pub fn key_in_target(&self) -> Vec<TargetKeyColumn<'_>> {
        let mapped = self.key.iter().filter_map(|key| {
            let mapped = self.mapping.iter().find(|mapped| mapped.source == key.name)?;
            Some(TargetKeyColumn {
                column: &mapped.target,
                value: &mapped.expression,
                equals: &key.equals_in_target,
            })
        });
        mapped.collect()
    }

    /// The working table of keys that have to be read again.
    #[must_use]
    pub fn dirty_table(&self) -> QName {
        dirty_table(&self.home, self.number)
    }

    /// The target's columns that this program transforms, in the order of their fields in the row type.
    pub fn transformed(&self) -> impl Iterator<Item = (&Mapped, &Transform)> {
        self.mapping.iter().filter_map(|mapped| Some((mapped, mapped.transform.as_ref()?)))
    }

    /// Whether rows have to pass through this program.
    #[must_use]
    pub fn is_transformed(&self) -> bool {
        self.transformed().next().is_some()
    }

    /// The fields of the row type: the columns that the stream carries, then what the transformations give.
    pub fn fields(&self) -> impl Iterator<Item = Ident> + '_ {
        let columns = self.streamed().map(|column| column.name.clone());
        columns.chain((0..self.transformed().count()).map(transformed_field))
    }

    /// The columns that the stream carries, in its order.
    pub fn streamed(&self) -> impl Iterator<Item = &SourceColumn> {
        self.columns.iter().filter(|column| !column.generated)
    }

    /// The identity of a tuple of the stream, the key first (in a key tuple, columns outside the identity are sent as
    /// NULL). `None` if one of its values is NULL or was not sent.
    #[must_use]
    pub fn identity_of(&self, tuple: &Tuple) -> Option<Key> {
        let values: Option<Vec<&Value>> = self.identity.iter().map(|at| tuple.get(*at)).collect();
        if self.by_whole_rows { Key::of_row(values?, self.key.len()) } else { Key::new(values?) }
    }
}

/// A relation as read from the catalog; OIDs are 0 if it does not exist.
struct CatalogRelation {
    relation: u32,
    row_type: u32,
    is_partitioned: bool,
    columns: Vec<CatalogColumn>,
}

struct CatalogColumn {
    column: SourceColumn,
    type_name: String,
    codec: Option<Codec>,
    equals: String,
}

impl CatalogRelation {
    async fn read(client: &Client, relation: &QName) -> Result<Self, tokio_postgres::Error> {
        let rows = client.query(COLUMNS, &[&relation.to_string()]).await?;
        let column = |row: &tokio_postgres::Row| CatalogColumn {
            column: SourceColumn {
                name: Ident(row.get("name")),
                stored_name: row.get("stored_name"),
                type_oid: row.get("type_oid"),
                base_oid: row.get("base_oid"),
                generated: row.get("generated"),
            },
            type_name: row.get("type_name"),
            codec: Codec::of(row.get("base_type")),
            equals: row.get("equals"),
        };
        Ok(Self {
            relation: rows.first().map_or(0, |row| row.get("relation")),
            row_type: rows.first().map_or(0, |row| row.get("row_type")),
            is_partitioned: rows.first().is_some_and(|row| row.get("is_partitioned")),
            columns: rows.iter().map(column).collect(),
        })
    }

    fn find(&self, name: &Ident) -> Option<&CatalogColumn> {
        self.columns.iter().find(|column| column.column.name == *name)
    }

    /// The position of a column among those that the stream carries.
    fn place(&self, name: &Ident) -> Option<usize> {
        let mut streamed = self.columns.iter().filter(|column| !column.column.generated);
        streamed.position(|column| column.column.name == *name)
    }

    /// The column's equality operator; `None` for a target that does not exist yet.
    fn equals(&self, name: &Ident) -> Option<String> {
        self.find(name).map(|column| column.equals.clone())
    }
}

fn key_column(
    name: &Ident,
    source: &CatalogRelation,
    target: &CatalogRelation,
    mapping: &[Mapped],
) -> Option<LaneKeyColumn> {
    let found = source.find(name)?;
    let mapped = mapping.iter().find(|mapped| mapped.source == *name);
    Some(LaneKeyColumn {
        name: name.clone(),
        type_oid: found.column.type_oid,
        type_name: found.type_name.clone(),
        equals: found.equals.clone(),
        codec: found.codec,
        equals_in_target: mapped
            .and_then(|mapped| target.equals(&mapped.target))
            .unwrap_or_else(|| found.equals.clone()),
    })
}

/// See [`Lane::partition_hint`].
fn partition_hint(ends: &Ends, source: &CatalogRelation, target: &CatalogRelation) -> Option<PartitionHint> {
    let partition = ends.target.partition.as_ref()?;
    let same_as = ends.mapping.iter().find(|mapped| mapped.target == *partition)?.same_as()?;
    if ends.source.key.contains(same_as) {
        return None;
    }
    let equals = target.equals(partition).or_else(|| source.equals(same_as))?;
    Some(PartitionHint { target: partition.clone(), equals })
}
