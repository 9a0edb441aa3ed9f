//! The comparison of single keys: what changed since an earlier comparison.

use futures_util::Stream;
use postgres_types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use super::difference::{Differences, Keyed};
use super::opened::Reader;
use super::{CompareError, Comparison, failed};
use crate::lane::Lane;
use crate::lane::coalesce::Key;
use crate::lane::raw::Array;
use crate::lane::row_hash::{SUMS, key_digest};
use crate::lane::sent_keys::SentKeys;
use crate::lifecycle::Census;
use crate::pg::Acting;

/// Keys that one statement compares.
const KEYS_AT_ONCE: usize = 10_000;

/// A comparison of single keys, prepared.
pub struct ByKey<'a> {
    comparison: &'a Comparison,
    source: Prepared<'a>,
    target: Prepared<'a>,
}

/// One side and its statements. Keys are sent in the database's encoding, so nothing may be parsed meanwhile.
struct Prepared<'a> {
    client: &'a Client,
    keys: SentKeys,
    sums: Statement,
    each: Statement,
}

impl Comparison {
    /// Prepares the comparison of single keys; each side is read through its own client.
    ///
    /// # Errors
    /// If the server rejected a statement, or the connection was lost.
    pub async fn by_key<'a>(
        &'a self,
        source: &'a Client,
        target: &'a Client,
    ) -> Result<ByKey<'a>, CompareError> {
        // One after the other: both may be one session.
        for client in [source, target] {
            SentKeys::ensure(client, &self.lane).await.map_err(|source| failed(&self.lane, source))?;
        }
        let prepared = tokio::try_join!(self.prepare(source, true), self.prepare(target, false));
        let (source, target) = prepared.map_err(|source| failed(&self.lane, source))?;
        Ok(ByKey { comparison: self, source, target })
    }

    async fn prepare<'a>(
        &self,
        client: &'a Client,
        is_source: bool,
    ) -> Result<Prepared<'a>, tokio_postgres::Error> {
        let keys = SentKeys::prepare(client, &self.lane).await?;
        let sums = client.prepare(&self.keys_sql(is_source)).await?;
        let each = client.prepare(&self.each_sql(is_source)).await?;
        Ok(Prepared { client, keys, sums, each })
    }

    /// SQL for the rows of the keys that are sent: digest of the key, and sums.
    pub(crate) fn keys_sql(&self, is_source: bool) -> String {
        let hash = &self.hash.of_side(is_source).row;
        if let Some(taken) = &self.hash.taken {
            let rows = self.rows_of_keys(is_source, &format!("{hash} AS h{}", taken.list(is_source)));
            return format!("SELECT projh_digest, g.* FROM {rows}");
        }
        let rows = self.rows_of_keys(is_source, &format!("{hash} AS h"));
        format!("SELECT projh_digest, {SUMS} FROM {rows} GROUP BY projh_digest ORDER BY projh_digest")
    }

    /// SQL for the hash of each column, of the rows of those keys whose digests are in the last parameter.
    fn each_sql(&self, is_source: bool) -> String {
        let taken = self.hash.taken.as_ref().map_or_else(String::new, |taken| taken.list(is_source));
        let each = &self.hash.of_side(is_source).each;
        let rows = self.rows_of_keys(is_source, &format!("{each} AS h{taken}"));
        let last = self.lane.after_secret() + self.lane.key_parameters();
        format!("SELECT projh_digest, g.* FROM {rows} WHERE projh_digest = ANY (${last}::text[])")
    }

    /// The rows of the keys that are sent, for FROM: the digest as `projh_digest`, and what is `asked` as `g`.
    fn rows_of_keys(&self, is_source: bool, asked: &str) -> String {
        let lane = &self.lane;
        let pairs = lane.key_in_target();
        let relation = self.relation(is_source);
        let on = lane.key.iter().zip(&pairs).enumerate().map(|(at, (key, there))| {
            let (column, equals) =
                if is_source { (&key.name, key.equals.as_str()) } else { (there.column, there.equals) };
            format!("g.{column} {equals} k.projh_k{at}")
        });
        let values = lane.key.iter().zip(&pairs).enumerate().map(|(at, (key, there))| {
            let value = if is_source { key.name.to_string() } else { there.value.to_owned() };
            format!("{value} AS projh_k{at}")
        });
        format!(
            "(SELECT {values}, {digest} AS projh_digest FROM {arrays} AS s({names}) OFFSET 0) AS k \
             CROSS JOIN LATERAL (SELECT {asked} FROM {relation} AS g WHERE {on} OFFSET 0) AS g",
            digest = key_digest(&lane.secret_sql(), pairs.iter().map(|key| key.value)),
            values = crate::pg::list(values),
            arrays = lane.sent_keys(lane.after_secret()),
            names = lane.key_columns(),
            on = on.collect::<Vec<_>>().join(" AND "),
        )
    }
}

impl ByKey<'_> {
    /// Compares the rows of some keys, as the transaction that is open on each side's client sees them.
    ///
    /// # Errors
    /// If the server rejected a statement, or the connection was lost.
    pub async fn compare(&self, keys: &[&Key]) -> Result<Differences, CompareError> {
        let lane = &self.comparison.lane;
        self.acting(&lane.acting.to_string()).await?;
        let mut differences = Differences::default();
        let clients = [self.source.client, self.target.client];
        for client in clients {
            lane.encoding.as_stored(client).await.map_err(|source| failed(lane, source))?;
        }
        for some in keys.chunks(KEYS_AT_ONCE) {
            let arrays = self.send(some).await.map_err(|source| failed(lane, source))?;
            let both = tokio::try_join!(sums(&self.source, lane, &arrays), sums(&self.target, lane, &arrays));
            let (source, target) = both.map_err(|source| failed(lane, source))?;
            let mut found = self.between(source, target).await?;
            self.name_columns(&arrays, &mut found).await?;
            differences.add(found);
        }
        for client in clients {
            lane.encoding.as_utf8(client).await.map_err(|source| failed(lane, source))?;
        }
        self.acting(&Acting::default().to_string()).await?;
        Ok(differences)
    }

    /// Sends keys to both sides; their parameters are the same. If both are one session, it has them after the first time.
    async fn send(&self, keys: &[&Key]) -> Result<Vec<Array>, tokio_postgres::Error> {
        let lane = &self.comparison.lane;
        let Self { source, target, .. } = self;
        if !std::ptr::eq(source.client, target.client) && lane.is_transformed() {
            source.keys.send(source.client, lane, keys.iter().copied()).await?;
        }
        target.keys.send(target.client, lane, keys.iter().copied()).await
    }

    /// The differences between rows of both sides.
    async fn between(&self, source: Vec<Row>, target: Vec<Row>) -> Result<Differences, CompareError> {
        let Self { comparison, .. } = self;
        let lane = &comparison.lane;
        if comparison.hash.taken.is_none() {
            let keyed = |rows| Keyed::of_rows(lane, stream(rows));
            return Differences::between(lane, keyed(source), keyed(target)).await;
        }
        let (of_source, of_target) = (Reader::of(comparison, true)?, Reader::of(comparison, false)?);
        let (_, source) = of_source.keyed(stream(source), |_| true).await?;
        let (of_target, target) = of_target.keyed(stream(target), |_| true).await?;
        let mut found = Differences::between(lane, Keyed::stream(source), Keyed::stream(target)).await?;
        found.refused = Census::refused(&of_target.census());
        Ok(found)
    }

    async fn acting(&self, sql: &str) -> Result<(), CompareError> {
        let both =
            tokio::try_join!(self.source.client.batch_execute(sql), self.target.client.batch_execute(sql));
        both.map(|_| ()).map_err(|source| failed(&self.comparison.lane, source))
    }

    async fn name_columns(&self, keys: &[Array], found: &mut Differences) -> Result<(), CompareError> {
        let digests = found.in_both();
        if digests.is_empty() {
            return Ok(());
        }
        let of = async |side: &Prepared<'_>, is_source| {
            let Comparison { lane, .. } = self.comparison;
            let (seed, secret) = (lane.secret.seed(), lane.secret_parameter());
            let mut params = params(&seed, secret.as_ref(), keys);
            params.push(&digests);
            let rows = side.client.query(&side.each, &params).await;
            self.comparison.each_of(&rows.map_err(|source| failed(lane, source))?, is_source)
        };
        let both = tokio::try_join!(of(&self.source, true), of(&self.target, false))?;
        found.name_columns(&self.comparison.hash.columns, &both.0, &both.1);
        found.note_forgotten(&self.comparison.lane);
        Ok(())
    }
}

/// Reads to the end: both sides may share one connection, which answers the second query only then.
async fn sums(side: &Prepared<'_>, lane: &Lane, keys: &[Array]) -> Result<Vec<Row>, tokio_postgres::Error> {
    let (seed, secret) = (lane.secret.seed(), lane.secret_parameter());
    side.client.query(&side.sums, &params(&seed, secret.as_ref(), keys)).await
}

/// The seed, the secret that digests are keyed with if it is a parameter, and the keys.
fn params<'p>(seed: &'p i64, secret: Option<&'p &str>, keys: &'p [Array]) -> Vec<&'p (dyn ToSql + Sync)> {
    let mut params: Vec<&(dyn ToSql + Sync)> = vec![seed];
    params.extend(secret.map(|secret| secret as &(dyn ToSql + Sync)));
    params.extend(keys.iter().map(|array| array as &(dyn ToSql + Sync)));
    params
}

fn stream(rows: Vec<Row>) -> impl Stream<Item = Result<Row, tokio_postgres::Error>> {
    futures_util::stream::iter(rows.into_iter().map(Ok))
}
