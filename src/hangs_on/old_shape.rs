//! What depends on the table with the names and types that its columns had.
//!
//! The text of a dependent has blue's names. While it is executed for green, in one transaction, the columns that it uses
//! have these names, too, and then their own again: the server rewrites what it has bound, and a view keeps the names of
//! its own columns. Only columns whose values stay what they were: one that `using` converts means something else.

use super::shape::{Green, GreenColumn, Source, without_length};
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Colour, Ident, QName};

/// Statements that give columns of green blue's names, and those that take them back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OldNames {
    pub(crate) give: Vec<Statement>,
    pub(crate) take: Vec<Statement>,
}

impl OldNames {
    /// These statements with the old names.
    pub(super) fn around(self, statements: Vec<Statement>) -> Vec<Statement> {
        self.give.into_iter().chain(statements).chain(self.take).collect()
    }

    /// Whether a column gets its old name.
    pub(crate) fn is_any(&self) -> bool {
        !self.give.is_empty()
    }

    /// Both.
    pub(crate) fn and(mut self, mut other: Self) -> Self {
        self.give.append(&mut other.give);
        other.take.append(&mut self.take);
        Self { give: self.give, take: other.take }
    }
}

impl Green {
    /// The old names of these columns of blue on green, which is called `table`.
    pub(super) fn old_names(&self, table: &QName, uses: &[Ident]) -> OldNames {
        let is_free = |blue: &Ident| self.columns.iter().all(|column| column.name != *blue);
        let renamed = self.columns.iter().filter_map(|column| {
            let blue = column.source.unchanged().or_else(|| self.cast_of(column))?;
            (*blue != column.name && uses.contains(blue) && is_free(blue)).then_some((blue, &column.name))
        });
        let mut names = OldNames::default();
        for (old, new) in renamed {
            let rename = |from: &Ident, to: &Ident| {
                let sql = format!("ALTER TABLE {table} RENAME COLUMN {from} TO {to}");
                Statement::on(table, LockMode::AccessExclusive, "rename a column of", sql)
            };
            names.give.push(rename(new, old));
            names.take.push(rename(old, new));
        }
        names
    }

    /// What the text of a dependent that uses these columns means, before the swap, if green's name is put in place of the
    /// live table's: green's columns have the old names, and calls find green's functions.
    pub(super) fn trial_names(&self, uses: &[Ident]) -> OldNames {
        self.old_names(&self.at_home(), uses).and(self.functions_in_place(&self.blue.row_functions))
    }

    /// The same once `who` is live.
    pub(crate) fn old_names_of(&self, who: Colour, uses: &[Ident]) -> OldNames {
        match who {
            Colour::Blue => OldNames::default(),
            Colour::Green => self.old_names(self.live(), uses),
        }
    }

    /// The columns of blue, among these, that have another type on green and come back by a cast.
    pub(super) fn cast_among<'a>(&'a self, uses: &'a [Ident]) -> impl Iterator<Item = &'a Ident> {
        self.columns.iter().filter_map(|column| self.cast_of(column)).filter(|blue| uses.contains(blue))
    }

    /// The column of blue that this one is a plain cast of, if a cast leads back, too.
    pub(crate) fn cast_of<'a>(&self, column: &'a GreenColumn) -> Option<&'a Ident> {
        let Source::Expression { blue, sql, back: Some(back) } = &column.source else { return None };
        let cast = |from: &Ident, to: &str| format!("CAST({from} AS {})", without_length(to));
        let was = self.blue.column(blue)?;
        let is_cast = *sql == cast(blue, &column.data_type) && *back == cast(&column.name, &was.data_type);
        is_cast.then_some(blue)
    }
}
