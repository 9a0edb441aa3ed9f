//! The only loop: executes the next phase towards the goal until none is left.
//!
//! A fresh run and a resumed one take the same loop, because a phase skips what the journal already holds; check,
//! rollback and finish are reported and reconnected as all phases are. A connection that is lost (the server restarted, the answer to a
//! COMMIT never came) is opened again, and the journal says where the run stands. A server that cannot be reached in
//! the first place is an error at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use backon::BackoffBuilder;
use tokio::task::JoinSet;

use crate::context::{Context, Forward, Goal};
use crate::error::Error;
use crate::event::Event;
use crate::journal::{Held, Journal, JournalError};
use crate::lifecycle::{Ending, Phase};
use crate::phase;
use crate::run::Run;
use crate::watchdog::Pace;
use crate::watchdog::waits;

/// What ends a session that lasted this long is a new failure: the time limit for reconnecting starts anew.
const GOOD_SESSION: Duration = Duration::from_secs(120);

/// Works until the goal is reached, from where an earlier command stopped.
///
/// # Errors
/// What stopped it; the run can be resumed unless the error says otherwise.
pub async fn reach(cx: &Context, goal: &Goal) -> Result<(), Error> {
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
        let outcome = session(cx, goal, &mut held).await;
        let Err(error) = outcome else { return Ok(()) };
        if begun.elapsed() > GOOD_SESSION {
            (waits, trouble) = (pauses(), None);
        }
        let since = *trouble.get_or_insert_with(Instant::now);
        let may_wait = cx.has_begun.load(Ordering::Acquire)
            && error.is_transient()
            && since.elapsed() < cx.reconnect_for;
        let wait = if may_wait { waits.next() } else { None };
        let Some(wait) = wait else { return Err(error) };
        tracing::warn!(%error, wait_ms = wait.as_millis(), "session lost; opening a new one");
        cx.tell(&Event::Retry { why: error.to_string(), seconds: wait.as_secs_f64() });
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            error = cx.interrupted() => return Err(error),
        }
    }
}

/// One session: from opening the journal to the goal, or to an error. `held` is what the session before held,
/// and then what this one holds.
async fn session(cx: &Context, goal: &Goal, held: &mut Option<Held>) -> Result<(), Error> {
    match goal {
        Goal::Checked(plan) => {
            let work = phase::unless(cx.interrupted(), phase::check::run(cx, plan));
            carry_out(cx, Phase::Check, work).await
        }
        Goal::Forward(forward) => {
            if !cx.has_begun.load(Ordering::Acquire) {
                if !phase::unless(cx.interrupted(), phase::check::is_done(cx, &forward.plan)).await? {
                    let work = phase::unless(cx.interrupted(), phase::check::before_run(cx, &forward.plan));
                    carry_out(cx, Phase::Check, work).await?;
                }
                cx.has_begun.store(true, Ordering::Release);
            }
            ahead(cx, forward, held).await
        }
        Goal::Back { run } => {
            let work = async {
                let Some(journal) = resume(cx, run, held, Ending::RolledBack).await? else { return Ok(()) };
                phase::unless(cx.interrupted(), phase::rollback::run(cx, &journal)).await
            };
            carry_out(cx, Phase::Rollback, work).await
        }
        Goal::Finished { run, as_is, now } => {
            let work = async {
                let Some(journal) = resume(cx, run, held, Ending::Finished).await? else { return Ok(()) };
                phase::unless(cx.interrupted(), phase::finish::run(cx, &journal, *as_is, *now)).await
            };
            carry_out(cx, Phase::Finish, work).await
        }
    }
}

/// Executes a phase, and reports its beginning and end.
async fn carry_out(
    cx: &Context,
    phase: Phase,
    work: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    tracing::info!(%phase, "phase begins");
    cx.tell(&Event::PhaseStarted { phase });
    let begun = Instant::now();
    let outcome = work.await;
    let ms = begun.elapsed().as_millis();
    match &outcome {
        Ok(()) => tracing::info!(%phase, ms, "phase ends"),
        Err(error) => tracing::info!(%phase, ms, %error, "phase stopped"),
    }
    if let Err(Error::Refused(findings)) = &outcome {
        for finding in findings {
            cx.tell(&Event::Finding(finding.clone()));
        }
    }
    outcome?;
    cx.tell(&Event::PhaseDone { phase, seconds: begun.elapsed().as_secs_f64() });
    Ok(())
}

/// Takes over a run that is to be ended; `None` if the session before has ended it, with a COMMIT whose answer was
/// lost.
async fn resume(
    cx: &Context,
    run: &str,
    held: &mut Option<Held>,
    wanted: Ending,
) -> Result<Option<Journal>, Error> {
    let begun = held.is_some();
    let taken = async { Ok(Journal::resume(&cx.target, run, held.as_ref()).await?) };
    match phase::unless(cx.interrupted(), taken).await {
        Err(Error::Journal(JournalError::Ended { ending, .. })) if begun && ending == wanted => Ok(None),
        journal => {
            let journal = journal?;
            cx.has_begun.store(true, Ordering::Release);
            take(cx, &journal, None, held);
            Ok(Some(journal))
        }
    }
}

/// Remembers and reports that this session holds the run.
fn take(cx: &Context, journal: &Journal, until: Option<Phase>, held: &mut Option<Held>) {
    *held = Some(journal.held());
    let (run, plan, resumed) = (journal.run().to_owned(), journal.plan().to_owned(), journal.resumed());
    let done = journal.progress().done();
    tracing::info!(run, plan, resumed, ?done, "run taken over");
    cx.tell(&Event::Run { run, plan, resumed, done, until });
}

/// Executes what is left of a plan. The run is given up here if its slot cannot be kept, in whatever phase that shows.
async fn ahead(cx: &Context, forward: &Forward, held: &mut Option<Held>) -> Result<(), Error> {
    let mut run = phase::unless(cx.interrupted(), open(cx, forward, held)).await?;
    match phases(&mut run).await {
        Err(Error::Slot(why)) if run.journal.progress().swapped.is_none() => {
            Err(phase::give_up(&mut run, why).await?)
        }
        outcome => outcome,
    }
}

async fn phases(run: &mut Run<'_>) -> Result<(), Error> {
    let cx = run.cx;
    loop {
        let next = run.journal.progress().next_phase();
        let Some(phase) = next.filter(|phase| run.forward.reaches(*phase)) else { return Ok(()) };
        let is_agreed = phase != Phase::Swap || may_swap(run).await?;
        if cx.is_interrupted() {
            return Err(Error::Interrupted);
        }
        if !is_agreed {
            return Err(Error::Declined("not swapped"));
        }
        carry_out(cx, phase, phase::run(phase, run)).await?;
    }
}

/// Asks whether to swap, while what changes is compared. The question ends when the run is stopped.
async fn may_swap(run: &Run<'_>) -> Result<bool, Error> {
    let asks = Arc::clone(&run.forward.may_swap);
    let asked = tokio::task::spawn_blocking(move || asks());
    let answer = async { Ok(asked.await.unwrap_or(false)) };
    phase::unless(run.stopped(), phase::verify::comparing_meanwhile(run, answer)).await
}

/// Takes the run over, and prepares what its phases need.
async fn open<'a>(cx: &'a Context, forward: &'a Forward, held: &mut Option<Held>) -> Result<Run<'a>, Error> {
    let plan = &forward.plan;
    let journal = waits::told(cx, plan, Journal::begin(&cx.target, plan, held.as_ref())).await?;
    take(cx, &journal, forward.until, held);
    let pace = Pace::keep(cx, plan, &journal).await?;
    let mut run = Run {
        cx,
        forward,
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
