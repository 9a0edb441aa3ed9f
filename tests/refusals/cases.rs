//! What can be wrong, one thing a case, and what has to be said of it.

mod hangs_on_it;
mod plan_and_table;
mod role_and_database;

/// One thing that is broken, and what is said of it.
pub struct Case {
    pub name: &'static str,
    /// What breaks it; `X` stands for the database, here and below.
    pub sql: &'static str,
    /// Put in place of something in the plan.
    pub plan: Option<(&'static str, &'static str)>,
    pub role: &'static str,
    pub check: &'static str,
    pub place: &'static str,
    pub what: &'static str,
    pub hint: &'static str,
}

/// Something hangs on the table.
const fn hangs(name: &'static str, sql: &'static str, what: &'static str, hint: &'static str) -> Case {
    Case { name, sql, plan: None, role: "migrator", check: "unsupported", place: "app.visits", what, hint }
}

/// The role lacks a right.
const fn right(name: &'static str, sql: &'static str, what: &'static str, hint: &'static str) -> Case {
    Case { check: "rights", ..hangs(name, sql, what, hint) }
}

/// The plan asks for what the table cannot be.
const fn plan(
    name: &'static str,
    change: (&'static str, &'static str),
    check: &'static str,
    what: &'static str,
    hint: &'static str,
) -> Case {
    Case { plan: Some(change), check, ..hangs(name, "", what, hint) }
}

pub const KEY: &str = "    primary_key: [id, at]\n";

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Case> {
    [hangs_on_it::CASES, role_and_database::CASES, plan_and_table::CASES].into_iter().flatten()
}
