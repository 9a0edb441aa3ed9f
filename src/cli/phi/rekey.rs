//! `phi rekey`: values of encrypted columns under their column's key, in place.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use crate::cli::Shell;
use crate::context::{Context, pauses};
use crate::error::{Error, ExitCode};
use crate::event::Event;
use crate::pg::ConnectionRole;
use crate::plan::Plan;
use crate::rekey::{self, told::Rekeyed};

pub(super) async fn run(shell: &Shell<'_>, path: &Path, dry_run: bool) -> Result<ExitCode, Error> {
    let outcome = work(shell, path, dry_run).await;
    if let Err(Error::Refused(findings)) = &outcome {
        findings.iter().for_each(|finding| shell.tell(&Event::Finding(finding.clone())));
    }
    outcome
}

async fn work(shell: &Shell<'_>, path: &Path, dry_run: bool) -> Result<ExitCode, Error> {
    let plan = shell.plan(path)?;
    let cx = shell.context(&plan)?;
    let mut going = Going { shell, cx: &cx, plan: &plan, dry_run, tables: BTreeMap::new() };
    shell.unless_interrupted(going.sessions()).await?;
    let (values, refused, written) =
        going.tables.values().fold((0, 0, 0), |(values, refused, written), done| {
            let (closed, late) = done.left_as_they_are();
            (values + done.values, refused + closed, written + late)
        });
    let again = format!("projh-bluegreen phi rekey {}", path.display());
    let coverage = format!("projh-bluegreen phi coverage {}", path.display());
    let done = format!("{values} values were encrypted again");
    let (code, state, next) = match (dry_run, refused, written) {
        (true, ..) => (ExitCode::Done, "nothing was changed".to_owned(), Some(again)),
        (false, 0, 0) => (ExitCode::Done, format!("{done}; all are under their column's key"), None),
        (false, _, 0) => {
            let state = format!("{done}; {refused} cannot be opened, and were left as they are");
            (ExitCode::Differences, state, Some(coverage))
        }
        (false, ..) => {
            let others = match refused {
                0 => String::new(),
                refused => format!(", and {refused} that cannot be opened"),
            };
            let state = format!(
                "{done}; {written} are left that others keep writing under another key{others}: let clients use the column's key"
            );
            (ExitCode::Differences, state, Some(again))
        }
    };
    shell.tell(&Event::End { code, state, next });
    Ok(code)
}

struct Going<'a> {
    shell: &'a Shell<'a>,
    cx: &'a Context,
    plan: &'a Plan,
    dry_run: bool,
    /// What was done on each table, in all sessions; of a COMMIT whose answer was lost, nothing is known.
    tables: BTreeMap<String, Rekeyed>,
}

impl Going<'_> {
    /// Opens another session when one is lost: the values say what is left.
    async fn sessions(&mut self) -> Result<(), Error> {
        let (mut waits, mut trouble) = (pauses(), None);
        loop {
            let before = self.done();
            let Err(error) = self.session().await else { return Ok(()) };
            // The server may hold the lock for the session that was lost until it notices.
            let is_ours = trouble.is_some() && error.exit_code() == ExitCode::Held;
            if self.done() > before {
                (waits, trouble) = (pauses(), None);
            }
            let since = *trouble.get_or_insert_with(Instant::now);
            let may_pass = error.is_transient() || is_ours;
            let may_wait = !self.tables.is_empty() && may_pass && since.elapsed() < self.cx.reconnect_for;
            let wait = if may_wait { waits.next() } else { None };
            let Some(wait) = wait else { return Err(error) };
            self.cx.tell(&Event::Retry { why: error.to_string(), seconds: wait.as_secs_f64() });
            tokio::time::sleep(wait).await;
        }
    }

    fn done(&self) -> u64 {
        self.tables.values().map(|done| done.values).sum()
    }

    async fn session(&mut self) -> Result<(), Error> {
        let (shell, plan) = (self.shell, self.plan);
        let session = self.cx.target.connect(ConnectionRole::of_command("phi"), &[]).await?;
        let found = rekey::survey(&session, plan).await?;
        let keyring = rekey::keyring(&session, plan, &found).await?;
        for table in &found {
            let (estimate, rows_at_once) =
                rekey::estimate(&session, (table, &keyring), &plan.settings).await?;
            let left = estimate.values;
            shell.tell(&Event::RekeyEstimate(estimate));
            if !table.triggers.is_empty() && left > 0 {
                let text = format!(
                    "triggers of {} fire for every row that is written: {}",
                    table.name(),
                    table.triggers.join(", ")
                );
                shell.tell(&Event::Notice { text });
            }
            if !self.dry_run {
                let done = self.tables.entry(table.name()).or_default();
                rekey::carry_out((self.cx, &session), (table, &keyring), plan, (left, rows_at_once), done)
                    .await?;
                shell.tell(&Event::Rekeyed(done.clone()));
            }
        }
        Ok(())
    }
}
