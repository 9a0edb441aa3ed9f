//! What a comparison has found: how many rows differ, and which of them are shown.

use std::collections::HashMap;

use futures_util::{Stream, TryStreamExt};
use tokio_postgres::Row;

use super::super::Lane;
use super::{CompareError, Sum, failed, sum_of};
use crate::pg::Ident;

/// So many are shown of each table.
const SHOWN_MAX: usize = 100;

/// The rows that are not the same on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub shown: Vec<Difference>,
}

/// One row that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
pub struct Difference {
    /// The table.
    pub table: String,
    /// What is wrong.
    pub kind: DifferenceKind,
    /// A digest of the key; `projh-bluegreen find` finds the row.
    pub key_digest: String,
    /// Where both sides have the row: the target's columns whose values differ.
    pub columns: Vec<String>,
}

/// What is wrong with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// Only the source has it.
    Missing,
    /// Only the target has it.
    Extra,
    /// Both have it, with different values.
    Different,
}

/// The digest of a key, and the sums of its rows.
type Keyed = (String, Sum);
/// The hashes of each row's columns, by the digest of its key.
pub(super) type Each = HashMap<String, Vec<Option<i64>>>;

impl Differences {
    /// Takes in those of another comparison.
    pub fn add(&mut self, other: Self) {
        self.count += other.count;
        self.shown.extend(other.shown);
    }

    /// From the sums of both sides, each in the order of the keys' digests.
    pub(super) async fn between(
        lane: &Lane,
        source: impl Stream<Item = Result<Row, tokio_postgres::Error>>,
        target: impl Stream<Item = Result<Row, tokio_postgres::Error>>,
    ) -> Result<Self, CompareError> {
        let sums = |row: Row| {
            let sum = sum_of(&row, 1).map_err(|why| CompareError::incomplete(lane, why))?;
            Ok::<Keyed, CompareError>((row.get(0), sum))
        };
        let (mut source, mut target) = (std::pin::pin!(source), std::pin::pin!(target));
        let sql = |error| failed(lane, error);
        let mut pair = (
            source.try_next().await.map_err(sql)?.map(sums).transpose()?,
            target.try_next().await.map_err(sql)?.map(sums).transpose()?,
        );
        let mut found = Self::default();
        loop {
            let order = match &pair {
                (None, None) => return Ok(found),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(source), Some(target)) => source.0.cmp(&target.0),
            };
            let mut next = (None, None);
            if order.is_le() {
                next.0 = pair.0.take();
                pair.0 = source.try_next().await.map_err(sql)?.map(sums).transpose()?;
            }
            if order.is_ge() {
                next.1 = pair.1.take();
                pair.1 = target.try_next().await.map_err(sql)?.map(sums).transpose()?;
            }
            found.compare(lane, next);
        }
    }

    fn compare(&mut self, lane: &Lane, pair: (Option<Keyed>, Option<Keyed>)) {
        let (kind, key_digest) = match pair {
            (Some((digest, _)), None) => (DifferenceKind::Missing, digest),
            (None, Some((digest, _))) => (DifferenceKind::Extra, digest),
            (Some((digest, source)), Some((_, target))) if source != target => {
                (DifferenceKind::Different, digest)
            }
            _ => return,
        };
        self.count += 1;
        if self.shown.len() < SHOWN_MAX {
            let table = lane.table.plain();
            self.shown.push(Difference { table, kind, key_digest, columns: Vec::new() });
        }
    }

    /// The digests of rows that both sides have.
    pub(super) fn in_both(&self) -> Vec<String> {
        let different = self.shown.iter().filter(|shown| shown.kind == DifferenceKind::Different);
        different.map(|shown| shown.key_digest.clone()).collect()
    }

    /// Names the columns that differ.
    pub(super) fn name_columns(&mut self, names: &[Ident], source: &Each, target: &Each) {
        for shown in &mut self.shown {
            let (Some(source), Some(target)) = (source.get(&shown.key_digest), target.get(&shown.key_digest))
            else {
                continue;
            };
            let differ = names.iter().zip(source.iter().zip(target)).filter(|(_, (one, other))| one != other);
            shown.columns = differ.map(|(name, _)| name.as_str().to_owned()).collect();
        }
    }

    /// How many rows of those shown differ in each column, the most first.
    #[must_use]
    pub fn columns(&self) -> Vec<(String, usize)> {
        let mut columns: Vec<(String, usize)> = Vec::new();
        for name in self.shown.iter().flat_map(|shown| &shown.columns) {
            match columns.iter_mut().find(|(known, _)| known == name) {
                Some((_, count)) => *count += 1,
                None => columns.push((name.clone(), 1)),
            }
        }
        columns.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        columns
    }
}
