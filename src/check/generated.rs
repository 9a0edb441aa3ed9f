//! Generated values that are no longer what their expression gives, as after a function was replaced: green
//! computes them again, and the verification would find every one of them, but only after the copy.

use super::count::{Count, Row};
use super::{CheckId, Finding, Subject};
use crate::hangs_on::{Column, Generated, Identity, KeySource, ReplicaIdentityKind, Source};
use crate::pg::Ident;
use crate::pg::connect::Session;

const CHECK: CheckId = CheckId::GeneratedValues;

/// The questions about the generated columns that green has, too.
pub(super) fn counts(subject: &Subject<'_>) -> Vec<Count> {
    let columns = subject.definition.columns.iter();
    columns
        .filter_map(|column| Some(of_column(subject, column, column.generated.as_ref()?)))
        .flatten()
        .collect()
}

/// `None` for a column that green does not have, and for a virtual one, which stores no value.
fn of_column(subject: &Subject<'_>, column: &Column, generated: &Generated) -> Option<Count> {
    let green = &subject.design.as_ref()?.green;
    let is_it = |source: &Source| matches!(source, Source::Generated(blue) if *blue == column.name);
    if !generated.stored || !green.columns.iter().any(|column| is_it(&column.source)) {
        return None;
    }
    let (table, name, expression) = (green.live().clone(), column.name.plain(), &generated.expression);
    // To a client, another sign of zero, or one more digit of it, is another value.
    let condition = format!(
        "NOT record_image_eq(ROW({}), ROW(CAST(({expression}) AS {})))",
        column.name, column.data_type
    );
    let hint = again(subject, &name, generated, &condition);
    let raises = format!("change the rows for which {expression} fails, or drop {name} in the plan");
    Some(Count {
        of: format!("values of {name} that are computed differently now"),
        row: Row::Blue,
        condition,
        found: Box::new(move |rows, of| {
            let what = format!(
                "{rows} of {of} rows hold another value of the generated column {name} than its expression gives \
                 now: green would compute it anew, and differ from blue"
            );
            Finding::table(CHECK, &table, what, hint.clone())
        }),
        raises: (CHECK, raises),
    })
}

/// The hint: an UPDATE recomputes a generated column if it sets a column that the expression reads.
fn again(subject: &Subject<'_>, name: &str, generated: &Generated, condition: &str) -> String {
    let can_be_set = |base: &&Ident| {
        let column = subject.definition.column(base);
        column.is_some_and(|column| column.identity != Some(Identity::Always))
    };
    let table = subject.definition.table.name.plain();
    match generated.columns.iter().find(can_be_set) {
        Some(base) => {
            let base = base.plain();
            format!("recompute its values: update {table} set {base} = {base} where {condition}")
        }
        None => format!("alter table {table} drop column {name}, and add it again; or drop it in the plan"),
    }
}

/// `server_version_num` from which on the server rejects UPDATE and DELETE of a published table whose replica identity
/// has a generated column that is not published: FULL has them all.
const REJECTS_UNPUBLISHED: u32 = 180_000;

/// A generated column under REPLICA IDENTITY FULL: as soon as the run's publication had the table, the clients' UPDATE
/// and DELETE would fail.
pub(super) fn check_identity(session: &Session, subject: &Subject<'_>) -> Option<Finding> {
    let Subject { plan, definition, design, .. } = subject;
    let own = definition.table.replica_identity.kind;
    let is_full = plan.replica_identity_full || own == ReplicaIdentityKind::Full;
    if session.server_version_num() < REJECTS_UNPUBLISHED || !is_full {
        return None;
    }
    let column = definition.columns.iter().find(|column| column.generated.is_some())?;
    let (table, key) = (&definition.table.name, &design.as_ref()?.key);
    let identity = match key.source {
        KeySource::PrimaryKey | KeySource::PlansKey => "default".to_owned(),
        KeySource::UniqueIndex | KeySource::ReplicaIdentityIndex => format!("using index {}", key.index),
        KeySource::DeferrableKey => "using index ..., one that is not deferrable".to_owned(),
    };
    let out = plan.replica_identity_full.then(|| "take `replica_identity: full` out of the plan".to_owned());
    let is_set = own == ReplicaIdentityKind::Default && key.source == KeySource::PrimaryKey;
    let alter = (!is_set).then(|| format!("alter table {} replica identity {identity}", table.plain()));
    let what = format!(
        "column {} is generated, and from version 18 on the server rejects every UPDATE and DELETE of a published table \
         with a generated column under REPLICA IDENTITY FULL",
        column.name.plain()
    );
    let hint: Vec<String> = out.into_iter().chain(alter).collect();
    Some(Finding::table(CheckId::ReplicaIdentity, table, what, hint.join("; and ")))
}
