//! What the checklist shows, as text.

use super::*;
use crate::cli::glyphs::UNICODE;
use crate::pg::Lsn;

fn begun(until: Option<Phase>, done: &[Phase]) -> (Checklist, Instant) {
    let mut checklist = Checklist::new(UNICODE);
    let now = checklist.begun;
    let (run, plan) = ("1a2b3c4d".to_owned(), "phase-1".to_owned());
    checklist.take_in(&Event::PhaseStarted { phase: Phase::Check }, now);
    checklist.take_in(&Event::Checked { notes: 1 }, now);
    checklist.take_in(&Event::PhaseDone { phase: Phase::Check, seconds: 0.2 }, now);
    let is_in = |phase: &Phase| until.is_none_or(|until| *phase <= until) && *phase != Phase::Soak;
    let phases = Phase::FORWARD.into_iter().filter(is_in).collect();
    checklist.take_in(&Event::Run { run, plan, resumed: false, done: done.to_vec(), phases, until }, now);
    (checklist, now)
}

fn copying(checklist: &mut Checklist, now: Instant) {
    checklist.take_in(&Event::PhaseStarted { phase: Phase::Copy }, now);
    checklist.take_in(&Event::Round { round: 1, lsn: Lsn(1), chunks: 312 }, now);
    for (table, part) in [("public.appointments", 53), ("public.audit_logs_of_the_clinic", 100)] {
        let reached = Reached {
            bytes: part << 20,
            bytes_total: 100 << 20,
            bytes_per_s: 1.0,
            eta_s: Some(if part == 100 { 0.0 } else { 95.0 }),
        };
        checklist.take_in(
            &Event::CopyProgress {
                table: table.to_owned(),
                rows: part * 10_000,
                rows_estimated: 1_000_000,
                rows_per_s: 76_400.0,
                reached,
            },
            now,
        );
    }
    let wal_status = "reserved".to_owned();
    let (lag_bytes, retained_bytes) = (3 << 20, 24 << 20);
    checklist.take_in(
        &Event::Lag { lag_bytes, applied: 20_113, applied_per_s: 800.0, retained_bytes, wal_status },
        now,
    );
}

fn screen(checklist: &Checklist, at: Instant, width: usize) -> String {
    let lines = checklist.lines(at, width);
    for line in &lines {
        assert!(measure_text_width(line) < width, "{width} columns are too few for {line:?}");
    }
    lines.join("\n")
}

#[test]
fn a_copy_at_80_columns() {
    let (mut checklist, now) = begun(None, &[Phase::Prepare]);
    copying(&mut checklist, now);
    insta::assert_snapshot!(screen(&checklist, now + Duration::from_secs(75), 80), @r"
    run 1a2b3c4d of plan phase-1
     ✓ check       0.2 s  nothing stands in the way, see the note
     ✓ prepare    before
     ⠴ copy         1:15  round 1: 312 chunks
       appointments     █████░░░░░  53%  530k/1.0M rows  53.0 MiB  76k/s  eta 1:35
       audit_logs_of_t… ██████████ 100%  1.0M/1.0M rows  100.0 MiB  76k/s  done
       stream: 3.0 MiB behind, 20,113 changes applied (800/s), slot holds 24.0 MiB
     · catch up
     · index
     · verify
     · swap
     · settle
    ");
}

#[test]
fn a_copy_at_50_columns() {
    let (mut checklist, now) = begun(Some(Phase::Verify), &[]);
    copying(&mut checklist, now);
    insta::assert_snapshot!(screen(&checklist, now + Duration::from_secs(4), 50), @r"
    run 1a2b3c4d of plan phase-1
     ✓ check       0.2 s  nothing stands in the way,…
     · prepare
     ⠸ copy        4.0 s  round 1: 312 chunks
       appointme… ███░░░  53%  76k/s  eta 1:35
       audit_log… ██████ 100%  76k/s  done
       stream: 3.0 MiB behind, 20,113 changes applie…
     · catch up
     · index
     · verify
    ");
}

#[test]
fn whatever_the_width_no_line_is_wider() {
    let (mut checklist, now) = begun(None, &[]);
    copying(&mut checklist, now);
    for width in 2..200 {
        screen(&checklist, now, width);
    }
}

#[test]
fn what_was_interrupted_is_marked_and_the_bars_go() {
    let (mut checklist, now) = begun(Some(Phase::Copy), &[Phase::Prepare]);
    copying(&mut checklist, now);
    checklist.end(false, now + Duration::from_secs(9));
    insta::assert_snapshot!(screen(&checklist, now + Duration::from_secs(99), 80), @r"
    run 1a2b3c4d of plan phase-1
     ✓ check       0.2 s  nothing stands in the way, see the note
     ✓ prepare    before
     ✗ copy        9.0 s  round 1: 312 chunks
    ");
}

#[test]
fn what_is_not_shown_here_is_for_a_line() {
    let (mut checklist, now) = begun(None, &[]);
    assert!(!checklist.take_in(&Event::Notice { text: "look".to_owned() }, now));
    assert!(!checklist.take_in(&Event::Retry { why: "gone".to_owned(), seconds: 1.0 }, now));
    assert!(checklist.take_in(&Event::PhaseStarted { phase: Phase::Swap }, now));
}
