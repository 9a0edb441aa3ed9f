//! Soak: green is live, and what clients write to it is applied to blue, until the time that the plan gives is over.
//!
//! What changes is compared meanwhile. If blue can no longer follow, or the live tables were changed by DDL, the run stops
//! at once and says so: the way back is broken from then on, and not only on the day when it is needed.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::steps::Around;
use super::{check_fingerprints, prepared, settle, unless, verify};
use super::{gates, stream};
use crate::error::{Doing, Error};
use crate::event::Event;
use crate::journal::requests::{Ask, Request};
use crate::lifecycle::{Fact, Phase, Way};
use crate::pg::LOOK_UP_BY_KEY;
use crate::plan::{Settings, StepTime};
use crate::run::Run;

/// How often the streams and the definition of the live tables are looked at.
const EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run(run: &mut Run<'_>) -> Result<(), Error> {
    let is_open = run.journal.progress().is_reversible();
    if is_open {
        let stopped = run.stopped();
        let soaked = unless(stopped, soak(run)).await;
        if let Some(feed) = &run.feed {
            feed.read_in_bursts(false);
        }
        soaked?;
    }
    unless(run.cx.interrupted(), close(run)).await
}

async fn soak(run: &mut Run<'_>) -> Result<(), Error> {
    gates::expect_measured(run)?;
    stream::catch_up(run).await?;
    check_fingerprints(run, run.journal.session()).await?;
    if run.journal.progress().broken.is_some() {
        mend(run).await?;
    }
    // A rollback that was cut short has undone them.
    Around::of(run, Phase::Soak).all(StepTime::AfterSwap, Way::Up).await?;
    run.verified_files = verify::files(run, run.journal.session()).await?;
    run.journal.session().batch_execute(LOOK_UP_BY_KEY).await.doing("preparing the soak")?;
    let seconds = left(run).await?;
    run.cx.tell(&Event::Soaking { seconds });
    // From here on what changes is remembered, and compared.
    run.feed()?.hold_still().await?;
    drop(run.feed()?.take_touched(run.lanes.len()));
    run.feed()?.free();
    run.feed()?.read_in_bursts(true);
    // Also while all rows are compared, which may take hours.
    let failed = gates::watch(run);
    let failed = tokio::select! {
        soaked = rounds(run) => return soaked,
        failed = failed => failed,
    };
    Err(gates::decide(run, failed).await)
}

/// Waits for the end of the soak, and compares all rows whenever that is due or asked for.
async fn rounds(run: &mut Run<'_>) -> Result<(), Error> {
    loop {
        let asked = run.pace.asked(|ask| *ask == Ask::Verify);
        let due = due(run.forward.settings.watch());
        let waited = async {
            tokio::select! {
                waited = wait(run) => waited,
                request = asked => Ok(Waited::Asked(request)),
                () = due => Ok(Waited::Due),
            }
        };
        match verify::comparing_meanwhile(run, waited).await? {
            Waited::Over => return Ok(()),
            Waited::Due => verify::run(run).await?,
            Waited::Asked(request) => verify::asked(run, request).await?,
        }
    }
}

/// The way was broken, and what broke it is gone: all rows are compared, because nobody knows what happened meanwhile. What
/// somebody wrote to the table that is not live lies behind us then.
pub(super) async fn mend(run: &mut Run<'_>) -> Result<(), Error> {
    let client = run.connect("soak").await?;
    let row = client.query_one("SELECT pg_current_wal_lsn()", &[]).await.doing("reading the WAL's end")?;
    verify::run(run).await?;
    let echoed = run.journal.progress().live().other();
    client.batch_execute("BEGIN").await.doing("mending the way back")?;
    run.journal.begin_stream(&client, echoed, row.get(0)).await?;
    run.journal.commit(&client, Fact::WayMended).await?;
    stream::ensure(run).await
}

/// What a wait in the soak ended with.
enum Waited {
    /// The soak is over.
    Over,
    /// All rows have to be compared again, because it is time.
    Due,
    /// The same, because somebody asks for it.
    Asked(Request),
}

/// Resolves when all rows have to be compared again.
async fn due(mut settings: watch::Receiver<Settings>) {
    let since = Instant::now();
    loop {
        let every = settings.borrow_and_update().verify_every;
        let over = async {
            match every {
                Some(every) => tokio::time::sleep(every.saturating_sub(since.elapsed())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = over => return,
            Ok(()) = settings.changed() => {}
        }
    }
}

/// Seconds of the soak that are left.
async fn left(run: &Run<'_>) -> Result<f64, Error> {
    let at = run.journal.progress().arrived.as_ref().map(|arrived| arrived.at);
    let sql = "SELECT extract(epoch FROM clock_timestamp())::float8 - $1::bigint";
    let row = run.journal.session().query_one(sql, &[&at.unwrap_or(0)]).await;
    let passed: f64 = row.doing("reading the server's time")?.get(0);
    Ok((run.settings().soak.as_secs_f64() - passed).max(0.0))
}

/// Waits for the end of the soak, and looks at the live tables and at both streams meanwhile; ends earlier if one has
/// another file, or other partitions.
async fn wait(run: &Run<'_>) -> Result<Waited, Error> {
    while left(run).await? > 0.0 {
        tokio::time::sleep(EVERY).await;
        run.feed()?.check()?;
        if let Some(others) = &run.others {
            others.check()?;
        }
        check_fingerprints(run, run.journal.session()).await?;
        // A TRUNCATE or DETACH of a partition is not in the stream, and what changed at once may be too much to be remembered.
        if verify::void(run, run.journal.session()).await?.is_some() {
            // Whoever has emptied blue is a better reason than the rows that it lacks.
            if let Some(others) = &run.others {
                others.look().await?;
            }
            return Ok(Waited::Due);
        }
    }
    Ok(Waited::Over)
}

/// Ends the way back: from here on blue is only kept, as it was at this moment.
async fn close(run: &mut Run<'_>) -> Result<(), Error> {
    let is_open = run.journal.progress().is_reversible();
    if is_open {
        // Nobody compares what changes any more, and the feed must not wait for it.
        if let Some(feed) = &run.feed {
            feed.forget_touched();
        }
        // All that was committed on green by now is in blue.
        stream::catch_up(run).await?;
        run.journal.record(Fact::WayBackClosing).await?;
    }
    (run.feed, run.others) = (None, None);
    let prepared = prepared(run)?;
    let client = run.connect("soak").await?;
    settle::end_streams(&run.patience(), &client, &prepared).await?;
    Ok(run.journal.record(Fact::Soaked).await?)
}
