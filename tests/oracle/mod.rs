//! The oracle: clients that write for real, and know to the row what must be there afterwards.
//!
//! Each client owns keys that nobody else touches, so its ledger of acknowledged statements is
//! the exact expected state. Nothing here asks the program under test anything, nor shares its
//! code. Findings name a row by a digest of its key, never by a value.
//!
//! One load at a time on the same tables: rows that it does not own must stay as they were.

mod check;
mod client;
mod findings;
mod ledger;
pub mod load;
pub mod own;
pub mod project_h;
mod script;
mod session;
mod table;
mod value;

pub use findings::{Findings, Kind};
pub use load::{Load, Outcome};
pub use session::Mode;
