//! The messages of `pgoutput` under protocol version 1, decoded without copying a value.
//!
//! Invariant: no input makes the decoder panic, and `Debug` never shows a value's bytes. A value is a slice of the
//! received message and keeps that message's memory alive.

mod decode;

use std::fmt;

use bytes::Bytes;
use jiff::Timestamp;

use crate::pg::Lsn;

pub use decode::Malformed;

/// One message of the logical replication stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Logical {
    /// A committed transaction begins.
    Begin {
        /// LSN of its commit record's start: the transaction is before a consistent point L exactly if `final_lsn < L`.
        final_lsn: Lsn,
        /// The time of its commit.
        commit_time: Timestamp,
        /// Its transaction id.
        xid: u32,
    },
    /// The end of a transaction.
    Commit {
        /// LSN of its commit record's start.
        commit_lsn: Lsn,
        /// LSN of its commit record's end: what to acknowledge.
        end_lsn: Lsn,
        /// The time of its commit.
        commit_time: Timestamp,
    },
    /// The transaction was applied here under a replication origin.
    Origin {
        /// The commit's LSN on the origin server.
        commit_lsn: Lsn,
        /// The name of the origin.
        name: String,
    },
    /// The shape of a table in the changes that follow.
    Relation(Relation),
    /// A type that is not built in, in the changes that follow.
    Type {
        /// The oid of the type.
        oid: u32,
        /// The type's schema; empty for pg_catalog.
        schema: String,
        /// The type's name.
        name: String,
    },
    /// An inserted row.
    Insert {
        /// The oid of the table.
        relation: u32,
        /// The row's values.
        new: Tuple,
    },
    /// An updated row.
    Update {
        /// The oid of the table.
        relation: u32,
        /// The old row as far as the replica identity sends it; under DEFAULT only if its key changed.
        old: Option<Old>,
        /// The new row. Large values that did not change are [`Value::Unchanged`].
        new: Tuple,
    },
    /// A deleted row.
    Delete {
        /// The oid of the table.
        relation: u32,
        /// The old row as far as the replica identity sends it.
        old: Old,
    },
    /// The published tables of a TRUNCATE.
    Truncate {
        /// The oids of the tables.
        relations: Vec<u32>,
        /// TRUNCATE ... CASCADE.
        cascade: bool,
        /// TRUNCATE ... RESTART IDENTITY.
        restart_identity: bool,
    },
    /// A message of `pg_logical_emit_message`.
    Message(LogicalMessage),
}

/// The shape of a table in its changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// The oid that its changes refer to.
    pub oid: u32,
    /// The table's schema.
    pub schema: String,
    /// The table's name.
    pub name: String,
    /// What its old tuples contain.
    pub replica_identity: ReplicaIdentity,
    /// Its published columns, in the order of every tuple's values.
    pub columns: Vec<RelationColumn>,
}

/// A column of a [`Relation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationColumn {
    /// Whether it is part of the replica identity.
    pub is_key: bool,
    /// The column's name, in the database's encoding.
    pub name: Bytes,
    /// The oid of its type.
    pub type_oid: u32,
    /// `atttypmod`: the type's modifier, -1 if it has none.
    pub type_modifier: i32,
}

/// The replica identity of a table: what its old tuples contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaIdentity {
    /// The columns of the primary key.
    Default,
    /// No columns: the table has no replica identity.
    Nothing,
    /// All columns of the row.
    Full,
    /// The columns of a chosen unique index.
    Index,
}

/// A row before its change, as far as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Old {
    /// Whether it contains the key columns or all of them.
    pub kind: OldKind,
    /// The values. In a `Key`, columns outside the key are [`Value::Null`], which means nothing.
    pub tuple: Tuple,
}

/// Which columns of an old row were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldKind {
    /// The columns of the replica identity.
    Key,
    /// All columns (REPLICA IDENTITY FULL).
    Full,
}

/// A message of `pg_logical_emit_message`.
#[derive(Clone, PartialEq, Eq)]
pub struct LogicalMessage {
    /// Sent with its transaction's commit (true), or immediately.
    pub transactional: bool,
    /// The LSN of its record.
    pub lsn: Lsn,
    /// The prefix that its sender gave it.
    pub prefix: String,
    /// The bytes that its sender gave it.
    pub content: Bytes,
}

impl fmt::Debug for LogicalMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogicalMessage")
            .field("transactional", &self.transactional)
            .field("lsn", &self.lsn)
            .field("prefix", &self.prefix)
            .field("content_bytes", &self.content.len())
            .finish()
    }
}

/// A row's values, in the order of the relation's columns.
pub type Tuple = Vec<Value>;

/// One value of a row.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// A large value that the update did not change, and that was not sent.
    Unchanged,
    /// The value in its type's binary format.
    Binary(Bytes),
    /// The value in its type's text format, for types without a binary one.
    Text(Bytes),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Unchanged => f.write_str("Unchanged"),
            Self::Binary(bytes) => write!(f, "Binary({} bytes)", bytes.len()),
            Self::Text(bytes) => write!(f, "Text({} bytes)", bytes.len()),
        }
    }
}

impl Logical {
    /// Bytes of the decoded form beyond the message itself, for bounding buffers.
    pub(in crate::replication) fn overhead_bytes(&self) -> usize {
        let values = match self {
            Self::Insert { new, .. } => new.len(),
            Self::Update { old, new, .. } => new.len() + old.as_ref().map_or(0, |old| old.tuple.len()),
            Self::Delete { old, .. } => old.tuple.len(),
            _ => 0,
        };
        size_of::<Self>() + values * size_of::<Value>()
    }
}
