//! A live table that is gone, what is left of it, and how a person brings it back.

use jiff::Timestamp;

use super::{LaneDesign, Progress, Standing, WayBack};
use crate::pg::{self, Colour, QName};

/// A live table of a run that is not there any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The name that clients use.
    pub table: QName,
    /// Whether something else has its name.
    pub is_replaced: bool,
    /// The only copy of its rows; `None` if that is not there either.
    pub copy: Option<LastCopy>,
}

/// The table that the run has beside the live one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastCopy {
    /// Where it is.
    pub at: QName,
    /// Up to when it has the rows.
    as_of: String,
    /// The statements that make it the table that clients use.
    back: Vec<String>,
}

/// How many of something are named.
const NAMED: usize = 5;

impl LastCopy {
    /// That of a lane.
    pub(crate) fn of(progress: &Progress, lane: &LaneDesign) -> Self {
        let (green, colour) = (&lane.green, progress.live().other());
        let (at, home) = (green.home_of(colour), green.homes.of(colour));
        let mut back = vec![format!("alter table {at} set schema {}", lane.table.schema)];
        if colour == Colour::Blue {
            let partitions = green.blue_partitions_in(home);
            back.extend(partitions.map(|(name, at)| format!("alter table {at} set schema {}", name.schema)));
        }
        let statistics = green.blue.statistics.iter().map(|statistics| &statistics.name);
        back.extend(
            statistics
                .map(|name| format!("alter statistics {} set schema {}", name.in_schema(home), name.schema)),
        );
        Self { at, as_of: as_of(progress), back }
    }
}

/// Up to when the table that is not live has the rows of the live one.
fn as_of(progress: &Progress) -> String {
    if progress.rolling_back {
        return "without the partitions that the rollback has dropped".to_owned();
    }
    if progress.swaps == 0 && !progress.copy_finished {
        return "as far as they were copied".to_owned();
    }
    let at = progress.arrived.as_ref().and_then(|arrived| Timestamp::from_second(arrived.at).ok());
    let at = at.map_or_else(String::new, |at| format!(" on {}", at.strftime("%Y-%m-%d at %H:%M:%S UTC")));
    match (progress.live(), &progress.way_back) {
        (Colour::Green, WayBack::None | WayBack::Intended) => format!("as of the swap{at}"),
        (Colour::Green, WayBack::Closed) if progress.way_back_lost.is_some() => {
            "as of the moment at which the way back was lost".to_owned()
        }
        (Colour::Green, WayBack::Closed) => "as of the end of the soak".to_owned(),
        _ => "as of what the stream has applied last".to_owned(),
    }
}

/// What is true of tables that are gone, in a sentence.
#[must_use]
pub fn what_is_lost(lost: &[Lost]) -> String {
    let one = |lost: &Lost| {
        let how =
            if lost.is_replaced { "it was dropped, and another one has its name" } else { "it was dropped" };
        let copy = match &lost.copy {
            Some(copy) => format!("the only copy of its rows is {}, {}", copy.at.plain(), copy.as_of),
            None => {
                "its copy is not where the run has left it either: it was moved away or dropped".to_owned()
            }
        };
        format!("{} is not the run's table any more: {how}; {copy}", lost.table.plain())
    };
    pg::some(&lost.iter().map(one).collect::<Vec<_>>(), NAMED, "; ")
}

/// What a person does about it, and the command that then ends the run.
#[must_use]
pub fn way_out(progress: &Progress, run: &str, lost: &[Lost]) -> String {
    let end = match progress.live() {
        Colour::Green => format!("projh-bluegreen finish {run} --force"),
        Colour::Blue => Standing::rollback(progress, run),
    };
    let copied = || lost.iter().filter_map(|lost| Some((lost, lost.copy.as_ref()?)));
    let back: Vec<String> = copied().flat_map(|(_, copy)| copy.back.clone()).collect();
    if back.is_empty() {
        return end;
    }
    let replaced = || copied().filter(|(lost, _)| lost.is_replaced);
    let names: Vec<String> = replaced().map(|(lost, _)| lost.table.plain()).collect();
    let copies: Vec<String> = replaced().map(|(_, copy)| copy.at.to_string()).collect();
    let away = match (names.join(", "), copies.join(", ")) {
        (names, _) if names.is_empty() => String::new(),
        (names, copies) => {
            format!("if {names} is right as it is: drop table {copies}; otherwise: rename {names}; ")
        }
    };
    format!("{away}{}; then {end}, which leaves what was moved away alone", pg::some(&back, NAMED, "; "))
}
