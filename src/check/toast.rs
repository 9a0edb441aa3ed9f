//! Expressions over values that the stream may leave out.
//!
//! The stream does not repeat a large value that an UPDATE did not change. A plain copy of it is taken from
//! green's old row, and so is the value of an expression over that column alone; one over several
//! columns could not be computed. With REPLICA IDENTITY FULL the stream has every value.

use super::{CheckId, Finding, Subject};
use crate::error::{Doing, Error};
use crate::hangs_on::{ReplicaIdentityKind, Source};
use crate::lifecycle::LaneDesign;
use crate::pg::connect::Session;
use crate::pg::sql::joined;
use crate::pg::{Ident, QName, list, rolled_back};

pub(super) async fn check(session: &Session, subject: &Subject<'_>) -> Result<Vec<Finding>, Error> {
    let Some(design) = &subject.design else { return Ok(Vec::new()) };
    let identity = subject.definition.table.replica_identity.kind;
    if subject.plan.replica_identity_full || identity == ReplicaIdentityKind::Full {
        return Ok(Vec::new());
    }
    let found = rolled_back(session, "BEGIN", find(session, subject, design)).await;
    found.flatten().doing("reading the expressions")
}

async fn find(
    session: &Session,
    subject: &Subject<'_>,
    design: &LaneDesign,
) -> Result<Vec<Finding>, tokio_postgres::Error> {
    session.batch_execute(&joined(&design.green.homes.create())).await?;
    let definition = &subject.definition;
    let mut findings = Vec::new();
    for (number, column) in design.green.columns.iter().enumerate() {
        let Source::Expression { sql, blue, .. } = &column.source else { continue };
        // The server knows best what an expression reads: a view depends on it.
        let view = QName::new(design.green.homes.green.clone(), format!("projh_reads_{number}"));
        let table = &definition.table.name;
        session.batch_execute(&format!("CREATE VIEW {view} AS SELECT ({sql}) AS value FROM {table}")).await?;
        let read = columns_read(session, &view, definition.table.oid).await?;
        // Computed from one column alone, it has not changed if that column has not: green's old row has it.
        if read == [blue.clone()] {
            continue;
        }
        let is_toastable = |name: &Ident| definition.column(name).is_some_and(|column| column.toastable);
        let large: Vec<Ident> = read.into_iter().filter(is_toastable).collect();
        if large.is_empty() {
            continue;
        }
        let what = format!(
            "column {} is computed from {}, which the stream of changes leaves out if it is large and \
            unchanged",
            column.name,
            list(&large)
        );
        let hint = "add `replica_identity: full` to the table in the plan";
        findings.push(Finding::table(CheckId::UnchangedValues, table, what, hint));
    }
    Ok(findings)
}

async fn columns_read(
    session: &Session,
    view: &QName,
    table: u32,
) -> Result<Vec<Ident>, tokio_postgres::Error> {
    let sql = "SELECT a.attname::text FROM pg_rewrite w \
               JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid \
               JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid \
               WHERE w.ev_class = to_regclass($1) AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $2 \
               AND a.attnum > 0 GROUP BY a.attnum, a.attname ORDER BY a.attnum";
    let rows = session.query(sql, &[&view.to_string(), &table]).await?;
    Ok(rows.iter().map(|row| Ident(row.get(0))).collect())
}
