//! What prevents a plan from being executed, all of it at once, before anything is changed.
//!
//! One file per check, and one entry in [`CHECKS`]. A check examines the server or one table and returns findings; a
//! refusal says what, where, and what to type. Rights are probed by using them if possible.

mod acting;
mod archive;
mod ciphertext;
pub(crate) mod connections;
mod count;
mod dependents;
mod design;
mod disk;
mod encryption;
mod event_triggers;
mod functions;
mod gates;
mod generated;
mod in_place;
mod kind;
mod locks;
mod names;
mod names_itself;
mod neighbours;
mod open_transactions;
mod orphans;
mod outliers;
mod partition_rows;
mod policies;
mod preflight;
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
mod steps;
pub(crate) mod throttle;
mod toast;
mod triggers;
mod twins;
mod types;
mod under_way;
mod using;
mod way_back;
mod xml;

use futures_util::FutureExt;
use futures_util::future::ready;

use crate::context::Context;
use crate::error::Error;
use crate::finding::CheckId as Id;
use crate::finding::{CheckId, Finding};
use crate::pg::ConnectionRole;
use crate::plan::Plan;
use preflight::{Check, Checks, Findings, Preflight, Subject};

/// Every check, in the order in which they are run and reported.
const CHECKS: &[Checks] = &[
    Checks::Server(&[
        check(Id::Version, &[], |at| known(server::version(at.session.server_version_num()))),
        check(Id::Primary, &[], |at| found(server::primary(at.session))),
    ]),
    Checks::Stream(&[check(Id::WalLevel, &[], |at| found(server::wal_level(at.session)))]),
    Checks::Server(&[
        check(Id::Encoding, &[], |at| found(server::encoding(at.session))),
        check(Id::ReadOnly, &[], |at| found(server::read_only(at.session))),
    ]),
    Checks::Stream(&[
        check(Id::Slots, &[], |at| found(slots::check(at.plan, at.session))),
        check(
            Id::Replication,
            &[Id::Version, Id::Primary, Id::WalLevel, Id::Encoding, Id::ReadOnly, Id::Slots],
            |at| found(slots::probe(at.cx, at.session)),
        ),
    ]),
    Checks::Server(&[
        check(Id::Connections, &[], |at| found(connections::check(at.plan, at.session))),
        check(Id::Rights, &[], |at| found(rights::check_server(at.session))),
        check(Id::ServerLog, &[], |at| found(server_log::check(at.session))),
        check(Id::Encryption, &[], |at| found(encryption::check(at.plan, at.session))),
        check(Id::Throttle, &[], |at| found(throttle::check(at.plan, at.session))),
        check(Id::Gates, &[], |at| found(async { Ok(gates::check(at.cx, at.plan).await) })),
        check(Id::Steps, &[], |at| found(steps::check(at.plan, at.session))),
        check(Id::Standbys, &[], |at| found(standbys::check(at.session))),
        check(Id::EventTriggers, &[], |at| found(event_triggers::check(at.session))),
    ]),
    Checks::Name(&[
        check(Id::Table, &[], |at, table| found(kind::check(at.session, table))),
        check(Id::UnderWay, &[Id::Table], |at, table| found(under_way::check(at.session, table))),
    ]),
    Checks::Tables(&[check(Id::InPlace, &[Id::Primary, Id::ReadOnly], |at, _| found(in_place::check(at)))]),
    Checks::Table(&[
        // If an index has such a function, planning may fail for every statement of ours on the table.
        check(Id::Functions, &[], |at, of| found(functions::check_table(at.session, of))),
        check(Id::RowSecurity, &[Id::Functions], |at, of| {
            found(row_security::check(at.session, &of.definition.table))
        }),
        check(Id::PlanFitsTable, &[Id::Functions, Id::RowSecurity], |at, of| {
            found(design::check(at.plan, at.session, of))
        }),
    ]),
    Checks::Tables(&[check(Id::Locks, &[], |at, all| found(locks::check(at.session, all)))]),
    Checks::Table(&[
        check(Id::Rights, &[], |at, of| found(rights::check_table(at.session, of))),
        check(Id::Statements, &[], |_, of| known(types::check_statements(of))),
        check(Id::ReplicaIdentity, &[], |at, of| known(generated::check_identity(at.session, of))),
        check(Id::OwnersRights, &[Id::Rights], |at, of| {
            found(acting::check(at.session, &of.definition.table))
        }),
        check(Id::AnotherRun, &[], |_, of| known(of.blocked(Id::AnotherRun))),
        check(Id::AnotherRun, &[], |at, of| found(neighbours::check(at.plan, at.session, of))),
        check(Id::Definition, &[], |_, of| known(of.blocked(Id::Definition))),
        check(Id::Unsupported, &[], |_, of| known(of.blocked(Id::Unsupported))),
        check(Id::Dependents, &[Id::PlanFitsTable], |_, of| known(dependents::notes(of))),
        check(Id::Triggers, &[Id::PlanFitsTable], |at, of| found(triggers::check(at.session, of))),
        check(Id::InPlace, &[], |at, of| known(in_place::proposed(at.plan, of))),
        check(Id::Encryption, &[Id::PlanFitsTable], |_, of| known(encryption::notes(of))),
        check(Id::Encryption, &[Id::PlanFitsTable], |at, of| {
            found(encryption::check_view(at.plan, at.session, of))
        }),
        check(Id::Policies, &[], |at, of| known(policies::check(at.plan, of))),
        check(Id::Types, &[], |_, of| known(types::check(of))),
        check(Id::Names, &[Id::PlanFitsTable], |at, of| found(names::check(at.session, of))),
        check(Id::Archive, &[], |at, of| found(archive::check(at.plan, at.session, of))),
        check(
            Id::Rehearsal,
            &[
                Id::Primary,
                Id::ReadOnly,
                Id::Rights,
                Id::PlanFitsTable,
                Id::Locks,
                Id::Statements,
                Id::ReplicaIdentity,
                Id::Definition,
                Id::Triggers,
            ],
            |at, of| found(rehearsal::check(at, of)),
        ),
        check(Id::ForeignKeys, &[Id::Primary, Id::Functions, Id::RowSecurity, Id::Rights], |at, of| {
            found(orphans::check(at.plan, at.session, of))
        }),
        check(Id::Partitions, &[Id::Rehearsal], |at, of| found(outliers::note(at.session, of))),
        check(Id::UnchangedValues, &[Id::Rehearsal], |at, of| found(toast::check(at.session, of))),
        check(Id::Sequences, &[Id::Rehearsal], |at, of| found(sequences::check(at.session, of))),
        check(Id::Using, &[Id::Rehearsal], |at, of| found(using::check(at.session, of))),
        check(Id::WayBack, &[Id::Rehearsal], |at, of| known(way_back::check(at.plan, of))),
        // All questions about rows are answered by one scan, including those about partitions, XML and generated
        // values.
        check(Id::Rows, &[Id::Rehearsal], |at, of| found(rows::check(at, of))),
        check(Id::UniqueIndexes, &[Id::Rehearsal], |at, of| found(twins::check(at.session, of))),
    ]),
    Checks::Tables(&[
        check(Id::Names, &[], |_, all| known(names::check_together(all))),
        check(Id::Archive, &[], |at, all| known(archive::check_together(at.plan, all))),
        check(Id::Dependents, &[], |_, all| known(dependents::check_together(all))),
        check(Id::OpenTransactions, &[], |at, _| found(open_transactions::check(at.session))),
        check(Id::Disk, &[], |at, all| found(disk::check(at.plan, at.session, all))),
    ]),
];

/// Runs every check, and returns what they found.
///
/// # Errors
/// If the server could not be queried.
pub async fn run(cx: &Context, plan: &Plan) -> Result<Vec<Finding>, Error> {
    let session = cx.target.connect(ConnectionRole::of_command("check"), &[("lock_timeout", "2s")]).await?;
    Preflight::run(cx, plan, &session, CHECKS).await
}

/// A check, the checks that must have passed before it, and how it is run.
const fn check<Ask>(id: CheckId, needs: &'static [CheckId], ask: Ask) -> Check<Ask> {
    Check { id, needs, ask }
}

/// The outcome of a check that queries the server.
fn found<'a, F>(asked: impl Future<Output = Result<F, Error>> + Send + 'a) -> Findings<'a>
where
    F: IntoIterator<Item = Finding>,
{
    asked.map(|found| Ok(found?.into_iter().collect())).boxed()
}

/// The outcome of a check that needs no query.
fn known<'a>(findings: impl IntoIterator<Item = Finding>) -> Findings<'a> {
    ready(Ok(findings.into_iter().collect())).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(checks: &Checks) -> Vec<(Id, &'static [Id])> {
        fn list<Ask>(checks: &[Check<Ask>]) -> Vec<(Id, &'static [Id])> {
            checks.iter().map(|check| (check.id, check.needs)).collect()
        }
        match checks {
            Checks::Server(checks) | Checks::Stream(checks) => list(checks),
            Checks::Name(checks) => list(checks),
            Checks::Table(checks) => list(checks),
            Checks::Tables(checks) => list(checks),
        }
    }

    #[test]
    fn what_a_check_needs_comes_before_it() {
        let mut before = Vec::new();
        for (id, needs) in CHECKS.iter().flat_map(of) {
            assert!(needs.iter().all(|needed| before.contains(needed)), "{id:?}");
            before.push(id);
        }
    }
}
