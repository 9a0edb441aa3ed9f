//! The only loop: executes the next phase towards the goal until none is left.
//!
//! A fresh run and a resumed one take the same loop, because a phase skips what the journal already holds; check,
//! rollback and finish are reported and reconnected as all phases are. A connection that is lost (the server restarted, the answer to a
//! COMMIT never came) is opened again, and the journal says where the run stands. A server that cannot be reached in
//! the first place is an error at once.

mod opening;
mod outcome;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::context::{Context, Forward, Goal, pauses};
use crate::error::{Doing, Error, ExitCode};
use crate::event::{Event, WaitCause};
use crate::journal::requests::{self, Answer, Ask, Finish, Request};
use crate::journal::{Held, Journal, JournalError, Locked};
use crate::lifecycle::{Ending, Phase, Standing, WayBack};
use crate::pg::ConnectionRole;
use crate::phase;
use crate::run::Run;
use crate::watchdog::pulse;

use opening::{load, open, resume, run_of, take};
use outcome::concluded;

/// What ends a session that lasted this long is a new failure: the time limit for reconnecting starts anew.
const GOOD_SESSION: Duration = Duration::from_secs(120);

/// Works until the goal is reached, from where an earlier command stopped; or until a command on another terminal has
/// asked for another end, and that is reached. Returns the exit code that says which.
///
/// # Errors
/// What stopped it; the run can be resumed unless the error says otherwise.
pub async fn reach(cx: &Context, goal: &Goal) -> Result<ExitCode, Error> {
    let mut held = None;
    loop {
        let reached = sessions(cx, goal, &mut held).await;
        let Some(run) = held.as_ref().map(|held| held.run().to_owned()) else { return reached };
        let Goal::Forward(forward) = goal else {
            // What a gate decided before has been overtaken.
            if reached.is_ok()
                && matches!(goal, Goal::Back { .. } | Goal::Finished { .. })
                && let Err(error) = overtake(cx, &run).await
            {
                tracing::warn!(%error, "requests could not be answered");
            }
            return reached;
        };
        let request = match &reached {
            Err(Error::Asked(request)) => request,
            // By another command, while this process had no session.
            Err(Error::Journal(JournalError::Ended { ending, .. })) => {
                let text = format!("another command has ended the run meanwhile: it was {ending}");
                cx.tell(&Event::Notice { text });
                return Ok(match ending {
                    Ending::RolledBack => ExitCode::RolledBack,
                    Ending::Finished => ExitCode::Done,
                });
            }
            _ => return reached,
        };
        let outcome = asked(cx, forward, run, request, &mut held).await;
        match &outcome {
            // What prevents the end of the run is whoever asked for it told; blue must not be left behind for that.
            Err(error)
                if matches!(request.ask, Ask::Finish(_)) && !error.is_transient() && !cx.is_interrupted() =>
            {
                let text = format!("the run was not finished, and is continued: {error}");
                cx.tell(&Event::Notice { text });
            }
            _ => return outcome,
        }
    }
}

/// Ends a run as somebody on another terminal, or a gate, has asked for it, and answers.
async fn asked(
    cx: &Context,
    forward: &Forward,
    run: String,
    request: &Request,
    held: &mut Option<Held>,
) -> Result<ExitCode, Error> {
    cx.tell(&Event::Asked { ask: request.ask.name().to_owned(), who: request.by.clone() });
    let forward = forward.again();
    let goal = match request.ask {
        Ask::Finish(how) => Goal::Finished { run, forward, how },
        Ask::Rollback { drop_green } => Goal::Back { run, forward, drop_green },
        Ask::Swap | Ask::Verify | Ask::Pause | Ask::Resume | Ask::Set(_) => {
            return Err(Error::Bug("a request that does not end the run"));
        }
    };
    let outcome = sessions(cx, &goal, held).await;
    if outcome.is_err() && request.gate().is_some() {
        // Whoever executes the run next continues with it.
        return outcome;
    }
    let answer = phase::answer_of(&outcome);
    let session = cx.target.connect(ConnectionRole::of_command("answer"), &[]).await?;
    requests::answer_all(&session, request, &answer).await.doing("answering a request")?;
    outcome
}

async fn overtake(cx: &Context, run: &str) -> Result<(), Error> {
    let session = cx.target.connect(ConnectionRole::of_command("answer"), &[]).await?;
    requests::close(&session, run, false).await.doing("answering requests")
}

async fn sessions(cx: &Context, goal: &Goal, held: &mut Option<Held>) -> Result<ExitCode, Error> {
    let (mut waits, mut trouble) = (pauses(), None);
    loop {
        let begun = Instant::now();
        // On the heap: the futures of all phases are large.
        let work = Box::pin(session(cx, goal, held));
        let outcome = phase::unless(pulse::lost(cx), work).await;
        let Err(error) = outcome else {
            return Ok(match goal {
                Goal::Back { .. } => ExitCode::RolledBack,
                Goal::Checked(_)
                | Goal::Forward(_)
                | Goal::Compared { .. }
                | Goal::Swapped { .. }
                | Goal::Finished { .. } => ExitCode::Done,
            });
        };
        if begun.elapsed() > GOOD_SESSION {
            (waits, trouble) = (pauses(), None);
        }
        let since = *trouble.get_or_insert_with(Instant::now);
        let may_wait = cx.has_begun.load(Ordering::Acquire)
            && error.is_transient()
            && since.elapsed() < goal.reconnect_for(cx);
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
        Goal::Back { run, forward, drop_green } => {
            let refuse = async |locked: &Locked| {
                let (session, progress) = (locked.session(), locked.progress());
                phase::rollback::phases(session, progress, locked.run(), *drop_green).await.map(drop)
            };
            let wanted = Some(Ending::RolledBack);
            let Some(journal) = resume(cx, run, held, wanted, refuse).await? else { return Ok(()) };
            let progress = journal.progress().clone();
            let undone = Standing::undone(&progress);
            let phases =
                phase::rollback::phases(journal.session(), &progress, journal.run(), *drop_green).await?;
            take(cx, &journal, phases.clone(), None, held);
            if let Some(undone) = undone.filter(|_| phases.is_empty()) {
                cx.tell(&Event::Notice {
                    text: format!("{undone}; nothing else was done, and green is kept"),
                });
                return Ok(());
            }
            end(cx, forward, journal, phases, Finish::default()).await
        }
        Goal::Compared { run, forward } | Goal::Swapped { run, forward } => {
            let Some(journal) = resume(cx, run, held, None, async |_| Ok(())).await? else {
                return Ok(());
            };
            let only_compares = matches!(goal, Goal::Compared { .. });
            let phases = match only_compares {
                true => vec![Phase::CatchUp, Phase::Verify],
                false => journal.progress().phases_to_swap(),
            };
            take(cx, &journal, phases.clone(), None, held);
            let mut run = run_of(cx, forward, journal, false).await?;
            let outcome = Box::pin(steps(&mut run, &phases, Finish::default(), only_compares)).await;
            concluded(&mut run, outcome).await
        }
        Goal::Finished { run, forward, how } => {
            let refuse = async |locked: &Locked| {
                let (session, progress) = (locked.session(), locked.progress());
                phase::finish::allowed(session, progress, locked.run(), *how).await.map(drop)
            };
            let wanted = Some(Ending::Finished);
            let Some(journal) = resume(cx, run, held, wanted, refuse).await? else { return Ok(()) };
            let progress = journal.progress().clone();
            let phases = phase::finish::allowed(journal.session(), &progress, journal.run(), *how).await?;
            take(cx, &journal, phases.clone(), None, held);
            end(cx, forward, journal, phases, *how).await
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

/// Executes what is left of a plan. The run is given up here if its slot cannot be kept, in whatever phase that shows.
async fn ahead(cx: &Context, forward: &Forward, held: &mut Option<Held>) -> Result<(), Error> {
    let mut run = phase::unless(cx.interrupted(), open(cx, forward, held)).await?;
    if has_useless_soak(&run) {
        let text = "the plan's `soak` has no effect: the run was swapped without a way back, which has to be opened before the \
                    swap, so that nothing is written that blue does not get"
            .to_owned();
        cx.tell(&Event::Notice { text });
    }
    if let Some(request) = decided(&run).await? {
        return Err(Error::Asked(request));
    }
    let outcome = Box::pin(phases(&mut run)).await;
    concluded(&mut run, outcome).await?;
    // A way back that was lost has not ended as the plan says: somebody has to look at blue before it is dropped.
    let is_soaked = {
        let progress = run.journal.progress();
        (progress.way_back == WayBack::Closed && progress.closing) || progress.is_in_place()
    };
    if forward.finishes() && is_soaked {
        last(cx, forward, &run.journal, Phase::Finish, Finish::default()).await?;
    }
    Ok(())
}

/// Whether the plan was given a soak after the swap.
fn has_useless_soak(run: &Run<'_>) -> bool {
    let progress = run.journal.progress();
    let has_no_way = matches!(progress.way_back, WayBack::None | WayBack::Intended);
    progress.swapped.is_some() && has_no_way && !run.settings().soak.is_zero()
}

/// What a gate had decided before this process began. If the plan no longer has the gate, it is void.
async fn decided(run: &Run<'_>) -> Result<Option<Request>, Error> {
    let session = run.journal.session();
    let decided = requests::decided(session, run.journal.run()).await.doing("reading requests")?;
    let is_void =
        |request: &&Request| run.forward.plan.gates.iter().all(|gate| Some(&*gate.name) != request.gate());
    if let Some(void) = decided.as_ref().filter(is_void) {
        let answer = Answer::failed(ExitCode::Interrupted, "the plan no longer has this gate");
        requests::answer_all(session, void, &answer).await.doing("answering requests")?;
        run.pace.forget(void.n);
        return Ok(None);
    }
    Ok(decided)
}

/// Carries out the phases of a rollback or a finish. After a swap back the tables are as an interrupted run left them, with
/// blue live, and green follows as soon as the plan is executed again.
async fn end(
    cx: &Context,
    forward: &Forward,
    journal: Journal,
    phases: Vec<Phase>,
    how: Finish,
) -> Result<(), Error> {
    if let [phase @ (Phase::Rollback | Phase::Finish)] = phases[..] {
        return last(cx, forward, &journal, phase, how).await;
    }
    let mut run = run_of(cx, forward, journal, false).await?;
    let outcome = Box::pin(steps(&mut run, &phases, how, false)).await;
    concluded(&mut run, outcome).await
}

/// Carries out phases one after the other. `only_compares`: the verification prepares nothing for what may come after it.
async fn steps(run: &mut Run<'_>, phases: &[Phase], how: Finish, only_compares: bool) -> Result<(), Error> {
    let cx = run.cx;
    phase::unless(cx.interrupted(), load(run)).await?;
    for phase in phases {
        if cx.is_interrupted() {
            return Err(Error::Interrupted);
        }
        match phase {
            Phase::Rollback | Phase::Finish => {
                (run.feed, run.others) = (None, None);
                last(cx, run.forward, &run.journal, *phase, how).await?;
            }
            Phase::Verify if only_compares => {
                let work = phase::unless(run.stopped(), phase::verify::again(run));
                carry_out(cx, *phase, work).await?;
            }
            _ => carry_out(cx, *phase, phase::run(*phase, run)).await?,
        }
    }
    Ok(())
}

/// Carries out a phase with which the run ends: it needs no lanes.
async fn last(
    cx: &Context,
    forward: &Forward,
    journal: &Journal,
    phase: Phase,
    how: Finish,
) -> Result<(), Error> {
    let work = async {
        match phase {
            Phase::Rollback => phase::rollback::run(cx, journal).await,
            _ => phase::finish::run(cx, journal, forward.plan.settings.archive.as_ref(), how).await,
        }
    };
    carry_out(cx, phase, phase::unless(cx.interrupted(), work)).await
}

async fn phases(run: &mut Run<'_>) -> Result<(), Error> {
    let cx = run.cx;
    phase::unless(cx.interrupted(), load(run)).await?;
    loop {
        let next = run.journal.progress().next_phase();
        let Some(phase) = next.filter(|phase| run.forward.reaches(*phase)) else { return Ok(()) };
        if phase == Phase::Swap && run.forward.holds_swap {
            let request = released(run).await?;
            cx.tell(&Event::Asked { ask: request.ask.name().to_owned(), who: request.by.clone() });
            let outcome = carry_out(cx, phase, phase::run(phase, run)).await;
            phase::answer(run, &request, &outcome).await?;
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
async fn released(run: &mut Run<'_>) -> Result<Request, Error> {
    let text = format!("the swap is held; projh-bluegreen swap {} releases it", run.journal.run());
    run.cx.tell(&Event::Waiting { cause: WaitCause::Release, text });
    let asked = run.pace.asked(|ask| *ask == Ask::Swap);
    phase::verify::until(run, asked).await
}

/// Asks whether to swap, while what changes is compared. The question ends when the run is stopped.
async fn may_swap(run: &mut Run<'_>) -> Result<bool, Error> {
    let asks = Arc::clone(&run.forward.may_swap);
    let asked = tokio::task::spawn_blocking(move || asks());
    phase::verify::until(run, async { asked.await.unwrap_or(false) }).await
}
