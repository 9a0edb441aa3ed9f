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
use crate::error::{Doing, Error, ExitCode};
use crate::event::{Event, WaitCause};
use crate::journal::requests::{self, Ask, Request};
use crate::journal::{Held, Journal, JournalError};
use crate::lifecycle::{Ending, Phase, WayBack};
use crate::pg::{Colour, ConnectionRole};
use crate::phase;
use crate::run::Run;
use crate::watchdog::Pace;
use crate::watchdog::{pulse, waits};

/// What ends a session that lasted this long is a new failure: the time limit for reconnecting starts anew.
const GOOD_SESSION: Duration = Duration::from_secs(120);

/// Works until the goal is reached, from where an earlier command stopped; or until a command on another terminal has
/// asked for another end, and that is reached. Returns the exit code that says which.
///
/// # Errors
/// What stopped it; the run can be resumed unless the error says otherwise.
pub async fn reach(cx: &Context, goal: &Goal) -> Result<ExitCode, Error> {
    let mut held = None;
    let reached = sessions(cx, goal, &mut held).await;
    let (Goal::Forward(forward), Some(run)) = (goal, &held) else { return reached };
    let request = match &reached {
        Err(Error::Asked(request)) => request,
        // A gate, in the soak: before the swap there is nothing to roll back.
        Err(Error::GateFailed { gate, why }) => {
            cx.tell(&Event::Notice {
                text: format!("rolling back, because gate {gate} does not pass: {why}"),
            });
            let goal = Goal::Back { run: run.run().to_owned(), forward: forward.again(), was_live: None };
            return sessions(cx, &goal, &mut held).await;
        }
        _ => return reached,
    };
    cx.tell(&Event::Asked { ask: request.ask.name().to_owned(), who: request.by.clone() });
    let run = run.run().to_owned();
    let forward = forward.again();
    let goal = match request.ask {
        Ask::Finish { as_is, now } => Goal::Finished { run, as_is, now },
        Ask::Rollback | Ask::Swap | Ask::Verify | Ask::Pause | Ask::Resume => {
            Goal::Back { run, forward, was_live: None }
        }
    };
    let outcome = sessions(cx, &goal, &mut held).await;
    let answer = phase::answer_of(&outcome);
    let session = cx.target.connect(ConnectionRole::of_command("answer"), &[]).await?;
    requests::answer_all(&session, request, &answer).await.doing("answering a request")?;
    outcome
}

async fn sessions(cx: &Context, goal: &Goal, held: &mut Option<Held>) -> Result<ExitCode, Error> {
    let pauses = || {
        backon::ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(500))
            .with_max_delay(Duration::from_secs(20))
            .without_max_times()
            .with_jitter()
            .build()
    };
    let (mut waits, mut trouble, mut was_live) = (pauses(), None, None);
    loop {
        let begun = Instant::now();
        // On the heap: the futures of all phases are large.
        let work = Box::pin(session(cx, goal, held, &mut was_live));
        let outcome = phase::unless(pulse::lost(cx), work).await;
        let Err(error) = outcome else {
            return Ok(match goal {
                Goal::Back { .. } => ExitCode::RolledBack,
                Goal::Checked(_) | Goal::Forward(_) | Goal::Finished { .. } => ExitCode::Done,
            });
        };
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
/// and then what this one holds; `was_live` is the table that was live when the first session began to roll back.
async fn session(
    cx: &Context,
    goal: &Goal,
    held: &mut Option<Held>,
    was_live: &mut Option<Colour>,
) -> Result<(), Error> {
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
        Goal::Back { run, forward, was_live: asked } => {
            let Some(journal) = resume(cx, run, held, Ending::RolledBack).await? else { return Ok(()) };
            let phases = {
                let progress = journal.progress();
                progress.phases_back(*was_live.get_or_insert(asked.unwrap_or(progress.live())))
            };
            take(cx, &journal, phases.clone(), None, held);
            back(cx, forward, journal, phases).await
        }
        Goal::Finished { run, as_is, now } => {
            let work = async {
                let Some(journal) = resume(cx, run, held, Ending::Finished).await? else { return Ok(()) };
                take(cx, &journal, vec![Phase::Finish], None, held);
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
            Ok(Some(journal))
        }
    }
}

/// Remembers and reports that this session holds the run.
fn take(cx: &Context, journal: &Journal, phases: Vec<Phase>, until: Option<Phase>, held: &mut Option<Held>) {
    *held = Some(journal.held());
    let (run, plan, resumed) = (journal.run().to_owned(), journal.plan().to_owned(), journal.resumed());
    let done = journal.progress().done();
    tracing::info!(run, plan, resumed, ?done, "run taken over");
    cx.tell(&Event::Run { run, plan, resumed, done, phases, until });
}

/// Executes what is left of a plan. The run is given up here if its slot cannot be kept, in whatever phase that shows.
async fn ahead(cx: &Context, forward: &Forward, held: &mut Option<Held>) -> Result<(), Error> {
    let mut run = phase::unless(cx.interrupted(), open(cx, forward, held)).await?;
    let outcome = Box::pin(phases(&mut run)).await;
    concluded(&mut run, outcome).await?;
    if forward.finishes() && run.journal.progress().way_back == WayBack::Closed {
        let work = phase::unless(cx.interrupted(), phase::finish::run(cx, &run.journal, false, false));
        carry_out(cx, Phase::Finish, work).await?;
    }
    Ok(())
}

/// What the outcome means for the run: it goes on without a slot that cannot be kept, as far as it can; and if the tables
/// do not follow each other any more, that is recorded.
async fn concluded(run: &mut Run<'_>, outcome: Result<(), Error>) -> Result<(), Error> {
    match outcome {
        Ok(()) => Ok(()),
        Err(Error::Slot(why)) => Err(without_slot(run, why).await?),
        Err(error) => Err(phase::way_back::broken(run, error).await?),
    }
}

async fn without_slot(run: &mut Run<'_>, why: String) -> Result<Error, Error> {
    let (live, is_reversible) = {
        let progress = run.journal.progress();
        (progress.live(), progress.is_reversible())
    };
    match live {
        Colour::Blue => phase::give_up(run, why).await,
        Colour::Green if is_reversible => phase::lose_way_back(run, why).await,
        Colour::Green => Ok(Error::Slot(why)),
    }
}

/// Carries out the phases of a rollback. After a swap back the tables are as an interrupted run left them, with blue live,
/// and green follows as soon as the plan is executed again.
async fn back(cx: &Context, forward: &Forward, journal: Journal, phases: Vec<Phase>) -> Result<(), Error> {
    if phases == [Phase::Rollback] {
        let work = phase::unless(cx.interrupted(), phase::rollback::run(cx, &journal));
        return carry_out(cx, Phase::Rollback, work).await;
    }
    let mut run = run_of(cx, forward, journal, false).await?;
    let steps = async {
        phase::unless(cx.interrupted(), load(&mut run)).await?;
        for phase in phases {
            if cx.is_interrupted() {
                return Err(Error::Interrupted);
            }
            if phase == Phase::Rollback {
                (run.feed, run.echo) = (None, None);
                let work = phase::unless(cx.interrupted(), phase::rollback::run(cx, &run.journal));
                carry_out(cx, phase, work).await?;
            } else {
                carry_out(cx, phase, phase::run(phase, &mut run)).await?;
            }
        }
        Ok(())
    };
    let outcome = Box::pin(steps).await;
    concluded(&mut run, outcome).await
}

async fn phases(run: &mut Run<'_>) -> Result<(), Error> {
    let cx = run.cx;
    phase::unless(cx.interrupted(), load(run)).await?;
    loop {
        let next = run.journal.progress().next_phase();
        let Some(phase) = next.filter(|phase| run.forward.reaches(*phase)) else { return Ok(()) };
        if phase == Phase::Swap && run.forward.holds_swap {
            let request = phase::unless(run.stopped(), released(run)).await?;
            cx.tell(&Event::Asked { ask: request.ask.name().to_owned(), who: request.by.clone() });
            let outcome = carry_out(cx, phase, phase::run(phase, run)).await;
            phase::answer(run, request.n, &outcome).await?;
            outcome?;
            continue;
        }
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

/// Waits until the swap is released, while what changes is compared.
async fn released(run: &Run<'_>) -> Result<Request, Error> {
    let text = format!("the swap is held; projh-bluegreen swap {} releases it", run.journal.run());
    run.cx.tell(&Event::Waiting { cause: WaitCause::Release, text });
    let asked = run.pace.asked(|ask| ask == Ask::Swap);
    phase::verify::comparing_meanwhile(run, async { Ok(asked.await) }).await
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
    take(cx, &journal, forward.phases(), forward.until, held);
    run_of(cx, forward, journal, true).await
}

/// What the phases of a run need in this session.
async fn run_of<'a>(
    cx: &'a Context,
    forward: &'a Forward,
    journal: Journal,
    heeds_requests: bool,
) -> Result<Run<'a>, Error> {
    let pace = Pace::keep(cx, forward, &journal).await?;
    Ok(Run {
        cx,
        forward,
        journal,
        heeds_requests,
        lanes: Vec::new(),
        feed: None,
        echo: None,
        meanwhile: JoinSet::new(),
        pace,
        published: Vec::new(),
        verified_files: Vec::new(),
    })
}

/// Loads the lanes of a run that has been prepared, if there is still one to follow.
async fn load(run: &mut Run<'_>) -> Result<(), Error> {
    let (prepared, has_lanes) = {
        let progress = run.journal.progress();
        (progress.prepared.clone(), progress.swapped.is_none() || progress.is_reversible())
    };
    match prepared.filter(|_| has_lanes) {
        Some(prepared) => phase::load_lanes(run, &prepared).await,
        None => Ok(()),
    }
}
