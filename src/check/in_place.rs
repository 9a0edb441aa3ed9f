//! `in_place: true`: whether the indexes can be built on the table itself; and where a plan could say so.

use tokio_postgres::error::SqlState;

use super::preflight::{Preflight, Subject};
use super::rights::of_schema;
use super::{CheckId, Finding};
use crate::error::{Doing, Error};
use crate::hangs_on::{self, Around};
use crate::pg::connect::Session;
use crate::pg::{QName, describe, rolled_back};
use crate::phase::in_place::{self, Relation};
use crate::phase::steps::SEARCH_PATH;
use crate::phase::steps::trial::Trial;
use crate::plan::{Adornment, NewIndex, Plan, TablePlan};

/// Refusals for tables and indexes with which it cannot be done.
pub(super) async fn check(at: &Preflight<'_>) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    for of in &at.plan.in_place {
        if !at.has_passed(CheckId::Table, Some(&of.table)) {
            continue;
        }
        let blockers = hangs_on::blockers(at.session, &of.table, &Around::default()).await?;
        let runs = Finding::of_blockers(&of.table, blockers);
        findings.extend(runs.into_iter().filter(|finding| finding.check == CheckId::AnotherRun));
        let relations = in_place::relations(at.session, &of.table).await?;
        let mut wrong = of_relations(at.session, &relations).await?;
        let Some(root) = relations.last() else { continue };
        for index in &of.indexes {
            let taken = taken(at.session, &relations, index).await?;
            match taken {
                Some(taken) => wrong.push(taken),
                None => wrong.extend(tried(at.session, root, index).await?),
            }
        }
        findings.extend(
            wrong.into_iter().map(|(what, hint)| Finding::table(CheckId::InPlace, &of.table, what, hint)),
        );
    }
    Ok(findings)
}

/// What is wrong, and what to do about it.
type Wrong = (String, String);

async fn of_relations(session: &Session, relations: &[Relation]) -> Result<Vec<Wrong>, Error> {
    let mut wrong = Vec::new();
    let mut schemas = Vec::new();
    for relation in relations {
        let name = relation.name.plain();
        if relation.kind == "f" {
            let hint = "detach it, or index the other partitions in steps of the plan".to_owned();
            wrong.push((format!("its partition {name} is a foreign table, which has no index"), hint));
        }
        if let Some(owner) = &relation.foreign_owner {
            let what = format!("the role does not have the rights of {owner}, which owns {name}");
            wrong.push((what, format!("grant {owner} to the role that executes the plan")));
        }
        if !schemas.contains(&&relation.name.schema) {
            schemas.push(&relation.name.schema);
            wrong.extend(of_schema(session, &relation.name.schema, "its index").await?);
        }
    }
    Ok(wrong)
}

/// A relation that has a name which the index needs.
async fn taken(session: &Session, relations: &[Relation], index: &NewIndex) -> Result<Option<Wrong>, Error> {
    let names: Vec<QName> =
        in_place::builds(relations, index).into_iter().filter_map(|build| build.index).collect();
    let texts: Vec<String> = names.iter().map(QName::to_string).collect();
    let sql = "SELECT n FROM unnest($1::text[]) WITH ORDINALITY AS u(name, n) WHERE to_regclass(name) IS NOT NULL LIMIT 1";
    let row = session.query_opt(sql, &[&texts]).await.doing("looking for names")?;
    let found = row.and_then(|row| names.get(usize::try_from(row.get::<_, i64>(0) - 1).ok()?));
    Ok(found.map(|name| {
        let what = format!("index {} cannot be built: {} exists already", index.name.plain(), name.plain());
        (what, "give it another name in the plan, or drop what has that one".to_owned())
    }))
}

/// Tries the index on an empty temporary table with the same columns and the same partition key.
async fn tried(session: &Session, root: &Relation, index: &NewIndex) -> Result<Option<Wrong>, Error> {
    let trial = Trial::of(&root.name, root.partition_key.as_deref(), (index.unique, &index.rest));
    let begin = format!("BEGIN; {SEARCH_PATH}");
    let tried = rolled_back(session, &begin, async {
        match session.batch_execute(&trial.make).await {
            // Not every role may make temporary tables.
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => session.batch_execute(&trial.build).await,
        }
    });
    match tried.await.doing("trying an index")? {
        Err(error) if error.is_closed() => Err(error).doing("trying an index"),
        Err(error) => {
            let what = format!("index {} cannot be built: {}", index.name.plain(), describe(&error));
            Ok(Some((what, "correct it in the plan".to_owned())))
        }
        Ok(()) => Ok(None),
    }
}

/// A note on a table that is copied for nothing but indexes.
pub(super) fn proposed(plan: &Plan, subject: &Subject<'_>) -> Option<Finding> {
    let TablePlan { table, .. } = subject.plan;
    let adorned = |adornment: Adornment| plan.steps.iter().any(|step| step.name == adornment.step(table));
    let is_adorned = Adornment::ALL.into_iter().any(adorned);
    let is_plain = !subject.definition.table.is_partitioned();
    (subject.plan.has_only_indexes() && is_plain && !is_adorned).then(|| {
        let what = "the plan gives it nothing but indexes, and copies it for that";
        let hint = "`in_place: true` builds them concurrently on the table itself; a copy also leaves its bloat behind";
        Finding::table(CheckId::InPlace, table, what, hint).into_note()
    })
}
