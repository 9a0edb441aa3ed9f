//! Random bytes, from the one source that the build has.

use super::primitives;

/// There are no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandom;

/// Fills all of it with random bytes.
///
/// # Errors
/// If there are none.
pub fn fill(bytes: &mut [u8]) -> Result<(), NoRandom> {
    primitives::fill(bytes).ok_or(NoRandom)
}

/// Random bytes, fetched some thousand at a time.
pub(crate) struct Random {
    bytes: Box<[u8; 4096]>,
    used: usize,
}

impl Random {
    pub(crate) fn new() -> Self {
        Self { bytes: Box::new([0; 4096]), used: 4096 }
    }

    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], NoRandom> {
        if self.used + N > self.bytes.len() {
            fill(&mut self.bytes[..])?;
            self.used = 0;
        }
        let mut taken = [0; N];
        taken.copy_from_slice(&self.bytes[self.used..self.used + N]);
        self.used += N;
        Ok(taken)
    }
}
