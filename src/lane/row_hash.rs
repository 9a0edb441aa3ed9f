//! The hash of a row, as an SQL expression that never calls two values equal that a user can tell
//! apart.
//!
//! PostgreSQL's own hash functions follow its own equality, which takes 1.0 for 1.00, -0.0 for 0.0,
//! '1 mon' for '30 days' and, in citext, 'A' for 'a'. Where a type's equality is coarser than its
//! output, the hash is taken of its binary send form instead, which tells them apart and does
//! not depend on the session's settings.

use tokio_postgres::{Client, Row};

use super::Lane;
use crate::hangs_on::without_length;
use crate::pg::list;

const COLUMNS: &str = include_str!("../../sql/catalog/column_hashes.sql");

/// The row hash of both sides of a lane.
#[derive(Clone, Debug)]
pub(super) struct RowHash {
    /// Over the source's columns.
    pub(super) source: String,
    /// Over the target's columns.
    pub(super) target: String,
    /// How many columns it covers.
    pub(super) columns: usize,
}

impl RowHash {
    /// For the columns that both sides have.
    ///
    /// # Errors
    /// If the server said no.
    pub(super) async fn of(client: &Client, lane: &Lane) -> Result<Self, tokio_postgres::Error> {
        let rows = client.query(COLUMNS, &[&lane.target.to_string()]).await?;
        let (mut source, mut target) = (Vec::new(), Vec::new());
        for column in &lane.verified {
            let Some(row) = rows.iter().find(|row| row.get::<_, String>("name") == column.name.as_str())
            else {
                continue;
            };
            let type_name: String = row.get("type_name");
            target.push(hashed(row, &column.name.to_string()));
            // As it is written: its modifier rounds, and a length must not cut.
            let written = format!("({})::{}", column.expected, without_length(&column.data_type));
            source.push(hashed(row, &format!("({written})::{type_name}")));
        }
        let hash = |expressions: Vec<String>| format!("hash_record_extended(ROW({}), 0)", list(expressions));
        Ok(Self { columns: target.len(), source: hash(source), target: hash(target) })
    }
}

/// What is put into the row that is hashed, for a value of this column's type.
fn hashed(column: &Row, value: &str) -> String {
    let base_type: String = column.get("base_type");
    let plain = || value.to_owned();
    if column.get::<_, String>("kind") == "e" {
        return plain();
    }
    match base_type.strip_prefix("pg_catalog.") {
        Some(
            "int2" | "int4" | "int8" | "bool" | "date" | "time" | "timestamp" | "timestamptz" | "uuid"
            | "bytea" | "oid" | "inet" | "cidr" | "macaddr" | "macaddr8" | "pg_lsn" | "char" | "name"
            | "xid8",
        ) => plain(),
        // Its equality overlooks trailing blanks. Where all values have one length, so may we.
        Some("bpchar") if !column.get::<_, bool>("has_length") => format!("bpcharsend({value})"),
        Some("text" | "varchar" | "bpchar") if column.get("deterministic") => plain(),
        Some("text" | "varchar" | "bpchar") => format!("({value})::text COLLATE \"C\""),
        Some("numeric") => format!("numeric_send({value})"),
        Some("float4") => format!("float4send({value})"),
        Some("float8") => format!("float8send({value})"),
        Some("interval") => format!("interval_send({value})"),
        Some("timetz") => format!("timetz_send({value})"),
        Some("jsonb") => format!("jsonb_send({value})"),
        Some("json") => format!("({value})::text"),
        // As every client gets it: the server itself leaves out a declaration that says nothing.
        Some("xml") => format!("xml_send({value})"),
        // Arrays, ranges, composites, geometry, citext, extensions: the record's own binary form.
        _ => format!("record_send(ROW({value}))"),
    }
}

/// SQL that shows a key to a person without showing it: a digest that the same SQL finds again.
#[must_use]
pub(super) fn key_digest<T: std::fmt::Display>(values: impl IntoIterator<Item = T>) -> String {
    format!("left(md5(ROW({})::text), 16)", list(values))
}
