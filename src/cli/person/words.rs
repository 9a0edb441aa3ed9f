//! The text of each event, for a person.

use super::units::{bytes, count, left};
use crate::event::Event;
use crate::finding::{Finding, Severity};
use crate::lifecycle::{Phase, RoundEnd, SwapTimes, Verification};
use crate::meter::Reached;
use crate::rekey::told::{RekeyEstimate, Rekeyed};

/// The text of an event; empty for those that are printed elsewhere.
pub(super) fn words(event: &Event) -> String {
    match event {
        Event::Run { run, plan, resumed, .. } => {
            format!("run {run} of plan {plan}{}", if *resumed { ", resumed" } else { "" })
        }
        Event::Checked { .. } => "  nothing stands in the way".to_owned(),
        Event::Finding(finding) => self::finding(finding),
        Event::PhaseStarted { phase } => format!("{phase} ..."),
        Event::PhaseDone { phase, seconds } => format!("{phase} done in {seconds:.1} s"),
        Event::Round { round, lsn, chunks } => format!("  round {round} at {lsn}: {chunks} chunks to copy"),
        Event::RoundEnded { round, why } => format!("  round {round} {}", round_end(*why)),
        Event::CopyProgress { table, rows, rows_estimated, rows_per_s, reached } => {
            let of = format!("{} of about {} rows", count(*rows), count(*rows_estimated));
            progress(table, &of, *rows_per_s, reached)
        }
        Event::VerifyProgress { table, rows, rows_per_s, reached } => {
            progress(table, &format!("{} rows of both sides compared", count(*rows)), *rows_per_s, reached)
        }
        Event::DeltaVerified { step, keys } => {
            format!("  step {step}: {} keys that changed meanwhile are equal too", count(*keys))
        }
        Event::Step { .. } => format!("  {}", step(event)),
        Event::Lag { .. } => format!("  stream: {}", lag(event)),
        Event::Verified { verification } => verified(verification),
        Event::SwapPostponed { attempt, why, blockers } => {
            let blockers: String =
                blockers.iter().map(|blocker| format!("\n    in the way: {blocker}")).collect();
            format!("  attempt {attempt} was rolled back, and clients continued: {why}{blockers}")
        }
        Event::Swapped { attempt, compared, times, commit_ms, stall_ms } => {
            swapped(*attempt, *compared, times, *commit_ms, *stall_ms)
        }
        Event::Soaking { seconds } => format!(
            "  the swap can be undone for {} more: what clients write to green is applied to blue",
            left(Some(*seconds))
        ),
        Event::Throttled { why: Some(why) } => format!("  waiting: {why}"),
        Event::Throttled { why: None } => "  resuming".to_owned(),
        Event::Retry { why, seconds } => format!("{why}; trying again in {seconds:.1} s"),
        Event::BegunAgain { phase, why } => format!("{phase} begins again: {why}"),
        Event::BackendTerminated { backend } => format!("terminated, as the plan allows: {backend}"),
        Event::Gate { gate, why: None, .. } => format!("  gate {gate}: passed"),
        Event::Gate { gate, why: Some(why), failures } => {
            format!("gate {gate} does not pass, {failures} in a row: {why}")
        }
        Event::Asked { ask, who } => format!("{ask}: {who}"),
        Event::SettingChanged { change, who } => format!("{change}, set by {who}"),
        Event::Partition(changed) => changed.to_string(),
        Event::RekeyEstimate(estimate) => rekey_estimate(estimate),
        Event::Rekeyed(done) => rekeyed(done),
        Event::Waiting { text, .. } | Event::Notice { text } => text.clone(),
        Event::PreviewStep(_)
        | Event::PreviewChange(_)
        | Event::PreviewNotice(_)
        | Event::PreviewSummary(_)
        | Event::Problem(_)
        | Event::Difference(_)
        | Event::RowFound(_)
        | Event::PhiColumn(_)
        | Event::PhiPlace(_)
        | Event::Status(_)
        | Event::Error { .. }
        | Event::End { .. } => String::new(),
    }
}

fn rekey_estimate(estimate: &RekeyEstimate) -> String {
    let RekeyEstimate { table, rows, values, sampled, values_per_s, seconds } = estimate;
    let time = match seconds {
        Some(seconds) => format!(
            ": about {} at {values_per_s:.0} values/s, by a sample of {} that was rolled back",
            left(Some(*seconds)),
            count(*sampled)
        ),
        None => String::new(),
    };
    format!(
        "{table}: {} values in {} rows are not under their column's key{time}",
        count(*values),
        count(*rows)
    )
}

fn rekeyed(done: &Rekeyed) -> String {
    let (table, values) = (&done.table, count(done.values));
    if !done.done {
        let seconds = (done.values_per_s > 0.0).then(|| done.left as f64 / done.values_per_s);
        return format!(
            "  {table}: {values} values, {:.0} values/s, {} left",
            done.values_per_s,
            left(seconds)
        );
    }
    let refused =
        done.refused.iter().map(|(why, values)| format!("\n  {} left as they are: {why}", count(*values)));
    let written = match done.left_as_they_are() {
        (_, 0) => String::new(),
        (_, written) => {
            format!("\n  {} left: others keep writing them under another key", count(written))
        }
    };
    format!(
        "  {table}: {values} values are under their column's key now{}{written}",
        refused.collect::<String>()
    )
}

/// The lag of green behind blue.
pub(super) fn lag(event: &Event) -> String {
    let Event::Lag { lag_bytes, applied, applied_per_s, retained_bytes, wal_status } = event else {
        return String::new();
    };
    let rate = if *applied_per_s > 0.0 { format!(" ({applied_per_s:.0}/s)") } else { String::new() };
    let status = if wal_status == "reserved" { String::new() } else { format!(" ({wal_status})") };
    format!(
        "{} behind, {} changes applied{rate}, slot holds {}{status}",
        bytes(*lag_bytes),
        count(*applied),
        bytes(*retained_bytes)
    )
}

/// Progress of a phase by its statements. Those that build indexes are only counted.
pub(super) fn step(event: &Event) -> String {
    match event {
        Event::Step { phase: Phase::Index, done, of, what } if what.starts_with("analyzing") => {
            format!("{what} ({} of {of})", done + 1)
        }
        Event::Step { phase: Phase::Index, done, of, .. } => {
            format!("{done} of {of} statements that build indexes")
        }
        Event::Step { done, of, what, .. } => format!("{done} of {of}: {what}"),
        _ => String::new(),
    }
}

pub(super) fn round_end(why: RoundEnd) -> &'static str {
    match why {
        RoundEnd::Complete => "complete",
        RoundEnd::SnapshotAge => "ended: its snapshot has reached max_snapshot_age",
        RoundEnd::WalBudget => "ended: the slot retains half of wal_budget",
    }
}

fn progress(table: &str, rows: &str, rows_per_s: f64, reached: &Reached) -> String {
    let Reached { bytes: done, bytes_total, eta_s, .. } = reached;
    let left = if done < bytes_total { format!(", {} left", left(*eta_s)) } else { String::new() };
    let (done, of) = (bytes(*done), bytes(*bytes_total));
    format!("  {table}: {rows}, {done} of {of}, {rows_per_s:.0} rows/s{left}")
}

fn finding(finding: &Finding) -> String {
    let weight = match finding.severity {
        Severity::Refusal => "refused",
        Severity::Note => "note",
    };
    format!("{weight}: {}: {}\n         hint: {}", finding.place, finding.what, finding.hint)
}

fn verified(verification: &Verification) -> String {
    let encrypted = verification.encrypted.iter().map(|census| {
        let keys = census.keys.iter().map(|(key, values)| format!("{} under key {key}", count(*values)));
        let keys: Vec<String> = keys.chain([format!("{} NULL", count(census.nulls))]).collect();
        format!("\n  {}.{} is encrypted: {}", census.table, census.column, keys.join(", "))
    });
    let encrypted: String = encrypted.collect();

    let rows: u64 = verification.rows.iter().sum();
    let columns: Vec<String> = verification.columns.iter().map(ToString::to_string).collect();
    format!(
        "verified: {} rows are equal at one point, {} columns each; then {} keys that changed since, in {} step{}{encrypted}",
        count(rows),
        columns.join(" and "),
        count(verification.delta_keys),
        verification.delta_steps,
        if verification.delta_steps == 1 { "" } else { "s" }
    )
}

/// The stall and its parts, a line each.
fn swapped(attempt: u32, compared: u64, times: &SwapTimes, commit_ms: f64, stall_ms: f64) -> String {
    let compare = format!("{} keys that changed last", count(compared));
    let parts = [
        ("lock wait", times.lock_wait_ms, "until the lock was granted"),
        ("drain", times.drain_ms, "what was committed before it, applied to the other table"),
        ("compare", times.compare_ms, compare.as_str()),
        ("exchange", times.exchange_ms, "names, keys, grants, all that belongs to the tables"),
        ("commit", commit_ms, ""),
    ];
    let mut text = format!("swapped in attempt {attempt}: clients may have waited up to {stall_ms:.1} ms");
    for (name, ms, what) in parts {
        let line = format!("\n  {name:<9} {ms:>8.1} ms  {what}");
        text.push_str(line.trim_end());
    }
    text
}
