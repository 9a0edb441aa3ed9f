//! What stands in the way of a plan, all of it at once, before anything is changed.
//!
//! One check a file. A check looks at the server or at one table and returns findings; a refusal
//! says what, where, and what to type to mend it. Rights are probed by doing where that is possible.

mod acting;
mod connections;
mod disk;
mod functions;
mod generated;
mod hanging;
mod kind;
mod locks;
mod names;
mod names_itself;
mod open_transactions;
mod orphans;
mod outliers;
mod partition_rows;
mod rehearsal;
mod rights;
mod row_security;
mod rows;
mod rules;
mod sequences;
mod server;
mod server_log;
mod slots;
mod standbys;
mod throttle;
mod toast;
mod twins;
mod types;
mod under_way;
mod using;
mod xml;

use crate::context::Context;
use crate::error::{Doing, Error};
use crate::finding::Finding;
use crate::hangs_on::{self, Around, Definition, Homes};
use crate::lifecycle::LaneDesign;
use crate::pg::connect::Session;
use crate::phase;
use crate::plan::{Plan, TablePlan};

/// One table of the plan, as far as it could be understood.
struct Subject<'a> {
    plan: &'a TablePlan,
    definition: Definition,
    /// None where the plan and the table do not fit together.
    design: Option<LaneDesign>,
}

/// Runs every check.
///
/// # Errors
/// If the server could not be asked; what it answers are findings.
pub async fn run(cx: &Context, plan: &Plan) -> Result<Vec<Finding>, Error> {
    let session = cx.target.connect("projh-bluegreen check", &[("lock_timeout", "2s")]).await?;
    let mut findings = server::check(&session).await?;
    let can_stream = !findings.iter().any(Finding::is_refusal);
    findings.extend(slots::check(cx, &session, can_stream).await?);
    findings.extend(connections::check(plan, &session).await?);
    findings.extend(rights::check_server(&session).await?);
    findings.extend(server_log::check(&session).await?);
    findings.extend(throttle::check(plan, &session).await?);
    findings.extend(standbys::check(&session).await?);
    // What cannot be tried is not tried: its failure would only repeat what is known.
    let can_try = !findings.iter().any(|finding| ["primary", "read_only", "rights"].contains(&finding.check));
    let mut subjects = Vec::new();
    for table in &plan.tables {
        subjects.extend(subject(&session, table, &mut findings).await?);
    }
    let locks = locks::check(&session, &subjects).await?;
    // Or the rehearsal would fail for want of them, and say less.
    let can_try = can_try && locks.is_empty();
    findings.extend(locks);
    for subject in &subjects {
        findings.extend(table(cx, plan, &session, subject, can_try).await?);
    }
    findings.extend(names::check_together(&subjects));
    findings.extend(open_transactions::check(&session).await?);
    findings.extend(disk::check(plan, &session, &subjects).await?);
    Ok(findings)
}

/// Reads one table and designs its green.
async fn subject<'a>(
    session: &Session,
    plan: &'a TablePlan,
    findings: &mut Vec<Finding>,
) -> Result<Option<Subject<'a>>, Error> {
    if let Some(other) = kind::check(session, &plan.table).await? {
        findings.push(other);
        return Ok(None);
    }
    let under_way = under_way::check(session, &plan.table).await?;
    let is_held = under_way.iter().any(Finding::is_refusal);
    findings.extend(under_way);
    if is_held {
        return Ok(None);
    }
    let definition = hangs_on::read(session, &plan.table).await?;
    // Where an index has such a function, the planner may refuse every statement of ours on the table.
    let functions = functions::check(session, &plan.table, definition.table.oid, &[]).await;
    let functions = functions.doing("reading the functions of a table")?;
    if !functions.is_empty() {
        findings.extend(functions);
        return Ok(Some(Subject { plan, definition, design: None }));
    }
    if let Some(unreadable) = row_security::check(session, &definition.table).await? {
        findings.push(unreadable);
        return Ok(Some(Subject { plan, definition, design: None }));
    }
    let homes = Homes { blue: "projh_bg_check_blue".into(), green: "projh_bg_check_green".into() };
    let design = match phase::prepare::design(session, plan, &homes).await {
        Ok(design) => Some(design),
        Err(Error::Refused(refusals)) => {
            findings.extend(refusals);
            None
        }
        Err(Error::Partition(error)) => {
            findings.push(outliers::refusal(session, plan, &definition, &error).await?);
            None
        }
        Err(error) => return Err(error),
    };
    Ok(Some(Subject { plan, definition, design }))
}

async fn table(
    cx: &Context,
    plan: &Plan,
    session: &Session,
    subject: &Subject<'_>,
    can_try: bool,
) -> Result<Vec<Finding>, Error> {
    let leaves = subject.plan.partition_by.as_ref().and_then(|by| by.schema.as_ref());
    let around = Around { leaves, ..Around::default() };
    let blockers = hangs_on::blockers_around(session, &subject.definition.table.name, &around).await?;
    let mut findings = rights::check_table(session, subject).await?;
    let acting = acting::check(session, &subject.definition.table).await?;
    findings.extend(types::check_statements(subject));
    findings.extend(generated::check_identity(session.server_version_num(), subject));
    let can_try = can_try && findings.is_empty() && !blockers.iter().any(hanging::spoils_rehearsal);
    findings.extend(acting.filter(|_| findings.is_empty()));
    let is_in_a_run = blockers.iter().any(|blocker| blocker.run().is_some());
    findings.extend(Finding::of_blockers(&subject.definition.table.name, blockers));
    findings.extend(types::check(subject));
    let taken = names::check(session, subject).await?;
    // Where its partitions' names are taken, or partitions of a run have them, they cannot be moved there.
    let moves = taken.is_empty() && !is_in_a_run;
    findings.extend(taken);
    if !can_try {
        return Ok(findings);
    }
    let rehearsed = rehearsal::check(session, subject, moves).await?;
    if rehearsed.findings.is_empty() {
        findings.extend(orphans::check(session, subject).await?);
        findings.extend(outliers::note(session, subject).await?);
        findings.extend(toast::check(session, subject).await?);
        findings.extend(sequences::check(session, subject).await?);
        findings.extend(using::check(session, subject).await?);
        // What is asked of every row is asked in one scan.
        let mut counts = rules::counts(subject, &rehearsed.rules);
        counts.extend(partition_rows::count(session, subject).await?);
        counts.extend(xml::counts(subject));
        counts.extend(generated::counts(subject));
        findings.extend(rows::check(cx, session, subject, &counts, plan.settings.workers).await?);
        findings.extend(twins::check(session, subject).await?);
    }
    findings.extend(rehearsed.findings);
    Ok(findings)
}
