//! How the trigger of a view finds the row of the table.

use super::Compatibility;
use crate::hangs_on::key::TableKey;
use crate::hangs_on::shape::{Green, Source};
use crate::pg::Ident;

const EQUALS: &str = "OPERATOR(pg_catalog.=)";

impl Green {
    fn key_for_view(&self) -> Option<TableKey> {
        self.blue.usable_key(false, None).or_else(|_| self.blue.usable_key(true, None)).ok()
    }

    /// Whether a column of blue's key has a type that is none of pg_catalog, on both sides.
    fn is_foreign(&self, blue: &Ident) -> bool {
        let is_same =
            |source: &Source| matches!(source, Source::Same(name) | Source::Generated(name) if name == blue);
        self.columns.iter().any(|green| is_same(&green.source))
            && self.blue.column(blue).is_some_and(|column| column.base_type.contains('.'))
    }

    /// The columns of the key whose operator of equality has to be asked for.
    pub(crate) fn foreign_in_key(&self) -> Vec<Ident> {
        let names = self.key_for_view().into_iter().flat_map(|key| key.columns).map(|column| column.name);
        names.filter(|name| self.is_foreign(name)).collect()
    }

    /// SQL for whether a row has the key of the old one.
    pub(super) fn key_of_view(&self, of: &Compatibility) -> String {
        let columns = self.key_for_view().map(|key| key.columns).unwrap_or_default();
        let same = columns.iter().filter_map(|key| {
            let green = self.name_of(&key.name)?;
            let known = of.equals.iter().find(|(name, _)| *name == key.name);
            Some(match known {
                // A version of this program that did not ask for the operator has prepared the run.
                None if self.is_foreign(&key.name) => {
                    format!("pg_catalog.record_image_eq(ROW(t.{green}), ROW(OLD.{}))", key.name)
                }
                known => format!("t.{green} {} OLD.{}", known.map_or(EQUALS, |(_, equals)| equals), key.name),
            })
        });
        let same: Vec<String> = same.collect();
        if same.is_empty() { "true".to_owned() } else { same.join(" AND ") }
    }
}
