//! Types and names of columns whose values cannot be carried over exactly, or cannot be compared.

use super::{CheckId, Finding, Subject};
use crate::hangs_on::Column;
use crate::pg::QName;
use crate::plan::ColumnChange;

/// The prefix of our own columns in a statement.
const OURS: &str = "projh_";

pub(super) fn check(subject: &Subject<'_>) -> Vec<Finding> {
    let table = &subject.definition.table.name;
    let is_dropped =
        |column: &&Column| matches!(subject.plan.columns.get(&column.name), Some(ColumnChange::Drop));
    let mut findings = Vec::new();
    for column in subject.definition.columns.iter().filter(|column| !is_dropped(column)) {
        findings.extend(without_binary_form(table, column));
        findings.extend(not_validated(table, column));
    }
    findings
}

fn named_like_ours(table: &QName, column: &Column) -> Option<Finding> {
    let what = format!("column {} has a name like the columns of our own statements", column.name);
    let hint = format!("alter table {} rename column {} to ...", table.plain(), column.name);
    column.name.as_str().starts_with(OURS).then(|| Finding::table(CheckId::Statements, table, what, hint))
}

fn without_binary_form(table: &QName, column: &Column) -> Option<Finding> {
    let what = format!(
        "column {} has type {}, which has no binary form that can be read back: its values can be neither \
         streamed nor compared exactly",
        column.name, column.data_type
    );
    let hint = "change its type first, or drop it in the plan";
    (!column.binary_io).then(|| Finding::table(CheckId::Types, table, what, hint))
}

/// The stream writes a row as a whole, even if an UPDATE left such a value alone.
fn not_validated(table: &QName, column: &Column) -> Option<Finding> {
    let constraint = column.unvalidated_domain.as_ref()?;
    let what = format!(
        "column {} may hold values that break constraint {constraint}, which is NOT VALID, and could not be \
         written again",
        column.name
    );
    let hint = match constraint.rsplit_once(" of domain ") {
        Some((name, domain)) => format!("alter domain {domain} validate constraint {name}"),
        None => "validate it".to_owned(),
    };
    Some(Finding::table(CheckId::Types, table, what, hint))
}

/// Refusals for columns for which our statements could not even be written, so that green cannot be rehearsed.
pub(super) fn check_statements(subject: &Subject<'_>) -> Vec<Finding> {
    let table = &subject.definition.table.name;
    let columns = subject.definition.columns.iter();
    let mut findings: Vec<Finding> = columns.filter_map(|column| named_like_ours(table, column)).collect();
    findings.extend(keys_without_arrays(subject));
    findings
}

/// Keys are sent as one array per column.
fn keys_without_arrays(subject: &Subject<'_>) -> Vec<Finding> {
    let definition = &subject.definition;
    let keys = subject.design.iter().flat_map(|design| &design.key.columns);
    let found = keys.filter_map(|key| {
        let column = definition.column(&key.name)?;
        let why = match (column.array_type_oid, column.composite) {
            (0, _) => "of which there are no arrays",
            (_, true) => "which is composite",
            _ => return None,
        };
        let what = format!("key column {} has type {}, {why}", key.name, key.data_type);
        Some(Finding::table(CheckId::Statements, &definition.table.name, what, "use a key of another type"))
    });
    found.collect()
}
