//! An index on an empty temporary table: what the server makes of its text. To be undone by a rollback.

use crate::pg::QName;

/// The name of the index.
pub(crate) const INDEX: &str = "projh_trial";

/// What makes the table, and the index on it.
pub(crate) struct Trial {
    pub(crate) table: QName,
    pub(crate) make: String,
    pub(crate) build: String,
}

impl Trial {
    /// `by`: what PARTITION BY says of the table. `rest`: what follows the table's name in CREATE INDEX; since expressions may be
    /// qualified with that name, the temporary table has it, too.
    pub(crate) fn of(of: &QName, by: Option<&str>, (unique, rest): (bool, &str)) -> Self {
        let table = QName::new("pg_temp", of.name.clone());
        let by = by.map_or_else(String::new, |key| format!(" PARTITION BY {key}"));
        let unique = if unique { "UNIQUE " } else { "" };
        Self {
            make: format!("CREATE TEMP TABLE {} (LIKE {of} INCLUDING GENERATED){by}", of.name),
            build: format!("CREATE {unique}INDEX {INDEX} ON {table} {rest}"),
            table,
        }
    }
}
