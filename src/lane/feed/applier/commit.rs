//! What was taken in goes to the targets, and is acknowledged.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Applier;
use crate::lane::feed::FeedError;
use crate::lane::feed::pending::begin;
use crate::lane::feed::touched::Touched;
use crate::pg::AS_OPERATOR;
use crate::pg::connect::unless_stalled;

/// Most of the feed's commits do not wait for the disk. One in this time does, and makes all before it durable.
pub(super) const DURABLE_EVERY: Duration = Duration::from_secs(1);
/// How often a slot's restart position is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Changes taken in wait no longer than this for more.
const LONGEST_WAIT: Duration = Duration::from_millis(200);

impl Applier {
    /// Sends what has been taken in to the server, in the open transaction.
    pub(super) async fn flush(&mut self) -> Result<(), FeedError> {
        let lenient = self.shared.lenient.load(Ordering::Acquire);
        let is_first = !self.in_target_transaction;
        for (at, pending) in self.pending.iter_mut().enumerate() {
            if pending.changes.changes() == 0 {
                continue;
            }
            self.changes += pending.changes.changes();
            begin(&self.session, &self.begin, &mut self.in_target_transaction).await?;
            let keys = pending.flush(&self.session, lenient, is_first).await?;
            self.touched.add(at, keys.into_keys());
        }
        Ok(())
    }

    pub(super) async fn commit(&mut self) -> Result<(), FeedError> {
        let (target, pid) = (Arc::clone(&self.target), self.pid);
        unless_stalled(&target, pid, self.commit_now()).await
    }

    /// Commits everything taken in, together with the position reached; once that is durable, it is
    /// acknowledged.
    async fn commit_now(&mut self) -> Result<(), FeedError> {
        let begun = Instant::now();
        self.flush().await?;
        if self.in_target_transaction {
            // Somebody waits for a marker, perhaps with a lock: the disk can wait until after it.
            let is_due = self.durable.at.elapsed() >= DURABLE_EVERY || self.reading.is_over();
            let is_durable = !self.has_marker() && is_due;
            let mut lanes = self.pending.iter().map(|pending| pending.apply.as_operator());
            let as_operator = lanes.find(|sql| *sql != AS_OPERATOR).unwrap_or(AS_OPERATOR);
            self.session.batch_execute(as_operator).await?;
            let sql = "WITH held AS (SELECT projh_bluegreen.fence($1, $2)) \
                       UPDATE projh_bluegreen.stream SET applied_lsn = $3 FROM held WHERE run = $1 AND source = $4";
            self.session
                .execute(sql, &[&self.fence.run, &self.fence.epoch, &self.end, &self.source.to_string()])
                .await
                .map_err(|source| self.fence.error("moved on", source))?;
            let waits = if is_durable { "on" } else { "off" };
            self.session.batch_execute(&format!("SET LOCAL synchronous_commit = {waits}; COMMIT")).await?;
            crate::crash::point("applied");
            self.in_target_transaction = false;
            tracing::debug!(applied = %self.end, is_durable, "batch applied");
            self.durable.is_all = is_durable;
            if is_durable {
                self.durable.at = Instant::now();
            }
            self.last_batch = begun.elapsed().min(LONGEST_WAIT);
        }
        self.remember_touched();
        if self.durable.is_all {
            self.reading.acknowledge(self.end);
        }
        if self.end > self.state.borrow().applied || self.has_marker() {
            self.state.send_modify(|state| {
                state.applied = self.end;
                state.marker = self.marker;
                state.changes = self.changes;
                state.truncated = self.truncated;
            });
        }
        Ok(())
    }

    fn remember_touched(&mut self) {
        match &mut *self.shared.touched() {
            Some(touched) => touched.take_in(&mut self.touched),
            None => self.touched = Touched::of(self.pending.len()),
        }
    }

    /// Makes everything that was taken in durable, and closes the stream for a while.
    pub(super) async fn end_burst(&mut self) -> Result<(), FeedError> {
        if !self.durable.is_all {
            begin(&self.session, &self.begin, &mut self.in_target_transaction).await?;
        }
        self.commit().await?;
        if self.durable.is_all && self.opens_soon().await? {
            self.reading.rest(self.end);
            self.state.send_modify(|state| state.bursts += 1);
        }
        Ok(())
    }

    /// Whether the stream will be open soon after it was closed. While a transaction of a client stays open, or prepared, the
    /// server has to decode again what has been written since it began; then the stream is kept.
    async fn opens_soon(&mut self) -> Result<bool, FeedError> {
        let Some((slot, from)) = self.reading.took_long() else { return Ok(true) };
        let sql = "SELECT restart_lsn >= $2 FROM pg_replication_slots WHERE slot_name = $1";
        let asked = async { Ok::<_, FeedError>(self.session.query_opt(sql, &[&slot, &from]).await?) };
        let found = unless_stalled(&self.target, self.pid, asked).await?;
        let is_past = found.is_none_or(|row| row.get::<_, Option<bool>>(0).unwrap_or(true));
        if !is_past {
            self.reading.keep(LOOK_EVERY);
        }
        Ok(is_past)
    }
}
