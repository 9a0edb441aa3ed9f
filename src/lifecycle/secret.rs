//! The secret of a lane: it seeds the row hash and the digests of keys, so that nobody can compute either without
//! the journal.
//!
//! Invariants: `Debug` does not show it. It is only sent to the server as a parameter; of a table with encrypted columns only by
//! COPY, because the server may log parameters, but for the seed: no row hash is ever shown.

use serde::{Deserialize, Serialize};

/// 64 random hexadecimal digits; empty in runs of versions that had no secret.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// A new secret, from the operating system's random numbers.
    #[must_use]
    pub fn new() -> Self {
        Self(format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple()))
    }

    /// The seed of row hashes: the first 12 digits; 0 for an empty secret.
    #[must_use]
    pub fn seed(&self) -> i64 {
        let digits = self.0.get(..12).unwrap_or_default();
        i64::from_str_radix(digits, 16).unwrap_or_default()
    }

    /// The key of the digests: the other digits.
    #[must_use]
    pub fn key(&self) -> &str {
        self.0.get(12..).unwrap_or_default()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_another_one_each_time_and_is_not_shown() {
        let (one, other) = (Secret::new(), Secret::new());
        assert!(one.seed() != other.seed() && one.key() != other.key());
        assert!(one.key().len() == 52 && !one.key().contains(&format!("{:012x}", one.seed())));
        assert_eq!(format!("{one:?}"), "Secret(..)");
        assert_eq!((Secret::default().seed(), Secret::default().key()), (0, ""));
    }
}
