//! Functions with an SQL body (BEGIN ATOMIC, or RETURN) that read the table.
//!
//! Such a body is bound to the table's OID. In the swap, once the names are exchanged, the text that the server printed
//! before is executed again as CREATE OR REPLACE: its names then mean the table that is live. The function keeps its OID,
//! and with it its owner, privileges and comment, and whatever depends on it.
//!
//! Nothing can keep clients from a function: a call that has begun waits for the table's lock, and then reads the table that
//! has left, with what was committed before the swap. For that its privileges to read stay on that table ([`lend`]); in the
//! run's schema nobody finds it by name. A call that writes would write the wrong table: such functions are refused. Those
//! that have the table's row type in their signature are another kind, [`super::row_functions`].

use serde::{Deserialize, Serialize};

use super::Question;
use super::canonical::same;
use super::grant::Grant;
use super::part::{Compared, Dependent, Part};
use super::shape::Green;
use super::table::depends_on;
use crate::pg::sql::Statement;
use crate::pg::{Colour, Ident, QName};

pub(super) const FUNCTIONS: Question = Question {
    what: "the functions that read it",
    sql: concat!(
        include_str!("../../sql/catalog/bound.sql"),
        include_str!("../../sql/catalog/functions.sql")
    ),
};

/// A function with an SQL body that reads the table, as found in the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// Its name, schema-qualified.
    pub name: QName,
    /// What DROP FUNCTION needs in parentheses.
    pub arguments: String,
    /// Its name with the types of its arguments, for people.
    pub signature: String,
    /// Its owner, who need not be the table's.
    pub owner: Ident,
    /// FUNCTION or PROCEDURE.
    pub kind: String,
    /// The table's columns that its body uses.
    pub uses: Vec<Ident>,
    /// Whether its body groups by the primary key, and uses other columns.
    #[serde(default)]
    pub needs_key: bool,
    /// The extensions that it depends on.
    #[serde(default)]
    pub extensions: Vec<Ident>,
    /// What follows the name in CREATE OR REPLACE FUNCTION.
    pub definition: String,
}

/// The [`Part`] of functions.
pub(super) struct Functions;

impl Part for Functions {
    fn dependents(&self, green: &Green, who: Colour) -> Vec<Dependent> {
        green.blue.functions.iter().map(|function| function.dependent(green, who)).collect()
    }

    fn compare(&self, compared: &mut Compared<'_>) {
        for was in &compared.was.functions {
            let name = was.what();
            match compared.is.functions.iter().find(|is| is.signature == was.signature) {
                Some(is)
                    if compared.has_changed(&was.uses)
                        || same(Some(&was.definition), Some(&is.definition)) =>
                {
                    compared.check(format!("owner of {name}"), &was.owner, &is.owner);
                }
                Some(is) => {
                    compared.note(format!("{name}: was {:?}, is {:?}", was.definition, is.definition));
                }
                None => compared.note(format!("{name} no longer reads it")),
            }
        }
    }
}

impl Function {
    pub(crate) fn what(&self) -> String {
        format!("{} {}", self.kind.to_lowercase(), self.signature)
    }

    pub(crate) fn drop_hint(&self) -> String {
        format!("drop {}; and create it again after the swap, or give it a string body", self.what())
    }

    /// Binds its body to what its names mean now. The server forgets the extensions that it depends on.
    pub(super) fn replace(&self) -> Vec<Statement> {
        let sql = format!("CREATE OR REPLACE {} {}{}", self.kind, self.name, self.definition);
        let mut statements = vec![Statement::new(format!("replace the body of {}", self.what()), sql)];
        let function = format!("{} {}({})", self.kind, self.name, self.arguments);
        statements.extend(depends_on(&function, &self.extensions));
        statements
    }

    fn dependent(&self, green: &Green, who: Colour) -> Dependent {
        let what = self.what();
        let hint = green.keeping(&self.uses, self.drop_hint());
        Dependent {
            what,
            becomes: "in the swap its body is bound to the new table; all else of it stays. A call that waits for the \
                      swap reads what was committed before it"
                .to_owned(),
            hint,
            is_created: true,
            // After every view that it may read.
            rank: u32::MAX,
            trial: self.trial(green),
            after: self.replace(),
            names: green.old_names_of(who, &self.uses),
            ..Dependent::of(&self.name, &self.owner)
        }
    }

    /// The same in the run's schema, over green. Its name is the same: the body names arguments by it.
    fn trial(&self, green: &Green) -> Vec<Statement> {
        let trial = self.name.in_schema(&green.homes.green);
        let definition = green.on_green(&self.definition);
        let create = format!("CREATE {} {trial}{definition}", self.kind);
        let drop = format!("DROP {} {trial}({})", self.kind, self.arguments);
        let key = green.indexes.iter().find(|index| index.primary && self.needs_key);
        let [add_key, drop_key] =
            key.map(|key| key.rehearse(&green.at_home())).map_or([None, None], |both| both.map(Some));
        let statements = [
            add_key,
            Some(Statement::new("try a function over green", create)),
            Some(Statement::new("drop the trial", drop)),
            drop_key,
        ];
        let tried = statements.into_iter().flatten().collect();
        green.trial_names(&self.uses).around(tried)
    }
}

/// Leaves to others what they need to read a table that has left, if functions read it.
pub(super) fn lend(green: &Green, who: Colour) -> Vec<Statement> {
    if green.blue.functions.is_empty() && green.blue.row_functions.iter().all(|of| !of.reads) {
        return Vec::new();
    }
    let home = green.home_of(who);
    let to_read = |grant: &&Grant| grant.privileges.iter().any(|privilege| privilege == "SELECT");
    let lent = |grant: &Grant| Grant {
        grantee: grant.grantee.clone(),
        grantable: false,
        privileges: vec!["SELECT".to_owned()],
        grantor: None,
    };
    let on_table = green.blue.grants.others.iter().filter(to_read);
    let on_table = on_table.map(|grant| lent(grant).statement(&format!("TABLE {home}")));
    let on_columns = green.blue.columns.iter().flat_map(|column| {
        let name = match who {
            Colour::Blue => Some(&column.name),
            Colour::Green => green.name_of(&column.name),
        };
        let grants = column.grants.iter().filter(to_read);
        grants.filter_map(move |grant| Some((grant, name?)))
    });
    let on_columns = on_columns.map(|(grant, name)| lent(grant).column_statement(&home, name));
    on_table.chain(on_columns).collect()
}
