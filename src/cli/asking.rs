//! Commands on a run that another process holds are carried out by that process, and reported on both terminals; on a run
//! that nobody holds, by the command itself.

use std::time::{Duration, Instant};

use super::{Shell, ending, going_on};
use crate::context::{Context, Goal};
use crate::engine;
use crate::error::{Doing, Error, ExitCode};
use crate::event::Event;
use crate::in_force::InForce;
use crate::journal::requests::{self, Answer, Ask};
use crate::journal::{self, JournalError, Summary};
use crate::pg::ConnectionRole;
use crate::pg::connect::Session;
use crate::phase;

/// How long the process that holds the run may take to see a request: it looks once a second.
const PATIENCE: Duration = Duration::from_secs(15);
/// None of its sessions sends anything for so long only if that process is stopped, or its host is gone.
const SILENT_SECONDS: f64 = 20.0;
/// How often to look whether it is.
const LISTEN: Duration = Duration::from_secs(5);
/// How often to look for the answer.
const EVERY: Duration = Duration::from_millis(250);
/// A run that nobody has held for so long has been left: between two of its sessions, the process that holds it has none.
const LEFT: Duration = Duration::from_secs(5);

/// Reaches a goal, or has it reached.
pub(super) async fn reach(shell: &Shell<'_>, cx: &Context, goal: &Goal, ask: Ask) -> Result<ExitCode, Error> {
    loop {
        match engine::reach(cx, goal).await {
            Err(Error::Journal(JournalError::Held { run, holder, .. })) => {
                // Without an answer it has ended: nobody holds the run now.
                if let Some(answer) = have_done(shell, cx, &run, &holder, &ask).await? {
                    return outcome(answer);
                }
            }
            reached => return reached,
        }
    }
}

/// Has a command carried out that leaves the run under way.
pub(super) async fn control(shell: &Shell<'_>, plan_or_run: &str, ask: Ask) -> Result<ExitCode, Error> {
    let (named, cx) = shell.run_and_context(plan_or_run)?;
    let code = loop {
        let session = cx.target.connect(ConnectionRole::of_command("ask"), &[]).await?;
        let run = under_way(shell, &session, &named).await?;
        refuse_useless(&run, &ask)?;
        if let Some(holder) = journal::holder(&session, &run.found.plan_name).await? {
            match have_done(shell, &cx, &run.found.run, &holder, &ask).await? {
                Some(answer) => {
                    let code = told(shell, &ask, answer)?;
                    if ask == Ask::Verify {
                        tell_verified(shell, &session, &named).await?;
                    }
                    break code;
                }
                None => continue,
            }
        }
        if matches!(ask, Ask::Verify | Ask::Swap) {
            match going_on::run(shell, &session, &run, plan_or_run, &ask).await {
                // It was taken over at the same moment.
                Err(Error::Journal(JournalError::Held { .. })) => continue,
                code => break code?,
            }
        }
        break told(shell, &ask, record(&session, &run.found.run, &ask).await?)?;
    };
    Ok(ending::tell(shell, &cx.target, &named, Some(plan_or_run), code).await)
}

/// Reports what the process that holds the run has compared.
async fn tell_verified(shell: &Shell<'_>, session: &Session, named: &str) -> Result<(), Error> {
    let run = journal::latest(session, named, false).await?;
    if let Some(verification) = run.and_then(|run| run.progress.verified) {
        shell.tell(&Event::Verified { verification });
    }
    Ok(())
}

/// The run, which has not ended.
pub(super) async fn under_way(shell: &Shell<'_>, session: &Session, named: &str) -> Result<Summary, Error> {
    let found = shell.find(session, named).await?;
    let run = found.ok_or_else(|| JournalError::NoRun(named.to_owned()))?;
    if run.found.under_way {
        return Ok(run);
    }
    let ending = journal::ending(session, &run.found.run).await?;
    Err(JournalError::Ended { run: run.found.run, plan: run.found.plan_name, ending }.into())
}

/// Refuses what nobody would carry out any more.
fn refuse_useless(run: &Summary, ask: &Ask) -> Result<(), Error> {
    let id = &run.found.run;
    let why = match ask {
        Ask::Pause | Ask::Resume | Ask::Set(_) => {
            run.progress.only_rollback().map(|why| format!("{why}, and can only be rolled back"))
        }
        _ => None,
    };
    let only_finish = run.progress.next_phase().is_none() && *ask == Ask::Pause;
    let why = why.or_else(|| only_finish.then(|| "only `finish` is left of the run".to_owned()));
    match why {
        Some(why) => Err(Error::Usage(format!("`{}` has no effect on run {id}: {why}", ask.name()))),
        None => Ok(()),
    }
}

/// Writes a request that counts for whoever holds the run next, and its answer.
async fn record(session: &Session, run: &str, ask: &Ask) -> Result<Answer, Error> {
    journal::migrate(session).await?;
    let changes = match ask {
        Ask::Set(changes) => in_force(session, run).await?.changes_by(changes),
        _ => Vec::new(),
    };
    let n = requests::ask(session, run, ask).await?;
    let answer = Answer { changes, ..Answer::done(ExitCode::Done) };
    requests::answer(session, n, &answer).await.doing("writing a request")?;
    Ok(answer)
}

/// The settings that a run goes by, executed by whomever.
pub(super) async fn in_force(session: &Session, run: &str) -> Result<InForce, Error> {
    let in_force = InForce::of(&journal::settings(session, run).await?.unwrap_or_default());
    in_force.read(session, run).await.doing("reading what was set")?;
    Ok(in_force)
}

/// Reports an answer.
fn told(shell: &Shell<'_>, ask: &Ask, answer: Answer) -> Result<ExitCode, Error> {
    for change in &answer.changes {
        let who = "this command".to_owned();
        shell.tell(&Event::SettingChanged { change: change.clone(), who });
    }
    if matches!(ask, Ask::Set(_)) && answer.why.is_none() && answer.changes.is_empty() {
        shell.tell(&Event::Notice { text: "the settings have these values already".to_owned() });
    }
    outcome(answer)
}

/// What an answer means for the command that asked.
fn outcome(answer: Answer) -> Result<ExitCode, Error> {
    match answer.why {
        None => Ok(ExitCode::of(answer.code)),
        Some(why) => Err(Error::Answered { code: answer.code, why }),
    }
}

/// Why the process that holds a run cannot do this.
fn refused(run: &Summary, ask: &Ask) -> Option<String> {
    let progress = &run.progress;
    let why = match ask {
        // What it would refuse must not end what it is doing.
        Ask::Finish(how) => {
            return phase::finish::phases(progress, *how).err().map(|error| error.to_string());
        }
        Ask::Verify if progress.swapped.is_none() && progress.verified.is_none() => {
            Some("the run has not been verified yet; it is, before the swap")
        }
        Ask::Verify => going_on::nothing_to_compare(progress),
        Ask::Swap if progress.swapped.is_some() => Some("the run has been swapped already"),
        Ask::Swap if progress.verified.is_none() => Some("the run has not been verified yet"),
        _ => None,
    };
    why.map(str::to_owned)
}

/// Asks the process that holds a run; `None` if it has ended before it answered.
async fn have_done(
    shell: &Shell<'_>,
    cx: &Context,
    run: &str,
    holder: &str,
    ask: &Ask,
) -> Result<Option<Answer>, Error> {
    let session = cx.target.connect(ConnectionRole::of_command("ask"), &[]).await?;
    let found = journal::latest(&session, run, false).await?;
    if let Some(what) = found.as_ref().and_then(|run| refused(run, ask)) {
        return Err(Error::Usage(format!("{what}; the run is executed by {holder}")));
    }
    let n = requests::ask(&session, run, ask).await?;
    cx.tell(&Event::Asked { ask: ask.name().to_owned(), who: holder.to_owned() });
    let answered = shell.unless_interrupted(wait(cx, &session, (run, holder), n)).await;
    if let Err(Error::Interrupted) = answered
        && !requests::withdraw(&session, n, ask).await.doing("withdrawing a request")?
    {
        let text = format!("it is being carried out all the same, by {holder}");
        cx.tell(&Event::Notice { text });
    }
    answered
}

/// Waits for the answer; `None` if the process has ended before it answered.
async fn wait(
    cx: &Context,
    session: &Session,
    (run, holder): (&str, &str),
    n: i64,
) -> Result<Option<Answer>, Error> {
    let since = Instant::now();
    let (mut held, mut listened, mut is_told) = (since, since, false);
    loop {
        tokio::time::sleep(EVERY).await;
        let asked = requests::asked(session, n).await?;
        if let Some(answer) = asked.answer {
            return Ok(Some(answer));
        }
        if journal::is_held(session, run).await? {
            held = Instant::now();
        }
        if held.elapsed() > LEFT {
            let answer = Answer::failed(ExitCode::Failed, "the process that held the run has ended");
            let _ = requests::answer(session, n, &answer).await;
            // It may have answered just before its end.
            let answer = requests::asked(session, n).await?.answer;
            return Ok(answer.filter(|answer| answer.why.is_none()));
        }
        if asked.is_taken && listened.elapsed() > LISTEN {
            listened = Instant::now();
            let is_silent = journal::silent_for(session, run).await?.is_some_and(|of| of > SILENT_SECONDS);
            if is_silent && !is_told {
                let text = format!(
                    "it was taken by {holder}, of which nothing has been heard for {SILENT_SECONDS} s: if its host is gone, the \
                     server notices within a minute; otherwise continue that process, or end it, and this command does it"
                );
                cx.tell(&Event::Notice { text });
            }
            is_told = is_silent;
        }
        if !asked.is_taken && since.elapsed() > PATIENCE {
            let answer = Answer::failed(ExitCode::Held, "withdrawn: nobody has taken it");
            let _ = requests::answer(session, n, &answer).await;
            return Err(Error::Unanswered { holder: holder.to_owned() });
        }
    }
}
