//! The hash of a row, as an SQL expression that never calls two values equal that a user can tell
//! apart, and the sums of many of them, from which no exchange of values between rows is hidden.
//!
//! PostgreSQL's own hash functions follow its own equality, which takes 1.0 for 1.00, -0.0 for 0.0,
//! '1 mon' for '30 days' and, in citext, 'A' for 'a'. Where a type's equality is coarser than its
//! output, the hash is taken of its binary send form instead, or of its text, which tell them apart and do
//! not depend on the session's settings. Where the hash function folds 64 bits into 32, which takes 1 for
//! 4294967296, all of them are hashed.
//!
//! Values that may be NULL, or have to go into a record, are combined first: linearly, so that a sum of such hashes
//! would be the same after two rows exchanged a column's values. The combination is the seed of the first of the other
//! columns' hashes, and each hash the seed of the next. A sum of those changes: a hash is not linear in its seed.

mod taken;
mod value;

use tokio_postgres::{Client, Row};

use super::Lane;
use crate::pg::{Ident, list};

pub(super) use taken::Taken;
use value::ValueHash;

const COLUMNS: &str = include_str!("../../sql/catalog/column_hashes.sql");
/// What a column of the source is called that the target does not give back.
pub(super) const BACK_OF: &str = "back of ";
/// The seed of a statement's hashes.
const SEED: &str = "$1::bigint";
/// Count, sum and xor of the hashes `h` of rows.
pub(super) const SUMS: &str = "count(*), coalesce(sum(h), 0)::text, coalesce(bit_xor(h), 0)";
/// The most columns whose hashes are nested, and the most that are combined; the server's stack limits both. All others
/// go into the record.
const NESTED_MAX: usize = 50;

/// The row hash of both sides of a lane; `$1` is the seed.
#[derive(Clone, Debug)]
pub(super) struct RowHash {
    source: Hashes,
    target: Hashes,
    /// What it covers, as it is called where it differs: the target's columns, what the target gives back, and last what this
    /// program compares.
    pub(super) columns: Vec<String>,
    /// How many of the target's columns are among them.
    pub(super) of_target: usize,
    /// What this program compares; `None` if the server compares all.
    pub(super) taken: Option<Taken>,
}

/// The hashes of one side, over its columns.
#[derive(Clone, Debug)]
pub(super) struct Hashes {
    /// SQL for the hash of the row.
    pub(super) row: String,
    /// SQL for the hashes of each column alone, as one array.
    pub(super) each: String,
}

/// The column that is to be compared and is not in the target.
pub(super) struct Lacking(pub(super) Ident);

impl RowHash {
    /// The hash of the columns that are to be compared.
    ///
    /// # Errors
    /// If the server rejected the query, or the connection was lost; the inner one, if the target lacks one of them.
    pub(super) async fn of(
        client: &Client,
        lane: &Lane,
    ) -> Result<Result<Self, Lacking>, tokio_postgres::Error> {
        let rows = client.query(COLUMNS, &[&lane.target.to_string()]).await?;
        let mut source = Values::default();
        let mut target = Values::default();
        let by_server = || lane.verified.iter().filter(|column| column.transform.is_none());
        for column in by_server() {
            let Some(row) = rows.iter().find(|row| row.get::<_, String>("name") == column.target.as_str())
            else {
                return Ok(Err(Lacking(column.target.clone())));
            };
            let type_name: String = row.get("type_name");
            let hash = ValueHash::of(row, column.is_same);
            target.add(row, hash, column.target.to_string());
            source.add(row, hash, format!("({})::{type_name}", column.expression));
        }
        let given_back = lane.given_back.iter().map(|column| format!("{BACK_OF}{}", column.target.as_str()));
        if !lane.given_back.is_empty() {
            let rows = client.query(COLUMNS, &[&lane.source.to_string()]).await?;
            for column in &lane.given_back {
                let Some(row) =
                    rows.iter().find(|row| row.get::<_, String>("name") == column.target.as_str())
                else {
                    return Ok(Err(Lacking(column.target.clone())));
                };
                let type_name: String = row.get("type_name");
                let hash = ValueHash::of(row, false);
                source.add(row, hash, column.target.to_string());
                target.add(row, hash, format!("({})::{type_name}", column.expression));
            }
        }
        let taken = Taken::of(lane);
        let by_us = taken.iter().flat_map(|taken| taken.columns.clone());
        let is_there = |name: &Ident| rows.iter().any(|row| row.get::<_, String>("name") == name.as_str());
        let by_us: Vec<Ident> = by_us.collect();
        if let Some(lacking) = by_us.iter().find(|name| !is_there(name)) {
            return Ok(Err(Lacking(lacking.clone())));
        }
        let of_target = by_server().count() + by_us.len();
        let name = |name: &Ident| name.as_str().to_owned();
        let by_server = by_server().map(|column| name(&column.target));
        let columns = by_server.chain(given_back).chain(by_us.iter().map(name)).collect();
        Ok(Ok(Self { columns, of_target, taken, source: source.hashes(), target: target.hashes() }))
    }

    pub(super) fn of_side(&self, is_source: bool) -> &Hashes {
        if is_source { &self.source } else { &self.target }
    }
}

/// A value that is never NULL, and how it is hashed.
struct Value {
    hash: ValueHash,
    sql: String,
}

/// The values of one side, by how they enter a row's hash.
#[derive(Default)]
struct Values {
    /// Values whose hashes are nested, the first one innermost.
    nested: Vec<Value>,
    /// The hashes of those that may be NULL.
    optional: Vec<String>,
    /// The values that are put into the record.
    recorded: Vec<String>,
    /// The hash of each alone.
    each: Vec<String>,
}

impl Values {
    fn add(&mut self, column: &Row, hash: Option<ValueHash>, sql: String) {
        let in_record = recorded(column, &sql);
        self.each.push(record(&in_record));
        match hash {
            Some(hash) if column.get("not_null") && self.nested.len() < NESTED_MAX => {
                self.nested.push(Value { hash, sql });
            }
            Some(hash) if self.optional.len() < NESTED_MAX => {
                // Another seed for each, otherwise two columns could exchange their values unnoticed.
                let seed = format!("{SEED} + {}", self.optional.len() + 1);
                self.optional.push(format!("coalesce({}, 0)", hash.sql(&sql, &seed)));
            }
            _ => self.recorded.push(in_record),
        }
    }

    fn hashes(mut self) -> Hashes {
        if !self.recorded.is_empty() {
            self.optional.push(record(&list(self.recorded)));
        }
        let first = match self.optional.is_empty() {
            true => SEED.to_owned(),
            false => self.optional.join(" # "),
        };
        let nested = match self.nested.is_empty() {
            true => ValueHash::Int4.sql("0", &first),
            false => self.nested.iter().fold(first, |seed, value| value.hash.sql(&value.sql, &seed)),
        };
        // NULL if a value is NULL that must not be: the target has no such row.
        Hashes { row: format!("coalesce({nested}, 0)"), each: format!("ARRAY[{}]", list(self.each)) }
    }
}

fn record(values: &str) -> String {
    format!("hash_record_extended(ROW({values}), {SEED})")
}

/// SQL for what is put into a record that is hashed, for a value of this column's type.
fn recorded(column: &Row, value: &str) -> String {
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
        // Its equality ignores trailing blanks. If all values have one length, so may we.
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
        // As every client gets it: the server itself leaves out an XML declaration without information.
        Some("xml") => format!("xml_send({value})"),
        // Arrays, ranges, composites, geometry, citext, extensions: the record's own binary form.
        _ => format!("record_send(ROW({value}))"),
    }
}

/// SQL for a digest of a key, which names it without showing it: the lane's secret is needed to compute it.
/// 16 hexadecimal digits; digests sort as bytes do.
#[must_use]
pub(super) fn key_digest<T: std::fmt::Display>(secret: &str, values: impl IntoIterator<Item = T>) -> String {
    format!(
        "left(encode(sha256(convert_to({secret} || ROW({})::text, getdatabaseencoding())), 'hex'), 16) COLLATE \"C\"",
        list(values)
    )
}
