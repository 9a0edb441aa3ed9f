//! `phi rekey`: values that are not under their column's key are encrypted again, in place and in batches, without a swap.
//!
//! Invariants: no plaintext leaves the program; a value is replaced only where the row still has the ciphertext that was read; and
//! what the server has once all triggers have fired was opened, with the same plaintext, before the commit. Nothing is recorded: what is left to do is what
//! the values say of their keys, so that whatever was interrupted is executed again.

mod batch;
mod found;
mod sealing;
pub mod told;

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_postgres::Client;

use crate::context::Context;
use crate::coverage::columns::Table;
use crate::error::{Doing, Error, ExitCode};
use crate::event::Event;
use crate::hangs_on::KeyColumn;
use crate::meter::Meter;
use crate::pg::{Acting, Ident, Literal};
use crate::phase::keyring::{self, Used};
use crate::phi::{Format, KeyId, Keyring, KeysError};
use crate::plan::{Plan, Settings};
use crate::throttle::Rest;
use crate::watchdog;

use batch::{Batch, Written};
use sealing::Sealing;

pub(crate) use found::survey;
use told::{RekeyEstimate, Rekeyed};

/// Rows of the sample by which the duration is estimated.
const SAMPLE: usize = 500;
/// How often progress is reported.
const EVERY: Duration = Duration::from_secs(1);
/// Passes in a row in which other transactions kept every row from being written.
const FRUITLESS_MAX: u32 = 90;
/// Passes for what others write under another key after all the rest is done.
const FURTHER_MAX: u32 = 5;
/// The pause before a pass for rows that others wrote or locked.
const PAUSE: Duration = Duration::from_millis(500);

/// A table whose values may have to be encrypted again.
pub(crate) struct Work {
    table: Table,
    columns: Vec<Target>,
    /// What identifies a row.
    key: Vec<KeyColumn>,
    acting: Acting,
    owner: Ident,
    /// Triggers that fire for each row.
    pub(crate) triggers: Vec<String>,
}

/// A column, and what its values have to be.
#[derive(Clone)]
struct Target {
    name: Ident,
    format: Format,
    key: KeyId,
    /// Which columns of the row's key its values are bound to.
    bound_to: Vec<usize>,
}

/// Counts what there is to do, and tries a sample, which is rolled back; and the rows of a first batch.
pub(crate) async fn estimate(
    client: &Client,
    (work, keyring): (&Work, &Keyring),
    settings: &Settings,
) -> Result<(RekeyEstimate, usize), Error> {
    let (rows, values, bytes) = work.count(client).await?;
    let at_once = settings.chunk_size_bytes * rows / bytes.max(1);
    let at_once = usize::try_from(at_once).unwrap_or(SAMPLE).clamp(1, SAMPLE);
    work.make_batch(client).await?;
    let mut sealing = Sealing::new(work, keyring, settings.workers)?;
    let begun = Instant::now();
    let mut tried = Batch::read(client, work, None, at_once).await?;
    sealing.seal(&mut tried)?;
    let writing = Instant::now();
    let written = tried.write(client, work, &mut sealing, false).await?;
    let at_once = at_once.min(tried.next_size(settings.chunk_size_bytes, writing.elapsed()));
    let sampled = written.values + tried.refused_count();
    let values_per_s = match sampled {
        0 => 0.0,
        sampled => sampled as f64 / begun.elapsed().as_secs_f64().max(1e-6),
    };
    let seconds = (sampled > 0).then(|| values as f64 / values_per_s);
    let estimate = RekeyEstimate { table: work.name(), rows, values, sampled, values_per_s, seconds };
    Ok((estimate, at_once))
}

/// The keys that the plan's provider gives, with all that encrypt.
pub(crate) async fn keyring(client: &Client, plan: &Plan, found: &[Work]) -> Result<Keyring, Error> {
    let columns = found.iter().flat_map(|work| &work.columns);
    let used: Vec<Used> = columns.map(|column| (column.key, Some(column.format))).collect();
    let keys = plan.keys.as_ref().ok_or(Error::Bug("a plan that encrypts has keys"))?;
    let keyring = keyring::load(client, keys, &used).await?;
    match used.iter().find(|(id, _)| !keyring.get(*id).is_some_and(|key| key.encrypts())) {
        Some((id, _)) => Err(KeysError::Passphrase(*id).into()),
        None => Ok(keyring),
    }
}

/// Encrypts the table's values again, until none is left that can be. `found` has what earlier sessions have done.
pub(crate) async fn carry_out(
    (cx, client): (&Context, &Client),
    (work, keyring): (&Work, &Keyring),
    plan: &Plan,
    (values, at_once): (u64, usize),
    found: &mut Rekeyed,
) -> Result<(), Error> {
    work.lock(client).await?;
    *found = Rekeyed { table: work.name(), left: values, values: found.values, ..Rekeyed::default() };
    let mut going = Going {
        cx,
        client,
        work,
        plan,
        sealing: Sealing::new(work, keyring, plan.settings.workers)?,
        load: watch::Sender::default(),
        meter: Meter::new(Instant::now(), found.values),
        reported: Instant::now(),
        at_once,
        found,
    };
    let (mut fruitless, mut further) = (0, 0);
    let left = loop {
        let (values, skipped) = going.pass().await?;
        fruitless = if values == 0 { fruitless + 1 } else { 0 };
        if skipped == 0 {
            // Others may have written behind the pass: only what is counted at one point is known.
            let (_, left, _) = work.count(client).await?;
            let refused: u64 = going.found.refused.values().sum();
            if left <= refused || further == FURTHER_MAX {
                break left.max(refused);
            }
            (further, going.found.left) = (further + 1, left);
        }
        if fruitless > FRUITLESS_MAX {
            let why = format!(
                "{skipped} rows of {} cannot be written: others keep writing or locking them, or a trigger prevents it",
                work.name()
            );
            return Err(Error::Answered { code: ExitCode::Failed.into(), why });
        }
        tokio::time::sleep(PAUSE).await;
    };
    (going.found.left, going.found.done) = (left, true);
    Ok(())
}

struct Going<'a> {
    cx: &'a Context,
    client: &'a Client,
    work: &'a Work,
    plan: &'a Plan,
    sealing: Sealing,
    load: watch::Sender<crate::throttle::Load>,
    meter: Meter,
    reported: Instant,
    /// The rows of the next batch.
    at_once: usize,
    found: &'a mut Rekeyed,
}

impl Going<'_> {
    /// Goes through the table once, in the order of its key; the values written, and the rows that others kept from being.
    async fn pass(&mut self) -> Result<(u64, u64), Error> {
        let (mut after, mut values, mut skipped) = (None, 0, 0);
        self.found.refused.clear();
        loop {
            self.throttled().await?;
            found::refuse_runs(self.client, &self.work.table.name).await?;
            let begun = Instant::now();
            let mut batch = Batch::read(self.client, self.work, after.as_ref(), self.at_once).await?;
            let Some(last) = batch.last_key() else { return Ok((values, skipped)) };
            after = Some(last);
            self.sealing.seal(&mut batch)?;
            let writing = Instant::now();
            let written = batch.write(self.client, self.work, &mut self.sealing, true).await?;
            let Written { values: now, skipped: not } = written;
            (values, skipped) = (values + now, skipped + not);
            self.at_once = batch.next_size(self.plan.settings.chunk_size_bytes, writing.elapsed());
            for why in batch.refused() {
                *self.found.refused.entry(why).or_default() += 1;
            }
            self.found.values += now;
            self.found.left = self.found.left.saturating_sub(now);
            self.report();
            let rest = Rest::of_one(self.load.subscribe(), true).after(begun.elapsed());
            tokio::time::sleep(rest).await;
        }
    }

    fn report(&mut self) {
        let now = Instant::now();
        self.meter.see(now, self.found.values);
        if now.duration_since(self.reported) >= EVERY {
            self.reported = now;
            let found = Rekeyed { values_per_s: self.meter.per_s(), ..self.found.clone() };
            self.cx.tell(&Event::Rekeyed(found));
        }
    }

    /// Waits for as long as a limit of the plan asks for it.
    async fn throttled(&self) -> Result<(), Error> {
        let mut told = false;
        loop {
            let limits = watchdog::limits(self.client, &self.plan.settings).await;
            let (load, wait) = limits.doing("reading what the server has to carry")?;
            self.load.send_replace(load);
            let is_waiting = wait.is_some();
            if is_waiting != told {
                self.cx.tell(&Event::Throttled { why: wait });
            }
            if !is_waiting {
                return Ok(());
            }
            told = true;
            tokio::time::sleep(EVERY).await;
        }
    }
}

impl Work {
    /// The table's name, as a plan writes it.
    pub(crate) fn name(&self) -> String {
        self.table.name.plain()
    }

    /// One at a time on each table.
    async fn lock(&self, client: &Client) -> Result<(), Error> {
        let what = Literal("projh-bluegreen rekey");
        let sql = format!("SELECT pg_try_advisory_lock(hashtext({what}), {}::int)", self.table.oid as i32);
        let row = client.query_one(&sql, &[]).await.doing("taking the lock of this command")?;
        if row.get(0) {
            return Ok(());
        }
        let why = format!("another `projh-bluegreen phi rekey` is at work on {}", self.name());
        Err(Error::Answered { code: ExitCode::Held.into(), why })
    }

    /// Begins a transaction in which the table's rows are read or written.
    fn begin(&self) -> String {
        format!("BEGIN; SET LOCAL row_security = off; {}", self.acting)
    }

    /// Rows with values to encrypt again, these values, and the bytes of all of the rows' encrypted values.
    async fn count(&self, client: &Client) -> Result<(u64, u64, u64), Error> {
        let doing = || format!("counting values of {}", self.name());
        let each =
            self.columns.iter().map(|column| format!("count(*) FILTER (WHERE {})", column.is_other("t")));
        let values = each.collect::<Vec<_>>().join(" + ");
        let each = self
            .columns
            .iter()
            .map(|column| format!("coalesce(octet_length(t.{}::pg_catalog.bytea), 0)::bigint", column.name));
        let bytes = each.collect::<Vec<_>>().join(" + ");
        let sql = format!(
            "SELECT count(*), ({values})::bigint, coalesce(sum({bytes}), 0)::bigint FROM {} t WHERE {}",
            self.table.name,
            self.is_other()
        );
        client.batch_execute(&self.begin()).await.doing(doing())?;
        let row = client.query_one(&sql, &[]).await.doing(doing())?;
        client.batch_execute("COMMIT").await.doing(doing())?;
        let number = |at: usize| row.get::<_, i64>(at).unsigned_abs();
        Ok((number(0), number(1), number(2)))
    }

    /// SQL for whether a row has such a value.
    fn is_other(&self) -> String {
        let each: Vec<String> = self.columns.iter().map(|column| column.is_other("t")).collect();
        format!("({})", each.join(" OR "))
    }
}

impl Target {
    /// SQL for whether the value does not begin as all under the column's key do.
    fn is_other(&self, table: &str) -> String {
        use std::fmt::Write as _;
        let prefix = crate::phi::prefix(self.format, self.key);
        let hex = prefix.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let (name, length) = (&self.name, prefix.len());
        format!("substr({table}.{name}::pg_catalog.bytea, 1, {length}) <> '\\x{hex}'::pg_catalog.bytea")
    }
}
