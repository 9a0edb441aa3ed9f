//! How a session takes over a run.

use std::sync::atomic::Ordering;

use tokio::task::JoinSet;

use crate::context::{Context, Forward};
use crate::error::{Doing, Error};
use crate::event::Event;
use crate::journal::{Held, Journal, JournalError, Locked};
use crate::lifecycle::{Ending, Phase};
use crate::phase;
use crate::run::Run;
use crate::watchdog::{Pace, waits};

/// Takes the run over, and prepares what its phases need.
pub(super) async fn open<'a>(
    cx: &'a Context,
    forward: &'a Forward,
    held: &mut Option<Held>,
) -> Result<Run<'a>, Error> {
    let plan = &forward.plan;
    let journal = waits::told(cx, plan, Journal::begin(&cx.target, plan, held.as_ref())).await?;
    *held = Some(journal.held());
    // The phases depend on the settings.
    set(cx, forward, &journal).await?;
    take(cx, &journal, forward.phases(), forward.until, held);
    run_of(cx, forward, journal, true).await
}

/// What the phases of a run need in this session.
pub(super) async fn run_of<'a>(
    cx: &'a Context,
    forward: &'a Forward,
    journal: Journal,
    heeds_requests: bool,
) -> Result<Run<'a>, Error> {
    set(cx, forward, &journal).await?;
    let pace = Pace::keep(cx, forward, &journal).await?;
    Ok(Run {
        cx,
        forward,
        journal,
        heeds_requests,
        lanes: Vec::new(),
        feed: None,
        others: None,
        meanwhile: JoinSet::new(),
        pace,
        published: Vec::new(),
        verified_files: Vec::new(),
        keyring: None,
    })
}

/// Reads which settings were changed by `set`.
pub(super) async fn set(cx: &Context, forward: &Forward, journal: &Journal) -> Result<(), Error> {
    let changed = forward.settings.read(journal.session(), journal.run()).await;
    changed.doing("reading what was set")?.iter().for_each(|event| cx.tell(event));
    Ok(())
}

/// Loads the lanes of a run that has been prepared, if there is still one to follow.
pub(super) async fn load(run: &mut Run<'_>) -> Result<(), Error> {
    let (prepared, has_lanes) = {
        let progress = run.journal.progress();
        (progress.prepared.clone(), progress.swapped.is_none() || progress.is_reversible())
    };
    match prepared.filter(|_| has_lanes) {
        Some(prepared) => phase::load_lanes(run, &prepared).await,
        None => Ok(()),
    }
}

/// Takes over a run, unless `refuse` does so; `None` if it is to be ended, and the session before has done so, with a
/// COMMIT whose answer was lost.
pub(super) async fn resume(
    cx: &Context,
    run: &str,
    held: &mut Option<Held>,
    wanted: Option<Ending>,
    refuse: impl AsyncFn(&Locked) -> Result<(), Error>,
) -> Result<Option<Journal>, Error> {
    let begun = held.is_some();
    let taken = async {
        let locked = Journal::lock(&cx.target, run, held.as_ref()).await?;
        refuse(&locked).await?;
        Ok(locked.take_over().await?)
    };
    match phase::unless(cx.interrupted(), taken).await {
        Err(Error::Journal(JournalError::Ended { ending, .. })) if begun && wanted == Some(ending) => {
            Ok(None)
        }
        journal => {
            let journal = journal?;
            cx.has_begun.store(true, Ordering::Release);
            Ok(Some(journal))
        }
    }
}

/// Remembers and reports that this session holds the run.
pub(super) fn take(
    cx: &Context,
    journal: &Journal,
    phases: Vec<Phase>,
    until: Option<Phase>,
    held: &mut Option<Held>,
) {
    *held = Some(journal.held());
    let (run, plan, resumed) = (journal.run().to_owned(), journal.plan().to_owned(), journal.resumed());
    let done = journal.progress().done();
    tracing::info!(run, plan, resumed, ?done, "run taken over");
    cx.tell(&Event::Run { run, plan, resumed, done, phases, until });
}
