//! The life of a run: its phases, its facts, and the state that follows from them. Pure, no I/O.
//!
//! Invariant: a run's state is the fold of its facts and of nothing else, so a fresh run, a resumed one and a
//! rollback take the same path. A sequence of facts that no run can produce is a typed error, never a guess.

mod blocks;
mod census;
mod ending;
mod fact;
mod lost;
mod phase;
mod progress;
mod secret;
mod standing;
mod steps;

pub use blocks::{Blocks, Span};
pub use census::Census;
pub use ending::Ending;
pub(crate) use fact::distinct_homes;
pub use fact::{Arrived, Broken, Fact, KeyDigest, LaneDesign, Prepared, RoundEnd, SwapTimes, Verification};
pub use lost::{LastCopy, Lost, way_out, what_is_lost};
pub use phase::Phase;
pub use progress::{IllegalFact, Progress, WayBack};
pub use secret::Secret;
pub use standing::{Standing, shell_word};
pub use steps::{Steps, StepsDone, Way};
