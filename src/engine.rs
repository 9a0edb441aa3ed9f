//! The only loop: the next phase, and the next, until there is none.
//!
//! A fresh run and a resumed one are the same loop, for what a phase finds done in the journal it
//! does not do again. A session that is lost (the server restarted, a COMMIT's answer never came)
//! is opened again, and the journal says where it stands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::BackoffBuilder;
use tokio::task::JoinSet;

use crate::context::Context;
use crate::error::Error;
use crate::event::Event;
use crate::journal::{Backend, Journal};
use crate::lifecycle::Phase;
use crate::pace::Pace;
use crate::phase;
use crate::run::Run;
use crate::waits;

/// A session that lasted this long was a good one: what ends it is a new trouble.
const GOOD_SESSION: Duration = Duration::from_secs(120);

/// Executes the plan, or goes on where it stopped.
///
/// # Errors
/// Whatever stopped it; the run can be resumed unless the error says otherwise.
pub async fn execute(cx: &Context) -> Result<(), Error> {
    let pauses = || {
        backon::ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(500))
            .with_max_delay(Duration::from_secs(20))
            .without_max_times()
            .with_jitter()
            .build()
    };
    let (mut waits, mut trouble, mut held) = (pauses(), None, None);
    loop {
        let begun = Instant::now();
        let outcome = session(cx, &mut held).await;
        let Err(error) = outcome else { return Ok(()) };
        if begun.elapsed() > GOOD_SESSION {
            (waits, trouble) = (pauses(), None);
        }
        let since = *trouble.get_or_insert_with(Instant::now);
        let may_wait = error.is_transient() && since.elapsed() < cx.plan.settings.reconnect_for;
        let wait = if may_wait { waits.next() } else { None };
        let Some(wait) = wait else { return Err(error) };
        tracing::warn!(%error, wait_ms = wait.as_millis(), "a new session is tried");
        cx.tell(&Event::Retry { why: error.to_string(), seconds: wait.as_secs_f64() });
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            error = cx.interrupted() => return Err(error),
        }
    }
}

/// Waits for a person, perhaps; not longer than the run may go on. What changes meanwhile is compared.
async fn may_swap(run: &Run<'_>) -> Result<bool, Error> {
    let asks = Arc::clone(&run.cx.may_swap);
    let asked = tokio::task::spawn_blocking(move || asks());
    let answer = async { Ok(asked.await.unwrap_or(false)) };
    phase::unless(run.stopped(), phase::verify::comparing_meanwhile(run, answer)).await
}

/// One session: from opening the journal to the end, or to an error.
/// `held` is the session that holds the run: the last one before it, and then this one.
/// A slot that cannot be kept is given up here, wherever in the session that came up.
async fn session(cx: &Context, held: &mut Option<Backend>) -> Result<(), Error> {
    let mut run = phase::unless(cx.interrupted(), open(cx, held)).await?;
    match phases(cx, &mut run).await {
        Err(Error::Slot(why)) => Err(phase::give_up(&mut run, why).await?),
        outcome => outcome,
    }
}

async fn phases(cx: &Context, run: &mut Run<'_>) -> Result<(), Error> {
    loop {
        let next = run.journal.progress().next_phase();
        let Some(phase) = next else { return Ok(()) };
        if cx.until.is_some_and(|until| phase > until) {
            return Ok(());
        }
        let is_agreed = phase != Phase::Swap || may_swap(run).await?;
        if cx.is_interrupted() {
            return Err(Error::Interrupted);
        }
        if !is_agreed {
            return Err(Error::Declined("not swapped"));
        }
        tracing::info!(%phase, "phase begins");
        cx.tell(&Event::PhaseStarted { phase });
        let begun = Instant::now();
        let outcome = phase::run(phase, run).await;
        let ms = begun.elapsed().as_millis();
        match &outcome {
            Ok(()) => tracing::info!(%phase, ms, "phase ends"),
            Err(error) => tracing::info!(%phase, ms, %error, "phase stopped"),
        }
        outcome?;
        cx.tell(&Event::PhaseDone { phase, seconds: begun.elapsed().as_secs_f64() });
    }
}

/// Takes the run over, and has ready what its phases need.
async fn open<'a>(cx: &'a Context, held: &mut Option<Backend>) -> Result<Run<'a>, Error> {
    let journal = waits::told(cx, Journal::begin(&cx.target, &cx.plan, held.as_ref())).await?;
    *held = Some(journal.backend().clone());
    let (run, plan, resumed) = (journal.run().to_owned(), journal.plan().to_owned(), journal.resumed());
    let done = journal.progress().done();
    tracing::info!(run, plan, resumed, ?done, "run taken over");
    cx.tell(&Event::Run { run, plan, resumed, done, until: cx.until });
    let pace = Pace::keep(cx, &journal).await?;
    let mut run = Run {
        cx,
        journal,
        lanes: Vec::new(),
        feed: None,
        meanwhile: JoinSet::new(),
        pace,
        published: Vec::new(),
        verified_files: Vec::new(),
    };
    let prepared = run.journal.progress().prepared.clone();
    if let Some(prepared) = prepared
        && run.journal.progress().swapped.is_none()
    {
        phase::load_lanes(&mut run, &prepared).await?;
    }
    Ok(run)
}
