//! What stands in the way of a view of the old shape, and what its clients have to know.

use super::Compatibility;
use crate::hangs_on::encrypted::BlindIndex;
use crate::hangs_on::part::Conflict;
use crate::hangs_on::shape::{Green, GreenColumn, Source};
use crate::pg::{Ident, QName};
use crate::phi::Format;

impl Compatibility {
    /// Roles that cannot use the view of this table: what is said of each, and what can be done.
    pub(crate) fn denied_roles(&self, table: &QName) -> Vec<(String, String)> {
        let (schema, view) = (self.schema.as_str(), table.name.as_str());
        let denied = self.denied.iter().map(|(role, privileges)| {
            let what = format!(
                "{role} has {privileges} on columns of the table only, and cannot use view {schema}.{view}: it reads and writes all columns with \
                 the rights of whoever uses it"
            );
            (what, format!("grant {privileges} on {} to {role}; or let it use the table", table.plain()))
        });
        denied.collect()
    }
}

impl Green {
    /// Why there can be no view of the old shape.
    pub(crate) fn compatibility_conflicts(&self) -> Vec<Conflict> {
        let refused = |column: &GreenColumn| {
            let (blue, why, hint) = match &column.source {
                Source::Encrypted(how) if how.format == Format::AesGcm && self.is_plain(&how.blue) => (
                    &how.blue,
                    "SQL cannot read values of the format aes-gcm",
                    "`format: pgp`, or take `compatibility` out",
                ),
                Source::BlindIndex(BlindIndex { of, tag_of: Some(_), .. }) => {
                    (of, "its triggers write no tags", "take `tag` or `compatibility` out")
                }
                Source::Expression { blue, back: None, .. } => {
                    (blue, "it has no way back", "`back: ...` beside `using`, or take `compatibility` out")
                }
                _ => return None,
            };
            Some(Conflict::new(format!("a view of the old shape cannot show column {blue}: {why}"), hint))
        };
        self.columns.iter().filter_map(refused).collect()
    }

    /// What clients have to know of the view.
    pub(crate) fn compatibility_notes(&self, of: &Compatibility) -> Vec<String> {
        let view = self.view(of).plain();
        let mut notes = vec![format!(
            "from the swap until `finish`, view {view} has the old shape, for clients with `search_path = {}, ...`",
            of.schema
        )];
        notes.push(match self.has_trigger() {
            true => format!(
                "of {view}, INSERT ... ON CONFLICT, COPY ... TO, TRUNCATE, MERGE and foreign keys are not possible, and an UPDATE or DELETE of a row \
                 that another transaction has changed meanwhile fails with SQLSTATE 40001"
            ),
            false => format!("of {view}, COPY ... TO, TRUNCATE and foreign keys are not possible"),
        });
        let dropped = self.blue.columns.iter().filter(|column| self.name_of(&column.name).is_none());
        notes.extend(dropped.map(|column| {
            format!("column {} of {view} is NULL, and cannot be written: the plan drops it", column.name)
        }));
        if !of.security_invoker {
            notes.push(format!(
                "before version 15, {view} reads and writes with the rights of its owner: grants on the view decide who may, and not those on \
                 the table and its columns"
            ));
        }
        notes.extend(of.denied_roles(self.live()).into_iter().map(|(what, hint)| format!("{what} ({hint})")));
        notes
    }

    /// The columns of blue that the view reads from green.
    pub(crate) fn read_by_view(&self) -> Vec<&str> {
        let names = self.blue.columns.iter().map(|column| &column.name);
        names.filter(|name| self.name_of(name).is_some()).map(Ident::as_str).collect()
    }
}
