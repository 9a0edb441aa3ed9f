//! The hash of a row, as an SQL expression that never calls two values equal that a user can tell
//! apart, and the sums of many of them, from which no exchange of values between rows is hidden.
//!
//! PostgreSQL's own hash functions follow its own equality, which takes 1.0 for 1.00, -0.0 for 0.0,
//! '1 mon' for '30 days' and, in citext, 'A' for 'a'. Where a type's equality is coarser than its
//! output, the hash is taken of its binary send form instead, which tells them apart and does
//! not depend on the session's settings. So it is where the hash function folds 64 bits into 32, which
//! takes 1 for 4294967296.
//!
//! The hash of a record is linear in those of its columns, so a sum of such hashes would be the same
//! after two rows exchanged a column's values. What is summed is a mix of each row's hash, which is not.

use tokio_postgres::{Client, Row};

use super::Lane;
use crate::pg::{Ident, list};

const COLUMNS: &str = include_str!("../../sql/catalog/column_hashes.sql");
/// The seed of a statement's hashes.
const SEED: &str = "$1::bigint";
/// What a statement's digests are keyed with.
const KEY: &str = "$2::text";
/// Count, sum and xor of the mixed hashes `h` of rows. The mix: the hash of the hash, over the hash itself, for
/// `hashint8extended` alone has no more than 32 bits to go by.
pub(super) const SUMS: &str = "count(*), coalesce(sum(hashint8extended(h, $1::bigint) # h), 0)::text, \
     coalesce(bit_xor(hashint8extended(h, $1::bigint) # h), 0)";

/// The row hash of both sides of a lane; `$1` is the seed.
#[derive(Clone, Debug)]
pub(super) struct RowHash {
    source: Hashes,
    target: Hashes,
    /// The target's names of the columns that it covers.
    pub(super) columns: Vec<Ident>,
}

/// The hashes of one side, over its columns.
#[derive(Clone, Debug)]
pub(super) struct Hashes {
    /// Of the row.
    pub(super) row: String,
    /// Of each column alone, as one array.
    pub(super) each: String,
}

/// A column that is to be compared is not in the target.
pub(super) struct Lacking(pub(super) Ident);

impl RowHash {
    /// For the columns that are to be compared.
    ///
    /// # Errors
    /// If the server said no; within, if the target lacks one of them.
    pub(super) async fn of(
        client: &Client,
        lane: &Lane,
    ) -> Result<Result<Self, Lacking>, tokio_postgres::Error> {
        let rows = client.query(COLUMNS, &[&lane.target.to_string()]).await?;
        let mut source = Vec::new();
        let mut target = Vec::new();
        for column in &lane.verified {
            let Some(row) = rows.iter().find(|row| row.get::<_, String>("name") == column.target.as_str())
            else {
                return Ok(Err(Lacking(column.target.clone())));
            };
            let type_name: String = row.get("type_name");
            target.push(hashed(row, &column.target.to_string()));
            source.push(hashed(row, &format!("({})::{type_name}", column.expression)));
        }
        let columns = lane.verified.iter().map(|column| column.target.clone()).collect();
        Ok(Ok(Self { columns, source: Hashes::of(&source), target: Hashes::of(&target) }))
    }

    pub(super) fn of_side(&self, is_source: bool) -> &Hashes {
        if is_source { &self.source } else { &self.target }
    }
}

impl Hashes {
    fn of(values: &[String]) -> Self {
        let hash = |values: &str| format!("hash_record_extended(ROW({values}), {SEED})");
        Self {
            row: hash(&list(values)),
            each: format!("ARRAY[{}]", list(values.iter().map(|value| hash(value)))),
        }
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
            "int2" | "int4" | "bool" | "date" | "uuid" | "bytea" | "oid" | "inet" | "cidr" | "macaddr"
            | "macaddr8" | "char" | "name",
        ) => plain(),
        // Its equality overlooks trailing blanks. Where all values have one length, so may we.
        Some("bpchar") if !column.get::<_, bool>("has_length") => format!("bpcharsend({value})"),
        Some("text" | "varchar" | "bpchar") if column.get("deterministic") => plain(),
        Some("text" | "varchar" | "bpchar") => format!("({value})::text COLLATE \"C\""),
        Some("int8") => format!("int8send({value})"),
        Some("time") => format!("time_send({value})"),
        Some("timestamp") => format!("timestamp_send({value})"),
        Some("timestamptz") => format!("timestamptz_send({value})"),
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

/// SQL that names a key without showing it: a digest that nobody can compute who does not have the lane's
/// secret, `$2`. Digests sort as bytes do.
#[must_use]
pub(super) fn key_digest<T: std::fmt::Display>(values: impl IntoIterator<Item = T>) -> String {
    format!(
        "left(encode(sha256(convert_to({KEY} || ROW({})::text, getdatabaseencoding())), 'hex'), 16) COLLATE \"C\"",
        list(values)
    )
}
