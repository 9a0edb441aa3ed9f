//! What can follow what, and what follows from it.

use super::*;
use crate::lifecycle::{RoundEnd, Span};
use crate::pg::{Colour, Ident};

fn folded(facts: &[&str]) -> StepsDone {
    let mut done = StepsDone::default();
    for fact in facts {
        match serde_json::from_str(fact).unwrap() {
            Fact::IndexBuilt { lane, step, what } | Fact::StepSettled { lane, step, what } => {
                done.add(lane, step, &what);
            }
            other => panic!("{other:?}"),
        }
    }
    done
}

#[test]
fn a_step_is_known_by_what_it_does_and_where_version_0_1_0_wrote_it_by_its_number() {
    let old = folded(&[
        r#"{"fact":"index_built","lane":0,"step":3}"#,
        r#"{"fact":"step_settled","lane":1,"step":0}"#,
    ]);
    assert!(old.has(0, 3, "index a on public.t") && old.has(1, 0, "validate x on public.t"));
    assert!(!old.has(0, 0, "index a on public.t"));
    let new = folded(&[r#"{"fact":"step_settled","lane":0,"step":7,"what":"validate x on public.t_p1"}"#]);
    assert!(new.has(0, 2, "validate x on public.t_p1"), "another version numbers otherwise");
    assert!(!new.has(0, 7, "validate x on public.t_p2"));
    assert_eq!((old.count(), new.count()), (2, 1));
}

fn facts() -> Vec<Fact> {
    let home = |name: &str| Ident(name.to_owned());
    let (lsn, span) = (Lsn(1), Span { from: 0, to: None });
    let what = || "index a on public.t".to_owned();
    let verification = || Verification {
        lsn,
        rows: vec![],
        columns: vec![],
        delta_steps: 0,
        delta_keys: 0,
        encrypted: vec![],
    };
    vec![
        Fact::Started { host: "h".to_owned(), pid: 1, version: "0".to_owned() },
        Fact::Prepared(Box::new(Prepared {
            lanes: vec![],
            slot: home("s"),
            mark: String::new(),
            keys: None,
        })),
        Fact::SlotIntended,
        Fact::SlotCreated { lsn, filenodes: vec![7] },
        Fact::RoundBegan { lsn },
        Fact::ChunkCopied { lane: 0, span, rows: 3 },
        Fact::KeyBuilt { lane: 0 },
        Fact::DirtyKeysRead { lane: 0, keys: 1 },
        Fact::RoundEnded { why: RoundEnd::Complete },
        Fact::CopyFinished,
        Fact::CaughtUp { xid: 9 },
        Fact::IndexBuilt { lane: 0, step: 0, what: what() },
        Fact::Indexed { greens: Vec::new() },
        Fact::Verified(verification()),
        Fact::Measured { gate: "quick".to_owned(), ms: 1.5 },
        Fact::WayBackIntended,
        Fact::WayBackOpened { lsn },
        Fact::Swapped { live: Colour::Green, lsn, compared: 0, times: SwapTimes::default(), arrived: None },
        Fact::StepSettled { lane: 0, step: 0, what: what() },
        Fact::Settled,
        Fact::WayBroken { since: "now".to_owned(), why: "a change".to_owned(), keys: vec![] },
        Fact::WayMended,
        Fact::Verified(verification()),
        Fact::Swapped { live: Colour::Blue, lsn, compared: 0, times: SwapTimes::default(), arrived: None },
        Fact::Verified(verification()),
        Fact::Swapped { live: Colour::Green, lsn, compared: 0, times: SwapTimes::default(), arrived: None },
        Fact::WayBackClosing,
        Fact::Soaked,
        Fact::Finished { archived: vec![], lost: vec![] },
        Fact::CopyRestarted { lane: 0 },
        Fact::VerificationVoided,
        Fact::GivenUp { why: "full".to_owned() },
        Fact::WayBackLost { why: "full".to_owned() },
        Fact::PartitionsDropped,
        Fact::RolledBack { lost: vec![] },
    ]
}

/// A column is where a run stands, a row is a fact: `+` where it can follow.
#[test]
fn what_can_follow_what() {
    let facts = facts();
    let mut progress = Progress::default();
    let mut lines: Vec<String> = facts.iter().map(|fact| format!("{:<20}", fact.name())).collect();
    for next in &facts[..29] {
        for (line, fact) in lines.iter_mut().zip(&facts) {
            line.push(if progress.allows(fact) { '+' } else { '.' });
        }
        progress.add(next).unwrap();
        if let Fact::Prepared(_) = next {
            // Of one lane; its design does not matter here.
            (progress.copied, progress.rows_copied) = (vec![Blocks::default()], vec![0]);
        }
    }
    assert!(facts.iter().all(|fact| !progress.allows(fact)), "nothing follows the end");
    insta::assert_snapshot!(lines.join("\n"), @r"
    started             +++++++++++++++++++++++++++++
    prepared            ++...........................
    slot_intended       ..++++++++++++++++......++...
    slot_created        ...+.........................
    round_began         ....++++++...................
    chunk_copied        ....++.......................
    key_built           ..++++++++++++++++......++...
    dirty_keys_read     ....++++++++++++++......++...
    round_ended         ....++++++++++++++......++...
    copy_finished       ......++++...................
    caught_up           ..........+++++++++++++++++..
    index_built         ..++++++++++++++++......++...
    indexed             ..........++++++++......++...
    verified            .............++++++++++++++..
    measured            ..++++++++++++++++......++...
    way_back_intended   .............+++.............
    way_back_opened     ................+............
    swapped             ..............++++.......+...
    step_settled        ..................+++++++++++
    settled             ..................+++++++++++
    way_broken          .................++++++++++..
    way_mended          .................++++++++++..
    verified            .............++++++++++++++..
    swapped             .......................+.....
    verified            .............++++++++++++++..
    swapped             ..............++++.......+...
    way_back_closing    ..................++++++..+..
    soaked              ..................++++++..++.
    finished            ..................++++++..+++
    copy_restarted      ..++++++++...................
    verification_voided +++++++++++++++++++++++++++..
    given_up            ..++++++++++++++++......++...
    way_back_lost       ..................++++++..+..
    partitions_dropped  ++++++++++++++++++......++...
    rolled_back         ++++++++++++++++++......++...
    ");
}

#[test]
fn what_is_refused_changes_nothing_and_is_named() {
    let mut progress = Progress::default();
    let refused = progress.add(&Fact::Settled).unwrap_err();
    assert_eq!(refused.to_string(), "the journal cannot be right: settled cannot follow the facts before it");
    assert!(!progress.settled);
}

#[test]
fn a_run_that_is_taken_over_catches_up_and_is_verified_again() {
    let facts = facts();
    let mut progress = Progress { copied: vec![Blocks::default()], ..Progress::default() };
    for fact in &facts[..14] {
        progress.add(fact).unwrap();
        if let Fact::Prepared(_) = fact {
            (progress.copied, progress.rows_copied) = (vec![Blocks::default()], vec![0]);
        }
    }
    assert_eq!(progress.next_phase(), Some(Phase::Swap));
    progress.add(&facts[0]).unwrap();
    assert_eq!(
        progress.left().collect::<Vec<_>>(),
        [Phase::CatchUp, Phase::Verify, Phase::Swap, Phase::Settle]
    );
    assert!(!progress.allows(&facts[17]), "not swapped without a verification");
}

#[test]
fn what_a_lost_session_did_not_compare_is_known_until_all_rows_are() {
    let facts = facts();
    let mut progress = Progress { copied: vec![Blocks::default()], ..Progress::default() };
    let mut add = |fact: &Fact| {
        progress.add(fact).unwrap();
        if let Fact::Prepared(_) = fact {
            (progress.copied, progress.rows_copied) = (vec![Blocks::default()], vec![0]);
        }
        let says = super::super::Standing::of(&progress, "r", "p").state.contains("has not been compared");
        assert_eq!(says, progress.is_uncompared && progress.next_phase() == Some(Phase::Soak));
        progress.is_uncompared
    };
    assert!(facts[..20].iter().all(|fact| !add(fact)), "the session that has swapped remembers what changes");
    assert!(add(&facts[0]), "another one does not know");
    assert!(!add(&facts[22]), "a verification compares all rows");
}

proptest::proptest! {
    /// Whatever is in a journal, reading it is no panic; what cannot follow changes nothing; and what could be written can be
    /// taken over: a run in any state has a next phase, or has ended, or can only be rolled back or finished.
    #[test]
    fn no_sequence_of_facts_is_a_panic(which in proptest::collection::vec(0..35_usize, 0..80)) {
        let facts = facts();
        let mut progress = Progress::default();
        for at in which {
            let fact = &facts[at % facts.len()];
            let before = format!("{progress:?}");
            match progress.add(fact) {
                Ok(()) => if let Fact::Prepared(_) = fact {
                    (progress.copied, progress.rows_copied) = (vec![Blocks::default()], vec![0]);
                },
                Err(illegal) => {
                    proptest::prop_assert_eq!(illegal.fact, fact.name());
                    proptest::prop_assert_eq!(&before, &format!("{progress:?}"));
                    continue;
                }
            }
            let mut resumed = progress.clone();
            let may_resume = resumed.add(&facts[0]).is_ok();
            proptest::prop_assert_eq!(may_resume, progress.ended.is_none());
            let is_over = progress.live() == Colour::Green && progress.settled && !progress.is_reversible();
            let has_next = resumed.next_phase().is_some() || resumed.only_rollback().is_some() || is_over;
            proptest::prop_assert!(!may_resume || has_next, "{:?}", resumed);
            proptest::prop_assert!(!progress.phases_back(true).is_empty());
        }
    }
}
