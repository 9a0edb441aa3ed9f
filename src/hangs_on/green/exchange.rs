//! The swap's own statements: blue goes home, green comes out, and what cannot exist twice moves.

use serde::{Deserialize, Serialize};

use super::{Green, Source};
use crate::hangs_on::foreign_keys::ForeignKey;
use crate::hangs_on::sequences::{Sequence, integer_type, restore_identity};
use crate::pg::QName;

/// Run in one transaction, `before` then `after`, with every table of [`Green::locks`] locked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// Frees what cannot exist twice, and exchanges the schemas: afterwards the name means green.
    pub before: Vec<String>,
    /// Gives green what blue had, and takes blue's privileges away.
    pub after: Vec<String>,
}

impl Green {
    /// What to lock, in this order and at once: the live table, and those whose foreign key
    /// triggers are dropped and added.
    #[must_use]
    pub fn locks(&self) -> Vec<QName> {
        let mut referenced: Vec<QName> =
            self.blue.foreign_keys.iter().map(|key| key.references.clone()).collect();
        referenced.sort();
        referenced.dedup();
        referenced.retain(|table| table != self.live());
        std::iter::once(self.live().clone()).chain(referenced).collect()
    }

    /// The statements of the swap.
    #[must_use]
    pub fn exchange(&self) -> Exchange {
        let live = self.live();
        let mut before: Vec<String> = self.blue.foreign_keys.iter().map(|key| key.drop(live)).collect();
        before.extend(self.shared_sequences().map(|(sequence, _)| sequence.disown()));
        before.push(format!("ALTER TABLE {live} SET SCHEMA {}", self.homes.blue));
        before.push(format!("ALTER TABLE {} SET SCHEMA {}", self.at_home(), live.schema));

        let mut after = self.move_sequences();
        for policy in self.late_policies() {
            after.extend(policy.create(live));
        }
        after.extend(self.row_security());
        after.extend(self.blue.grants.take(&self.blue_at_home(), &self.blue.columns));
        after.extend(self.grants());
        after.extend(self.add_foreign_keys());
        Exchange { before, after }
    }

    /// Serial sequences whose column green has.
    fn shared_sequences(&self) -> impl Iterator<Item = (&Sequence, &crate::pg::Ident)> {
        let serial = self.blue.sequences.iter().filter(|sequence| !sequence.identity);
        serial.filter_map(|sequence| Some((sequence, self.name_of(&sequence.column)?)))
    }

    fn move_sequences(&self) -> Vec<String> {
        let live = self.live();
        let mut sql = Vec::new();
        for (sequence, column) in self.shared_sequences() {
            sql.push(sequence.own(live, column));
            let new_type =
                self.columns.iter().find(|green| green.name == *column).map(|green| &green.data_type);
            let wider = new_type.and_then(|new| integer_type(new)).filter(|new| *new != sequence.data_type);
            sql.extend(wider.map(|new| format!("ALTER SEQUENCE {} AS {new}", sequence.name)));
        }
        for sequence in self.blue.sequences.iter().filter(|sequence| sequence.identity) {
            let Some(column) = self.name_of(&sequence.column) else { continue };
            sql.push(sequence.advance(&sequence.name.in_schema(&self.homes.blue), &sequence.name));
            let identity = self.blue.column(&sequence.column).and_then(|column| column.identity);
            sql.extend(restore_identity(live, column, identity));
            let on = format!("SEQUENCE {}", sequence.name);
            sql.extend(sequence.grants.iter().map(|grant| grant.sql(&on)));
        }
        sql
    }

    /// The parent's flags as blue's were; the leaves keep row security on.
    fn row_security(&self) -> Vec<String> {
        let live = self.live();
        let table = &self.blue.table;
        let off = (!table.row_security).then(|| format!("ALTER TABLE {live} DISABLE ROW LEVEL SECURITY"));
        let force = table.force_row_security.then(|| format!("ALTER TABLE {live} FORCE ROW LEVEL SECURITY"));
        off.into_iter().chain(force).collect()
    }

    fn grants(&self) -> Vec<String> {
        let live = self.live();
        let mut sql = self.blue.grants.give(live, &self.blue.table.owner);
        for column in self.columns.iter().filter(|column| column.source != Source::Added) {
            let Some(blue) = column.blue().and_then(|blue| self.blue.column(blue)) else { continue };
            sql.extend(blue.grants.iter().map(|grant| grant.column_sql(live, &column.name)));
        }
        sql
    }

    fn add_foreign_keys(&self) -> Vec<String> {
        let relations = self.foreign_key_holders();
        let add = |key: &ForeignKey| -> Vec<String> {
            let columns = self.green_names(&key.columns);
            relations.iter().map(|relation| key.add(relation, &columns, false)).collect()
        };
        self.blue.foreign_keys.iter().flat_map(add).collect()
    }

    /// The relations that hold green's rows, once green is live.
    pub(super) fn foreign_key_holders(&self) -> Vec<QName> {
        if self.partition.is_some() { self.row_holders() } else { vec![self.live().clone()] }
    }
}
