//! Functions with the table's row type in their signature: of arguments, of what they return, in arrays of them.
//!
//! A signature is bound to the row type of one table, and cannot be replaced. So each function has a counterpart over green's
//! row type, made with green in the run's schema. In the swap the two exchange their schemas, as the tables do: a call that
//! has begun ends in the function that it has found, whose text finds the live table by name, and the next one finds the other.
//! What calls them by OID (views, policies, defaults of other tables) is bound again by its text, see
//! `sql/catalog/bound.sql`; so is an SQL body.
//!
//! What the table itself has is made before its functions have their names: its policies wait for the swap, and a constraint,
//! trigger or index that calls one is refused, and so are aggregates.

use serde::{Deserialize, Serialize};

use super::Question;
use super::canonical::same;
use super::functions::Function;
use super::grant::{Grant, sorted};
use super::old_shape::OldNames;
use super::part::{Compared, Dependent, Part};
use super::privileges::seal_routine;
use super::shape::Green;
use super::table::comment_on;
use crate::pg::sql::{Statement, lexer};
use crate::pg::{Colour, Ident, Literal, QName};

pub(super) const ROW_FUNCTIONS: Question = Question {
    what: "the functions with its row type",
    sql: concat!(
        include_str!("../../sql/catalog/bound.sql"),
        include_str!("../../sql/catalog/row_functions.sql")
    ),
};

/// A function with the table's row type in its signature, as found in the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowFunction {
    /// The function itself.
    #[serde(flatten)]
    pub function: Function,
    /// The types of its arguments, by which functions of one name differ.
    pub types: String,
    /// Whether it has an SQL body or defaults of arguments, which are bound to OIDs.
    pub is_bound: bool,
    /// Whether it has an SQL body, which reads what it is bound to.
    pub reads: bool,
    /// The text of COMMENT ON FUNCTION.
    pub comment: Option<String>,
    /// Whether its owner may execute it.
    pub owner_may: bool,
    /// The privileges of all other roles, PUBLIC among them.
    pub grants: Vec<Grant>,
}

/// The [`Part`] of functions with the table's row type.
pub(super) struct RowFunctions;

impl Part for RowFunctions {
    /// Makes the counterparts over green's row type.
    fn adorn(&self, green: &Green) -> Vec<Statement> {
        let all = &green.blue.row_functions;
        let made = all.iter().enumerate().flat_map(|(number, function)| function.make(green, &all[..number]));
        made.chain(all.iter().flat_map(|function| function.give(green))).collect()
    }

    fn dependents(&self, green: &Green, who: Colour) -> Vec<Dependent> {
        green.blue.row_functions.iter().map(|function| function.dependent(green, who)).collect()
    }

    fn compare(&self, compared: &mut Compared<'_>) {
        for was in &compared.was.row_functions {
            let name = was.function.what();
            let mut found = compared.is.row_functions.iter();
            let Some(is) = found.find(|is| is.function.signature == was.function.signature) else {
                compared.note(format!("{name} has no counterpart"));
                continue;
            };
            compared.check(format!("owner of {name}"), &was.function.owner, &is.function.owner);
            compared.check(format!("comment on {name}"), &was.comment, &is.comment);
            let (may, may_now) = ((was.owner_may, sorted(&was.grants)), (is.owner_may, sorted(&is.grants)));
            compared.check(format!("privileges on {name}"), &may, &may_now);
            let (old, new) = (&was.function.definition, &is.function.definition);
            if !compared.has_changed(&was.function.uses) && !same(Some(old), Some(new)) {
                compared.note(format!("{name}: was {old:?}, is {new:?}"));
            }
        }
    }
}

impl RowFunction {
    /// Its kind, name and arguments in a schema, over the table that is called `table` then.
    fn at(&self, green: &Green, schema: &Ident, table: &QName) -> String {
        let Function { name, arguments, kind, .. } = &self.function;
        let arguments = lexer::renamed(arguments, green.live(), table);
        format!("{kind} {}({arguments})", name.in_schema(schema))
    }

    /// Whether an argument is of the row type.
    fn takes_rows(&self, green: &Green) -> bool {
        lexer::renamed(&self.types, green.live(), &green.at_home()) != self.types
    }

    fn at_home(&self, green: &Green) -> String {
        self.at(green, &green.homes.green, &green.at_home())
    }

    fn on_green_as_made(&self, green: &Green) -> String {
        let name = self.function.name.in_schema(&green.homes.green);
        format!("CREATE {} {name}{}", self.function.kind, green.on_green(&self.function.definition))
    }

    /// Makes its counterpart, which may call `others`.
    fn make(&self, green: &Green, others: &[Self]) -> Vec<Statement> {
        let what = format!("make {} over green's row type", self.function.what());
        let made = self.unexamined(Statement::new(what, self.on_green_as_made(green)));
        let names = green.old_names(&green.at_home(), &self.function.uses);
        // One with a string body and no defaults calls nothing yet.
        let others = if self.is_bound { others } else { &[] };
        names.and(green.functions_in_place(others)).around(vec![made])
    }

    /// The same, without an examination of a body that is a string: its names mean something else later, or with another
    /// `search_path`.
    fn unexamined(&self, made: Statement) -> Statement {
        if self.reads {
            return made;
        }
        let sql = format!(
            "SET LOCAL check_function_bodies = off; {}; SET LOCAL check_function_bodies TO DEFAULT",
            made.sql
        );
        Statement { sql, ..made }
    }

    /// The counterpart before the swap, as `regprocedure` reads it.
    pub(crate) fn counterpart(&self, green: &Green) -> String {
        let types = lexer::renamed(&self.types, green.live(), &green.at_home());
        format!("{}({types})", self.function.name.in_schema(&green.homes.green))
    }

    /// Gives the counterpart its owner, its privileges and its comment. Owner and grantors may use its schema until prepare
    /// closes it.
    fn give(&self, green: &Green) -> Vec<Statement> {
        let (at_home, owner, home) = (self.at_home(green), &self.function.owner, &green.homes.green);
        let admit = format!("GRANT USAGE, CREATE ON SCHEMA {home} TO {owner}");
        let give = format!("ALTER {at_home} OWNER TO {owner}");
        let mut statements = vec![
            Statement::new("grant", admit),
            Statement::new(format!("set the owner of {}", self.function.what()), give),
            seal_routine(&self.counterpart(green)),
        ];
        statements.extend(Grant::admit(&self.grants, home));
        statements.extend(self.grants.iter().map(|grant| grant.statement(&at_home)));
        let revoke = format!("REVOKE ALL ON {at_home} FROM {owner}");
        statements.extend((!self.owner_may).then(|| Statement::new("revoke", revoke)));
        statements.extend(comment_on(&at_home, self.comment.as_ref()));
        statements
    }

    fn dependent(&self, green: &Green, who: Colour) -> Dependent {
        let function = &self.function;
        let (away, home) = (green.homes.of(who.other()), green.homes.of(who));
        let leaves = self.at(green, &function.name.schema, green.live());
        let arrives = self.at(green, home, &green.home_of(who));
        let moves = |what: &str, routine: &str, schema: &Ident| {
            let sql = format!("ALTER {routine} SET SCHEMA {schema}");
            Statement::new(format!("{what} {}", function.what()), sql)
        };
        Dependent {
            what: function.what(),
            becomes: "another one over the new table's row type, with its owner, privileges and comment, takes its place in \
                      the swap; a prepared statement that returns such a row as one value has to be prepared again, and a call that \
                      waits for the swap fails if the plan changes the columns that it returns"
                .to_owned(),
            hint: self.hint(green),
            is_created: true,
            // After every view that it may read.
            rank: u32::MAX,
            before: vec![
                moves("move away", &leaves, away),
                moves("move in", &arrives, &function.name.schema),
            ],
            after: match self.is_bound {
                true => function.replace().into_iter().map(|one| self.unexamined(one)).collect(),
                false => Vec::new(),
            },
            names: green.old_names_of(who, &function.uses),
            ..Dependent::of(&function.name, &function.owner)
        }
    }

    fn hint(&self, green: &Green) -> String {
        green.keeping(&self.function.uses, without_it(&self.function.signature))
    }
}

impl Green {
    /// SQL text that names the live table and its functions, with the names that green and its functions have before the
    /// swap, within [`Green::trial_names`].
    pub(super) fn on_green(&self, sql: &str) -> String {
        self.calling_greens(&lexer::renamed(sql, self.live(), &self.at_home()))
    }

    /// The same for its functions alone.
    pub(super) fn calling_greens(&self, sql: &str) -> String {
        let names = self.renamed_row_functions();
        names.into_iter().fold(sql.to_owned(), |sql, (from, to)| lexer::renamed_call(&sql, &from, &to))
    }

    /// The functions whose arguments do not say whether they are over blue's row type or green's, and where green's are before
    /// the swap.
    pub(crate) fn renamed_row_functions(&self) -> Vec<(QName, QName)> {
        let named = self.blue.row_functions.iter().filter(|of| !of.takes_rows(self));
        let names = named.map(|of| of.function.name.clone());
        names.map(|name| (name.clone(), name.in_schema(&self.homes.green))).collect()
    }

    /// Lets calls find green's functions beside blue's, if their arguments tell them apart, and moves them back. Nobody
    /// else sees that: it is one transaction.
    pub(super) fn functions_in_place(&self, functions: &[RowFunction]) -> OldNames {
        let mut names = OldNames::default();
        for of in functions.iter().filter(|of| of.takes_rows(self)) {
            let schema = &of.function.name.schema;
            let moved = |from: String, to: &Ident| {
                let what = format!("move green's {}", of.function.what());
                Statement::new(what, format!("ALTER {from} SET SCHEMA {to}"))
            };
            names.give.push(moved(of.at_home(self), schema));
            names.take.push(moved(of.at(self, schema, &self.at_home()), &self.homes.green));
        }
        names
    }

    /// What this statement makes the counterpart of, and what to do if it fails.
    pub(crate) fn row_function_made_by(&self, sql: &str) -> Option<(String, String)> {
        let is_it = |of: &&RowFunction| sql.contains(&of.on_green_as_made(self));
        let made = self.blue.row_functions.iter().find(is_it)?;
        Some((made.function.what(), made.hint(self)))
    }

    /// Drops those that have left with a table, before that, and the policies of that table that call them.
    pub(crate) fn drop_row_functions(&self, who: Colour) -> Vec<Statement> {
        let table = self.home_of(who);
        let dropped: Vec<String> = self
            .blue
            .row_functions
            .iter()
            .map(|of| {
                let Function { name, arguments, .. } = &of.function;
                let arguments = lexer::renamed(arguments, self.live(), &table);
                format!("{}({arguments})", name.in_schema(self.homes.of(who)))
            })
            .collect();
        if dropped.is_empty() {
            return Vec::new();
        }
        let names: Vec<&QName> = self.blue.row_functions.iter().map(|of| &of.function.name).collect();
        let mut statements = self.drop_policies_naming(&table, &names);
        let sql = format!("DROP ROUTINE IF EXISTS {}", dropped.join(", "));
        // At once: one may call another one.
        statements.push(Statement::new("drop functions with the old row type", sql));
        statements
    }
}

/// What to do instead of carrying a function along.
pub(super) fn without_it(signature: &str) -> String {
    format!(
        "save what select pg_get_functiondef({}::regprocedure) prints, its owner and its privileges; drop function \
         {signature}; after the swap, and after a rollback, execute what was saved: PostgreSQL binds arguments and results to \
         the row type of the old table, and CREATE OR REPLACE cannot change them",
        Literal(signature)
    )
}
