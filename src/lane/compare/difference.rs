//! What a comparison has found: how many rows differ, and which of them are shown.

use std::cmp::Ordering;
use std::collections::HashMap;

use futures_util::{Stream, StreamExt, TryStreamExt};
use tokio_postgres::Row;

use super::super::Lane;
use super::super::mapping::Form;
use super::super::row_hash::BACK_OF;
use super::sum::Sum;
use super::{CompareError, failed};
use crate::pg::Ident;

/// The most that are shown of one comparison.
const SHOWN_MAX: usize = 100;

/// The rows that are not the same on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// How many rows differ.
    pub count: u64,
    /// The first of them, in no particular order of keys.
    pub shown: Vec<Difference>,
    /// Why encrypted values of the target could not be compared, one sentence for each column and reason.
    pub refused: Vec<String>,
    /// If nothing differs but blind indexes and tags: what has them computed anew, a statement for each value that they are of.
    pub forgotten: Vec<String>,
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
    /// Where both sides have the row: the target's columns whose values differ; with `back of ` before it, a column of the
    /// source whose value the target does not give back.
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

/// A key on one side.
pub(super) struct Keyed {
    pub(super) digest: String,
    /// The sum of its rows.
    pub(super) sum: Sum,
}

impl Keyed {
    /// Keys with the sums that the server has computed.
    pub(super) fn of_rows<'a>(
        lane: &'a Lane,
        rows: impl Stream<Item = Result<Row, tokio_postgres::Error>> + 'a,
    ) -> impl Stream<Item = Result<Self, CompareError>> + 'a {
        rows.map(move |row| {
            let row = row.map_err(|error| failed(lane, error))?;
            let sum = Sum::of(&row, 1).map_err(|why| CompareError::incomplete(lane, why))?;
            Ok(Self { digest: row.get(0), sum })
        })
    }

    /// Keys with the sums that this program has computed.
    pub(super) fn stream(keys: Vec<Self>) -> impl Stream<Item = Result<Self, CompareError>> {
        futures_util::stream::iter(keys.into_iter().map(Ok))
    }
}

/// One key on both sides, or what comes next on each of them.
#[derive(Default)]
struct Pair {
    source: Option<Keyed>,
    target: Option<Keyed>,
}

/// The hashes of each row's columns, by the digest of its key.
pub(super) type Each = HashMap<String, Vec<Option<i64>>>;

impl Differences {
    /// Adds those of another comparison.
    pub fn add(&mut self, other: Self) {
        let is_all = |one: &Self| one.count == 0 || !one.forgotten.is_empty();
        let is_forgotten = is_all(self) && is_all(&other);
        self.forgotten.extend(other.forgotten);
        self.forgotten.retain(|_| is_forgotten);
        self.count += other.count;
        self.shown.extend(other.shown);
        self.refused.extend(other.refused);
        self.refused.sort();
        self.refused.dedup();
    }

    /// Merges the sums of both sides, each in the order of the keys' digests.
    pub(super) async fn between(
        lane: &Lane,
        source: impl Stream<Item = Result<Keyed, CompareError>>,
        target: impl Stream<Item = Result<Keyed, CompareError>>,
    ) -> Result<Self, CompareError> {
        let mut source = std::pin::pin!(source);
        let mut target = std::pin::pin!(target);
        let mut next = Pair { source: source.try_next().await?, target: target.try_next().await? };
        let mut found = Self::default();
        loop {
            let order = match (&next.source, &next.target) {
                (None, None) => return Ok(found),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(source), Some(target)) => source.digest.cmp(&target.digest),
            };
            let mut pair = Pair::default();
            if order.is_le() {
                let following = source.try_next().await?;
                pair.source = std::mem::replace(&mut next.source, following);
            }
            if order.is_ge() {
                let following = target.try_next().await?;
                pair.target = std::mem::replace(&mut next.target, following);
            }
            found.compare(lane, pair);
        }
    }

    fn compare(&mut self, lane: &Lane, pair: Pair) {
        let (kind, key_digest) = match (pair.source, pair.target) {
            (Some(source), None) => (DifferenceKind::Missing, source.digest),
            (None, Some(target)) => (DifferenceKind::Extra, target.digest),
            (Some(source), Some(target)) if source.sum != target.sum => {
                (DifferenceKind::Different, source.digest)
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

    /// Sets the columns that differ of each row shown, given both sides' hashes of each column.
    pub(super) fn name_columns(&mut self, names: &[String], source: &Each, target: &Each) {
        for shown in &mut self.shown {
            let (Some(source), Some(target)) = (source.get(&shown.key_digest), target.get(&shown.key_digest))
            else {
                continue;
            };
            let differ = names.iter().zip(source.iter().zip(target)).filter(|(_, (one, other))| one != other);
            for (name, _) in differ {
                // A blind index, or a tag, is compared with the other side's, and with its value.
                if !shown.columns.contains(name) {
                    shown.columns.push(name.clone());
                }
            }
        }
    }

    /// Whether a value of the source would not come back from the target, in all that is shown.
    #[must_use]
    pub fn is_of_way_back(&self) -> bool {
        let mut columns = self.shown.iter().flat_map(|shown| &shown.columns).peekable();
        columns.peek().is_some() && columns.all(|name| name.starts_with(BACK_OF))
    }

    /// Notes it if nothing differs but what the target has of the source's values besides them.
    pub(super) fn note_forgotten(&mut self, lane: &Lane) {
        let blind: Vec<(&Ident, &Ident)> = lane
            .transformed()
            .filter(|(_, transform)| matches!(transform.target, Form::Blind { .. }))
            .map(|(mapped, _)| (&mapped.target, &mapped.source))
            .collect();
        let is_blind = |name: &String| blind.iter().any(|(target, _)| target.as_str() == name);
        let is_all = |shown: &Difference| !shown.columns.is_empty() && shown.columns.iter().all(is_blind);
        if !self.shown.iter().all(is_all) {
            return;
        }
        let names = self.columns();
        let differing =
            blind.iter().filter(|(target, _)| names.iter().any(|(name, _)| name == target.as_str()));
        let mut values: Vec<&Ident> = differing.map(|(_, source)| *source).collect();
        values.sort();
        values.dedup();
        let update = |value: &&Ident| {
            let value = value.plain();
            format!("update {} set {value} = {value}", lane.table.plain())
        };
        self.forgotten = values.iter().map(update).collect();
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
