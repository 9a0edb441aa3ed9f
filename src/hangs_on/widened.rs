//! Keys that other rows reference and that the plan widens: what becomes of the foreign keys, as the plan says.
//!
//! A foreign key needs a unique key on exactly the columns that it references, and a partitioned table has none that
//! lacks the partition key. So it is dropped in the swap, or references a [`KeyRegistry`] instead.

mod choices;

use serde::{Deserialize, Serialize};

use super::part::Conflict;
use super::registry::KeyRegistry;
use super::shape::Green;
use crate::pg::{Ident, QName};
use crate::plan::{InboundForeignKeys, TablePlan, Uniqueness};

/// What the plan says about widened keys, and what it comes to; the journal keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Widened {
    /// What becomes of foreign keys that reference them.
    pub choice: InboundForeignKeys,
    /// The tables of keys, one for each widened key that needs one.
    pub registries: Vec<KeyRegistry>,
    /// Green's own foreign keys that reference something else than blue's, or are dropped.
    pub redirected: Vec<Redirected>,
}

/// A foreign key of green that does not reference what blue's references.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirected {
    /// The constraint's name.
    pub key: Ident,
    /// What it references; `None` if green does not get it.
    pub to: Option<Referenced>,
}

/// A table and its columns, as a foreign key names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Referenced {
    /// The referenced table.
    pub table: QName,
    /// Its columns, in the order of the foreign key.
    pub columns: Vec<Ident>,
}

/// What becomes of a foreign key that references columns of a table, once green is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate<'a> {
    /// It references green, which has a unique key on them.
    Kept,
    /// It is dropped.
    Dropped,
    /// It references this table of keys.
    Registered(&'a KeyRegistry),
    /// The plan does not say.
    Undecided,
}

impl Green {
    /// Decides what becomes of the keys that the plan widens; green has its indexes by now.
    pub(crate) fn decide_on_widened_keys(&mut self, plan: &TablePlan) {
        let choice = plan.inbound_foreign_keys.unwrap_or_default();
        self.widened = Widened { choice, ..Widened::default() };
        let mut keys: Vec<Vec<Ident>> = Vec::new();
        let primary = self.blue.primary_key().map(|index| index.keys.iter().flatten().cloned().collect());
        keys.extend(primary.filter(|_| plan.uniqueness == Some(Uniqueness::Registry)));
        if choice == InboundForeignKeys::Registry {
            let of_others = self.blue.inbound.iter().map(|key| key.referenced.clone());
            let own = self.blue.foreign_keys.iter().filter(|key| key.to_itself);
            keys.extend(of_others.chain(own.map(|key| key.referenced.clone())));
        }
        for key in keys {
            let is_whole = self.dropped_of(&key).is_none() && !self.has_unique_key(&self.green_names(&key));
            if is_whole && self.registry_of(&key).is_none() {
                let registry = KeyRegistry::of(self, &key);
                self.widened.registries.push(registry);
            }
        }
        let own: Vec<Redirected> = self
            .blue
            .foreign_keys
            .iter()
            .filter(|key| key.to_itself)
            .filter_map(|key| self.redirection(&key.name, &key.referenced))
            .collect();
        self.widened.redirected = own;
    }

    /// What becomes of a foreign key that references these columns of blue.
    pub(crate) fn fate_of(&self, referenced: &[Ident]) -> Fate<'_> {
        if self.has_unique_key(&self.green_names(referenced)) {
            return Fate::Kept;
        }
        match self.widened.choice {
            InboundForeignKeys::Drop => Fate::Dropped,
            InboundForeignKeys::Registry => {
                self.registry_of(referenced).map_or(Fate::Undecided, Fate::Registered)
            }
            InboundForeignKeys::Refuse | InboundForeignKeys::Composite => Fate::Undecided,
        }
    }

    /// The table of exactly these keys of blue, in whatever order.
    fn registry_of(&self, columns: &[Ident]) -> Option<&KeyRegistry> {
        self.widened.registries.iter().find(|registry| {
            registry.blue.len() == columns.len() && registry.blue.iter().all(|name| columns.contains(name))
        })
    }

    /// Where a foreign key leads that references these columns of blue; `None` if it leads to green as it led to blue.
    fn redirection(&self, key: &Ident, referenced: &[Ident]) -> Option<Redirected> {
        let to = match self.fate_of(referenced) {
            Fate::Kept | Fate::Undecided => return None,
            Fate::Dropped => None,
            Fate::Registered(registry) => {
                Some(Referenced { table: registry.name.clone(), columns: self.green_names(referenced) })
            }
        };
        Some(Redirected { key: key.clone(), to })
    }

    /// What becomes of green's foreign key of this name: `None` if it references what blue's does.
    pub(crate) fn redirected(&self, key: &Ident) -> Option<&Redirected> {
        self.widened.redirected.iter().find(|redirected| redirected.key == *key)
    }
}

/// Leads the foreign keys between two tables of a run to where the referenced table's plan says.
pub(crate) fn redirect(greens: &mut [&mut Green]) {
    let mut found: Vec<(usize, Redirected)> = Vec::new();
    for (number, green) in greens.iter().enumerate() {
        for key in green.blue.foreign_keys.iter().filter(|key| !key.to_itself) {
            let parent = greens.iter().find(|other| *other.live() == key.references);
            let redirected = parent.and_then(|parent| parent.redirection(&key.name, &key.referenced));
            found.extend(redirected.map(|redirected| (number, redirected)));
        }
    }
    for (number, redirected) in found {
        greens[number].widened.redirected.push(redirected);
    }
}

/// What the plan leaves undecided or cannot have, for all keys that others have on this table.
pub(super) fn conflicts(green: &Green) -> Vec<Conflict> {
    let registries = green.widened.registries.iter().flat_map(|registry| registry.conflicts(green));
    choices::undecided(green).into_iter().chain(registries).collect()
}
