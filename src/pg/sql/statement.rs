//! A statement of ours: its text, what it does, on what, and under which locks. It is made where the text is made, so
//! that nobody has to infer its meaning from the text.
//!
//! A test holds the locks against the server's: it executes every statement of a preview and reads `pg_locks`.

use std::fmt;

use crate::pg::QName;

/// PostgreSQL's table-level lock modes, in order of strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockMode {
    /// Taken by SELECT.
    AccessShare,
    /// Taken by SELECT FOR UPDATE, and by the look-up of a referenced row.
    RowShare,
    /// Taken by INSERT, UPDATE, DELETE, nextval.
    RowExclusive,
    /// Taken by VACUUM, ANALYZE, VALIDATE CONSTRAINT.
    ShareUpdateExclusive,
    /// Taken by CREATE INDEX.
    Share,
    /// Taken by CREATE TRIGGER, ADD FOREIGN KEY, ALTER SEQUENCE.
    ShareRowExclusive,
    /// Taken by most forms of ALTER TABLE.
    AccessExclusive,
}

impl fmt::Display for LockMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl LockMode {
    /// As LOCK TABLE spells it.
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

    /// Whether clients that write wait for it.
    pub(crate) fn holds_up_writes(self) -> bool {
        matches!(self, Self::Share | Self::ShareRowExclusive | Self::AccessExclusive)
    }
}

/// A statement that a phase executes and a preview shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What it does, for display; never SQL.
    pub what: String,
    /// The relation that it works on, if there is one.
    pub on: Option<QName>,
    /// Its locks on tables and sequences; without those on relations that the same transaction creates.
    pub locks: Vec<(QName, LockMode)>,
    /// It reads every row of the relation in `on`.
    pub reads_rows: bool,
    /// Its SQL, without a closing `;`.
    pub sql: String,
}

impl Statement {
    /// A statement that takes no lock that others could meet.
    pub fn new(what: impl Into<String>, sql: impl Into<String>) -> Self {
        Self { what: what.into(), on: None, locks: Vec::new(), reads_rows: false, sql: sql.into() }
    }

    /// A statement that locks the relation it works on; `what` is `verb` and the relation's name.
    #[must_use]
    pub fn on(relation: &QName, mode: LockMode, verb: &str, sql: String) -> Self {
        Self::making(relation, verb, sql).locking(relation, mode)
    }

    /// A statement on a relation that it creates, or that nobody else can reach.
    #[must_use]
    pub fn making(relation: &QName, verb: &str, sql: String) -> Self {
        let what = format!("{verb} {}", relation.name.as_str());
        Self { on: Some(relation.clone()), ..Self::new(what, sql) }
    }

    /// Adds a lock.
    #[must_use]
    pub fn locking(mut self, relation: &QName, mode: LockMode) -> Self {
        self.locks.push((relation.clone(), mode));
        self
    }

    /// Replaces the description.
    #[must_use]
    pub fn called(mut self, what: impl Into<String>) -> Self {
        self.what = what.into();
        self
    }

    /// Marks it as one that reads every row of its relation.
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

/// The text of several statements that are sent in one message.
pub fn joined<'a>(statements: impl IntoIterator<Item = &'a Statement>) -> String {
    let texts: Vec<&str> = statements.into_iter().map(|statement| statement.sql.as_str()).collect();
    texts.join(";\n")
}
