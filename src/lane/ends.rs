//! The two ends of a lane: which table rows come from, which one they go to, what pairs their rows, and where
//! each column comes from. Pure code, without a server.
//!
//! Invariants: the source has the name that clients use, and the target is in its private schema, in either direction.
//! Reversing twice gives the same ends.

use crate::hangs_on::{Green, GreenIndex, KeySource, ReplicaIdentityKind, Source};
use crate::lifecycle::{LaneDesign, Secret};
use crate::pg::{Acting, Ident, QName};

use super::mapping::{Mapped, forward};

/// A pair of tables, directed.
#[derive(Clone, Debug)]
pub struct Ends {
    /// The name that clients use: the source's.
    pub table: QName,
    /// The table that rows come from.
    pub source: End,
    /// The table that they go to.
    pub target: End,
    /// The target's columns that the source has a value for.
    pub mapping: Vec<Mapped>,
    /// The secret of row hashes and of digests of keys.
    pub secret: Secret,
    /// The owner of both tables.
    pub owner: Ident,
    /// The role with whose rights the rows of both tables are read and written.
    pub acting: Acting,
    /// Whether a row is identified in the stream by all of its values: its key is deferrable.
    pub by_whole_rows: bool,
}

/// One table of a pair, with its own columns' names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The private schema that it is in while the other one is live.
    pub home: Ident,
    /// The columns that pair its rows with those of the other one: their values are unique on either side.
    pub key: Vec<Ident>,
    /// The columns by which its own stream names old rows: those of its replica identity. `None` if it has none.
    pub identity: Option<Vec<Ident>>,
    /// The columns of a unique index that contains those of `key`.
    pub unique_key: Vec<Ident>,
    /// The partition key.
    pub partition: Option<Ident>,
    /// The columns of other unique indexes; `None` if they are not known.
    pub unique: Option<Vec<Ident>>,
    /// Columns that must have a value, which only the other end can give.
    pub required: Vec<Ident>,
    /// Whether it has a deferrable key: its rows need not satisfy it within a transaction.
    pub defers: bool,
}

/// A lane that cannot be reversed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{table} has no way back: {}", .why.join("; "))]
pub struct NoWayBack {
    /// The table, as `schema.table`.
    pub table: String,
    /// Every reason, one sentence each.
    pub why: Vec<String>,
}

impl Ends {
    /// From blue to green, as designed.
    #[must_use]
    pub fn of(design: &LaneDesign) -> Self {
        let table = &design.green.blue.table;
        Self {
            table: design.table.clone(),
            source: blue(design),
            target: green(design),
            mapping: forward(design),
            secret: design.secret.clone(),
            owner: table.owner.clone(),
            acting: table.acting(),
            by_whole_rows: is_whole(design),
        }
    }

    /// The reverse direction, for when the target has taken the source's place.
    ///
    /// # Errors
    /// If a value of the source cannot be computed from the target, or the target's stream does not name rows by the
    /// source's key.
    pub fn reversed(&self) -> Result<Self, NoWayBack> {
        let mut why = Vec::new();
        // Of a column without `back` the plan accepts that new values are lost.
        let mapping: Vec<Mapped> = self.mapping.iter().filter_map(Mapped::reversed).collect();
        let without = |name: &&Ident| !mapping.iter().any(|mapped| mapped.target == **name);
        let lacking = self.source.required.iter().filter(without);
        why.extend(
            lacking.map(|name| format!("column {} must have a value, and nothing gives one", name.plain())),
        );
        let identity = self.target.identity.as_deref().unwrap_or_default();
        if self.target.key.len() != self.source.key.len() {
            why.push("not every column of the key is in the new table".to_owned());
        }
        let unnamed = self.target.key.iter().filter(|name| !identity.contains(name));
        why.extend(unnamed.map(|name| {
            format!("column {} of the key is not in the replica identity of the new table", name.plain())
        }));
        if !why.is_empty() {
            return Err(NoWayBack { table: self.table.plain(), why });
        }
        Ok(Self { source: self.target.clone(), target: self.source.clone(), mapping, ..self.clone() })
    }

    /// The target's name, in its private schema.
    #[must_use]
    pub fn at_home(&self) -> QName {
        self.table.in_schema(&self.target.home)
    }

    /// How each column of the key is mapped; shorter than the key if the target lacks one.
    #[must_use]
    pub fn mapped_key(&self) -> Vec<&Mapped> {
        let mapped = |name: &Ident| self.mapping.iter().find(|mapped| mapped.source == *name);
        self.source.key.iter().filter_map(mapped).collect()
    }

    /// The columns by which the source's stream names old rows, those of the key first.
    pub fn identity(&self) -> impl Iterator<Item = &Ident> {
        let more = self.source.identity.iter().flatten().filter(|name| !self.source.key.contains(name));
        self.source.key.iter().chain(more)
    }
}

fn blue(design: &LaneDesign) -> End {
    let Green { blue, homes, .. } = &design.green;
    let key: Vec<Ident> = design.key.columns.iter().map(|column| column.name.clone()).collect();
    let in_stream = blue.columns.iter().filter(|column| column.generated.is_none());
    let whole = in_stream.map(|column| column.name.clone()).collect();
    let required = blue.columns.iter().filter(|column| {
        (column.not_null || column.not_null_unvalidated)
            && column.default.is_none()
            && column.identity.is_none()
            && column.generated.is_none()
    });
    End {
        home: homes.blue.clone(),
        identity: Some(if is_whole(design) { whole } else { key.clone() }),
        unique_key: key.clone(),
        key,
        partition: None,
        unique: Some(unique(&design.green)),
        required: required.map(|column| column.name.clone()).collect(),
        defers: blue.indexes.iter().any(|index| !index.immediate),
    }
}

fn green(design: &LaneDesign) -> End {
    let Green { homes, indexes, partition, columns, .. } = &design.green;
    let in_stream = columns.iter().filter(|column| !matches!(column.source, Source::Generated(_)));
    let whole = in_stream.map(|column| column.name.clone()).collect();
    let of_design: Vec<Ident> = design.key.columns.iter().map(|column| column.name.clone()).collect();
    let key = design.green.green_names(&of_design);
    End {
        home: homes.green.clone(),
        identity: if is_whole(design) { Some(whole) } else { identity(&design.green, &key) },
        key,
        unique_key: indexes.first().and_then(|key| key.keys.clone()).unwrap_or_default(),
        partition: partition.as_ref().map(|partition| partition.column.clone()),
        unique: has_blue_s_alone(&design.green).then(|| {
            let of_blue = design.green.green_names(&unique(&design.green));
            let primary = indexes.iter().filter(|index| index.primary).filter_map(|index| index.keys.clone());
            of_blue.into_iter().chain(primary.flatten()).collect()
        }),
        // What it adds has a default, or no row could be copied.
        required: Vec::new(),
        defers: indexes.iter().any(|index| index.deferrable),
    }
}

fn is_whole(design: &LaneDesign) -> bool {
    design.key.source == KeySource::DeferrableKey
}

/// Green's replica identity is of blue's kind.
fn identity(green: &Green, key: &[Ident]) -> Option<Vec<Ident>> {
    let of = |is: &dyn Fn(&GreenIndex) -> bool| green.indexes.iter().find(|index| is(index))?.keys.clone();
    let has_key = |index: &GreenIndex| {
        index.unique && index.keys.as_ref().is_some_and(|keys| key.iter().all(|name| keys.contains(name)))
    };
    match green.blue.table.replica_identity.kind {
        ReplicaIdentityKind::Default => of(&|index| index.primary && !index.deferrable),
        ReplicaIdentityKind::Index => of(&|index| index.replica_identity),
        ReplicaIdentityKind::Full => of(&has_key),
        ReplicaIdentityKind::Nothing => None,
    }
}

/// The columns of blue's unique indexes and exclusion constraints; and those that a generated one among them is computed
/// from, because its value changes with theirs.
fn unique(green: &Green) -> Vec<Ident> {
    let unique = green.blue.indexes.iter().filter(|index| index.unique || index.exclusion);
    let mut names: Vec<Ident> = unique.flat_map(|index| index.columns.clone()).collect();
    let generated = names.iter().filter_map(|name| green.blue.column(name)?.generated.as_ref());
    let read: Vec<Ident> = generated.flat_map(|generated| generated.columns.clone()).collect();
    names.extend(read);
    names.sort();
    names.dedup();
    names
}

/// Whether each unique index of green beside its key is one of blue's.
fn has_blue_s_alone(green: &Green) -> bool {
    let of_blue = |name: &Ident| green.blue.indexes.iter().any(|index| index.name == *name);
    green.indexes.iter().filter(|index| index.unique && !index.primary).all(|index| of_blue(&index.name))
}
