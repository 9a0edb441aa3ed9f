//! What `pgoutput` says under protocol version 1, decoded without copying a value.
//!
//! Invariant: no input makes the decoder panic, and `Debug` never shows a value's bytes. A value
//! is a slice of the received message: it keeps that message's memory alive as long as it lives.

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
        /// Where its commit record begins: the transaction is before a consistent point L
        /// exactly if `final_lsn < L`.
        final_lsn: Lsn,
        /// When it was committed.
        commit_time: Timestamp,
        /// Its id.
        xid: u32,
    },
    /// The transaction is complete.
    Commit {
        /// Where its commit record begins.
        commit_lsn: Lsn,
        /// Where its commit record ends: what to acknowledge.
        end_lsn: Lsn,
        /// When it was committed.
        commit_time: Timestamp,
    },
    /// The transaction was applied here under a replication origin.
    Origin {
        /// The commit's position where it came from.
        commit_lsn: Lsn,
        /// The origin's name.
        name: String,
    },
    /// A table as the changes after this message have it.
    Relation(Relation),
    /// A type that is not built in.
    Type {
        /// Its oid.
        oid: u32,
        /// Its schema.
        schema: String,
        /// Its name.
        name: String,
    },
    /// A new row.
    Insert {
        /// The table's oid.
        relation: u32,
        /// The row.
        new: Tuple,
    },
    /// A changed row.
    Update {
        /// The table's oid.
        relation: u32,
        /// What the replica identity gave of the row before; under DEFAULT only if its key changed.
        old: Option<Old>,
        /// The row after. Large values that did not change are [`Value::Unchanged`].
        new: Tuple,
    },
    /// A row that is gone.
    Delete {
        /// The table's oid.
        relation: u32,
        /// What the replica identity gave of it.
        old: Old,
    },
    /// Emptied tables, of those that are published.
    Truncate {
        /// The tables' oids.
        relations: Vec<u32>,
        /// CASCADE was said.
        cascade: bool,
        /// RESTART IDENTITY was said.
        restart_identity: bool,
    },
    /// A message of `pg_logical_emit_message`.
    Message(LogicalMessage),
}

/// A table's shape on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// The table's oid, which changes refer to.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What old tuples hold.
    pub replica_identity: ReplicaIdentity,
    /// Its published columns, in the order of every tuple.
    pub columns: Vec<RelationColumn>,
}

/// A column of a [`Relation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationColumn {
    /// Part of the replica identity.
    pub is_key: bool,
    /// Its name, in the database's encoding.
    pub name: Bytes,
    /// Its type's oid.
    pub type_oid: u32,
    /// Its type's modifier, -1 for none.
    pub type_modifier: i32,
}

/// What a table's old tuples hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaIdentity {
    /// The primary key.
    Default,
    /// Nothing.
    Nothing,
    /// All columns.
    Full,
    /// The columns of an index.
    Index,
}

/// What is known of a row before a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Old {
    /// The key columns alone, or all.
    pub kind: OldKind,
    /// The values. Of a `Key`, columns outside the key are [`Value::Null`] and mean nothing.
    pub tuple: Tuple,
}

/// How much of an old row was sent.
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
    /// Sent at its transaction's commit (true) or at once.
    pub transactional: bool,
    /// Where it stands in the WAL.
    pub lsn: Lsn,
    /// Whose message it is.
    pub prefix: String,
    /// What it says.
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
    /// NULL.
    Null,
    /// A large value that the update did not touch, and that was not sent.
    Unchanged,
    /// The type's binary form.
    Binary(Bytes),
    /// The type's text form, for types without a binary one.
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
    /// The memory of the decoded form beyond the message's own bytes, for bounding buffers.
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
