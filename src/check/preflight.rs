//! How the list of checks is run.

use futures_util::future::BoxFuture;

use super::rules::Rule;
use crate::context::Context;
use crate::error::Error;
use crate::finding::{CheckId, Finding};
use crate::hangs_on::{self, Around, Blocker, Definition};
use crate::lifecycle::LaneDesign;
use crate::pg::QName;
use crate::pg::connect::Session;
use crate::plan::{Plan, TablePlan};

/// The future of what a check finds.
pub(super) type Findings<'a> = BoxFuture<'a, Result<Vec<Finding>, Error>>;

/// A check, and what it needs.
pub(super) struct Check<Ask> {
    /// Its id, as in its findings. It has passed if it was run and refused nothing.
    pub(super) id: CheckId,
    /// The checks that must have passed before it: of the server, of all tables together, and of this table. Otherwise
    /// it would fail with an error, or only repeat their findings.
    pub(super) needs: &'static [CheckId],
    /// The function that runs it.
    pub(super) ask: Ask,
}

type OfServer = for<'a> fn(&'a Preflight<'_>) -> Findings<'a>;
type OfName = for<'a> fn(&'a Preflight<'_>, &'a QName) -> Findings<'a>;
type OfTable = for<'a> fn(&'a Preflight<'_>, &'a mut Subject<'_>) -> Findings<'a>;
type OfTables = for<'a> fn(&'a Preflight<'_>, &'a [Subject<'_>]) -> Findings<'a>;

/// Checks that are run one after the other, by what they examine.
pub(super) enum Checks {
    /// The server, once.
    Server(&'static [Check<OfServer>]),
    /// The server, once, if the plan copies a table.
    Stream(&'static [Check<OfServer>]),
    /// Each table, by its name. Only one that is copied, and that none of them refuses, is read, and examined by later
    /// checks.
    Name(&'static [Check<OfName>]),
    /// Each table.
    Table(&'static [Check<OfTable>]),
    /// All tables together, once.
    Tables(&'static [Check<OfTables>]),
}

/// One table of the plan, as far as it could be read.
pub(super) struct Subject<'a> {
    pub(super) plan: &'a TablePlan,
    pub(super) definition: Definition,
    pub(super) blockers: Vec<Blocker>,
    /// `None` until the design has passed.
    pub(super) design: Option<LaneDesign>,
    /// The rules that green's rows will have to satisfy; empty until the rehearsal has passed.
    pub(super) rules: Vec<Rule>,
}

impl<'a> Subject<'a> {
    async fn read(session: &Session, plan: &'a TablePlan) -> Result<Self, Error> {
        let definition = hangs_on::read(session, &plan.table).await?;
        let leaves = plan.partition_by.as_ref().map(|by| by.schema.as_ref().unwrap_or(&plan.table.schema));
        let around = Around { leaves, ..Around::default() };
        let blockers = hangs_on::blockers(session, &plan.table, &around).await?;
        Ok(Self { plan, definition, blockers, design: None, rules: Vec::new() })
    }

    /// Refusals for objects that the swap does not carry over, as far as they are reported under this check.
    pub(super) fn blocked(&self, id: CheckId) -> Vec<Finding> {
        let mut findings = Finding::of_blockers(&self.plan.table, self.blockers.clone());
        findings.retain(|finding| finding.check == id);
        findings
    }
}

/// A run of the checks, and what they have found so far.
pub(super) struct Preflight<'a> {
    pub(super) cx: &'a Context,
    pub(super) plan: &'a Plan,
    pub(super) session: &'a Session,
    findings: Vec<Finding>,
    /// The checks that have not passed, and of which table; `None` is the server, or all tables together.
    failed: Vec<(CheckId, Option<&'a QName>)>,
}

impl<'a> Preflight<'a> {
    /// Runs all checks in their order.
    pub(super) async fn run(
        cx: &'a Context,
        plan: &'a Plan,
        session: &'a Session,
        checks: &[Checks],
    ) -> Result<Vec<Finding>, Error> {
        let mut preflight = Self { cx, plan, session, findings: Vec::new(), failed: Vec::new() };
        let mut subjects = Vec::new();
        for checks in checks {
            preflight.ask(checks, &mut subjects).await?;
        }
        Ok(preflight.findings)
    }

    /// Whether this check has passed: of the server, of all tables together, and of this table.
    pub(super) fn has_passed(&self, id: CheckId, table: Option<&QName>) -> bool {
        !self.failed.iter().any(|(failed, of)| *failed == id && (of.is_none() || *of == table))
    }

    async fn ask(&mut self, checks: &Checks, subjects: &mut Vec<Subject<'a>>) -> Result<(), Error> {
        match checks {
            Checks::Stream(_) if self.plan.is_in_place() => {}
            Checks::Server(checks) | Checks::Stream(checks) => {
                for check in *checks {
                    if self.may_ask(check, None) {
                        let found = (check.ask)(self).await?;
                        self.take(check, None, found);
                    }
                }
            }
            Checks::Name(checks) => {
                for plan in &self.plan.tables {
                    if self.ask_by_name(checks, &plan.table).await? {
                        subjects.push(Subject::read(self.session, plan).await?);
                    }
                }
                for plan in &self.plan.in_place {
                    self.ask_by_name(checks, &plan.table).await?;
                }
            }
            Checks::Table(checks) => {
                for subject in subjects {
                    let table = &subject.plan.table;
                    for check in *checks {
                        if self.may_ask(check, Some(table)) {
                            let found = (check.ask)(self, subject).await?;
                            self.take(check, Some(table), found);
                        }
                    }
                }
            }
            Checks::Tables(checks) => {
                for check in *checks {
                    if self.may_ask(check, None) {
                        let found = (check.ask)(self, subjects).await?;
                        self.take(check, None, found);
                    }
                }
            }
        }
        Ok(())
    }

    /// Runs the checks of a table's name; returns whether none refuses it.
    async fn ask_by_name(&mut self, checks: &[Check<OfName>], table: &'a QName) -> Result<bool, Error> {
        let failed = self.failed.len();
        for check in checks {
            if self.may_ask(check, Some(table)) {
                let found = (check.ask)(self, table).await?;
                self.take(check, Some(table), found);
            }
        }
        Ok(self.failed.len() == failed)
    }

    /// Whether the checks that this one needs have passed; if not, it is recorded as not passed itself.
    fn may_ask<Ask>(&mut self, check: &Check<Ask>, table: Option<&'a QName>) -> bool {
        let may = check.needs.iter().all(|id| self.has_passed(*id, table));
        if !may {
            self.failed.push((check.id, table));
        }
        may
    }

    fn take<Ask>(&mut self, check: &Check<Ask>, table: Option<&'a QName>, found: Vec<Finding>) {
        if found.iter().any(Finding::is_refusal) {
            self.failed.push((check.id, table));
        }
        self.findings.extend(found);
    }
}
