//! The partitions of a blue that is partitioned itself, before the run.
//!
//! They leave with it: in the swap each is moved to blue's private schema, where no client may reach it, and in a
//! rollback back to the schema that it came from. What a partition has that its parent has not stays with it; what
//! clients rely on is refused ([`super::blockers()`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Question;
use super::foreign_keys::ForeignKey;
use super::part::{Conflict, Part};
use super::shape::Green;
use crate::pg::{Colour, Ident, QName};
use crate::plan::TablePlan;
#[allow(unused_imports, reason = "named in documentation")]
use crate::plan::partition::Leaf;

pub(super) const PARTITIONS: Question =
    Question { what: "its partitions", sql: include_str!("../../sql/catalog/partitions.sql") };

/// A partition of blue, at any depth, as found in the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its name, schema-qualified.
    pub name: QName,
    /// Whether it holds rows itself, and is not partitioned further.
    pub leaf: bool,
    /// Whether it takes the rows that no other partition of the table takes.
    pub default: bool,
    /// What it has that its parent has not, in a few words each.
    pub own: Vec<String>,
    /// Its `oid` in `pg_class`.
    #[serde(default)]
    pub oid: u32,
    /// Whether the table itself is its parent.
    #[serde(default)]
    pub top: bool,
    /// What follows its name in CREATE TABLE ... PARTITION OF: as in [`Leaf`].
    #[serde(default)]
    pub bound: String,
    /// Whether it has foreign keys that its parent has not.
    #[serde(default)]
    pub has_keys: bool,
    /// These.
    #[serde(default)]
    pub foreign_keys: Vec<ForeignKey>,
    /// What it has of the table's foreign keys that these do not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub derived_keys: Vec<DerivedKey>,
    /// The partition of green that takes exactly the rows that this one takes. Only asked for if it has foreign keys.
    #[serde(default)]
    pub alike: Option<Ident>,
}

/// What a partition has of a foreign key of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DerivedKey {
    /// The name of the table's.
    pub of: Ident,
    /// The name that it has here.
    pub name: Ident,
    /// The text of COMMENT ON CONSTRAINT here.
    pub comment: Option<String>,
}

/// The [`Part`] of blue's partitions.
pub(super) struct Partitions;

impl Part for Partitions {
    /// All of them get into one schema.
    fn conflicts(&self, green: &Green, plan: &TablePlan) -> Vec<Conflict> {
        let mut conflicts = Vec::new();
        let mut first: BTreeMap<&Ident, &QName> = BTreeMap::new();
        for Partition { name, .. } in &green.blue.partitions {
            if let Some(other) = first.insert(&name.name, name) {
                let what = format!(
                    "two of its partitions, {} and {}, would have one name in the schema that the old table is kept in",
                    other.plain(),
                    name.plain()
                );
                conflicts.push(Conflict::new(what, format!("alter table {} rename to ...", name.plain())));
            }
        }
        if plan.replica_identity_full && green.blue.table.replica_identity.index.is_some() {
            let what = "replica_identity: full cannot be undone on a partitioned table whose replica identity is an index";
            let hint = "leave it out; or give the table and its partitions a primary key, and REPLICA IDENTITY DEFAULT";
            conflicts.extend((!green.blue.partitions.is_empty()).then(|| Conflict::new(what, hint)));
        }
        conflicts
    }
}

impl Green {
    /// The relations that hold the rows of a table while it is live.
    pub(crate) fn holders(&self, who: Colour) -> Vec<QName> {
        let leaves = || self.blue.partitions.iter().filter(|partition| partition.leaf);
        match who {
            Colour::Green => self.live_row_holders(),
            Colour::Blue if self.blue.table.is_partitioned() => {
                leaves().map(|leaf| leaf.name.clone()).collect()
            }
            Colour::Blue => vec![self.live().clone()],
        }
    }

    /// Whether a table is partitioned.
    pub(crate) fn is_partitioned(&self, who: Colour) -> bool {
        match who {
            Colour::Green => self.partition.is_some(),
            Colour::Blue => self.blue.table.is_partitioned(),
        }
    }

    /// Where each partition of blue is while blue is live, and its name in another schema.
    pub(crate) fn blue_partitions_in<'a>(
        &'a self,
        schema: &'a Ident,
    ) -> impl Iterator<Item = (&'a QName, QName)> {
        self.blue.partitions.iter().map(|partition| (&partition.name, partition.name.in_schema(schema)))
    }

    /// What its partitions leave behind, a note for each that has something of its own; and what they cannot take.
    pub(crate) fn notes_of_partitions(&self) -> impl Iterator<Item = String> {
        let key = self.blue.table.partition_key.as_ref().filter(|key| !key.starts_with("HASH"));
        let has_default = self.blue.partitions.iter().any(|partition| partition.default);
        let narrow = key.filter(|_| !has_default).map(|_| {
            let what = "the old table has no default partition: while it follows the new one, a row that only the new one takes \
                        breaks the way back";
            what.to_owned()
        });
        let own = self.blue.partitions.iter().filter(|partition| !partition.own.is_empty());
        let own = own.map(|partition| {
            let (name, own) = (partition.name.plain(), partition.own.join(", "));
            format!("what partition {name} has of its own stays with it: {own}")
        });
        narrow.into_iter().chain(own)
    }
}
