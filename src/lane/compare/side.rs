//! One side of a comparison while differences are narrowed down, on a session of its own.

use std::collections::HashMap;

use postgres_types::ToSql;
use tokio_postgres::{Client, RowStream, Statement};

use super::difference::Each;
use super::sum::Sum;
use super::{CompareError, Comparison, failed};
use crate::lane::Lane;
use crate::lane::row_hash::{SUMS, key_digest};

/// Number of buckets, by row hash, that a difference is narrowed down to first; a power of 2.
pub(super) const BUCKETS: i64 = 1_024;

pub(super) struct Side<'a> {
    client: &'a Client,
    comparison: &'a Comparison,
    lane: &'a Lane,
    is_source: bool,
    buckets: Statement,
    keys: Statement,
    each: Statement,
}

impl<'a> Side<'a> {
    pub(super) async fn of(
        comparison: &'a Comparison,
        client: &'a Client,
        is_source: bool,
    ) -> Result<Self, tokio_postgres::Error> {
        let Comparison { lane, hash } = comparison;
        let pairs = lane.key_in_target();
        // The digest is that of the target's form of the key on both sides.
        let digest = if is_source {
            key_digest(&lane.secret_sql(), pairs.iter().map(|key| key.value))
        } else {
            key_digest(&lane.secret_sql(), pairs.iter().map(|key| key.column))
        };
        let taken = hash.taken.as_ref().map_or_else(String::new, |taken| taken.list(is_source));
        let taken = taken.as_str();
        let hashes = hash.of_side(is_source);
        let (hash, each) = (&hashes.row, &hashes.each);
        let relation = comparison.relation(is_source);
        let mask = BUCKETS - 1;
        let buckets = format!(
            "SELECT h & {mask}, {SUMS} FROM (SELECT {hash} AS h FROM {relation} OFFSET 0) AS projh_rows GROUP BY 1"
        );
        let each = format!("{each} AS h{taken}");
        let buckets = match taken {
            "" => buckets,
            taken => format!("SELECT {hash} AS h{taken} FROM {relation}"),
        };
        let keys = format!(
            "SELECT d, {SUMS} FROM (SELECT {digest} AS d, {hash} AS h FROM {relation} OFFSET 0) AS projh_rows \
             WHERE h & {mask} = ANY ($3) GROUP BY d ORDER BY d"
        );
        // Of a part of the keys at a time, by the beginnings of their digests: this program sorts them.
        let keys = match taken {
            "" => keys,
            taken => format!(
                "SELECT * FROM (SELECT {digest} AS d, {hash} AS h{taken} FROM {relation} OFFSET 0) AS projh_rows \
                 WHERE left(d, 2) COLLATE \"C\" BETWEEN $2 AND $3"
            ),
        };
        let each = format!(
            "SELECT * FROM (SELECT {digest} AS d, {each} FROM {relation} OFFSET 0) AS projh_rows WHERE d = ANY (${})",
            lane.after_secret()
        );
        let (buckets, keys, each) =
            tokio::try_join!(client.prepare(&buckets), client.prepare(&keys), client.prepare(&each))?;
        lane.encoding.as_stored(client).await?;
        Ok(Self { client, comparison, lane, is_source, buckets, keys, each })
    }

    /// The sums by bucket.
    pub(super) async fn buckets(&self) -> Result<HashMap<i64, Sum>, CompareError> {
        let rows = self.client.query(&self.buckets, &[&self.lane.secret.seed()]).await;
        let rows = rows.map_err(|source| failed(self.lane, source))?;
        let bucket = |row: &tokio_postgres::Row| {
            let sum = Sum::of(row, 1).map_err(|why| CompareError::incomplete(self.lane, why))?;
            Ok((row.get(0), sum))
        };
        rows.iter().map(bucket).collect()
    }

    /// All rows, for this program to hash.
    pub(super) async fn all_rows(&self) -> Result<RowStream, tokio_postgres::Error> {
        self.client.query_raw(&self.buckets, [self.lane.secret.seed()]).await
    }

    /// The rows whose keys' digests begin with two digits in a range, for this program to hash.
    pub(super) async fn rows_of(&self, range: &[String; 2]) -> Result<RowStream, tokio_postgres::Error> {
        let secret = &self.lane.secret;
        let params: [&(dyn ToSql + Sync); 3] = [&secret.seed(), &range[0], &range[1]];
        self.client.query_raw(&self.keys, params).await
    }

    /// The sums by key of the rows in some buckets, in the order of the keys' digests.
    pub(super) async fn keys(&self, buckets: &[i64]) -> Result<RowStream, tokio_postgres::Error> {
        let secret = &self.lane.secret;
        let params: [&(dyn ToSql + Sync); 3] = [&secret.seed(), &secret.key(), &buckets];
        self.client.query_raw(&self.keys, params).await
    }

    /// The hash of each column of the rows with these digests.
    pub(super) async fn each(&self, digests: &[String]) -> Result<Each, CompareError> {
        let (seed, secret) = (self.lane.secret.seed(), self.lane.secret_parameter());
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&seed];
        params.extend(secret.as_ref().map(|secret| secret as &(dyn ToSql + Sync)));
        params.push(&digests);
        let rows = self.client.query(&self.each, &params).await;
        let rows = rows.map_err(|source| failed(self.lane, source))?;
        self.comparison.each_of(&rows, self.is_source)
    }
}
