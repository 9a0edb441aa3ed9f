//! What is ours on a server, told by its name: the objects that a run makes, and the connections of this program.
//!
//! Invariant: a name is made and recognised here and nowhere else. `sql/catalog/taken_names.sql` and `upkeep_left.sql` repeat
//! the prefix of objects; a test holds them against this one.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Ident;

macro_rules! program {
    () => {
        "projh-bluegreen"
    };
}

/// What the name of every object of a run begins with.
const OBJECTS: &str = "projh_bg_";
/// The schema of the journal.
const JOURNAL: &str = "projh_bluegreen";
/// SQL after `application_name`, or after its NOT: that it is one of ours.
pub(super) const LIKE_OURS: &str = concat!("LIKE '", program!(), " %'");
/// SQL over `pg_stat_activity AS a`: sessions that are not an orchestrator's. The name alone would let anybody hide
/// behind it.
pub(super) const NOT_OURS: &str = concat!(
    "a.pid <> pg_backend_pid() AND NOT (a.application_name LIKE '",
    program!(),
    " %' AND a.usename = session_user)"
);

/// One of the two tables; it keeps its colour whoever is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// The original table.
    Blue,
    /// The table that the plan describes.
    Green,
}

impl Colour {
    /// The other table.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Blue => Self::Green,
            Self::Green => Self::Blue,
        }
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blue => "blue",
            Self::Green => "green",
        })
    }
}

/// The names of what a run makes in the database that it migrates. A check and a preview use them under ids of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunObjects(String);

impl RunObjects {
    /// Of the run of this id.
    #[must_use]
    pub fn of(run: &str) -> Self {
        Self(format!("{OBJECTS}{run}"))
    }

    /// Of one command, for as long as it lasts: other commands that do the same at the same time have other names.
    #[must_use]
    pub fn passing(command: &str) -> Self {
        Self::of(&format!("{command}_{:08x}", fastrand::u32(..)))
    }

    /// Of the run that has this slot.
    #[must_use]
    pub fn of_slot(slot: &Ident) -> Self {
        Self(slot.as_str().to_owned())
    }

    /// The slot and the publication of the changes of a table.
    #[must_use]
    pub fn slot(&self, source: Colour) -> Ident {
        match source {
            Colour::Blue => Ident(self.0.clone()),
            Colour::Green => Ident(format!("{}_back", self.0)),
        }
    }

    /// The schema in which a table is while the other one is live. Those of each schema have one, for names are unique in a
    /// schema; it is the `number`th of the run's, from 0 on.
    #[must_use]
    pub fn schema(&self, whose: Colour, number: usize) -> Ident {
        match number {
            0 => Ident(format!("{}_{whose}", self.0)),
            _ => Ident(format!("{}_{whose}_{}", self.0, number + 1)),
        }
    }

    /// A slot of one round or verification: another name each time, for that of an orchestrator that was killed may
    /// live a little longer.
    #[must_use]
    pub fn temporary_slot(&self) -> String {
        format!("{}_{:08x}", self.0, fastrand::u32(..))
    }

    /// The private schema in which `partitions` builds beside the table with this OID.
    #[must_use]
    pub fn upkeep_schema(table: u32) -> Ident {
        Ident(format!("{OBJECTS}upkeep_{table}"))
    }

    /// The id of the run whose slot or publication has this name.
    #[must_use]
    pub fn run_of(name: &str) -> Option<&str> {
        let rest = name.strip_prefix(OBJECTS)?;
        Some(rest.strip_suffix("_back").unwrap_or(rest))
    }

    /// The id of the run whose private schema has this name.
    #[must_use]
    pub fn run_of_schema(name: &str) -> Option<&str> {
        let (run, whose) = name.strip_prefix(OBJECTS)?.split_once('_')?;
        (run != "upkeep" && !whose.is_empty()).then_some(run)
    }

    /// What to do about a run of other tables that is in the way.
    #[must_use]
    pub fn ends_first(run: &str) -> String {
        format!(
            "projh-bluegreen finish {run}, or projh-bluegreen rollback {run}, first; or put all of these tables into one plan"
        )
    }

    /// Whether a schema of this name is a run's, or the journal's.
    #[must_use]
    pub fn is_schema(name: &str) -> bool {
        name.starts_with(OBJECTS) || name == JOURNAL
    }
}

/// What a connection is for: its `application_name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionRole<'a> {
    run: Option<&'a str>,
    role: &'a str,
}

impl<'a> ConnectionRole<'a> {
    /// One of a command that has no run.
    #[must_use]
    pub const fn of_command(command: &'a str) -> Self {
        Self { run: None, role: command }
    }

    /// One of a run.
    #[must_use]
    pub const fn of_run(run: &'a str, role: &'a str) -> Self {
        Self { run: Some(run), role }
    }

    /// What the names of all connections of a run begin with; without a run, those of all.
    #[must_use]
    pub fn prefix(run: Option<&str>) -> String {
        ConnectionRole { run, role: "" }.to_string()
    }
}

impl fmt::Display for ConnectionRole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(concat!(program!(), " "))?;
        match self.run {
            Some(run) => write!(f, "{run} {}", self.role),
            None => f.write_str(self.role),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_recognised() {
        let objects = RunObjects::of("0a1b2c3d");
        assert_eq!(objects.slot(Colour::Blue).as_str(), "projh_bg_0a1b2c3d");
        assert_eq!(RunObjects::run_of(objects.slot(Colour::Green).as_str()), Some("0a1b2c3d"));
        assert_eq!(objects.schema(Colour::Blue, 0).as_str(), "projh_bg_0a1b2c3d_blue");
        assert!(RunObjects::is_schema(objects.schema(Colour::Green, 1).as_str()));
        assert!(RunObjects::is_schema("projh_bluegreen") && !RunObjects::is_schema("projh"));
        assert!(objects.temporary_slot().starts_with("projh_bg_0a1b2c3d_"));
    }

    #[test]
    fn a_connection_is_recognised_as_ours_and_as_its_runs() {
        let copy = ConnectionRole::of_run("0a1b2c3d", "copy").to_string();
        assert_eq!(copy, "projh-bluegreen 0a1b2c3d copy");
        assert!(copy.starts_with(&ConnectionRole::prefix(Some("0a1b2c3d"))));
        assert!(!copy.starts_with(&ConnectionRole::prefix(Some("0a1b"))));
        let check = ConnectionRole::of_command("check").to_string();
        assert!(check.starts_with(&ConnectionRole::prefix(None)));
        assert_eq!(LIKE_OURS, format!("LIKE '{}%'", ConnectionRole::prefix(None)));
    }

    #[test]
    fn the_catalog_is_asked_for_the_same_prefix() {
        assert!(include_str!("../../sql/catalog/taken_names.sql").contains(&format!("'^{OBJECTS}'")));
        let left = include_str!("../../sql/catalog/upkeep_left.sql");
        let of_table = RunObjects::upkeep_schema(1).as_str().replace('1', "([0-9]+)");
        assert!(left.contains(&format!("'^{OBJECTS}'")) && left.contains(&format!("'^{of_table}$'")));
    }
}
