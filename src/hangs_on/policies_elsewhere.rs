//! Policies of other tables that read the table.
//!
//! The conditions of a policy are bound to the table's OID. In the swap, once the names are exchanged, the text that the
//! server printed before is executed again as ALTER POLICY: its names then mean the table that is live. The policy keeps
//! its OID, its roles and its comment. The other table is locked in the swap, too: nobody reads it without its policies.

use serde::{Deserialize, Serialize};

use super::Question;
use super::canonical::same;
use super::part::{Compared, Dependent, Part};
use super::shape::Green;
use crate::pg::sql::{LockMode, Statement, lexer};
use crate::pg::{Colour, Ident, QName};

pub(super) const POLICIES_ELSEWHERE: Question = Question {
    what: "the policies of other tables that read it",
    sql: concat!(
        include_str!("../../sql/catalog/bound.sql"),
        include_str!("../../sql/catalog/policies_elsewhere.sql")
    ),
};

/// A policy of another table that reads this one, as found in the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyElsewhere {
    /// The policy's name.
    pub name: Ident,
    /// The table that it is on.
    pub on: QName,
    /// The owner of that table.
    pub owner: Ident,
    /// The condition of USING, as SQL text.
    pub using: Option<String>,
    /// The condition of WITH CHECK, as SQL text.
    pub check: Option<String>,
    /// The columns of this table that it uses.
    pub uses: Vec<Ident>,
}

/// The [`Part`] of policies of other tables.
pub(super) struct PoliciesElsewhere;

impl Part for PoliciesElsewhere {
    fn dependents(&self, green: &Green, who: Colour) -> Vec<Dependent> {
        let policies = green.blue.policies_elsewhere.iter().enumerate();
        policies.map(|(number, policy)| policy.dependent(green, who, number)).collect()
    }

    fn compare(&self, compared: &mut Compared<'_>) {
        for was in &compared.was.policies_elsewhere {
            let found = compared.is.policies_elsewhere.iter();
            match found.into_iter().find(|is| (&is.name, &is.on) == (&was.name, &was.on)) {
                Some(is) => {
                    let equal = same(was.using.as_deref(), is.using.as_deref())
                        && same(was.check.as_deref(), is.check.as_deref());
                    if !equal && !compared.has_changed(&was.uses) {
                        let (old, new) = ((&was.using, &was.check), (&is.using, &is.check));
                        compared.note(format!("{}: was {old:?}, is {new:?}", was.what()));
                    }
                }
                None => compared.note(format!("{} no longer reads it", was.what())),
            }
        }
    }
}

impl PolicyElsewhere {
    pub(crate) fn what(&self) -> String {
        format!("policy {} on {}", self.name.plain(), self.on.plain())
    }

    /// Whether its conditions have this name.
    pub(crate) fn mentions(&self, column: &Ident) -> bool {
        self.using.iter().chain(&self.check).any(|sql| lexer::mentions(sql, column.as_str()))
    }

    fn dependent(&self, green: &Green, who: Colour, number: usize) -> Dependent {
        let what = self.what();
        let again = format!("drop {what}; and create it again after the swap");
        let hint = green.keeping(&self.uses, again);
        let using = self.using.as_ref().map(|sql| format!(" USING ({sql})")).unwrap_or_default();
        let check = self.check.as_ref().map(|sql| format!(" WITH CHECK ({sql})")).unwrap_or_default();
        let sql = format!("ALTER POLICY {} ON {}{using}{check}", self.name, self.on);
        Dependent {
            what,
            becomes: "in the swap it is bound to the new table; all else of it stays".to_owned(),
            hint,
            is_table: true,
            // After every view that it may read.
            rank: u32::MAX,
            lock: Some(format!("LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE", self.on)),
            trial: self.trial(green, number),
            after: vec![Statement::on(&self.on, LockMode::AccessExclusive, "alter a policy of", sql)],
            names: green.old_names_of(who, &self.uses),
            names_its_columns: true,
            ..Dependent::of(&self.on, &self.owner)
        }
    }

    /// The same conditions in a query of the other table.
    fn trial(&self, green: &Green, number: usize) -> Vec<Statement> {
        let trial =
            QName { schema: green.homes.green.clone(), name: format!("projh_policy_{number}").into() };
        let conditions: Vec<String> =
            self.using.iter().chain(&self.check).map(|sql| format!("({sql})")).collect();
        let conditions = green.on_green(&conditions.join(" AND "));
        let create = format!("CREATE VIEW {trial} AS SELECT FROM {} WHERE {conditions}", self.on);
        let on = |verb: &str, sql: String| Statement::making(&trial, verb, sql);
        let tried = vec![
            on("try a policy over green:", create).locking(&self.on, LockMode::AccessShare),
            on("drop the trial", format!("DROP VIEW {trial}")),
        ];
        green.trial_names(&self.uses).around(tried)
    }
}
