//! `phi coverage`: how much is encrypted, under which keys, and where plaintext remains.

use std::path::Path;

use crate::cli::Shell;
use crate::coverage::{self, Coverage, PhiColumn, PhiPlace};
use crate::error::{Error, ExitCode};
use crate::event::Event;
use crate::pg::ConnectionRole;

pub(super) async fn run(shell: &Shell<'_>, path: &Path, without_keys: bool) -> Result<ExitCode, Error> {
    let plan = shell.plan(path)?;
    let target = shell.target(Some(&plan))?;
    let work = async {
        let client = target.connect(ConnectionRole::of_command("phi"), &[]).await?;
        let keyring = match plan.keys.as_ref().filter(|_| !without_keys) {
            Some(keys) => Some(keys.load(&client).await?),
            None => None,
        };
        coverage::cover(&client, &plan, keyring.as_ref()).await
    };
    let coverage = shell.unless_interrupted(work).await?;
    let code = if coverage.is_complete() { ExitCode::Done } else { ExitCode::Differences };
    let state = summary(&coverage);
    if shell.cli.json {
        coverage.columns.into_iter().for_each(|column| shell.tell(&Event::PhiColumn(column)));
        coverage.places.into_iter().for_each(|place| shell.tell(&Event::PhiPlace(place)));
        shell.tell(&Event::End { code, state, next: None });
        return Ok(code);
    }
    for line in coverage.columns.iter().flat_map(of_column) {
        shell.screen.out(&line);
    }
    if !coverage.places.is_empty() {
        shell.screen.out("where plaintext remains, or may remain");
    }
    for line in coverage.places.iter().flat_map(of_place) {
        shell.screen.out(&line);
    }
    shell.screen.out(&state);
    Ok(code)
}

fn summary(coverage: &Coverage) -> String {
    let incomplete: Vec<&PhiColumn> =
        coverage.columns.iter().filter(|column| !column.is_complete()).collect();
    if coverage.columns.is_empty() {
        return "no column is encrypted by the plan or marked by a comment".to_owned();
    }
    match incomplete.len() {
        0 => "100 %: every value of these columns is encrypted".to_owned(),
        count => format!(
            "not 100 %: {count} of {} columns have values that are not encrypted as they should be",
            coverage.columns.len()
        ),
    }
}

fn of_column(column: &PhiColumn) -> Vec<String> {
    let marked = if column.in_plan { "" } else { " (marked by its comment)" };
    let mut lines = vec![format!(
        "{}.{}{marked}: {} % of {} values encrypted, {} NULL",
        column.table,
        column.column,
        column.percent,
        column.values(),
        column.nulls
    )];
    for under in &column.encrypted {
        let key = under.key.as_ref().map_or_else(|| "no key named".to_owned(), |key| format!("key {key}"));
        lines.push(format!("  {} under {key}: {}, {}", under.values, under.format.name(), under.parameters));
    }
    if let Some(opened) = column.opened.filter(|_| !column.encrypted.is_empty()) {
        lines.push(format!("  {opened} opened with the provider's keys"));
    }
    if column.plaintext > 0 {
        lines.push(format!("  {} in plaintext", column.plaintext));
    }
    lines.extend(column.refused.iter().map(|(why, values)| format!("  {values} not accepted: {why}")));
    for (what, of) in [("blind index", &column.blind_index), ("tag", &column.tag)] {
        lines.extend(of.iter().map(|of| match of.missing {
            true => format!("  {what} {}: the table has no such column", of.column),
            false => format!("  {what} {}: {} equal, {} not", of.column, of.equal, of.other),
        }));
    }
    lines
}

fn of_place(place: &PhiPlace) -> [String; 2] {
    let rows = place.rows.map_or_else(String::new, |rows| format!(", {rows} rows"));
    [format!("  {} {}{rows}", place.kind.words(), place.object), format!("      {}", place.advice)]
}
