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
pub mod point;
pub mod raw;
mod row_hash;

use tokio_postgres::Client;

use crate::hangs_on::{Source, VerifiedColumn, without_length};
use crate::lifecycle::LaneDesign;
use crate::pg::{Ident, QName, list};
use crate::replication::pgoutput::{Tuple, Value};

use self::coalesce::Key;

/// A column of the source's key.
#[derive(Clone, Debug)]
pub struct KeyColumn {
    /// Its name in the source.
    pub name: Ident,
    /// Its type.
    pub type_oid: u32,
    /// The type's name for SQL.
    pub type_name: String,
    /// Its place among the stream's columns.
    pub at: usize,
}

/// A column of the source, in the order of its row type.
#[derive(Clone, Debug)]
pub struct SourceColumn {
    /// Its name.
    pub name: Ident,
    /// Its type.
    pub type_oid: u32,
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
    /// The OID of the source's row type.
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
}

/// One column of the target that is written.
#[derive(Clone, Debug)]
pub struct Mapped {
    /// Its name in the target.
    pub target: Ident,
    /// SQL over the source's columns.
    pub expression: String,
    /// The source's column that it takes the place of.
    pub source: Ident,
    /// It is an unchanged copy of it.
    pub is_same: bool,
}

impl Mapped {
    /// The source's column of which it is an unchanged copy.
    #[must_use]
    pub fn same_as(&self) -> Option<&Ident> {
        self.is_same.then_some(&self.source)
    }
}

/// Where to look for a row first.
#[derive(Clone, Debug)]
pub struct Hint {
    /// The target's partition key.
    pub target: Ident,
    /// The place of the source's column among the stream's columns.
    pub at: usize,
    /// Its type.
    pub type_oid: u32,
    /// The type's name for SQL.
    pub type_name: String,
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
        let rows = client.query(COLUMNS, &[&design.table.to_string()]).await?;
        let mut columns = Vec::new();
        let mut type_names = Vec::new();
        let (mut source_oid, mut row_type_oid) = (0, 0);
        for row in rows {
            source_oid = row.get("relation");
            row_type_oid = row.get("row_type");
            columns.push(SourceColumn {
                name: Ident(row.get("name")),
                type_oid: row.get("type_oid"),
                generated: row.get("generated"),
            });
            type_names.push(row.get::<_, String>("type_name"));
        }
        let find = |name: &Ident| columns.iter().position(|column| column.name == *name);
        let streamed = |at: usize| columns[..at].iter().filter(|column| !column.generated).count();
        let key = design.key.columns.iter().filter_map(|column| find(&column.name)).map(|at| KeyColumn {
            name: columns[at].name.clone(),
            type_oid: columns[at].type_oid,
            type_name: type_names[at].clone(),
            at: streamed(at),
        });
        let key: Vec<KeyColumn> = key.collect();
        let mapping = mapping(design);
        let hint = design.green.partition.as_ref().and_then(|partition| {
            let mapped = mapping.iter().find(|mapped| mapped.target == partition.column)?;
            let same_as = mapped.same_as()?;
            let at = find(same_as)?;
            let in_key = key.iter().any(|column| column.name == *same_as);
            (!in_key).then(|| Hint {
                target: partition.column.clone(),
                at: streamed(at),
                type_oid: columns[at].type_oid,
                type_name: type_names[at].clone(),
            })
        });
        let rows = client.query(UNIQUE_COLUMNS, &[&design.table.to_string()]).await?;
        let unique: Vec<Ident> = rows.iter().map(|row| Ident(row.get("name"))).collect();
        Ok(Self {
            number,
            table: design.table.clone(),
            source: design.table.clone(),
            target: design.green.at_home(),
            source_oid,
            row_type_oid,
            columns,
            key,
            keep_in_place: keep_in_place(design, &mapping, &unique),
            mapping,
            target_key: design.green.indexes.first().and_then(|key| key.keys.clone()).unwrap_or_default(),
            verified: design.green.verified_columns(),
            hint,
            home: home.clone(),
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

    /// For each key column of the source, the target's column and the value it has there, as SQL over
    /// the source's key columns.
    #[must_use]
    pub fn key_in_target(&self) -> Vec<(&Ident, &str)> {
        let mapped = |key: &KeyColumn| self.mapping.iter().find(|mapped| mapped.source == key.name);
        self.key
            .iter()
            .filter_map(mapped)
            .map(|mapped| (&mapped.target, mapped.expression.as_str()))
            .collect()
    }

    /// The working table of keys that have to be read again.
    #[must_use]
    pub fn dirty_table(&self) -> QName {
        QName::new(self.home.clone(), format!("dirty_{}", self.number))
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

/// A unique index that only green will have is not in the catalog yet.
fn keep_in_place(design: &LaneDesign, mapping: &[Mapped], unique: &[Ident]) -> Option<Vec<Ident>> {
    let of_blue = |name: &Ident| design.green.blue.indexes.iter().any(|index| index.name == *name);
    let mut others = design.green.indexes.iter().filter(|index| index.unique && !index.primary);
    if others.any(|index| !of_blue(&index.name)) {
        return None;
    }
    let mapped = mapping.iter().filter(|mapped| unique.contains(&mapped.source));
    Some(mapped.map(|mapped| mapped.target.clone()).collect())
}

fn mapping(design: &LaneDesign) -> Vec<Mapped> {
    let columns = design.green.columns.iter().filter_map(|column| {
        let (expression, source, is_same) = match &column.source {
            Source::Same(blue) => (blue.to_string(), blue, true),
            // What is too long for the column is an error of the assignment; a cast to a length would cut.
            Source::Expression { blue, sql } => {
                (format!("({sql})::{}", without_length(&column.data_type)), blue, false)
            }
            Source::Added | Source::Generated(_) => return None,
        };
        Some(Mapped { target: column.name.clone(), expression, source: source.clone(), is_same })
    });
    columns.collect()
}
