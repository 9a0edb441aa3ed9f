//! PostgreSQL as the rest of the program uses it: connections, names, positions, catalog queries.

mod acting;
pub mod activity;
pub mod connect;
pub(crate) mod copy;
mod describe;
mod encoding;
mod lsn;
mod name;
mod ours;
mod planned;
mod rolled_back;
pub mod slot;
pub mod sql;
pub mod standbys;
pub mod under_way;

/// PostgreSQL's default block size, in bytes.
pub const BLOCK_BYTES: u64 = 8_192;

pub use acting::{AS_OPERATOR, Acting};
pub(crate) use describe::TELLING;
pub use describe::{describe, is_transient};
pub(crate) use encoding::AS_STORED;
pub use encoding::Encoding;
pub use lsn::Lsn;
pub use name::{Ident, Literal, MAX_BYTES, QName, list, some};
pub use ours::{Colour, ConnectionRole, RunObjects};
pub use planned::LOOK_UP_BY_KEY;
pub(crate) use planned::Planned;
pub use rolled_back::rolled_back;
