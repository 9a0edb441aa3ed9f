//! Whether a swap could be undone, for a plan with a soak: every value of blue has to come back from green.

use super::count::{Count, Row};
use super::rows::columns;
use super::{CheckId, Finding, Subject};
use crate::hangs_on::{GreenColumn, Source, without_length};
use crate::lane::Ends;
use crate::pg::list;
use crate::phase::way_back;
use crate::plan::Plan;

const CHECK: CheckId = CheckId::WayBack;

/// What the design alone shows.
pub(super) fn check(plan: &Plan, subject: &Subject<'_>) -> Option<Finding> {
    let design = subject.design.as_ref().filter(|_| !plan.settings.soak.is_zero())?;
    Ends::of(design).reversed().err().map(|no| way_back::finding(&no))
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
