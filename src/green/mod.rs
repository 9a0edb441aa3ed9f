//! Green: the table to be, designed from blue's definition and the plan, and the scripts that create, exchange and
//! settle it. Each kind contributes its own statements ([`crate::hangs_on`]); this module orders them.
//!
//! Invariant: a [`Green`](crate::hangs_on::Green) that was designed has no conflict that the catalog and the plan's
//! text can show. Whatever else could fail (an index over a new type, a policy) is rehearsed on empty tables before
//! a row is copied.

pub(crate) mod alike;
pub(crate) mod casts;
mod conflicts;
mod defaults;
mod design;
mod encrypted;
mod evidence;
mod leaves;
pub(crate) mod materialized;
mod nearest;
mod sample;
mod scripts;
mod scrubbed;
mod taken;

pub(crate) use leaves::{leaves, time_key, type_named};
pub use nearest::nearest;
pub(crate) use scripts::{dependents, exchange};
