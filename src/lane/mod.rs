//! One directed pair of tables, and what the phases do along it.
//!
//! ```text
//! source ──ctid chunks at a snapshot──────────────────────────────► target      copy
//!    └──WAL──► stream ──► Coalesced (one net change a key) ───────► target      feed, apply
//! source ◄──row hashes at one point──► target                                   compare
//! ```
//!
//! Invariant: a lane does not know which side is live. What it does from blue to green it would
//! do from green to blue.

pub mod apply;
pub mod coalesce;
pub mod compare;
pub mod copy;
pub mod feed;
pub mod find;
mod mapping;
pub mod point;
pub mod raw;
mod row_hash;

use tokio_postgres::Client;

use crate::hangs_on::VerifiedColumn;
use crate::lifecycle::{LaneDesign, Secret};
use crate::pg::{Acting, Encoding, Ident, QName, list};
use crate::replication::pgoutput::{Tuple, Value};

use self::coalesce::Key;

pub use mapping::Mapped;

/// A column of the source's key.
#[derive(Clone, Debug)]
pub struct KeyColumn {
    /// Its name in the source.
    pub name: Ident,
    /// Its type.
    pub type_oid: u32,
    /// The type's name for SQL.
    pub type_name: String,
    /// The operator that the source's key goes by, qualified.
    pub equals: String,
    /// The one that the target's goes by.
    pub equals_in_target: String,
    /// Its place among the stream's columns.
    pub at: usize,
}

/// A column of the source's key as the target has it.
#[derive(Clone, Copy, Debug)]
pub struct TargetKeyColumn<'a> {
    /// Its name there.
    pub column: &'a Ident,
    /// The value it has there, as SQL over the source's key columns.
    pub value: &'a str,
    /// The operator that the target's key goes by, qualified.
    pub equals: &'a str,
}

/// A column of the source, in the order of its row type.
#[derive(Clone, Debug)]
pub struct SourceColumn {
    /// Its name.
    pub name: Ident,
    /// The same as the stream has it: in the database's encoding.
    pub stored_name: Vec<u8>,
    /// Its type, as the stream names it.
    pub type_oid: u32,
    /// The type under every domain: how it travels.
    pub base_oid: u32,
    /// Generated columns are not in the stream.
    pub generated: bool,
}

/// One directed pair of tables.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Its number in the plan.
    pub number: usize,
    /// The name that clients use.
    pub table: QName,
    /// The table that rows come from, where it is now.
    pub source: QName,
    /// The table they go to, where it is now.
    pub target: QName,
    /// The source's OID, as the stream names it.
    pub source_oid: u32,
    /// The type of rows on their way from the stream to the target: the columns that the stream carries,
    /// each of the type under its domains, so that a value that was not sent may be NULL on the way.
    pub row_type: QName,
    /// Its OID.
    pub row_type_oid: u32,
    /// The source's columns, in order.
    pub columns: Vec<SourceColumn>,
    /// What identifies a row in the stream.
    pub key: Vec<KeyColumn>,
    /// The target's columns that are written, and for each the expression over the source's.
    pub mapping: Vec<Mapped>,
    /// The target's columns that are compared, and for each what it must be, over the source's columns.
    pub verified: Vec<VerifiedColumn>,
    /// The target's own key.
    pub target_key: Vec<Ident>,
    /// The target's columns that must keep their values where a row is updated in place, lest two rows
    /// that exchange unique values meet half-way; none where that cannot be told.
    pub keep_in_place: Option<Vec<Ident>>,
    /// The target's partition key and the source's column that it is a copy of, where the key alone
    /// does not lead to one partition.
    pub hint: Option<Hint>,
    /// Where the run keeps its working tables.
    pub home: Ident,
    /// What its hashes and digests start from.
    pub secret: Secret,
    /// The database's encoding, in which its rows travel.
    pub encoding: Encoding,
    /// The owner of both tables.
    pub owner: Ident,
    /// With whose rights the rows of both tables are read and written.
    pub acting: Acting,
}

/// Where to look for a row first.
#[derive(Clone, Debug)]
pub struct Hint {
    /// The target's partition key.
    pub target: Ident,
    /// The operator that compares it, qualified.
    pub equals: String,
}

const COLUMNS: &str = include_str!("../../sql/catalog/lane_columns.sql");
const UNIQUE_COLUMNS: &str = include_str!("../../sql/catalog/unique_columns.sql");

impl Lane {
    /// A lane from blue to green, as `design` has it and the catalog knows it.
    ///
    /// # Errors
    /// If the catalog cannot be read, or the source is not there.
    pub async fn load(
        client: &Client,
        number: usize,
        design: &LaneDesign,
        home: &Ident,
    ) -> Result<Self, tokio_postgres::Error> {
        let target = design.green.at_home();
        let row_type = row_type(home, number);
        let found = Found::read(client, &design.table).await?;
        let in_target = Found::read(client, &target).await?;
        let travelling = Found::read(client, &row_type).await?;
        let mapping = mapping::forward(design);
        let key: Vec<KeyColumn> = design
            .key
            .columns
            .iter()
            .filter_map(|column| key_column(column, &found, &in_target, &mapping))
            .collect();
        let rows = client.query(UNIQUE_COLUMNS, &[&design.table.to_string()]).await?;
        let unique: Vec<Ident> = rows.iter().map(|row| Ident(row.get("name"))).collect();
        Ok(Self {
            number,
            table: design.table.clone(),
            source: design.table.clone(),
            source_oid: found.relation,
            row_type,
            row_type_oid: travelling.row_type,
            hint: hint(design, (&found, &in_target), &key, &mapping),
            columns: found.columns.into_iter().map(|column| column.column).collect(),
            key,
            keep_in_place: keep_in_place(design, &mapping, &unique),
            mapping,
            target_key: design.green.indexes.first().and_then(|key| key.keys.clone()).unwrap_or_default(),
            verified: design.green.verified_columns(),
            target,
            home: home.clone(),
            secret: design.secret.clone(),
            encoding: Encoding::of(client).await?,
            owner: design.green.blue.table.owner.clone(),
            acting: design.green.blue.table.acting(),
        })
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

    /// `unnest($1::uuid[], ...) ` over one array a key column; the first parameter is `$first`.
    #[must_use]
    pub fn unnest_keys(&self, first: usize) -> String {
        let arrays =
            self.key.iter().enumerate().map(|(at, key)| format!("${}::{}[]", first + at, key.type_name));
        format!("unnest({})", list(arrays))
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

    /// The columns that the stream carries, in its order.
    pub fn streamed(&self) -> impl Iterator<Item = &SourceColumn> {
        self.columns.iter().filter(|column| !column.generated)
    }

    /// The key in a tuple of the stream (in a key tuple, columns outside the key are sent as NULL).
    #[must_use]
    pub fn key_of(&self, tuple: &Tuple) -> Option<Key> {
        let values: Option<Vec<&Value>> = self.key.iter().map(|column| tuple.get(column.at)).collect();
        Key::new(values?)
    }
}

/// The name of a lane's working table of keys that have to be read again.
#[must_use]
pub fn dirty_table(home: &Ident, number: usize) -> QName {
    QName::new(home.clone(), format!("dirty_{number}"))
}

/// The name of the type of a lane's rows on their way.
#[must_use]
pub fn row_type(home: &Ident, number: usize) -> QName {
    QName::new(home.clone(), format!("row_{number}"))
}

/// A relation as the catalog has it.
struct Found {
    relation: u32,
    row_type: u32,
    columns: Vec<FoundColumn>,
}

struct FoundColumn {
    column: SourceColumn,
    type_name: String,
    equals: String,
}

impl Found {
    async fn read(client: &Client, relation: &QName) -> Result<Self, tokio_postgres::Error> {
        let rows = client.query(COLUMNS, &[&relation.to_string()]).await?;
        let column = |row: &tokio_postgres::Row| FoundColumn {
            column: SourceColumn {
                name: Ident(row.get("name")),
                stored_name: row.get("stored_name"),
                type_oid: row.get("type_oid"),
                base_oid: row.get("base_oid"),
                generated: row.get("generated"),
            },
            type_name: row.get("type_name"),
            equals: row.get("equals"),
        };
        Ok(Self {
            relation: rows.first().map_or(0, |row| row.get("relation")),
            row_type: rows.first().map_or(0, |row| row.get("row_type")),
            columns: rows.iter().map(column).collect(),
        })
    }

    /// A column, and its place among those that the stream carries.
    fn find(&self, name: &Ident) -> Option<(usize, &FoundColumn)> {
        let at = self.columns.iter().position(|column| column.column.name == *name)?;
        let streamed = self.columns[..at].iter().filter(|column| !column.column.generated).count();
        Some((streamed, &self.columns[at]))
    }

    /// None for a target that is not made yet.
    fn equals(&self, name: &Ident) -> Option<String> {
        self.find(name).map(|(_, column)| column.equals.clone())
    }
}

fn key_column(
    key: &crate::hangs_on::KeyColumn,
    source: &Found,
    target: &Found,
    mapping: &[Mapped],
) -> Option<KeyColumn> {
    let (at, found) = source.find(&key.name)?;
    let mapped = mapping.iter().find(|mapped| mapped.source == key.name);
    Some(KeyColumn {
        name: key.name.clone(),
        type_oid: found.column.type_oid,
        type_name: found.type_name.clone(),
        equals: found.equals.clone(),
        equals_in_target: mapped
            .and_then(|mapped| target.equals(&mapped.target))
            .unwrap_or_else(|| found.equals.clone()),
        at,
    })
}

/// None where the key alone leads to one partition.
fn hint(
    design: &LaneDesign,
    (source, target): (&Found, &Found),
    key: &[KeyColumn],
    mapping: &[Mapped],
) -> Option<Hint> {
    let partition = design.green.partition.as_ref()?;
    let same_as = mapping.iter().find(|mapped| mapped.target == partition.column)?.same_as()?;
    if key.iter().any(|column| column.name == *same_as) {
        return None;
    }
    let equals = target.equals(&partition.column).or_else(|| source.equals(same_as))?;
    Some(Hint { target: partition.column.clone(), equals })
}

/// A unique index that only green will have is not in the catalog yet.
fn keep_in_place(design: &LaneDesign, mapping: &[Mapped], unique: &[Ident]) -> Option<Vec<Ident>> {
    let of_blue = |name: &Ident| design.green.blue.indexes.iter().any(|index| index.name == *name);
    let mut others = design.green.indexes.iter().filter(|index| index.unique && !index.primary);
    if others.any(|index| !of_blue(&index.name)) {
        return None;
    }
    // A value that is generated changes with those that it is made of.
    let is_read = |name: &Ident| {
        let generated =
            unique.iter().filter_map(|unique| design.green.blue.column(unique)?.generated.as_ref());
        generated.into_iter().any(|generated| generated.columns.contains(name))
    };
    let is_unique = |name: &Ident| unique.contains(name) || is_read(name);
    let mapped = mapping.iter().filter(|mapped| is_unique(&mapped.source));
    Some(mapped.map(|mapped| mapped.target.clone()).collect())
}

/// How each column of the key is mapped; shorter than the key where green lacks one.
fn mapped_key(design: &LaneDesign) -> Vec<Mapped> {
    let mapping = mapping::forward(design);
    let mapped = |name: &Ident| mapping.iter().find(|mapped| mapped.source == *name).cloned();
    design.key.columns.iter().filter_map(|column| mapped(&column.name)).collect()
}
