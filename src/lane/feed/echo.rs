//! Which transactions of a stream are the program's own. It writes to either table, and what it wrote to one of them came
//! from the other: applied again it would be an echo.
//!
//! Invariant: every transaction in which the program writes rows while both streams are read begins with the run's mark, a
//! logical message.

use super::MESSAGE_PREFIX;
use crate::pg::Literal;
use crate::replication::pgoutput::Logical;

/// SQL that begins a transaction of the program's own, outside of a feed.
pub(crate) fn begin(mark: String) -> String {
    Echo::of(mark).begin(false)
}

/// Recognises the transactions that begin with a mark.
pub(super) struct Echo {
    mark: String,
    at: At,
}

/// The place in a stream.
#[derive(PartialEq)]
enum At {
    /// The next message is the first of a transaction.
    First,
    /// Inside a transaction of the program's own.
    Own,
    /// Anywhere else.
    Other,
}

impl Echo {
    /// An empty mark marks nothing: version 0.1.0 had none.
    pub(super) fn of(mark: String) -> Self {
        Self { mark, at: At::Other }
    }

    /// SQL that begins a transaction of the program's own. `defers`: a part of a source transaction need not satisfy
    /// deferrable constraints.
    pub(super) fn begin(&self, defers: bool) -> String {
        let begin = if defers { "BEGIN; SET CONSTRAINTS ALL DEFERRED" } else { "BEGIN" };
        if self.mark.is_empty() {
            return begin.to_owned();
        }
        let (prefix, mark) = (Literal(MESSAGE_PREFIX), Literal(&self.mark));
        format!("{begin}; SELECT pg_catalog.pg_logical_emit_message(true, {prefix}, {mark})")
    }

    /// Whether a message is a change that the program made; to be called with every message, in order.
    pub(super) fn is_own(&mut self, message: &Logical) -> bool {
        match message {
            Logical::Begin { .. } => self.at = At::First,
            Logical::Commit { .. } => self.at = At::Other,
            Logical::Message(message) if self.at == At::First => {
                let is_mark = message.transactional
                    && message.prefix == MESSAGE_PREFIX
                    && !self.mark.is_empty()
                    && *message.content == *self.mark.as_bytes();
                self.at = if is_mark { At::Own } else { At::Other };
            }
            Logical::Insert { .. }
            | Logical::Update { .. }
            | Logical::Delete { .. }
            | Logical::Truncate { .. } => {
                if self.at == At::First {
                    self.at = At::Other;
                }
                return self.at == At::Own;
            }
            Logical::Message(_) | Logical::Relation(_) | Logical::Origin { .. } | Logical::Type { .. } => {}
        }
        false
    }
}
