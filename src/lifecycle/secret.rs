//! The secret of a lane: it seeds the row hash and keys the digests of keys, so that neither can be computed
//! by somebody who does not have the journal.
//!
//! Invariant: it reaches the server as a parameter only, and `Debug` does not show it.

use serde::{Deserialize, Serialize};

/// Random hexadecimal digits; none in runs that began without a secret.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// A new one, from the operating system's random numbers.
    #[must_use]
    pub fn new() -> Self {
        Self(format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple()))
    }

    /// What row hashes start from: the first part of it.
    #[must_use]
    pub fn seed(&self) -> i64 {
        let digits = self.0.get(..12).unwrap_or_default();
        i64::from_str_radix(digits, 16).unwrap_or_default()
    }

    /// What digests of keys start from: the rest of it.
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
