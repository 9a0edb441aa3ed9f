//! A statement of ours: what it does, on what, under which locks, and its text. It is made where the text is made, so
//! that nobody has to read its meaning back from the text.
//!
//! That the locks are those that a server takes is shown by a test, which executes every statement of a preview and
//! asks what is locked.

use std::fmt;

use crate::pg::QName;

/// A lock mode of PostgreSQL's, in the order of their strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockMode {
    /// SELECT.
    AccessShare,
    /// SELECT FOR UPDATE, and what looks up a referenced row.
    RowShare,
    /// INSERT, UPDATE, DELETE, nextval.
    RowExclusive,
    /// VACUUM, ANALYZE, VALIDATE CONSTRAINT.
    ShareUpdateExclusive,
    /// CREATE INDEX.
    Share,
    /// CREATE TRIGGER, ADD FOREIGN KEY, ALTER SEQUENCE.
    ShareRowExclusive,
    /// Most forms of ALTER TABLE.
    AccessExclusive,
}

impl fmt::Display for LockMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl LockMode {
    /// As it stands in LOCK TABLE.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AccessShare => "ACCESS SHARE",
            Self::RowShare => "ROW SHARE",
            Self::RowExclusive => "ROW EXCLUSIVE",
            Self::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            Self::Share => "SHARE",
            Self::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Self::AccessExclusive => "ACCESS EXCLUSIVE",
        }
    }
}

/// A statement that a phase executes, and a preview shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What it does, for people. Never SQL.
    pub what: String,
    /// The relation that it works on, where it works on one.
    pub on: Option<QName>,
    /// Its locks on tables and sequences. Those on relations that the same transaction makes are left out.
    pub locks: Vec<(QName, LockMode)>,
    /// It reads every row of the relation that it works on.
    pub reads_rows: bool,
    /// Its text, without a `;` at its end.
    pub sql: String,
}

impl Statement {
    /// A statement without a lock that anybody could meet.
    pub fn new(what: impl Into<String>, sql: impl Into<String>) -> Self {
        Self { what: what.into(), on: None, locks: Vec::new(), reads_rows: false, sql: sql.into() }
    }

    /// A statement on a relation, which it locks: `what` is `verb` and the relation's name.
    #[must_use]
    pub fn on(relation: &QName, mode: LockMode, verb: &str, sql: String) -> Self {
        Self::making(relation, verb, sql).locking(relation, mode)
    }

    /// A statement on a relation that it makes, or that nobody else can reach.
    #[must_use]
    pub fn making(relation: &QName, verb: &str, sql: String) -> Self {
        let what = format!("{verb} {}", relation.name.as_str());
        Self { on: Some(relation.clone()), ..Self::new(what, sql) }
    }

    /// The same, with one more lock.
    #[must_use]
    pub fn locking(mut self, relation: &QName, mode: LockMode) -> Self {
        self.locks.push((relation.clone(), mode));
        self
    }

    /// The same, in other words.
    #[must_use]
    pub fn called(mut self, what: impl Into<String>) -> Self {
        self.what = what.into();
        self
    }

    /// The same; it reads every row of its relation.
    #[must_use]
    pub fn reading_rows(self) -> Self {
        Self { reads_rows: true, ..self }
    }
}

impl AsRef<str> for Statement {
    fn as_ref(&self) -> &str {
        &self.sql
    }
}

/// The texts of statements that go to the server in one message.
pub fn joined<'a>(statements: impl IntoIterator<Item = &'a Statement>) -> String {
    let texts: Vec<&str> = statements.into_iter().map(|statement| statement.sql.as_str()).collect();
    texts.join(";\n")
}
