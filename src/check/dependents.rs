//! What depends on a table without being part of it: whether it can move to green, tried in the middle of a rehearsal,
//! and what becomes of it.

use super::preflight::Subject;
use super::{CheckId, Finding};
use crate::hangs_on::{DefaultElsewhere, Definition, Green};
use crate::pg::connect::Session;
use crate::pg::sql::joined;
use crate::pg::sql::lexer::mentions;
use crate::pg::{self, Colour, Ident, QName};

/// A note for each object that depends on the table, with what becomes of it.
pub(super) fn notes(subject: &Subject<'_>) -> Vec<Finding> {
    let table = &subject.definition.table.name;
    let greens = || subject.design.iter().map(|design| &design.green);
    let dependents = greens().flat_map(|green| green.dependents(Colour::Green));
    let others = dependents.map(|dependent| (dependent.what, dependent.becomes));
    let own = greens().flat_map(Green::references_to_itself);
    let note = others.chain(own.map(|(what, becomes)| (what, becomes.to_owned()))).map(|(what, becomes)| {
        let what = format!("{what} depends on it: {becomes}");
        let hint = "nothing to do; execute --dry-run shows the statements";
        Finding::table(CheckId::Dependents, table, what, hint).into_note()
    });
    let views = greens().filter_map(|green| green.compatibility.as_ref());
    let denied = views.flat_map(|view| view.denied_roles(table));
    let denied =
        denied.map(|(what, hint)| Finding::table(CheckId::Dependents, table, what, hint).into_note());
    note.chain(denied).collect()
}

/// Refusals for what binds two tables of the plan to each other and cannot follow both.
pub(super) fn check_together(subjects: &[Subject<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for design in subjects.iter().filter_map(|subject| subject.design.as_ref()) {
        let green = &design.green;
        let is_lane = |table: &QName| subjects.iter().any(|other| other.definition.table.name == *table);
        findings.extend(policies_of_both(subjects, green));
        findings.extend(defaults_of_both(subjects, green));
        findings.extend(functions_of_both(subjects, green));
        for leaf in &green.blue.partitions {
            for key in leaf.foreign_keys.iter().filter(|key| is_lane(&key.references)) {
                let (on, other) = (leaf.name.plain(), key.references.plain());
                let what =
                    format!("foreign key {} is of partition {on} alone, and references {other}", key.name);
                let hint = format!("change {other} in a plan of its own");
                findings.push(Finding::table(CheckId::Dependents, green.live(), what, hint));
            }
        }
        for key in green.blue.inbound.iter().filter(|key| is_lane(&key.child)) {
            if let Some(column) = green.renamed_of(&key.referenced) {
                let what = format!("{} references column {column}, which the plan renames", key.what());
                let hint =
                    format!("rename {column} in a plan of its own, without table {}", key.child.plain());
                findings.push(Finding::table(CheckId::Dependents, green.live(), what, hint));
            }
        }
    }
    findings
}

/// Refusals for policies of another table of the plan that read this one: with a column that the plan drops, or that cannot have its
/// old name again, or with a function of this table's rows, which blue of the other one would keep.
fn policies_of_both(subjects: &[Subject<'_>], green: &Green) -> Vec<Finding> {
    let mut findings = Vec::new();
    for policy in &green.blue.policies_elsewhere {
        let other = subjects.iter().find(|other| other.definition.table.name == policy.on);
        let Some(other) = other.and_then(|other| other.design.as_ref()) else { continue };
        let is_lost = |name: &&Ident| match other.green.name_of(name) {
            Some(new) => {
                let names = other.green.old_names_of(Colour::Green, std::slice::from_ref(name));
                new != *name && !names.is_any()
            }
            None => true,
        };
        let mut lost = other.green.blue.columns.iter().map(|column| &column.name).filter(is_lost);
        let column = lost.find(|name| policy.mentions(name));
        let mut functions = green.blue.row_functions.iter().map(|of| &of.function);
        let function = functions.find(|of| policy.mentions(&of.name.name));
        let why = match (column, function) {
            (Some(column), _) => {
                format!(
                    "names column {column} of its table, which the plan drops or replaces, and reads this one"
                )
            }
            (None, Some(function)) => format!("calls {}", function.what()),
            (None, None) => continue,
        };
        let hint = format!("change {} in a plan of its own", policy.on.plain());
        let what = format!("{} {why}", policy.what());
        findings.push(Finding::table(CheckId::Dependents, green.live(), what, hint));
    }
    findings
}

/// Refusals for defaults of another table of the plan that use this one, unless it is the sequence of an identity column,
/// and the other table has such a column before and after, and no partitions, each of which has a default of its own.
fn defaults_of_both(subjects: &[Subject<'_>], green: &Green) -> Vec<Finding> {
    let is_in_plan = |of: &QName| {
        let has = |definition: &Definition| {
            definition.table.name == *of || definition.partitions.iter().any(|part| part.name == *of)
        };
        subjects.iter().any(|other| has(&other.definition))
    };
    let follows = |default: &&DefaultElsewhere| {
        let other = subjects.iter().find(|other| other.definition.table.name == default.on);
        let other = other.and_then(|other| other.design.as_ref()).map(|design| &design.green);
        let is_whole = |other: &&Green| {
            let is_whole = other.partition.is_none() && !other.blue.table.is_partitioned();
            is_whole && other.name_of(&default.column) == Some(&default.column)
        };
        let mut functions = green.blue.row_functions.iter().map(|of| &of.function.name.name);
        let calls = functions.any(|name| mentions(&default.default, name.as_str()));
        let uses_sequence = !default.of_columns.is_empty() && !calls;
        uses_sequence && other.filter(is_whole).is_some()
    };
    let all = green.blue.defaults_elsewhere.iter().filter(|default| is_in_plan(&default.on));
    let refused = all.filter(|default| !follows(default)).map(|default| {
        let what = format!(
            "{} uses this table or its sequence, and is of a table of the plan itself",
            default.what()
        );
        let hint = format!("change {} in a plan of its own", default.on.plain());
        Finding::table(CheckId::Dependents, green.live(), what, hint)
    });
    refused.collect()
}

/// Refusals for functions with the row types of two tables, or with that of one and an SQL body that reads another: green
/// of one is made before that of the other.
fn functions_of_both(subjects: &[Subject<'_>], green: &Green) -> Vec<Finding> {
    let mut findings = Vec::new();
    let others = subjects.iter().filter(|other| other.definition.table.name != *green.live());
    for other in others {
        let reads = other.definition.functions.iter();
        let bound: Vec<&str> = other
            .definition
            .row_functions
            .iter()
            .map(|of| &of.function)
            .chain(reads)
            .map(|of| of.signature.as_str())
            .collect();
        let both = green.blue.row_functions.iter().map(|of| &of.function.signature);
        findings.extend(both.filter(|signature| bound.contains(&signature.as_str())).map(|signature| {
            let other = other.definition.table.name.plain();
            let what =
                format!("function {signature} has the row type of this table, and is bound to {other}, too");
            Finding::table(
                CheckId::Dependents,
                green.live(),
                what,
                format!("change {other} in a plan of its own"),
            )
        }));
    }
    findings
}

/// Refusals for what could not be bound to green, which has been made in the transaction in progress.
pub(super) async fn try_on(session: &Session, green: &Green) -> Result<Vec<Finding>, tokio_postgres::Error> {
    let mut findings = Vec::new();
    for dependent in green.dependents(Colour::Green) {
        if dependent.trial.is_empty() {
            continue;
        }
        session.batch_execute("SAVEPOINT trial").await?;
        let tried = session.batch_execute(&joined(&dependent.trial)).await;
        if let Err(error) = tried {
            if error.is_closed() {
                return Err(error);
            }
            let what = format!("{} does not fit the new table: {}", dependent.what, pg::describe(&error));
            findings.push(Finding::table(CheckId::Dependents, green.live(), what, dependent.hint));
        }
        session.batch_execute("ROLLBACK TO SAVEPOINT trial; RELEASE SAVEPOINT trial").await?;
    }
    Ok(findings)
}
