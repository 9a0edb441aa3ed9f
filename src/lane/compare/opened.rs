//! Rows of lanes with values that this program transforms: the server hashes all other columns, and sends these. A row's
//! hash is a keyed digest of both, of the text on either side.
//!
//! Invariants: values are compared by their text, never by encrypting them again; NULL, an empty text and a value that
//! cannot be opened are three different things; and a value that cannot be opened, or is not encrypted with the column's
//! key, is a difference. Nothing is sorted in the server, whose temporary files would have values in them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::task::spawn_blocking;
use tokio_postgres::Row;
use zeroize::{Zeroize as _, Zeroizing};

use super::difference::{Differences, Each, Keyed};
use super::side::{BUCKETS, Side};
use super::sum::Sum;
use super::{CompareError, Comparison, failed};
use crate::crypto::Mac;
use crate::lane::batch;
use crate::lane::raw::Raw;
use crate::lane::{Ciphers, Lane};
use crate::lifecycle::Census;
use crate::phi::{KeyId, Label, Refused};

/// Reads rows of one side.
pub(super) struct Reader {
    lane: Arc<Lane>,
    is_source: bool,
    ciphers: Ciphers,
    mac: Mac,
    /// Of each column, the number of its blind indexes and tags that are compared with it.
    codes_of: Vec<usize>,
    /// What was found of each column, of the target.
    found: Vec<Found>,
    value: Zeroizing<Vec<u8>>,
}

/// The values of one column.
#[derive(Clone, Debug, Default)]
struct Found {
    nulls: u64,
    keys: BTreeMap<KeyId, u64>,
    refused: BTreeMap<String, u64>,
}

impl Reader {
    pub(super) fn of(comparison: &Comparison, is_source: bool) -> Result<Self, CompareError> {
        let lane = Arc::new(comparison.lane.clone());
        let missing = || CompareError::incomplete(&lane, "the keys of its encrypted columns are missing");
        let ciphers = Ciphers::of(&lane).ok_or_else(missing)?;
        let mac = Mac::new(lane.secret.key().as_bytes())
            .ok_or_else(|| CompareError::incomplete(&lane, "its secret is no key"))?;
        let codes_of: Vec<usize> = lane.transformed().map(|(_, transform)| transform.kept.len()).collect();
        let found = vec![Found::default(); codes_of.len()];
        Ok(Self { lane, is_source, ciphers, mac, codes_of, found, value: Zeroizing::default() })
    }

    /// The hash of a row, from the server's and the values that it has sent; those of each of these alone are added to `each`.
    fn hash(
        &mut self,
        server: i64,
        fields: &[Option<Bytes>],
        mut each: Option<&mut Vec<Option<i64>>>,
    ) -> i64 {
        let (values, key) = fields.split_at(self.codes_of.len().min(fields.len()));
        let codes = if self.is_source { 0 } else { self.codes_of.iter().sum() };
        let (mut codes, key) = key.split_at(codes.min(key.len()));
        let key: Vec<Vec<u8>> = key.iter().flatten().map(|text| text.to_vec()).collect();
        let mut mac = self.mac.clone();
        mac.update(&server.to_be_bytes());
        let mut wrong = Vec::new();
        for (number, field) in values.iter().enumerate() {
            self.value.zeroize();
            let opened = match field {
                None => Ok(None),
                Some(taken) => self.opened(number, taken, &key).map(Some),
            };
            self.count(number, &opened);
            let kind = match (&opened, self.is_source) {
                (Ok(None), _) => 0,
                (Ok(Some(_)), _) => 1,
                // Values that cannot be opened on both sides are not equal either.
                (Err(_), true) => 2,
                (Err(_), false) => 3,
            };
            add(&mut mac, kind, &self.value);
            if let Some(each) = &mut each {
                let mut alone = self.mac.clone();
                add(&mut alone, kind, &self.value);
                each.push((kind != 0).then(|| first(alone)));
            }
            let of_value;
            (of_value, codes) = codes.split_at(self.codes_of(number).min(codes.len()));
            wrong.extend(self.wrong_codes(number, &opened, &key, of_value));
        }
        for is_wrong in wrong {
            mac.update(&[u8::from(is_wrong)]);
            each.iter_mut().for_each(|each| each.push(Some(i64::from(is_wrong))));
        }
        first(mac)
    }

    /// How many blind indexes and tags are compared with a column.
    fn codes_of(&self, number: usize) -> usize {
        self.codes_of.get(number).copied().unwrap_or_default()
    }

    fn opened(&mut self, number: usize, taken: &[u8], key: &[Vec<u8>]) -> Result<Option<Label>, Refused> {
        match self.is_source {
            true => self.ciphers.of_source(number, taken, key, &mut self.value),
            false => self.ciphers.of_target(number, taken, key, &mut self.value),
        }
    }

    /// Whether each blind index and tag of a value is wrong. On the source they are what the target's have to be: those of the
    /// value. Of a value that cannot be opened they are not known to be wrong: that value is a difference itself.
    fn wrong_codes(
        &mut self,
        number: usize,
        opened: &Result<Option<Option<Label>>, Refused>,
        key: &[Vec<u8>],
        codes: &[Option<Bytes>],
    ) -> Vec<bool> {
        let text = match opened {
            Ok(opened) if !self.is_source => opened.as_ref().map(|_| self.value.as_slice()),
            _ => return vec![false; self.codes_of(number)],
        };
        let wrong = self.ciphers.wrong_codes(number, text, key, codes);
        if let Some(Found { refused, .. }) = self.found.get_mut(number) {
            wrong.iter().flatten().for_each(|why| *refused.entry(why.clone()).or_default() += 1);
        }
        wrong.iter().map(Option::is_some).collect()
    }

    fn count(&mut self, number: usize, opened: &Result<Option<Option<Label>>, Refused>) {
        let found = &mut self.found[number];
        match opened {
            Ok(None) => found.nulls += 1,
            Ok(Some(Some(Label { key: Some(key), .. }))) => *found.keys.entry(*key).or_default() += 1,
            Ok(Some(_)) => {}
            Err(why) => *found.refused.entry(why.to_string()).or_default() += 1,
        }
    }

    /// Calls `with` for the hash of each row: a row has the server's hash, after `before` other columns, and then what
    /// [`Taken::list`](crate::lane::row_hash::Taken::list) asks for. Opening values is what takes long, so that
    /// other pieces of the table are read and opened meanwhile.
    pub(super) async fn read(
        mut self,
        rows: impl Stream<Item = Result<Row, tokio_postgres::Error>>,
        before: usize,
        mut with: impl FnMut(&Row, i64),
    ) -> Result<Self, CompareError> {
        let lane = Arc::clone(&self.lane);
        let mut rows = std::pin::pin!(rows.fuse());
        loop {
            let batch = batch::next(&mut rows, Row::raw_size_bytes).await;
            let batch = batch.map_err(|source| failed(&lane, source))?;
            if batch.is_empty() {
                return Ok(self);
            }
            let hashed = spawn_blocking(move || {
                let of_row = |row: &Row| self.hash(row.get(before), &raw(row, before + 1), None);
                let hashes: Vec<i64> = batch.iter().map(of_row).collect();
                (self, batch, hashes)
            });
            let (reader, batch, hashes) = hashed.await.map_err(|_| {
                CompareError::incomplete(&lane, "a thread that opens its values has panicked")
            })?;
            self = reader;
            batch.iter().zip(hashes).for_each(|(row, hash)| with(row, hash));
        }
    }

    /// The sums by digest of the rows whose hash is asked for; each row has its key's digest, the server's hash, and what
    /// [`Taken::list`](crate::lane::row_hash::Taken::list) asks for.
    pub(super) async fn keyed(
        self,
        rows: impl Stream<Item = Result<Row, tokio_postgres::Error>>,
        is_asked: impl Fn(i64) -> bool,
    ) -> Result<(Self, Vec<Keyed>), CompareError> {
        let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
        let add = |row: &Row, hash| {
            if is_asked(hash) {
                sums.entry(row.get(0)).or_default().add_hash(hash);
            }
        };
        let reader = self.read(rows, 1, add).await?;
        Ok((reader, sums.into_iter().map(|(digest, sum)| Keyed { digest, sum }).collect()))
    }

    /// The hashes of each column of some rows, each with its key's digest, the server's hashes, and the same.
    pub(super) fn each(&mut self, rows: &[Row]) -> Each {
        let of_row = |row: &Row| {
            let mut each: Vec<Option<i64>> = row.get(1);
            self.hash(0, &raw(row, 2), Some(&mut each));
            (row.get(0), each)
        };
        rows.iter().map(of_row).collect::<HashMap<_, _>>()
    }

    /// What was found of each encrypted column.
    pub(super) fn census(&self) -> Vec<Census> {
        let columns = self.lane.transformed().zip(&self.found);
        let of_column = columns.filter(|((_, transform), _)| !self.is_source && transform.target.is_sealed());
        of_column
            .map(|((mapped, _), found)| Census {
                table: self.lane.table.plain(),
                column: mapped.target.as_str().to_owned(),
                nulls: found.nulls,
                keys: found.keys.iter().map(|(key, count)| (key.to_string(), *count)).collect(),
                refused: found.refused.clone(),
            })
            .collect()
    }
}

/// The most rows of a side whose keys are sorted at a time.
const SORTED_MAX: u64 = 2_000_000;

/// Finds the keys of the rows that differ.
pub(super) async fn narrow(
    comparison: &Comparison,
    source: &Side<'_>,
    target: &Side<'_>,
) -> Result<Differences, CompareError> {
    let (of_source, of_target) = (Reader::of(comparison, true)?, Reader::of(comparison, false)?);
    let ((mut of_source, in_source), (mut of_target, in_target)) =
        tokio::try_join!(of_source.buckets(source), of_target.buckets(target))?;
    let differ = |bucket: &i64| in_source.get(bucket) != in_target.get(bucket);
    let differing: Vec<i64> = (0..BUCKETS).filter(differ).collect();
    let rows = |sums: &HashMap<i64, Sum>| -> u64 {
        differing.iter().filter_map(|bucket| Some(sums.get(bucket)?.count.unsigned_abs())).sum()
    };
    let parts = rows(&in_source).max(rows(&in_target)).div_ceil(SORTED_MAX).clamp(1, 256);
    // What follows reads the rows again.
    let refused = Census::refused(&of_target.census());
    let mut found = Differences::default();
    for part in 0..parts {
        let range = [256 * part / parts, 256 * (part + 1) / parts - 1].map(|byte| format!("{byte:02x}"));
        let (keys_of_source, keys_of_target);
        ((of_source, keys_of_source), (of_target, keys_of_target)) = tokio::try_join!(
            of_source.keys(source, &differing, &range),
            of_target.keys(target, &differing, &range)
        )?;
        let [source, target] = [keys_of_source, keys_of_target].map(Keyed::stream);
        found.add(Differences::between(&comparison.lane, source, target).await?);
    }
    found.refused = refused;
    Ok(found)
}

impl Reader {
    async fn buckets(self, side: &Side<'_>) -> Result<(Self, HashMap<i64, Sum>), CompareError> {
        let mut buckets: HashMap<i64, Sum> = HashMap::new();
        let rows = side.all_rows().await.map_err(|source| failed(&self.lane, source))?;
        let add = |_: &Row, hash| buckets.entry(hash & (BUCKETS - 1)).or_default().add_hash(hash);
        let reader = self.read(rows, 0, add).await?;
        Ok((reader, buckets))
    }

    async fn keys(
        self,
        side: &Side<'_>,
        buckets: &[i64],
        range: &[String; 2],
    ) -> Result<(Self, Vec<Keyed>), CompareError> {
        let rows = side.rows_of(range).await.map_err(|source| failed(&self.lane, source))?;
        let is_in = |hash: i64| buckets.binary_search(&(hash & (BUCKETS - 1))).is_ok();
        self.keyed(rows, is_in).await
    }
}

fn raw(row: &Row, from: usize) -> Vec<Option<Bytes>> {
    (from..row.len()).map(|at| row.get::<_, Raw>(at).0).collect()
}

fn number(bytes: &[u8]) -> Option<i64> {
    bytes.try_into().ok().map(i64::from_be_bytes)
}

fn add(mac: &mut Mac, kind: u8, value: &[u8]) {
    mac.update(&[kind]);
    mac.update(&(value.len() as u64).to_be_bytes());
    mac.update(value);
}

fn first(mac: Mac) -> i64 {
    number(&mac.end()[..8]).unwrap_or_default()
}
