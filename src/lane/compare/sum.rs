//! Count, sum and xor of row hashes.

use std::ops::AddAssign;

use tokio_postgres::Row;

/// Count, sum and xor of the hashes of some rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) count: i64,
    sum: i128,
    xor: i64,
}

/// The sums of both tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) source: Sum,
    pub(super) target: Sum,
}

impl Sum {
    /// Adds a row.
    pub(super) fn add_hash(&mut self, hash: i64) {
        *self += Self { count: 1, sum: i128::from(hash), xor: hash };
    }

    /// From three columns of a result row, the first of which is `at`. The error says what cannot be read.
    pub(super) fn of(row: &Row, at: usize) -> Result<Self, String> {
        let sum: String = row.get(at + 1);
        let sum = sum.parse().map_err(|_| "a sum of its rows cannot be read".to_owned())?;
        Ok(Self { count: row.get(at), sum, xor: row.get(at + 2) })
    }
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.xor ^= other.xor;
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.source += other.source;
        self.target += other.target;
    }
}
