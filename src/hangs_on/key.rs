//! The key that identifies a row in the stream of changes.

use serde::{Deserialize, Serialize};

use super::columns::Column;
use super::definition::Definition;
use super::indexes::Index;
use super::table::ReplicaIdentityKind;
use crate::pg::Ident;

/// The columns that identify a row of blue in the stream: all NOT NULL, and unique together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableKey {
    /// Its columns, in the order of the index.
    pub columns: Vec<KeyColumn>,
    /// What kind of key it is.
    pub source: KeySource,
    /// The index that the columns are from; of the plan's key, that of green.
    pub index: Ident,
}

/// One column of the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyColumn {
    /// Blue's name of the column.
    pub name: Ident,
    /// Its type as SQL text, schema-qualified.
    pub data_type: String,
    /// `pg_type.oid` of its type.
    pub type_oid: u32,
    /// `pg_type.oid` of the array type of its type; 0 if there is none.
    pub array_type_oid: u32,
}

/// The kinds of keys that can identify rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// The primary key of the table.
    PrimaryKey,
    /// The index of REPLICA IDENTITY USING INDEX.
    ReplicaIdentityIndex,
    /// A unique index over NOT NULL columns.
    UniqueIndex,
    /// A deferrable key: within a transaction two rows may have it, so the stream is read by whole rows.
    DeferrableKey,
    /// No index: the plan's primary key is over NOT NULL columns, and says that the rows are distinct.
    PlansKey,
}

/// No key identifies the rows of a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no key of {table} identifies its rows in the stream: {why}")]
pub struct NoKey {
    /// The table's name, as a plan writes it.
    pub table: String,
    /// Why the table's own key cannot be used.
    pub why: String,
    /// What to type to give it one.
    pub hint: String,
}

impl Definition {
    /// The key that identifies rows in the stream; `full` if the plan sets REPLICA IDENTITY FULL for the run. Then
    /// columns of `plans`, the plan's primary key, serve if there is no other key.
    ///
    /// # Errors
    /// [`NoKey`] if no key does.
    pub fn usable_key(&self, full: bool, plans: Option<&[Ident]>) -> Result<TableKey, NoKey> {
        let kind = if full { ReplicaIdentityKind::Full } else { self.table.replica_identity.kind };
        let primary = || self.primary_key().map(|index| (index, KeySource::PrimaryKey));
        let found = match kind {
            ReplicaIdentityKind::Default => primary(),
            ReplicaIdentityKind::Index => self
                .indexes
                .iter()
                .find(|index| Some(&index.name) == self.table.replica_identity.index.as_ref())
                .map(|index| (index, KeySource::ReplicaIdentityIndex)),
            ReplicaIdentityKind::Full => {
                let unique = self.indexes.iter().filter(|index| self.is_row_key(index));
                let unique = unique.min_by_key(|index| index.keys.len());
                let key = primary().filter(|(index, _)| self.is_row_key(index));
                key.or(unique.map(|index| (index, KeySource::UniqueIndex))).or_else(primary)
            }
            ReplicaIdentityKind::Nothing => None,
        };
        let found =
            found.filter(|(index, _)| self.is_row_key(index)).or_else(|| self.deferrable_key()).or(found);
        if let Some(key) = self.plans_key(plans).filter(|_| full && found.is_none()) {
            return Ok(key);
        }
        let is_key = |source| source == KeySource::DeferrableKey;
        let Some((index, source)) = found.filter(|(index, source)| is_key(*source) || self.is_row_key(index))
        else {
            let generated = found.and_then(|(index, _)| self.generated_in(index));
            return Err(self.no_key(kind, generated));
        };
        let columns = index.keys.iter().flatten().filter_map(|name| self.column(name));
        Ok(TableKey { columns: columns.map(KeyColumn::of).collect(), source, index: index.name.clone() })
    }

    /// The plan's primary key, if this table has all of its columns, with a value in every row.
    fn plans_key(&self, plans: Option<&[Ident]>) -> Option<TableKey> {
        let of = |name: &Ident| {
            let column = self.column(name)?;
            (column.not_null && column.generated.is_none()).then(|| KeyColumn::of(column))
        };
        let columns: Vec<KeyColumn> = plans?.iter().map(of).collect::<Option<_>>()?;
        let index = Ident(format!("{}_pkey", self.table.name.name.as_str()));
        Some(TableKey { columns, source: KeySource::PlansKey, index })
    }

    /// A deferrable key of a table whose own replica identity is FULL: green has that, too, and either stream has whole
    /// rows.
    fn deferrable_key(&self) -> Option<(&Index, KeySource)> {
        let is_full = self.table.replica_identity.kind == ReplicaIdentityKind::Full;
        let index = self.deferrable().filter(|_| is_full)?;
        Some((index, KeySource::DeferrableKey))
    }

    /// The deferrable key over NOT NULL columns, the primary key first.
    fn deferrable(&self) -> Option<&Index> {
        let mut keys = self.indexes.iter().filter(|index| {
            let immediate = Index { immediate: true, ..(*index).clone() };
            !index.immediate && self.is_row_key(&immediate)
        });
        keys.clone().find(|index| index.primary).or_else(|| keys.next())
    }

    fn is_row_key(&self, index: &Index) -> bool {
        // The stream carries no generated columns.
        let in_stream = |name: &Option<Ident>| {
            let column = name.as_ref().and_then(|name| self.column(name));
            column.is_some_and(|column| column.not_null && column.generated.is_none())
        };
        index.identifies_rows() && index.keys.iter().all(in_stream)
    }

    /// The generated column because of which an index cannot identify rows in the stream.
    fn generated_in(&self, index: &Index) -> Option<&Ident> {
        let mut columns = index.keys.iter().flatten().filter_map(|name| self.column(name));
        columns.find(|column| column.generated.is_some()).map(|column| &column.name)
    }

    fn no_key(&self, kind: ReplicaIdentityKind, generated: Option<&Ident>) -> NoKey {
        let table = &self.table.name;
        let in_key = generated.map(|name| {
            format!("column {name} of its key is generated, and the stream carries no generated columns")
        });
        let why = match kind {
            ReplicaIdentityKind::Default => {
                "it has no primary key that is valid, and neither deferrable nor WITHOUT OVERLAPS"
            }
            ReplicaIdentityKind::Index => "the index of its replica identity is not usable",
            ReplicaIdentityKind::Full => "it has no unique index over columns that are all NOT NULL",
            ReplicaIdentityKind::Nothing => "its replica identity is NOTHING",
        };
        let candidate = self.indexes.iter().find(|index| self.is_row_key(index));
        let hint = match (kind, candidate) {
            (_, None) if generated.is_some() => format!(
                "create a unique index over NOT NULL columns of {0} that are not generated, and \
                 alter table {0} replica identity using index ...",
                table.plain()
            ),
            (ReplicaIdentityKind::Nothing, _) if self.primary_key().is_some() => {
                format!("alter table {} replica identity default", table.plain())
            }
            (_, Some(index)) => {
                format!(
                    "alter table {} replica identity using index {}; or `replica_identity: full` in the plan, which then \
                     cannot have a soak",
                    table.plain(),
                    index.name
                )
            }
            _ if self.deferrable().is_some() => format!(
                "alter table {0} replica identity full, because two rows may have a deferrable key within a transaction, and \
                 once the run is finished: alter table {0} replica identity default",
                table.plain()
            ),
            _ => self.choices(),
        };
        NoKey { table: table.plain(), why: in_key.unwrap_or_else(|| why.to_owned()), hint }
    }

    /// What can be done about a table that has no key at all.
    fn choices(&self) -> String {
        let table = self.table.name.plain();
        let nullable = self.indexes.iter().filter(|index| index.identifies_rows()).find_map(|index| {
            let of = |name: &Ident| self.column(name).filter(|column| !column.not_null);
            let columns: Vec<&Column> = index.keys.iter().flatten().filter_map(of).collect();
            (!columns.is_empty()).then_some((index, columns))
        });
        let by_index = nullable.map(|(index, columns)| {
            let set: Vec<String> = columns
                .iter()
                .map(|column| format!("alter column {} set not null", column.name.plain()))
                .collect();
            format!(
                "alter table {table} {}, alter table {table} replica identity using index {}; or ",
                set.join(", "),
                index.name.plain()
            )
        });
        format!(
            "{}alter table {table} add primary key (...); or, if the rows are distinct in some NOT NULL columns, \
             `primary_key: [...]` with these and `replica_identity: full` in the plan; or, if they are not, alter table {table} add \
             column id bigint generated always as identity primary key, which rewrites the table under its lock",
            by_index.unwrap_or_default()
        )
    }
}

impl KeyColumn {
    fn of(column: &Column) -> Self {
        Self {
            name: column.name.clone(),
            data_type: column.data_type.clone(),
            type_oid: column.type_oid,
            array_type_oid: column.array_type_oid,
        }
    }
}
