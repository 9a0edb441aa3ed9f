//! `status`: where runs stand.

use serde_json::json;

use super::{Shell, print};
use crate::error::Error;
use crate::journal::{self, JournalError, Summary};
use crate::lifecycle::{Ending, Phase, Progress};

pub(super) async fn run(shell: &Shell<'_>, plan_or_run: Option<&str>) -> Result<u8, Error> {
    let (wanted, target) = match plan_or_run {
        Some(name) => {
            let (name, target) = shell.run_and_target(name)?;
            (Some(name), target)
        }
        None => (None, shell.target(None)?),
    };
    let session = target.connect("projh-bluegreen status", &[]).await?;
    let mut runs = journal::list(&session).await?;
    if let Some(wanted) = &wanted {
        runs.retain(|run| run.found.run == *wanted || run.found.plan_name == *wanted);
        if runs.is_empty() {
            return Err(JournalError::NoRun(wanted.clone()).into());
        }
    }
    if runs.is_empty() && !shell.cli.json {
        print("no run has been made in this database");
    }
    for run in &runs {
        tell(shell, run);
    }
    Ok(0)
}

fn tell(shell: &Shell<'_>, run: &Summary) {
    let plan = format!("{}.yaml", run.found.plan_name);
    let (state, next) = state(&run.progress, &run.found.run, &plan);
    let phase = run.progress.next_phase();
    if shell.cli.json {
        let line = json!({
            "type": "status",
            "run": run.found.run,
            "plan": run.found.plan_name,
            "phase": phase,
            "state": state,
            "next": next,
            "rounds": run.progress.rounds,
            "rows_copied": run.progress.rows_copied,
            "begun": run.times.0,
            "last_fact": run.times.1,
        });
        print(&line.to_string());
        return;
    }
    print(&format!(
        "run {} of plan {}, begun {}, last fact {}",
        run.found.run, run.found.plan_name, run.times.0, run.times.1
    ));
    if let Some(phase) = phase {
        print(&format!("  phase: {phase}"));
    }
    if let Some(prepared) = &run.progress.prepared {
        for (lane, rows) in prepared.lanes.iter().zip(&run.progress.rows_copied) {
            print(&format!(
                "  {}: {rows} rows copied in {} round(s)",
                lane.table.plain(),
                run.progress.rounds
            ));
        }
    }
    print(&format!("  {state}"));
    if let Some(next) = next {
        print(&format!("  next: {next}"));
    }
}

/// The state that the tables are in, and what to type next.
pub(super) fn state(progress: &Progress, run: &str, plan: &str) -> (String, Option<String>) {
    match (progress.ended, progress.next_phase()) {
        (Some(Ending::RolledBack), _) => {
            let state = "rolled back: blue is live and as it was; nothing of the run is left but its journal";
            (state.to_owned(), Some(format!("projh-bluegreen execute {plan}")))
        }
        (Some(Ending::Finished), _) => (
            "finished: green is live, blue is gone; nothing of the run is left but its journal".to_owned(),
            None,
        ),
        (None, None) => {
            let state = "swapped: green is live; blue is kept, and is not written any more";
            (state.to_owned(), Some(format!("projh-bluegreen finish {run}")))
        }
        (None, Some(Phase::Settle)) => {
            let state = "swapped: green is live; some work after the swap is left";
            (state.to_owned(), Some(format!("projh-bluegreen execute {plan}")))
        }
        (None, Some(phase)) => {
            let state = format!("blue is live, and clients notice nothing; the run goes on with: {phase}");
            (state, Some(format!("projh-bluegreen execute {plan}, or projh-bluegreen rollback {run}")))
        }
    }
}
