//! Names that green will need and other objects have already.

use std::collections::HashMap;

use super::{CheckId, Finding, Subject};
use crate::error::Error;
use crate::hangs_on::{Green, RowFunction};
use crate::pg::connect::Session;
use crate::pg::{QName, RunObjects};

pub(super) async fn check(session: &Session, subject: &Subject<'_>) -> Result<Vec<Finding>, Error> {
    let Some(design) = &subject.design else { return Ok(Vec::new()) };
    let taken = design.green.taken_names(session).await?;
    let table = &subject.definition.table.name;
    Ok(taken.into_iter().map(|taken| Finding::table(CheckId::Names, table, taken.what, taken.hint)).collect())
}

/// Names that two tables of the plan would both need, and those that two functions of their rows would have, which all
/// get into one schema.
pub(super) fn check_together(subjects: &[Subject<'_>]) -> Vec<Finding> {
    let mut findings = partitions_of_one_name(subjects);
    let mut first: HashMap<String, &RowFunction> = HashMap::new();
    for green in subjects.iter().filter_map(|subject| Some(&subject.design.as_ref()?.green)) {
        for of in &green.blue.row_functions {
            let Some(other) = first.insert(of.counterpart(green), of) else { continue };
            let run = |of: &&RowFunction| {
                RunObjects::run_of_schema(of.function.name.schema.as_str()).map(str::to_owned)
            };
            if let Some((kept, run)) = [of, other].iter().find_map(|of| Some((of.function.what(), run(of)?)))
            {
                let what = format!(
                    "{kept} is what run {run} keeps of a function that has rows of its tables and of this one"
                );
                findings.push(Finding::table(
                    CheckId::Names,
                    green.live(),
                    what,
                    RunObjects::ends_first(&run),
                ));
                continue;
            }
            let (what, other) = (of.function.what(), other.function.what());
            let hint = format!("alter {other} rename to ..., or {}", of.function.drop_hint());
            let what =
                format!("{what} and {other} would have one name in the schema that the old table is kept in");
            findings.push(Finding::table(CheckId::Names, green.live(), what, hint));
        }
    }
    findings
}

fn partitions_of_one_name(subjects: &[Subject<'_>]) -> Vec<Finding> {
    let mut first: HashMap<QName, &QName> = HashMap::new();
    let mut findings = Vec::new();
    for subject in subjects {
        let table = &subject.definition.table.name;
        let green = subject.design.as_ref().map(|design| &design.green);
        let partitioned = green.filter(|green| green.partition.is_some());
        for leaf in partitioned.into_iter().flat_map(Green::row_holders) {
            if let Some(other) = first.get(&leaf) {
                let what =
                    format!("a partition would be called {}, and one of {} too", leaf.plain(), other.plain());
                let hint = "give one of them another `name` or `schema` in partition_by";
                findings.push(Finding::table(CheckId::Names, table, what, hint));
                break;
            }
            first.insert(leaf, table);
        }
    }
    findings
}
