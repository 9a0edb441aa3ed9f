//! Defaults of other tables that are bound to the table: they take values from the sequence of an identity column, or name
//! the table as a constant (`'t'::regclass`).
//!
//! A default is bound to OIDs. In the swap, once the names are exchanged, the text that the server printed before is set
//! again: its names then mean what belongs to the table that is live. The other table is locked in the swap, too.

use serde::{Deserialize, Serialize};

use super::Question;
use super::canonical::same;
use super::part::{Compared, Conflict, Dependent, Part};
use super::shape::Green;
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Colour, Ident, QName};
use crate::plan::TablePlan;

pub(super) const DEFAULTS_ELSEWHERE: Question = Question {
    what: "the defaults of other tables that use it",
    sql: concat!(
        include_str!("../../sql/catalog/bound.sql"),
        include_str!("../../sql/catalog/defaults_elsewhere.sql")
    ),
};

/// A default of another relation, as found in the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultElsewhere {
    /// The column that has it.
    pub column: Ident,
    /// The relation that the column is in.
    pub on: QName,
    /// Whether that is a view.
    pub is_view: bool,
    /// The owner of that relation.
    pub owner: Ident,
    /// The default, as SQL text.
    pub default: String,
    /// The identity columns of this table whose sequences it uses.
    pub of_columns: Vec<Ident>,
}

/// The [`Part`] of defaults of other tables.
pub(super) struct DefaultsElsewhere;

impl Part for DefaultsElsewhere {
    fn conflicts(&self, green: &Green, _plan: &TablePlan) -> Vec<Conflict> {
        let of_dropped = |default: &DefaultElsewhere| {
            let column = green.dropped_of(&default.of_columns)?;
            let what =
                format!("{} uses the sequence of column {column}, which the plan drops", default.what());
            Some(Conflict::new(what, default.alter("DROP DEFAULT")))
        };
        green.blue.defaults_elsewhere.iter().filter_map(of_dropped).collect()
    }

    fn dependents(&self, green: &Green, _who: Colour) -> Vec<Dependent> {
        green.blue.defaults_elsewhere.iter().map(DefaultElsewhere::dependent).collect()
    }

    fn compare(&self, compared: &mut Compared<'_>) {
        for was in &compared.was.defaults_elsewhere {
            let mut found = compared.is.defaults_elsewhere.iter();
            match found.find(|is| (&is.column, &is.on) == (&was.column, &was.on)) {
                Some(is) if same(Some(&was.default), Some(&is.default)) => {}
                Some(is) => {
                    compared.note(format!("{}: was {:?}, is {:?}", was.what(), was.default, is.default));
                }
                None => compared.note(format!("{} no longer uses it", was.what())),
            }
        }
    }
}

impl DefaultElsewhere {
    pub(crate) fn what(&self) -> String {
        format!("default of column {} of {}", self.column.plain(), self.on.plain())
    }

    /// Each partition has a default of its own.
    fn alter(&self, action: &str) -> String {
        let relation = if self.is_view { "VIEW" } else { "TABLE ONLY" };
        format!("ALTER {relation} {} ALTER COLUMN {} {action}", self.on, self.column)
    }

    fn dependent(&self) -> Dependent {
        let lock = match self.is_view {
            true => format!("ALTER VIEW {} SET SCHEMA {}", self.on, self.on.schema),
            false => format!("LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE", self.on),
        };
        let sql = self.alter(&format!("SET DEFAULT {}", self.default));
        Dependent {
            what: self.what(),
            becomes: "in the swap it is bound to the new table and its sequences".to_owned(),
            hint: format!("{}; and set it again after the swap", self.alter("DROP DEFAULT")),
            is_table: !self.is_view,
            lock: Some(lock),
            after: vec![Statement::on(&self.on, LockMode::AccessExclusive, "set a default of", sql)],
            ..Dependent::of(&self.on, &self.owner)
        }
    }
}
