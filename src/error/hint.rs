//! What the user can do about an error, where the error itself does not say so.

use super::{Error, differing, is_about_data, some};
use crate::journal::JournalError;
use crate::lane::apply::ApplyError;
use crate::lane::compare::Differences;
use crate::lane::copy::CopyError;
use crate::lane::feed::FeedError;
use crate::lane::point::PointError;

impl Error {
    /// What went wrong, without what that means for the swap.
    #[must_use]
    pub fn what(&self) -> String {
        match self {
            Self::Differences(differences) => format!("verification found {}", differing(differences)),
            error => error.to_string(),
        }
    }

    /// What to type or to change, in one sentence; `None` if the error says all there is to say.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Differences(found) => return Some(of_differences(found)),
            Self::Feed(FeedError::Apply(ApplyError::Diverged { .. })) => TO_INVESTIGATE,
            Self::Feed(FeedError::Foreign { .. }) => {
                "the stream cannot get past it: `projh-bluegreen rollback` and begin again; add no table to a publication \
                 whose name begins with projh_bg_"
            }
            Self::Feed(FeedError::Written { .. }) => {
                "before a swap, `projh-bluegreen rollback` and begin again; in a soak, undo what was written there and execute \
                 again: every row is compared then"
            }
            Self::LastCopy { way_out, .. } => return Some(way_out.clone()),
            Self::Keyring(error) => return Some(error.hint()),
            Self::NotStreamed { .. } => {
                "what was written meanwhile cannot be known: `projh-bluegreen rollback`, and begin again"
            }
            Self::Step { hint, .. } => return Some(of_step(hint.as_deref())),
            Self::SwapBudget { in_the_way, .. } => return Some(of_swap(in_the_way)),
            Self::Journal(JournalError::PlanChanged { .. }) => {
                "execute the original plan, or end the run first (`rollback` before its swap, `finish` after it)"
            }
            Self::Journal(JournalError::Stranger { .. }) => {
                "connect as the role that created the journal; or inspect schema projh_bluegreen, and drop it if it is not a journal"
            }
            Self::Journal(JournalError::NoRun(_)) => {
                "`projh-bluegreen status` lists the runs of a database; is it the right one (--database-url, PGDATABASE)?"
            }
            Self::Activity(error) | Self::Point(PointError::Activity(error)) => {
                return error.hint().map(|grant| format!("{grant}; then execute again"));
            }
            Self::GivenUp { kept: None, .. } => {
                "the slot is gone: `projh-bluegreen rollback` and begin again; free disk space or raise settings.wal_budget first, if that is why"
            }
            Self::GivenUp { kept: Some(_), .. } => {
                "the slot still keeps WAL: `projh-bluegreen rollback` drops it, or select pg_drop_replication_slot('<slot>') by a role that may"
            }
            Self::Unsettled(undone) => {
                let hints: Vec<String> = undone.iter().map(|undone| undone.hint.clone()).collect();
                return Some(format!(
                    "{}; then execute again, or `projh-bluegreen finish --force` leaves it as it is",
                    some(&hints)
                ));
            }
            Self::Journal(JournalError::OnlyRollback { .. }) => {
                "`projh-bluegreen rollback`, and begin again; its copy can no longer be used"
            }
            Self::Journal(JournalError::Held { backend, .. }) => {
                let end =
                    backend.map_or_else(String::new, |pid| format!(": select pg_terminate_backend({pid})"));
                return Some(format!(
                    "wait for it, or end that process; the run can be resumed as soon as it has ended. If its host \
                     is down, the server notices within a minute; or end its session there{end}"
                ));
            }
            Self::NotUnique { index, hint: Some(hint), .. } => {
                return Some(format!(
                    "blue itself has several rows with the same key in {index}: its index is damaged. \
                     `projh-bluegreen rollback`, {hint}; and begin again"
                ));
            }
            Self::NotUnique { .. } => {
                "the plan makes several keys equal: change such rows and execute again, or `projh-bluegreen rollback`, \
                 change the plan, and begin again"
            }
            _ => {
                let of_rows = || self.hint_on_ddl().or_else(|| self.hint_on_rows());
                return self.hint_on_the_way_back().or_else(of_rows).map(str::to_owned);
            }
        };
        Some(text.to_owned())
    }

    /// What to do about DDL on the tables.
    fn hint_on_ddl(&self) -> Option<&'static str> {
        Some(match self {
            Self::Feed(FeedError::SourceChanged { .. }) => {
                "undo the DDL and execute again. If that is done, rows were written meanwhile that had other columns, and the stream \
                 cannot get past them: `projh-bluegreen rollback` and begin again, or `projh-bluegreen finish --force` after a swap"
            }
            Self::Feed(error) if error.is_of_altered_type() => {
                "the stream has values that are none of the type as it is now, and cannot get past them: undo the ALTER TYPE and execute \
                 again, or `projh-bluegreen rollback` and begin again"
            }
            Self::SourceChanged { .. } => {
                "undo the DDL and execute again, or `projh-bluegreen rollback` and begin again with a plan for the new shape"
            }
            _ => return None,
        })
    }

    /// What to do when a swap can no longer be undone, or the process that could do so does not answer.
    fn hint_on_the_way_back(&self) -> Option<&'static str> {
        Some(match self {
            Self::WayBroken(error) if matches!(**error, Self::Feed(FeedError::SourceChanged { .. })) => {
                "put the columns right, and execute again. If that is done, clients wrote rows while there were others, and the stream \
                 cannot get past these: the swap cannot be undone any more, and `projh-bluegreen finish --force` keeps green. Until then \
                 the slots make the server retain WAL"
            }
            Self::WayBroken(error) if matches!(&**error, Self::Feed(error) if error.is_of_altered_type()) => {
                "the stream has values that are none of the type as it is now. An UPDATE of the rows in the live table, which may set a \
                 column to its own value, puts that right, because the last value of each row is applied; then execute again. Or undo \
                 the ALTER TYPE; or accept that the swap cannot be undone: `projh-bluegreen finish --force`. Until then the slots make \
                 the server retain WAL"
            }
            Self::WayBroken(_) => {
                "put right what clients wrote or changed, and execute again: blue continues where it stopped; or accept that \
                 the swap cannot be undone: `projh-bluegreen finish --force`. Until then the slots make the server retain WAL"
            }
            Self::WayBackLost { .. } => {
                "blue is kept as it was until then: `projh-bluegreen finish` drops it"
            }
            Self::Unanswered { .. } => {
                "if its host is gone, the server notices within a minute; otherwise end that process, and give the command again"
            }
            _ => return None,
        })
    }

    /// What to do when the server could not read, write or store a row, or keys are not those of the rows.
    fn hint_on_rows(&self) -> Option<&'static str> {
        if let Self::Keys(_) = self {
            return Some(
                "something has written it, or has disabled a trigger whose name ends in _keys_insert, _delete or _update: \
                 `projh-bluegreen rollback` and begin again",
            );
        }
        if let Self::Copy(CopyError::Cipher(_)) | Self::Feed(FeedError::Apply(ApplyError::Cipher(_))) = self {
            return Some(
                "correct the row (`projh-bluegreen find` finds it by its key digest), or give the key that it was encrypted \
                 with, and execute again",
            );
        }
        if let Self::Copy(CopyError::NoKey { .. }) = self {
            return Some("`projh-bluegreen rollback` and begin again");
        }
        let code = self.sqlstate()?;
        let is_about_copied = matches!(self, Self::Copy(_)) && is_about_data(code);
        Some(match code.code() {
            "53100" => {
                "free space on the server's disk and execute again, or `projh-bluegreen rollback`, which frees the space that green takes"
            }
            "25006" => {
                "default_transaction_read_only is on for the database or the role. PGOPTIONS=\"-c default_transaction_read_only=off\" \
                 in the environment of this command lets it write all the same"
            }
            "XX001" | "XX002" => {
                "the server could not read a row or an index: it is damaged. The server's log and pg_amcheck say which; \
                 `projh-bluegreen rollback`, repair it, and begin again"
            }
            "23505" if is_about_copied => {
                "several rows of blue get the same key: the index of blue's own key is damaged, or the plan makes several \
                 keys equal. `projh-bluegreen rollback`, change the rows or the plan, and begin again; `projh-bluegreen \
                 check` counts such keys in a table of up to 256 MB"
            }
            "23505" if matches!(self, Self::Feed(_)) => {
                "a row that clients wrote has a key there that another row has: change such a row (`projh-bluegreen find` finds it by \
                 its key digest) and execute again, or `projh-bluegreen rollback`, change the plan, and begin again"
            }
            _ if matches!(self, Self::Feed(_)) && is_about_data(code) => {
                "a change of blue cannot be converted as the plan says, and the stream cannot get past it: \
                 `projh-bluegreen rollback`, change the plan or such rows, and begin again"
            }
            _ if is_about_copied => {
                "a row cannot be converted as the plan says: change such rows and execute again, or \
                 `projh-bluegreen rollback`, change the plan, and begin again"
            }
            _ => return None,
        })
    }
}

const TO_INVESTIGATE: &str = "keep green for an investigation (`projh-bluegreen find` finds a row by its key digest), or \
                              `projh-bluegreen rollback` and begin again";

/// What to do about rows that differ.
fn of_differences(found: &Differences) -> String {
    if found.is_of_way_back() {
        return "a rollback after the swap would change these values: correct them (`projh-bluegreen find` finds a row by its key \
                digest) and execute again; or `projh-bluegreen rollback` and begin again with another `back`, or `one_way: true`"
            .to_owned();
    }
    if found.forgotten.is_empty() { TO_INVESTIGATE.to_owned() } else { of_forgotten(&found.forgotten) }
}

/// What to do about values that were written without what goes with them.
fn of_forgotten(statements: &[String]) -> String {
    format!(
        "whoever wrote these values, or changed their rows' keys, has not written what goes with them. Write them again in the live table, \
         and the program computes it anew: {}, where the rows are those (`projh-bluegreen find`); then execute again",
        some(statements)
    )
}

/// What to do about a step of the plan that failed; `hint` is about its very error.
fn of_step(hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{hint}; then execute again"),
        None => "put right what prevents it and execute again; its text cannot change while the run is under way: \
                 `projh-bluegreen rollback` ends the run, where the way back itself is not what fails"
            .to_owned(),
    }
}

/// What to do when no attempt to swap succeeded.
fn of_swap(in_the_way: &[String]) -> String {
    match in_the_way {
        [] => "execute again at a quieter time, or raise settings.swap.max_write_stall".to_owned(),
        sessions => format!("execute again once this has ended: {}", some(sessions)),
    }
}
