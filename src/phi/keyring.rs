//! The keys of a run, by their ids.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Key, KeyId};

/// The keys that a provider gave. One of them encrypts; all decrypt.
#[derive(Clone, Debug)]
pub struct Keyring {
    keys: Arc<HashMap<KeyId, Arc<Key>>>,
}

impl Keyring {
    /// Of these keys.
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Self {
        let keys = keys.into_iter().map(|key| (key.id, Arc::new(key))).collect();
        Self { keys: Arc::new(keys) }
    }

    /// The key of this id.
    #[must_use]
    pub fn get(&self, id: KeyId) -> Option<&Arc<Key>> {
        self.keys.get(&id)
    }

    /// All keys, in the order of their ids.
    #[must_use]
    pub fn all(&self) -> Vec<&Arc<Key>> {
        let mut all: Vec<&Arc<Key>> = self.keys.values().collect();
        all.sort_by_key(|key| key.id);
        all
    }
}
