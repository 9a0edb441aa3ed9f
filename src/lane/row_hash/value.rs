//! The hash of one value, for types whose own hash function is called directly: a record costs as much as four calls.
//!
//! Invariant: two values of a column that a user can tell apart are two inputs of its hash.

use tokio_postgres::Row;

/// How a value is hashed from a seed of 64 bits.
#[derive(Clone, Copy, Debug)]
pub(super) enum ValueHash {
    Int2,
    Int4,
    /// Its own function folds it into 32 bits, so it goes into the seed, too.
    Int8,
    Uuid,
    Enum,
    Text,
    Bpchar,
    /// Types whose text differs whenever the values do.
    AsText,
    /// Its own function folds it into 32 bits, so the upper half is hashed before it.
    Timestamp,
    Timestamptz,
}

impl ValueHash {
    /// `None` for a value that goes into a record. `is_column`: the value is that of a column on both sides, and not an
    /// expression, which would have to be computed twice.
    pub(super) fn of(column: &Row, is_column: bool) -> Option<Self> {
        if column.get("is_domain") {
            return None;
        }
        if column.get::<_, String>("kind") == "e" {
            return Some(Self::Enum);
        }
        let base_type: String = column.get("base_type");
        match base_type.strip_prefix("pg_catalog.")? {
            "int2" => Some(Self::Int2),
            "int4" => Some(Self::Int4),
            "uuid" => Some(Self::Uuid),
            "text" | "varchar" => Some(Self::Text),
            // If all values have one length, trailing blanks carry no information.
            "bpchar" if column.get("has_length") => Some(Self::Bpchar),
            "numeric" | "json" | "jsonb" => Some(Self::AsText),
            "int8" if is_column => Some(Self::Int8),
            "timestamp" if is_column => Some(Self::Timestamp),
            "timestamptz" if is_column => Some(Self::Timestamptz),
            _ => None,
        }
    }

    /// SQL for the hash; NULL if the value is.
    pub(super) fn sql(self, value: &str, seed: &str) -> String {
        match self {
            Self::Int2 => format!("hashint2extended({value}, {seed})"),
            Self::Int4 => format!("hashint4extended({value}, {seed})"),
            Self::Int8 => format!("hashint8extended({value}, ({seed}) # {value})"),
            Self::Uuid => format!("uuid_hash_extended({value}, {seed})"),
            Self::Enum => format!("hashenumextended({value}, {seed})"),
            Self::Text | Self::AsText => format!("hashtextextended(({value})::text COLLATE \"C\", {seed})"),
            Self::Bpchar => format!("hashbpcharextended(({value}) COLLATE \"C\", {seed})"),
            Self::Timestamp => timestamp(value, seed),
            // The value at UTC, whatever the session's zone is, and without a lookup in the time zone's rules.
            Self::Timestamptz => timestamp(&format!("timezone('0'::interval, {value})"), seed),
        }
    }
}

/// SQL for the hash of a timestamp without time zone: of the value, from the hash of its upper half.
///
/// A timestamp counts microseconds since 2000 in 64 bits, and its hash function hashes the lower half, combined by xor
/// with the upper half, which is inverted before 2000. The upper half is shown by the beginning of the 2^32 microseconds
/// that a value lies in. Before 2000 it is moved: by (2^26 + 3/4) * 2^32 microseconds, so that it is after 2000, too, its
/// lower half is one that no other beginning has, and the first one is no longer earlier than the type allows.
fn timestamp(value: &str, seed: &str) -> String {
    let beginning = format!(
        "CASE WHEN {value} >= '2000-01-01' \
         THEN date_bin('4294.967296 s', {value}, '2000-01-01') \
         ELSE date_bin('4294.967296 s', {value} + '80063994:16:12.937216', '2000-01-01 00:53:41.225472') END"
    );
    format!("timestamp_hash_extended({value}, timestamp_hash_extended({beginning}, {seed}))")
}
