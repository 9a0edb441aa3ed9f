//! Commands on a run that another process holds: they are carried out by that process, and reported on both terminals.

use std::time::{Duration, Instant};

use super::{Shell, ending};
use crate::context::{Context, Goal};
use crate::engine;
use crate::error::{Doing, Error, ExitCode};
use crate::event::Event;
use crate::journal::requests::{self, Answer, Ask};
use crate::journal::{self, JournalError};
use crate::pg::ConnectionRole;
use crate::pg::connect::Session;

/// How long the process that holds the run may take to see a request: it looks once a second.
const PATIENCE: Duration = Duration::from_secs(15);
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
                if let Some(answer) = have_done(shell, cx, &run, &holder, ask).await? {
                    return outcome(answer);
                }
            }
            reached => return reached,
        }
    }
}

/// Asks for what only the process that holds the run can do; a pause also counts for whoever holds it next.
pub(super) async fn control(shell: &Shell<'_>, plan_or_run: &str, ask: Ask) -> Result<ExitCode, Error> {
    let (named, cx) = shell.run_and_context(plan_or_run)?;
    let asked = async {
        let session = cx.target.connect(ConnectionRole::of_command("ask"), &[]).await?;
        let found = journal::latest(&session, &named, false).await?;
        let run = found.ok_or_else(|| JournalError::NoRun(named.clone()))?.found;
        if !run.under_way {
            let ending = journal::ending(&session, &run.run).await?;
            return Err(JournalError::Ended { run: run.run, plan: run.plan_name, ending }.into());
        }
        match journal::holder(&session, &run.plan_name).await? {
            Some(holder) => {
                let answer = have_done(shell, &cx, &run.run, &holder, ask).await?;
                answer.ok_or_else(|| Error::Unanswered { holder })
            }
            None if matches!(ask, Ask::Pause | Ask::Resume) => {
                let n = requests::ask(&session, &run.run, ask).await?;
                let answer = Answer { code: 0, why: None };
                requests::answer(&session, n, &answer).await.doing("pausing a run")?;
                Ok(answer)
            }
            None => {
                let what = format!("nobody executes run {}", run.run);
                Err(Error::Usage(format!("{what}; `projh-bluegreen execute` resumes it")))
            }
        }
    };
    let code = outcome(asked.await?)?;
    ending::tell(shell, &cx.target, &named, Some(plan_or_run), code).await;
    Ok(code)
}

/// What an answer means for the command that asked.
fn outcome(answer: Answer) -> Result<ExitCode, Error> {
    match answer {
        Answer { code, why: None } => Ok(ExitCode::of(code)),
        Answer { code, why: Some(why) } => Err(Error::Answered { code, why }),
    }
}

/// Asks the process that holds a run; `None` if it has ended before it answered.
async fn have_done(
    shell: &Shell<'_>,
    cx: &Context,
    run: &str,
    holder: &str,
    ask: Ask,
) -> Result<Option<Answer>, Error> {
    let session = cx.target.connect(ConnectionRole::of_command("ask"), &[]).await?;
    let found = journal::latest(&session, run, false).await?;
    let (is_swapped, may_soak) = found.map_or((false, false), |run| {
        let is_swapped = run.progress.swapped.is_some();
        (is_swapped, is_swapped && run.progress.is_reversible())
    });
    let refused = match ask {
        Ask::Finish(_) if !is_swapped => {
            Some("the run has not been swapped yet, so there is nothing to finish")
        }
        Ask::Verify if !may_soak => Some("all rows are compared again in the soak only"),
        _ => None,
    };
    if let Some(what) = refused {
        return Err(Error::Usage(format!("{what}; the run is executed by {holder}")));
    }
    let n = requests::ask(&session, run, ask).await?;
    cx.tell(&Event::Asked { ask: ask.name().to_owned(), who: holder.to_owned() });
    let answered = shell.unless_interrupted(wait(&session, run, holder, n)).await;
    if let Err(Error::Interrupted) = answered
        && !requests::withdraw(&session, n, ask).await.doing("withdrawing a request")?
    {
        let text = format!("it is being carried out all the same, by {holder}");
        cx.tell(&Event::Notice { text });
    }
    answered
}

/// Waits for the answer; `None` if the process has ended before it answered.
async fn wait(session: &Session, run: &str, holder: &str, n: i64) -> Result<Option<Answer>, Error> {
    let since = Instant::now();
    let mut held = since;
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
            let why = Some("the process that held the run has ended".to_owned());
            let _ = requests::answer(session, n, &Answer { code: 1, why }).await;
            // It may have answered just before its end.
            let answer = requests::asked(session, n).await?.answer;
            return Ok(answer.filter(|answer| answer.why.is_none()));
        }
        if !asked.is_taken && since.elapsed() > PATIENCE {
            let why = Some("withdrawn: nobody has taken it".to_owned());
            let _ = requests::answer(session, n, &Answer { code: 8, why }).await;
            return Err(Error::Unanswered { holder: holder.to_owned() });
        }
    }
}
