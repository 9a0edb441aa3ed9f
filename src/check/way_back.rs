//! Whether a swap could be undone, for a plan with a soak: every value of blue has to come back from green.

use super::count::{Count, Row, columns};
use super::{CheckId, Finding, Subject};
use crate::hangs_on::{Column, GreenColumn, ReplicaIdentityKind, Source, without_length};
use crate::lane::{Ends, NoWayBack};
use crate::pg::list;
use crate::phase::way_back;
use crate::plan::Plan;

const CHECK: CheckId = CheckId::WayBack;

/// What the design alone shows.
pub(super) fn check(plan: &Plan, subject: &Subject<'_>) -> Option<Finding> {
    let design = subject.design.as_ref().filter(|_| !plan.settings.soak.is_zero())?;
    let ends = Ends::of(design);
    let table = ends.table.plain();
    let green = &design.green;
    let by_index = green.blue.table.replica_identity.kind == ReplicaIdentityKind::Index;
    let is_keyless = !green.indexes.iter().any(|index| index.primary);
    let no = match ends.reversed() {
        Err(no) => no,
        Ok(_) if green.partition.is_some() && (by_index || is_keyless) => {
            let why = "a partition made after the swap would lack its replica identity, and the server would reject clients' \
                       UPDATE and DELETE: it needs a primary key, and the replica identity that follows from it";
            NoWayBack { table, why: vec![why.to_owned()] }
        }
        Ok(reversed) => return lost(subject, &reversed),
    };
    Some(way_back::finding(&no))
}

/// What the plan accepts: columns of blue that get no values back.
fn lost(subject: &Subject<'_>, reversed: &Ends) -> Option<Finding> {
    let green = &subject.design.as_ref()?.green;
    let is_lost = |column: &&Column| {
        column.generated.is_none() && !reversed.mapping.iter().any(|back| back.target == column.name)
    };
    let of = |column: &Column| {
        let is_changed = green.columns.iter().any(|other| other.source.changed() == Some(&column.name));
        format!("{} ({})", column.name.plain(), if is_changed { "`one_way: true`" } else { "dropped" })
    };
    let lost: Vec<String> = green.blue.columns.iter().filter(is_lost).map(of).collect();
    if lost.is_empty() {
        return None;
    }
    let what = format!(
        "a rollback after the swap brings back no new values of {}: rows that clients insert after the swap get its default, and \
         others have its old value",
        lost.join(", ")
    );
    let hint = "nothing, if that is accepted; where `back` can give the value, in place of `one_way: true`, nothing is lost";
    Some(Finding::table(CHECK, green.live(), what, hint).into_note())
}

/// The questions about values that are computed in either direction.
pub(super) fn counts(plan: &Plan, subject: &Subject<'_>) -> Vec<Count> {
    let design = subject.design.as_ref().filter(|_| !plan.settings.soak.is_zero());
    let computed = design.iter().flat_map(|design| &design.green.columns);
    computed.filter_map(|column| of_column(subject, column)).collect()
}

fn of_column(subject: &Subject<'_>, column: &GreenColumn) -> Option<Count> {
    let Source::Expression { blue, back: Some(back), .. } = &column.source else { return None };
    let green = &subject.design.as_ref()?.green;
    let data_type = &green.blue.column(blue)?.data_type;
    let (table, name, new) = (green.live().clone(), blue.plain(), column.name.plain());
    // As it is stored there and back, with the lengths of both types.
    let there = list(columns(green));
    let condition = format!(
        "NOT record_image_eq(ROW({blue}), ROW((SELECT (CAST(({back}) AS {}))::{data_type} FROM (SELECT {there}) AS projh_green)))",
        without_length(data_type)
    );
    let hint = format!(
        "correct `back`, or these rows; or accept with `one_way: true` that a rollback after the swap loses new values of {new}"
    );
    let raises = format!("correct `back` of {new}");
    Some(Count {
        of: format!("values of {name} that do not come back from {new}"),
        row: Row::Blue,
        condition,
        found: Box::new(move |rows, of| {
            let what = format!(
                "{rows} of {of} rows have a value of {name} that does not come back from {new}: a rollback after the \
                 swap would change it"
            );
            Finding::table(CHECK, &table, what, hint.clone())
        }),
        raises: (CHECK, raises),
    })
}
