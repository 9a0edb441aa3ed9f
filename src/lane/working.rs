//! What a lane keeps in the database beside its two tables, in the target's private schema.

use super::Ends;
use crate::hangs_on::Column;
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Ident, QName, list};

/// The name of a lane's working table of keys that have to be read again.
#[must_use]
pub fn dirty_table(home: &Ident, number: usize) -> QName {
    QName::new(home.clone(), format!("dirty_{number}"))
}

/// The name of the composite type in which a lane's rows are sent; see [`super::Lane::row_type`].
#[must_use]
pub fn row_type(home: &Ident, number: usize) -> QName {
    QName::new(home.clone(), format!("row_{number}"))
}

/// The field of a lane's row type with what the transformation of this number gives.
#[must_use]
pub fn transformed_field(number: usize) -> Ident {
    Ident(format!("projh_t{number}"))
}

/// Makes both: the table holds the keys, and nothing else, of rows that the feed could not complete. `columns` are the
/// those of `source`, the source by its present name.
#[must_use]
pub fn working_objects(number: usize, ends: &Ends, source: &QName, columns: &[Column]) -> [Statement; 5] {
    let home = &ends.target.home;
    let key = list(&ends.source.key);
    let dirty = dirty_table(home, number);
    let streamed = columns.iter().filter(|column| column.generated.is_none());
    let travelling = streamed.map(|column| format!("{} {}", column.name, column.base_type));
    let transforms = ends.mapping.iter().filter_map(|mapped| mapped.transform.as_ref()).enumerate();
    let transformed = transforms.map(|(number, transform)| {
        format!("{} {}", transformed_field(number), transform.target.transformed_type())
    });
    let travelling = list(travelling.chain(transformed));
    let create = format!("CREATE TABLE {dirty} AS SELECT {key} FROM {source} WITH NO DATA");
    let build = format!("ALTER TABLE {dirty} ADD PRIMARY KEY ({key})");
    let row_type = format!("CREATE TYPE {} AS ({travelling})", row_type(home, number));
    let grant = format!("GRANT SELECT, INSERT, DELETE ON {dirty} TO {}", ends.owner);
    [
        Statement::making(&dirty, "create the working table", create).locking(source, LockMode::AccessShare),
        Statement::on(&dirty, LockMode::AccessExclusive, "build a key on", build),
        Statement::new("revoke", format!("REVOKE ALL ON {dirty} FROM PUBLIC")),
        Statement::new("grant", grant),
        Statement::new("create the row type of the stream", row_type),
    ]
}
