//! `status`: shows runs from any other terminal; once, or every two seconds.

use std::io::IsTerminal;
use std::time::Duration;

use console::{Term, truncate_str};
use tokio_postgres::Client;

use super::person::units::{bytes, count, left, short, time};
use super::{Shell, ending};
use crate::error::{Error, ExitCode};
use crate::event::Event;
use crate::journal::{self, JournalError};
use crate::lifecycle::{Phase, Standing};
use crate::lost;
use crate::pg::ConnectionRole;
use crate::pg::connect::{Session, Target};
use crate::status::{Status, TableStatus};

/// How often `--watch` reads the state again.
const EVERY: Duration = Duration::from_secs(2);
const NO_RUN: &str = "there is no run in this database";

pub(super) async fn run(
    shell: &Shell<'_>,
    plan_or_run: Option<&str>,
    watch: bool,
) -> Result<ExitCode, Error> {
    let (wanted, target) = match plan_or_run {
        Some(name) => {
            let (name, target) = shell.run_and_target(name)?;
            (Some(name), target)
        }
        None => (None, shell.target(None)?),
    };
    let asked = Asked { target, wanted, file: plan_or_run };
    let work = async { if watch { self::watch(shell, &asked).await } else { once(shell, &asked).await } };
    shell.unless_interrupted(work).await?;
    Ok(ExitCode::Done)
}

/// Which runs to show, and from which database.
struct Asked<'a> {
    target: Target,
    /// A run's short id or a plan's name; all runs if `None`.
    wanted: Option<String>,
    /// The plan or run as it was typed.
    file: Option<&'a str>,
}

impl Asked<'_> {
    async fn connect(&self) -> Result<Session, Error> {
        Ok(self.target.connect(ConnectionRole::of_command("status"), &[]).await?)
    }
}

async fn once(shell: &Shell<'_>, asked: &Asked<'_>) -> Result<(), Error> {
    let session = asked.connect().await?;
    let all = ask(&session, asked, usize::MAX).await?;
    if all.is_empty() && !shell.cli.json {
        shell.screen.out(NO_RUN);
    }
    for status in all {
        tell(shell, status);
    }
    Ok(())
}

/// Shows the run until only `finish` is left, or nothing. Reconnects to a server that is lost after the first answer,
/// as the run itself does.
async fn watch(shell: &Shell<'_>, asked: &Asked<'_>) -> Result<(), Error> {
    let is_dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
    let redraws = !shell.cli.json && !is_dumb && std::io::stdout().is_terminal();
    let mut drawn = 0;
    let mut session = Some(asked.connect().await?);
    loop {
        let latest = match latest(asked, &mut session).await {
            Err(error) if error.is_transient() => {
                shell.tell(&Event::Retry { why: error.to_string(), seconds: EVERY.as_secs_f64() });
                drawn = 0;
                tokio::time::sleep(EVERY).await;
                continue;
            }
            latest => latest?,
        };
        let is_over = latest.as_ref().is_some_and(|status| status.phase.is_none());
        if redraws {
            let lines = latest.as_ref().map_or_else(|| vec![NO_RUN.to_owned()], lines);
            drawn = redraw(&lines, drawn);
        } else if let Some(status) = latest {
            tell(shell, status);
        } else if drawn == 0 && !shell.cli.json {
            shell.screen.out(NO_RUN);
            drawn = 1;
        }
        if is_over {
            return Ok(());
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// The first of the wanted runs, over a session that is opened anew if the last one failed.
async fn latest(asked: &Asked<'_>, session: &mut Option<Session>) -> Result<Option<Status>, Error> {
    let open = match session.take() {
        Some(open) => open,
        None => asked.connect().await?,
    };
    let found = ask(&open, asked, 1).await?.pop();
    *session = Some(open);
    Ok(found)
}

/// The wanted runs, at most `most`: first those under way, then those that have ended, the latest first.
async fn ask(client: &Client, asked: &Asked<'_>, most: usize) -> Result<Vec<Status>, Error> {
    let mut runs = journal::list(client).await?;
    if let Some(wanted) = &asked.wanted {
        runs.retain(|run| run.found.run == *wanted || run.found.plan_name == *wanted);
        if runs.is_empty() {
            return Err(JournalError::NoRun(wanted.clone()).into());
        }
    }
    runs.sort_by_key(|run| !run.found.under_way);
    let mut all = Vec::new();
    for run in runs.iter().take(most) {
        let plan = ending::file_of(asked.file, &run.found.plan_name);
        let live = lost::find(client, &run.progress).await.map_err(JournalError::doing("read"))?;
        let standing = Standing::known(&run.progress, &run.found.run, &plan, &live.lost);
        let mut status = Status::of(client, run, standing).await?;
        // While an orchestrator is at work, there is no command to type.
        if status.orchestrator.as_ref().is_some_and(|by| by.alive) {
            status.next = None;
        }
        all.push(status);
    }
    Ok(all)
}

fn tell(shell: &Shell<'_>, status: Status) {
    if shell.cli.json {
        shell.tell(&Event::Status(Box::new(status)));
    } else {
        shell.screen.out(&lines(&status).join("\n"));
    }
}

/// Redraws over the lines drawn before. Returns the number of lines drawn.
fn redraw(lines: &[String], drawn: usize) -> usize {
    let term = Term::stdout();
    let width = usize::from(term.size().1).saturating_sub(1);
    // A terminal that was closed ends the program by a signal.
    let _ = term.clear_last_lines(drawn);
    for line in lines {
        let _ = term.write_line(&truncate_str(line, width, "…"));
    }
    lines.len()
}

/// The lines that show a run.
fn lines(status: &Status) -> Vec<String> {
    let mut lines = vec![format!("run {} of plan {}, begun {}", status.run, status.plan, status.begun)];
    let mut say = |what: &str, text: String| lines.push(format!("  {what:<8} {text}"));
    if let Some(phase) = status.phase {
        let copies = phase == Phase::Copy && status.rounds > 0;
        let rounds = if copies { format!(", round {}", status.rounds) } else { String::new() };
        let again = if status.is_swapped_back { ", towards another swap" } else { "" };
        say("phase", format!("{phase}{rounds}{again}"));
    }
    for table in &status.tables {
        say("copy", copy(table));
    }
    if let Some(steps) = status.indexes.filter(|steps| steps.done > 0) {
        say("indexes", format!("{} of {} statements", steps.done, steps.of));
    }
    if let Some(stream) = &status.stream {
        let (lag, held) = (bytes(stream.lag_bytes), bytes(stream.retained_bytes));
        say("stream", format!("{lag} behind; the slot holds {held} ({})", stream.wal_status));
    }
    if let Some(ends) = &status.soak_ends {
        say("soak", format!("until {ends}; then the swap can be undone no longer"));
    }
    if let Some(by) = &status.orchestrator {
        let is = if by.alive {
            format!("at work, {} connections", by.connections)
        } else {
            "not at work".to_owned()
        };
        let held = if by.alive { "held by" } else { "last by" };
        say(held, format!("process {} on {} since {}: {is}", by.pid, by.host, by.since));
    }
    for asked in &status.requests {
        let answer = match (asked.code, &asked.why) {
            (None, _) => "not answered yet".to_owned(),
            (Some(_), None) => "done".to_owned(),
            (Some(code), Some(why)) => format!("exit code {code}, {why}"),
        };
        say("asked", format!("{}, by {} at {}: {answer}", asked.ask, asked.by, asked.at));
    }
    for set in &status.settings {
        say("set", format!("{}, by {} at {}", set.change, set.by, set.at));
    }
    for left in &status.left_by_partitions {
        let of = left.table.as_deref().unwrap_or("a table that no longer exists");
        let drops = match &left.kept {
            Some(why) => format!("it is kept: {why}"),
            None => "`partitions`, `finish` and `rollback` drop it".to_owned(),
        };
        let what =
            format!("schema {} of a `partitions` that was killed has copies of rows of {of}", left.schema);
        say("left", format!("{what}: {drops}"));
    }
    let facts = status.last_facts.iter().map(|facts| {
        let times = if facts.count > 1 { format!(" x{}", facts.count) } else { String::new() };
        format!("{}{times} {} ago", facts.fact, time(Duration::from_secs_f64(facts.seconds_ago.max(0.0))))
    });
    let facts: Vec<String> = facts.collect();
    if !facts.is_empty() {
        say("last", facts.join(", "));
    }
    say("state", status.state.clone());
    if let Some(next) = &status.next {
        say("next", next.clone());
    }
    lines
}

fn copy(table: &TableStatus) -> String {
    let reached = &table.reached;
    let (rows, name) = (count(table.rows), &table.table);
    if reached.bytes >= reached.bytes_total {
        return format!("{name}: all, {rows} rows");
    }
    let percent = reached.bytes * 100 / reached.bytes_total.max(1);
    let (all, rate, left) = (count(table.rows_estimated), short(table.rows_per_s), left(reached.eta_s));
    let (done, total) = (bytes(reached.bytes), bytes(reached.bytes_total));
    format!("{name}: {percent}%, {rate} rows/s, {left} left, {rows} of about {all} rows, {done} of {total}")
}
