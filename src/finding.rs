//! What somebody should know before a plan is executed, or what stands in its way.

use serde::Serialize;

use crate::hangs_on::{Blocker, Conflict, NoKey};
use crate::pg::QName;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The plan cannot be executed as things are.
    Refusal,
    /// Somebody should know.
    Note,
}

/// What a check has to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Finding {
    /// The check's name.
    pub check: &'static str,
    /// How much it weighs.
    pub severity: Severity,
    /// Where: a table, or the server.
    pub place: String,
    /// What.
    pub what: String,
    /// What to type, or do.
    pub hint: String,
}

impl Finding {
    /// A refusal that concerns a table.
    #[must_use]
    pub fn table(
        check: &'static str,
        table: &QName,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            check,
            severity: Severity::Refusal,
            place: table.plain(),
            what: what.into(),
            hint: hint.into(),
        }
    }

    /// A refusal that concerns the server.
    #[must_use]
    pub fn server(check: &'static str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        let place = "server".to_owned();
        Self { check, severity: Severity::Refusal, place, what: what.into(), hint: hint.into() }
    }

    /// The same, as a note.
    #[must_use]
    pub fn into_note(self) -> Self {
        Self { severity: Severity::Note, ..self }
    }

    /// Whether the plan cannot be executed.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.severity == Severity::Refusal
    }

    /// A plan and a table that do not fit together, as findings.
    #[must_use]
    pub fn of_conflicts(table: &QName, conflicts: Vec<Conflict>) -> Vec<Self> {
        let mut findings: Vec<Self> = Vec::new();
        for conflict in conflicts {
            let finding = Self::table("plan fits table", table, conflict.what, conflict.hint);
            // A column that the plan names twice is unknown once.
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
        findings
    }

    /// What hangs on a table and is not carried over, as findings.
    #[must_use]
    pub fn of_blockers(table: &QName, blockers: Vec<Blocker>) -> Vec<Self> {
        let finding = |blocker: Blocker| match blocker.run() {
            Some(run) => {
                let what = format!("run {run} of another plan, or one that was left behind, migrates it");
                let hint = format!("end that run first: projh-bluegreen rollback {run}");
                Self::table("another run", table, what, hint)
            }
            None => {
                let what = format!("{}: {}", blocker.kind, blocker.object);
                Self::table("what hangs on it", table, what, blocker.hint)
            }
        };
        blockers.into_iter().map(finding).collect()
    }

    /// A table without a usable key, as a finding.
    #[must_use]
    pub fn of_no_key(table: &QName, none: &NoKey) -> Self {
        Self::table("key", table, none.why.clone(), none.hint.clone())
    }
}
