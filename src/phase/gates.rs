//! Gates: what the plan asks before the swap, and all through the soak.
//!
//! Before the swap every gate must pass, and what is compared after it is measured. In the soak a gate that fails so
//! many times in a row as the plan says rolls the run back. A gate that cannot be asked has failed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use bytes::BytesMut;
use futures_util::future::select_all;
use postgres_types::{Format, IsNull, ToSql, Type};
use tokio_postgres::Client;

use crate::context::Context;
use crate::error::{Doing, Error};
use crate::event::Event;
use crate::group::Group;
use crate::journal::requests;
use crate::lifecycle::Fact;
use crate::pg::Colour;
use crate::pg::connect::{Session, Target};
use crate::plan::{Compare, Gate, GateAsk};
use crate::run::Run;

/// Asks every gate once. What is compared is measured.
///
/// # Errors
/// [`Error::Gate`] if one does not pass; or if what was measured cannot be recorded.
pub(super) async fn pass(run: &Run<'_>) -> Result<(), Error> {
    let asking =
        Asking { cx: run.cx, role: run.role("gate"), measured: run.journal.progress().measured.clone() };
    for gate in &run.forward.plan.gates {
        let failed = |why| Error::Gate { gate: gate.name.clone(), why };
        match &gate.ask {
            GateAsk::Compare(compare) if run.journal.progress().live() == Colour::Blue => {
                let ms = within(gate, asking.measure(compare)).await.map_err(failed)?;
                run.journal.record(Fact::Measured { gate: gate.name.clone(), ms }).await?;
            }
            _ => asking.ask(gate).await.map_err(failed)?,
        }
        run.cx.tell(&Event::Gate { gate: gate.name.clone(), why: None, failures: 0 });
    }
    Ok(())
}

/// A gate that has failed often enough, and why.
pub(super) struct Failed {
    gate: String,
    why: String,
}

/// Checks that what is to be compared in the soak was measured before the swap: a gate that came to the plan later would roll back
/// what nobody has found fault with.
///
/// # Errors
/// [`Error::Usage`] if not.
pub(super) fn expect_measured(run: &Run<'_>) -> Result<(), Error> {
    let measured = &run.journal.progress().measured;
    let is_new = |gate: &&Gate| matches!(gate.ask, GateAsk::Compare(_)) && !measured.contains_key(&gate.name);
    match run.forward.plan.gates.iter().find(is_new) {
        None => Ok(()),
        Some(Gate { name, .. }) => Err(Error::Usage(format!(
            "gate {name} {UNMEASURED}, when the plan did not have it: take it out of the plan, or give it an `sql` or `command` \
             that says by itself whether all is well"
        ))),
    }
}

const UNMEASURED: &str = "was not measured before the swap";

/// Asks every gate again and again, until one has failed often enough; never ends otherwise. The first time is at once.
pub(super) fn watch<'a>(run: &Run<'a>) -> impl Future<Output = Failed> + use<'a> {
    let (cx, gates) = (run.cx, &run.forward.plan.gates);
    let asking = Asking { cx, role: run.role("gate"), measured: run.journal.progress().measured.clone() };
    async move {
        if gates.is_empty() {
            return std::future::pending().await;
        }
        let watched = gates.iter().map(|gate| Box::pin(watch_one(&asking, gate)));
        select_all(watched).await.0
    }
}

async fn watch_one(asking: &Asking<'_>, gate: &Gate) -> Failed {
    let mut failures = 0;
    loop {
        match asking.ask(gate).await {
            Ok(()) => failures = 0,
            Err(why) => {
                failures += 1;
                let event = Event::Gate { gate: gate.name.clone(), why: Some(why.clone()), failures };
                asking.cx.tell(&event);
                if failures >= gate.failures {
                    return Failed { gate: gate.name.clone(), why };
                }
            }
        }
        tokio::time::sleep(gate.interval).await;
    }
}

/// Writes down what a gate has decided: the run is rolled back.
pub(super) async fn decide(run: &Run<'_>, failed: Failed) -> Error {
    let Failed { gate, why } = failed;
    let text = format!("rolling back, because gate {gate} does not pass: {why}");
    run.cx.tell(&Event::Notice { text });
    let decided = requests::decide(run.journal.session(), run.journal.run(), &gate).await;
    decided.doing("recording what a gate decided").map_or_else(|error| error, Error::Asked)
}

/// What asking a gate takes.
struct Asking<'a> {
    cx: &'a Context,
    /// The `application_name` of its connections.
    role: String,
    /// What was measured before the swap, by gate, in milliseconds.
    measured: BTreeMap<String, f64>,
}

/// What a gate answers.
pub(crate) enum Answer {
    /// It passes.
    Yes,
    /// It does not, and why.
    No(&'static str),
}

/// Asks a gate once, outside of a run: a command is only looked for, and what is compared is executed once, for the first
/// row of `values`. The error says why it cannot be asked.
pub(crate) async fn attempt(target: &Target, name: &str, gate: &Gate) -> Result<Answer, String> {
    let failed = |error: tokio_postgres::Error| crate::pg::describe(&error);
    let asked = async {
        if let GateAsk::Command(words) = &gate.ask {
            return found(words).map(|()| Answer::Yes);
        }
        let session = session(target, name).await?;
        session.batch_execute("BEGIN READ ONLY").await.map_err(failed)?;
        let answer = match &gate.ask {
            GateAsk::Sql(sql) => is_true(&session, sql).await?,
            GateAsk::Compare(compare) => {
                let once = Compare { samples: 1, ..compare.clone() };
                times(&session, &once).await.map(|_| Answer::Yes)?
            }
            GateAsk::Command(_) => Answer::Yes,
        };
        session.batch_execute("ROLLBACK").await.map_err(failed)?;
        Ok(answer)
    };
    within(gate, asked).await
}

/// Whether there is such a program, which may be executed.
fn found(words: &[String]) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let program = words.first().ok_or("no program")?;
    let is_executable = |path: &Path| {
        std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = match program.contains('/') {
        true => is_executable(Path::new(program)),
        false => std::env::split_paths(&path).any(|folder| is_executable(&folder.join(program))),
    };
    if is_there { Ok(()) } else { Err(format!("there is no program {program} that can be executed")) }
}

impl Asking<'_> {
    /// Asks a gate once; the error says why it does not pass.
    async fn ask(&self, gate: &Gate) -> Result<(), String> {
        match &gate.ask {
            GateAsk::Sql(sql) => {
                let asked = async { is_true(&session(&self.cx.target, &self.role).await?, sql).await };
                match within(gate, asked).await? {
                    Answer::Yes => Ok(()),
                    Answer::No(why) => Err(why.to_owned()),
                }
            }
            GateAsk::Command(words) => within(gate, succeeds(words)).await,
            GateAsk::Compare(compare) => {
                let before = self.measured.get(&gate.name).copied();
                let before = before.ok_or_else(|| format!("it {UNMEASURED}"))?;
                let now = within(gate, self.measure(compare)).await?;
                let most = before * compare.factor;
                if now <= most {
                    return Ok(());
                }
                let Compare { measure, factor, .. } = compare;
                Err(format!("{measure} is {now:.2} ms, more than {factor} * {before:.2} ms"))
            }
        }
    }

    /// Executes the statement for each of its values in turn, until there are enough samples, in milliseconds.
    async fn measure(&self, compare: &Compare) -> Result<f64, String> {
        let mut times = times(&session(&self.cx.target, &self.role).await?, compare).await?;
        Ok(compare.measure.of(&mut times))
    }
}

async fn within<T>(gate: &Gate, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = |_| Err(format!("no answer within {} s", gate.timeout.as_secs_f64()));
    tokio::time::timeout(gate.timeout, work).await.unwrap_or_else(late)
}

async fn session(target: &Target, name: &str) -> Result<Session, String> {
    let settings = [("default_transaction_read_only", "on")];
    target.connect(name, &settings).await.map_err(|error| error.to_string())
}

async fn is_true(session: &Session, sql: &str) -> Result<Answer, String> {
    let row = session.query_opt(sql, &[]).await.map_err(|error| crate::pg::describe(&error))?;
    match row.map(|row| row.try_get::<_, Option<bool>>(0)) {
        Some(Ok(Some(true))) => Ok(Answer::Yes),
        Some(Ok(_)) => Ok(Answer::No("it is not true")),
        Some(Err(_)) => Err("its first column is not boolean".to_owned()),
        None => Ok(Answer::No("it has no row")),
    }
}

async fn succeeds(words: &[String]) -> Result<(), String> {
    let program = words.first().map_or("", String::as_str);
    let ended = async { Group::start(words, Stdio::null())?.wait().await };
    match ended.await {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} ended with {status}")),
        Err(error) => Err(format!("{program} cannot be executed: {error}")),
    }
}

async fn times(session: &Session, compare: &Compare) -> Result<Vec<f64>, String> {
    let failed = |error: tokio_postgres::Error| crate::pg::describe(&error);
    let rows = rows(session, compare).await.map_err(failed)?;
    let statement = session.prepare(&compare.sql).await.map_err(failed)?;
    let mut times = Vec::new();
    for row in rows.iter().cycle().take(compare.samples as usize) {
        let values: Vec<&(dyn ToSql + Sync)> = row.iter().map(|value| value as _).collect();
        let begun = Instant::now();
        session.query(&statement, &values).await.map_err(failed)?;
        times.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    if times.is_empty() {
        return Err("`values` has no row".to_owned());
    }
    Ok(times)
}

/// The rows of `values`; one without values if there is no such query.
async fn rows(client: &Client, compare: &Compare) -> Result<Vec<Vec<Text>>, tokio_postgres::Error> {
    let Some(values) = &compare.values else { return Ok(vec![Vec::new()]) };
    let mut rows = Vec::new();
    for message in client.simple_query(values).await? {
        let tokio_postgres::SimpleQueryMessage::Row(row) = message else { continue };
        rows.push((0..row.len()).map(|at| Text(row.get(at).map(str::to_owned))).collect());
    }
    Ok(rows)
}

/// A value as text, for a parameter of any type, as clients send it: no text of a statement has it.
#[derive(Debug)]
struct Text(Option<String>);

impl ToSql for Text {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let Some(text) = &self.0 else { return Ok(IsNull::Yes) };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    postgres_types::to_sql_checked!();
}
