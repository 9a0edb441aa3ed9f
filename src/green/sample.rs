//! A small green as a temporary table, on which a preview measures how fast rows are inserted and indexes built.

use crate::hangs_on::Green;
use crate::pg::{Ident, QName};

/// A sample has at most this many leaves.
const LEAVES_MAX: usize = 200;

impl Green {
    /// The name of a temporary table for some of green's rows.
    #[must_use]
    pub fn sample(&self) -> QName {
        QName::new("pg_temp", "projh_sample")
    }

    /// Creates it with its leaves, like green itself in the run's schema. Its identity columns are plain ones.
    #[must_use]
    pub fn create_sample(&self) -> Vec<String> {
        let partition = self.partition.as_ref().filter(|partition| partition.leaves.len() <= LEAVES_MAX);
        let by = partition
            .map(|partition| format!(" PARTITION BY {} ({})", partition.strategy, partition.column))
            .unwrap_or_default();
        let sample = self.sample();
        let mut sql = vec![format!(
            "CREATE TEMP TABLE {name} (LIKE {home} INCLUDING CONSTRAINTS INCLUDING DEFAULTS \
             INCLUDING GENERATED INCLUDING STORAGE INCLUDING COMPRESSION){by}",
            name = sample.name,
            home = self.at_home(),
        )];
        let leaves = partition.iter().flat_map(|partition| &partition.leaves).enumerate();
        sql.extend(leaves.map(|(number, leaf)| {
            let name = Ident(format!("projh_sample_{number}"));
            format!("CREATE TEMP TABLE {name} PARTITION OF {sample} {}", leaf.bound)
        }));
        sql
    }

    /// The statements that build each of green's indexes on one leaf of the sample, in the
    /// order of [`Green::indexes`](Green).
    #[must_use]
    pub fn index_sample(&self, leaf: &QName) -> Vec<String> {
        self.indexes.iter().map(|index| index.build(leaf, None).sql).collect()
    }
}
