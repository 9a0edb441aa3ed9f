//! The state of a run's tables and the next command, in sentences; the only place that words them.
//!
//! Invariant: each sentence is true of the server in every state in which it is printed; a test compares them with
//! the catalog.

use std::borrow::Cow;

use jiff::Timestamp;

use super::{Broken, Ending, Lost, Phase, Progress, way_out, what_is_lost};
use crate::pg::{self, QName};

/// The state of a run, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The state of the tables, in a sentence.
    pub state: String,
    /// The command to type next; `None` if there is none.
    pub next: Option<String>,
    /// Whether `execute` resumes the run.
    pub is_resumable: bool,
}

impl Standing {
    /// The standing of a run whose live tables were looked for: `lost` are those that are gone.
    #[must_use]
    pub fn known(progress: &Progress, run: &str, plan: &str, lost: &[Lost]) -> Self {
        if lost.is_empty() || progress.ended.is_some() {
            return Self::of(progress, run, plan);
        }
        let next = Some(way_out(progress, run, lost));
        Self { state: what_is_lost(lost), next, is_resumable: false }
    }

    /// The standing of a run; `plan` is the plan's file as a person would type it.
    #[must_use]
    pub fn of(progress: &Progress, run: &str, plan: &str) -> Self {
        if let Some(ending) = progress.ended {
            let next = (ending == Ending::RolledBack).then(|| format!("projh-bluegreen execute {plan}"));
            return Self { next, ..Self::ended(ending, progress) };
        }
        if let Some(why) = progress.only_rollback() {
            let state =
                format!("blue is live, and clients notice nothing; {why}, and can only be rolled back");
            return Self { state, next: Some(Self::rollback(progress, run)), is_resumable: false };
        }
        let broken = progress.broken.as_ref().filter(|_| progress.is_reversible());
        if let (Some(Phase::Soak), Some(broken)) = (progress.next_phase(), broken) {
            return Self::broken(broken, run, plan);
        }
        match progress.next_phase() {
            None if progress.is_in_place() => Self {
                state: "the indexes are built in place, and nothing else of the tables has changed"
                    .to_owned(),
                next: Some(format!(
                    "projh-bluegreen finish {run}, or projh-bluegreen rollback {run} drops them"
                )),
                is_resumable: false,
            },
            None => Self {
                state: match &progress.way_back_lost {
                    None => "swapped: green is live; blue is kept, but no longer written".to_owned(),
                    Some(why) => format!(
                        "swapped: green is live; blue is kept, but no longer written: the way back was lost ({why})"
                    ),
                },
                next: Some(format!("projh-bluegreen finish {run}")),
                is_resumable: false,
            },
            Some(Phase::Soak) if progress.closing => Self {
                state: "swapped: green is live; the way back is being closed".to_owned(),
                next: Some(format!("projh-bluegreen execute {plan}, or projh-bluegreen finish {run}")),
                is_resumable: true,
            },
            Some(Phase::Soak) => Self::soaking(progress, run, plan),
            Some(_) if progress.swapped.is_some() => Self {
                state: format!(
                    "swapped: green is live; some work after the swap is left{}",
                    Self::left(progress).map_or_else(String::new, |left| format!(": {left}"))
                ),
                next: Some(format!("projh-bluegreen execute {plan}")),
                is_resumable: true,
            },
            Some(_) if progress.swaps > 0 => Self::back(progress, run, plan),
            Some(phase) => {
                let mut state =
                    format!("blue is live, and clients notice nothing; the run resumes with: {phase}");
                if progress.slot.is_some() {
                    state += "; until it does or is rolled back, its slot makes the server retain WAL";
                }
                if progress.prepared.is_none() && !progress.in_place.is_empty() {
                    state = "indexes are being built on the live tables, and an invalid one may be left there, which writes \
                             maintain and a unique one checks; the run resumes with: prepare"
                        .to_owned();
                }
                let next = format!("projh-bluegreen execute {plan}, or projh-bluegreen rollback {run}");
                Self { state, next: Some(next), is_resumable: true }
            }
        }
    }

    /// The standing of a run whose swap was undone, with green kept.
    fn back(progress: &Progress, run: &str, plan: &str) -> Self {
        let left = Self::left(progress).map_or_else(String::new, |left| {
            format!("; left to do: {left} (`projh-bluegreen rollback {run}`, once the cause is removed)")
        });
        let state = format!(
            "rolled back: blue is live, with all that was written to green{left}; green is kept, and follows blue while \
             `execute` runs; otherwise the slots make the server retain WAL"
        );
        let drop = Self::rollback(progress, run);
        let next = format!("projh-bluegreen execute {plan} swaps again, or {drop} drops green");
        Self { state, next: Some(next), is_resumable: true }
    }

    /// The first few of what the last swap has left to do.
    fn left(progress: &Progress) -> Option<String> {
        const NAMED: usize = 3;
        let left = progress.unsettled();
        (!left.is_empty()).then(|| pg::some(&left, NAMED, ", "))
    }

    /// The command that ends a run while blue is live.
    #[must_use]
    pub fn rollback(progress: &Progress, run: &str) -> String {
        let drop = if Self::undone(progress).is_some() { " --drop-green" } else { "" };
        format!("projh-bluegreen rollback {run}{drop}")
    }

    /// What a rollback has done before, if its swap is the last one and green was kept.
    #[must_use]
    pub fn undone(progress: &Progress) -> Option<String> {
        let is_undone = progress.swaps > 0 && progress.swapped.is_none();
        if !is_undone || progress.rolling_back || progress.ended.is_some() {
            return None;
        }
        let at = progress.arrived.as_ref().and_then(|arrived| Timestamp::from_second(arrived.at).ok());
        let at = at.map_or_else(String::new, |at| format!(" on {}", at.strftime("%Y-%m-%d at %H:%M:%S UTC")));
        Some(format!("the swap was undone{at}: blue is live, with all that was written to green"))
    }

    /// The standing of a run in the soak.
    fn soaking(progress: &Progress, run: &str, plan: &str) -> Self {
        let mut state =
            "swapped: green is live; the swap can be undone, and while `execute` runs, blue follows"
                .to_owned();
        if progress.is_uncompared {
            state += "; some of what was written before the run was taken over last has not been compared, which `verify` and \
                      `rollback` do";
        }
        if let Some(step) = progress.steps.undone() {
            state += &format!(
                "; a rollback that was cut short has undone step `{step}`, which `execute` executes again"
            );
        }
        let next = format!("projh-bluegreen execute {plan}, or projh-bluegreen rollback {run}");
        Self { state, next: Some(next), is_resumable: true }
    }

    /// The standing of a run in the soak whose way back is broken.
    fn broken(broken: &Broken, run: &str, plan: &str) -> Self {
        let Broken { since, why, keys } = broken;
        let state = format!(
            "swapped: green is live; blue has not followed it since {since}, and there is no way back as long as that \
             lasts: {why}"
        );
        let find = keys.first().map_or_else(String::new, |key| {
            format!("projh-bluegreen find {run} {} {} finds the row; ", shell_word(&key.table), key.digest)
        });
        let next = format!(
            "{find}projh-bluegreen execute {plan} once it is put right, or projh-bluegreen finish {run} --force"
        );
        Self { state, next: Some(next), is_resumable: true }
    }

    /// What is said at the end of a run of tables that were not there any more.
    fn gone(lost: &[QName]) -> String {
        const NAMED: usize = 5;
        let lost: Vec<String> = lost.iter().map(QName::plain).collect();
        let lost = pg::some(&lost, NAMED, ", ");
        format!(
            "not the run's tables any more, because somebody had dropped or replaced them: {lost}; it left these alone"
        )
    }

    /// The standing of a run that has ended.
    #[must_use]
    fn ended(ending: Ending, progress: &Progress) -> Self {
        let archived = &progress.archived;
        let state = match ending {
            Ending::RolledBack if progress.is_in_place() => {
                "rolled back: the tables are as they were".to_owned()
            }
            Ending::Finished if progress.is_in_place() => {
                "finished: the indexes are built in place".to_owned()
            }
            Ending::RolledBack if !progress.lost.is_empty() => {
                format!("rolled back; {}", Self::gone(&progress.lost))
            }
            Ending::Finished if !progress.lost.is_empty() => {
                format!("finished; {}", Self::gone(&progress.lost))
            }
            Ending::RolledBack => match Self::left(progress) {
                None => "rolled back: blue is live and as it was".to_owned(),
                Some(left) => {
                    format!("rolled back: blue is live, and as it was but for what could not be done: {left}")
                }
            },
            Ending::Finished if archived.is_empty() => "finished: green is live, blue was dropped".to_owned(),
            Ending::Finished => {
                let archived: Vec<String> = archived.iter().map(QName::plain).collect();
                format!("finished: green is live, blue was moved to {}", archived.join(", "))
            }
        };
        let state = format!("{state}; nothing of the run is left but its journal");
        Self { state, next: None, is_resumable: false }
    }
}

/// A word as it is typed in a shell.
#[must_use]
pub fn shell_word(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::shell_word;

    #[test]
    fn a_word_is_quoted_for_the_shell_only_where_it_has_to_be() {
        for (word, typed) in [
            ("public.visits", "public.visits"),
            ("plans/größe.yaml", "plans/größe.yaml"),
            ("", "''"),
            ("my plan.yaml", "'my plan.yaml'"),
            (r#""My S"."Par ""ent""#, r#"'"My S"."Par ""ent"'"#),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
        ] {
            assert_eq!(shell_word(word), typed);
        }
    }
}
