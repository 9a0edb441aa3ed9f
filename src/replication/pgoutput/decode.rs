//! Decodes messages of protocol version 1, from front to back.
//!
//! Invariant: each length is checked against the bytes present before it is used, so no input makes this panic, or
//! reserve more memory than a tuple's 65,535 values.

use bytes::{Buf, Bytes};
use jiff::Timestamp;

use super::{Logical, LogicalMessage, Old, OldKind, Relation, RelationColumn, ReplicaIdentity, Tuple, Value};
use crate::pg::Lsn;
use crate::replication::UNIX_TO_POSTGRES_MICROS;

/// A message that protocol version 1 does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The message is shorter than its contents say.
    #[error("a pgoutput message ends too early")]
    Truncated,
    /// The message is longer than its contents say.
    #[error("a pgoutput message has {0} bytes too many")]
    Trailing(usize),
    /// The first byte names no known message.
    #[error("unknown pgoutput message {0:#04x}")]
    UnknownMessage(u8),
    /// A byte inside a message has no known meaning.
    #[error("unknown mark {0:#04x} in a pgoutput message")]
    UnknownMark(u8),
    /// A timestamp is outside the supported calendar.
    #[error("a time in a pgoutput message is out of range")]
    Time,
}

impl Logical {
    /// Decodes one message: the payload of an `XLogData`.
    ///
    /// # Errors
    /// [`Malformed`] for anything that protocol version 1 does not allow.
    pub fn decode(message: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader(message);
        let decoded = match reader.u8()? {
            b'B' => Self::Begin { final_lsn: reader.lsn()?, commit_time: reader.time()?, xid: reader.u32()? },
            b'C' => {
                reader.u8()?; // flags, unused so far
                Self::Commit {
                    commit_lsn: reader.lsn()?,
                    end_lsn: reader.lsn()?,
                    commit_time: reader.time()?,
                }
            }
            b'O' => Self::Origin { commit_lsn: reader.lsn()?, name: reader.string()? },
            b'R' => Self::Relation(reader.relation()?),
            b'Y' => Self::Type { oid: reader.u32()?, schema: reader.string()?, name: reader.string()? },
            b'I' => {
                let relation = reader.u32()?;
                reader.expect(b'N')?;
                Self::Insert { relation, new: reader.tuple()? }
            }
            b'U' => reader.update()?,
            b'D' => {
                let relation = reader.u32()?;
                let mark = reader.u8()?;
                Self::Delete { relation, old: reader.old(mark)? }
            }
            b'T' => reader.truncate()?,
            b'M' => Self::Message(reader.message()?),
            unknown => return Err(Malformed::UnknownMessage(unknown)),
        };
        match reader.0.len() {
            0 => Ok(decoded),
            rest => Err(Malformed::Trailing(rest)),
        }
    }
}

/// Reads a message from front to back.
struct Reader(Bytes);

impl Reader {
    fn u8(&mut self) -> Result<u8, Malformed> {
        self.0.try_get_u8().map_err(|_| Malformed::Truncated)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.0.try_get_u16().map_err(|_| Malformed::Truncated)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.0.try_get_u32().map_err(|_| Malformed::Truncated)
    }

    fn lsn(&mut self) -> Result<Lsn, Malformed> {
        self.0.try_get_u64().map(Lsn).map_err(|_| Malformed::Truncated)
    }

    /// Microseconds since 2000-01-01 UTC.
    fn time(&mut self) -> Result<Timestamp, Malformed> {
        let micros = self.0.try_get_i64().map_err(|_| Malformed::Truncated)?;
        micros
            .checked_add(UNIX_TO_POSTGRES_MICROS)
            .and_then(|micros| Timestamp::from_microsecond(micros).ok())
            .ok_or(Malformed::Time)
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            unknown => Err(Malformed::UnknownMark(unknown)),
        }
    }

    fn expect(&mut self, mark: u8) -> Result<(), Malformed> {
        match self.u8()? {
            found if found == mark => Ok(()),
            unknown => Err(Malformed::UnknownMark(unknown)),
        }
    }

    /// A zero-terminated name, in the database's encoding.
    fn name(&mut self) -> Result<Bytes, Malformed> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Malformed::Truncated)?;
        let name = self.0.split_to(end);
        self.0.advance(1);
        Ok(name)
    }

    /// A zero-terminated name that is only displayed: bytes that are not UTF-8 are left out.
    fn string(&mut self) -> Result<String, Malformed> {
        Ok(String::from_utf8_lossy(&self.name()?).into_owned())
    }

    /// A length of four bytes, and as many bytes.
    fn sized(&mut self) -> Result<Bytes, Malformed> {
        let length = self.u32()? as usize;
        if length > self.0.len() {
            return Err(Malformed::Truncated);
        }
        Ok(self.0.split_to(length))
    }

    fn tuple(&mut self) -> Result<Tuple, Malformed> {
        let count = usize::from(self.u16()?);
        let mut tuple = Vec::with_capacity(count);
        for _ in 0..count {
            tuple.push(match self.u8()? {
                b'n' => Value::Null,
                b'u' => Value::Unchanged,
                b'b' => Value::Binary(self.sized()?),
                b't' => Value::Text(self.sized()?),
                unknown => return Err(Malformed::UnknownMark(unknown)),
            });
        }
        Ok(tuple)
    }

    fn old(&mut self, mark: u8) -> Result<Old, Malformed> {
        let kind = match mark {
            b'K' => OldKind::Key,
            b'O' => OldKind::Full,
            unknown => return Err(Malformed::UnknownMark(unknown)),
        };
        Ok(Old { kind, tuple: self.tuple()? })
    }

    fn update(&mut self) -> Result<Logical, Malformed> {
        let relation = self.u32()?;
        let old = match self.u8()? {
            b'N' => None,
            mark => {
                let old = self.old(mark)?;
                self.expect(b'N')?;
                Some(old)
            }
        };
        Ok(Logical::Update { relation, old, new: self.tuple()? })
    }

    fn relation(&mut self) -> Result<Relation, Malformed> {
        let oid = self.u32()?;
        // An empty schema means pg_catalog.
        let schema = Some(self.string()?).filter(|name| !name.is_empty());
        let schema = schema.unwrap_or_else(|| "pg_catalog".to_owned());
        let name = self.string()?;
        let replica_identity = match self.u8()? {
            b'd' => ReplicaIdentity::Default,
            b'n' => ReplicaIdentity::Nothing,
            b'f' => ReplicaIdentity::Full,
            b'i' => ReplicaIdentity::Index,
            unknown => return Err(Malformed::UnknownMark(unknown)),
        };
        let columns = (0..self.u16()?)
            .map(|_| {
                Ok(RelationColumn {
                    is_key: self.flag()?,
                    name: self.name()?,
                    type_oid: self.u32()?,
                    type_modifier: self.u32()?.cast_signed(),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Relation { oid, schema, name, replica_identity, columns })
    }

    fn truncate(&mut self) -> Result<Logical, Malformed> {
        let count = self.u32()?;
        let options = self.u8()?;
        if options > 3 {
            return Err(Malformed::UnknownMark(options));
        }
        let relations = (0..count).map(|_| self.u32()).collect::<Result<_, _>>()?;
        Ok(Logical::Truncate { relations, cascade: options & 1 != 0, restart_identity: options & 2 != 0 })
    }

    fn message(&mut self) -> Result<LogicalMessage, Malformed> {
        Ok(LogicalMessage {
            transactional: self.flag()?,
            lsn: self.lsn()?,
            prefix: self.string()?,
            content: self.sized()?,
        })
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
