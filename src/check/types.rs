//! Types whose values cannot be carried bit by bit, or not be compared.

use super::{Finding, Subject};
use crate::plan::ColumnChange;

pub(super) fn check(subject: &Subject<'_>) -> Vec<Finding> {
    let definition = &subject.definition;
    let table = &definition.table.name;
    let mut findings = Vec::new();
    let is_dropped = |name| matches!(subject.plan.columns.get(name), Some(ColumnChange::Drop));
    for column in definition.columns.iter().filter(|column| !column.binary_io && !is_dropped(&column.name)) {
        let what = format!(
            "column {} has type {}, which has no binary form: its values can be neither streamed nor compared exactly",
            column.name, column.data_type
        );
        let mend = "change its type first, or drop it in the plan";
        findings.push(Finding::table("types", table, what, mend));
    }
    if let Some(design) = &subject.design {
        for key in &design.key.columns {
            let is_array = definition.column(&key.name).is_some_and(|column| column.array_type_oid == 0);
            if is_array {
                let what = format!(
                    "key column {} has type {}, of which there are no arrays",
                    key.name, key.data_type
                );
                findings.push(Finding::table("types", table, what, "use a key of another type"));
            }
        }
    }
    findings
}
