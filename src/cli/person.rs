//! Events for a person: plain lines on standard error.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::{eprint, print};
use crate::check::{Finding, Severity};
use crate::error::Error;
use crate::event::{Event, Reporter};
use crate::lifecycle::{Phase, RoundEnd, SwapTimes, Verification};

pub(super) struct Lines {
    begun: Instant,
    /// When a step was last told: one of many a second is enough.
    step: Mutex<Instant>,
}

impl Default for Lines {
    fn default() -> Self {
        Self { begun: Instant::now(), step: Mutex::new(Instant::now()) }
    }
}

impl Lines {
    fn is_worth_a_line(&self, event: &Event) -> bool {
        let Event::Step { done, of, .. } = event else { return true };
        let mut last = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        let tells = done == of || last.elapsed().as_secs_f64() > 1.0;
        if tells {
            *last = Instant::now();
        }
        tells
    }
}

impl Reporter for Lines {
    fn tell(&self, event: &Event) {
        match event {
            Event::Verified { .. } | Event::Swapped { .. } => print(&words(event)),
            Event::End { state, next, .. } => {
                print(state);
                if let Some(next) = next {
                    print(&format!("next: {next}"));
                }
            }
            _ if self.is_worth_a_line(event) => {
                let seconds = self.begun.elapsed().as_secs_f64();
                for line in words(event).lines() {
                    eprint(&format!("{seconds:8.1}s  {line}"));
                }
            }
            _ => {}
        }
    }

    fn failed(&self, error: &Error) {
        eprint(&match error {
            Error::Plan(problems) => problems.to_string(),
            other => format!("error: {other}"),
        });
        if let Error::Differences(differences) = error {
            for difference in differences {
                let kind = format!("{:?}", difference.kind).to_lowercase();
                eprint(&format!("  {}: {kind}, key digest {}", difference.table, difference.key_digest));
            }
        }
        if let Some(advice) = error.advice() {
            eprint(&format!("help: {advice}"));
        }
    }
}

fn words(event: &Event) -> String {
    match event {
        Event::Run { run, plan, resumed } => {
            format!("run {run} of plan {plan}{}", if *resumed { ", resumed" } else { "" })
        }
        Event::Finding(finding) => self::finding(finding),
        Event::PhaseStarted { phase } => format!("{phase} ..."),
        Event::PhaseDone { phase, seconds } => format!("{phase} done in {seconds:.1} s"),
        Event::Round { round, lsn, chunks } => format!("  round {round} at {lsn}: {chunks} chunks to copy"),
        Event::RoundEnded { round, why } => match why {
            RoundEnd::Complete => format!("  round {round} complete"),
            RoundEnd::SnapshotAge => {
                format!("  round {round} ended: its snapshot has reached max_snapshot_age")
            }
            RoundEnd::WalBudget => format!("  round {round} ended: the slot holds back much WAL"),
        },
        Event::CopyProgress { table, rows, rows_estimated, rows_per_s } => {
            format!("  {table}: {rows} of about {rows_estimated} rows, {rows_per_s:.0} rows/s")
        }
        Event::Step { phase: Phase::Index, done, of, .. } => {
            format!("  {done} of {of} statements that build indexes")
        }
        Event::Step { done, of, what, .. } => format!("  {done} of {of}: {what}"),
        Event::Lag { lag_bytes, applied } => {
            format!("  stream: {lag_bytes} bytes behind, {applied} changes applied")
        }
        Event::Verified { verification } => verified(verification),
        Event::SwapPostponed { attempt, why, blockers } => {
            let who: String = blockers.iter().map(|who| format!("\n    in the way: {who}")).collect();
            format!("  attempt {attempt} was rolled back, clients went on: {why}{who}")
        }
        Event::Swapped { attempt, compared, times, commit_ms, stall_ms } => {
            swapped(*attempt, *compared, times, (*commit_ms, *stall_ms))
        }
        Event::Throttled { why: Some(why) } => format!("  waiting: {why}"),
        Event::Throttled { why: None } => "  going on".to_owned(),
        Event::Retry { why, seconds } => format!("{why}; trying again in {seconds:.1} s"),
        Event::Notice { text } => text.clone(),
        // The preview is printed as a page of its own.
        Event::PreviewStep(_)
        | Event::PreviewChange(_)
        | Event::PreviewNotice(_)
        | Event::PreviewSummary(_)
        | Event::End { .. } => String::new(),
    }
}

fn finding(finding: &Finding) -> String {
    let weight = match finding.severity {
        Severity::Refusal => "refused",
        Severity::Note => "note",
    };
    format!("{weight}: {}: {}\n         mend: {}", finding.place, finding.what, finding.mend)
}

fn verified(verification: &Verification) -> String {
    let rows: u64 = verification.rows.iter().sum();
    let columns: Vec<String> = verification.columns.iter().map(ToString::to_string).collect();
    format!(
        "verified: {rows} rows are equal at one point, {} columns each; then {} keys that changed since, in {} steps",
        columns.join(" and "),
        verification.delta_keys,
        verification.delta_steps
    )
}

fn swapped(attempt: u32, compared: u64, times: &SwapTimes, (commit_ms, stall_ms): (f64, f64)) -> String {
    let SwapTimes { lock_wait_ms, drain_ms, compare_ms, exchange_ms } = times;
    format!(
        "swapped in attempt {attempt}; {compared} keys compared under the lock\n\
         stall {stall_ms:.1} ms: lock wait {lock_wait_ms:.1}, drain {drain_ms:.1}, compare {compare_ms:.1}, \
         exchange {exchange_ms:.1}, commit {commit_ms:.1}"
    )
}
