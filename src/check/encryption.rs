//! Encrypted columns: the keys are there, and text is in UTF-8 on either side of the encryption.

use super::preflight::Subject;
use super::{CheckId, Finding};
use crate::error::{Doing, Error};
use crate::hangs_on::{GreenColumn, Source};
use crate::pg::Ident;
use crate::pg::connect::Session;
use crate::phase::keyring::{self, Used};
use crate::phi::Format;
use crate::plan::{ColumnChange, Plan, Step, StepTime};

/// What the view of the old shape calls must be there when it is made, in the swap; a step of the plan may make it.
pub(super) async fn check_view(
    plan: &Plan,
    session: &Session,
    subject: &Subject<'_>,
) -> Result<Vec<Finding>, Error> {
    let called = subject.design.as_ref().map(|design| design.green.functions_of_view()).unwrap_or_default();
    let is_in_time = |step: &&Step| step.when <= StepTime::InSwap;
    let made = |name: &str| {
        let mut statements = plan.steps.iter().filter(is_in_time).flat_map(|step| &step.up.statements);
        statements.any(|statement| statement.sql.contains(name))
    };
    let sql = "SELECT f FROM unnest($1::text[]) AS f WHERE to_regprocedure('public.' || f) IS NULL";
    let rows = session.query(sql, &[&called]).await.doing("looking for the functions of the view")?;
    let missing = rows.iter().map(|row| row.get::<_, &str>(0));
    let missing: Vec<&str> = missing.filter(|f| !made(f.split('(').next().unwrap_or(f))).collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let what = format!(
        "the view of `compatibility: view` calls {}, which schema public has not, and no step makes before it",
        missing.join(", ")
    );
    let hint = "add a step with sql/project-h/phi.sql (`when: prepare`), or take `compatibility` out";
    Ok(vec![Finding::table(CheckId::Encryption, &subject.definition.table.name, what, hint)])
}

/// The blind indexes and tags of values that are encrypted already: those that are kept, and those that are made.
pub(super) fn notes(subject: &Subject<'_>) -> Vec<Finding> {
    let columns = || subject.design.iter().flat_map(|design| &design.green.columns);
    let note = |text: String, hint: &str| {
        Finding::table(CheckId::Encryption, &subject.definition.table.name, text, hint).into_note()
    };
    let kept = columns().flat_map(|column| column.source.kept_codes()).map(|(name, code)| {
        let (of, what) = (&code.of, code.what());
        let text = format!(
            "column {name} stays as it is, as the {what} of column {of}: verification compares it with each value"
        );
        note(text, "`projh-bluegreen phi coverage` counts those that are wrong, before the run")
    });
    let is_encrypted = |name: &Ident| {
        let is = |other: &&GreenColumn| matches!(&other.source, Source::Encrypted(how) if how.blue == *name && how.previous.is_some());
        columns().any(|other| is(&other))
    };
    let added = columns().filter_map(|column| match &column.source {
        Source::BlindIndex(code) if is_encrypted(&code.of) => Some((&column.name, code)),
        _ => None,
    });
    let added = added.map(|(name, code)| {
        let (of, what) = (&code.of, code.what());
        let text =
            format!("column {name} is made anew, as the {what} of column {of}, which is encrypted already");
        note(text, "if the table has one that is to be kept, give the name of its column")
    });
    kept.chain(added).chain(moved_by_others(subject)).collect()
}

/// Foreign keys of the table that change the key of its rows, to which values and tags are bound.
fn moved_by_others(subject: &Subject<'_>) -> Vec<Finding> {
    let Some(design) = &subject.design else { return Vec::new() };
    let is_bound = design.green.columns.iter().any(|column| match &column.source {
        Source::Encrypted(how) => how.format == Format::AesGcm,
        Source::BlindIndex(code) => code.tag_of.is_some(),
        _ => false,
    });
    let of_key = |name: &Ident| design.key.columns.iter().any(|key| key.name == *name);
    let found = design.green.blue.foreign_keys.iter().filter(|key| {
        let cascades = key.tail.as_ref().is_some_and(|tail| tail.contains("ON UPDATE CASCADE"));
        is_bound && cascades && key.columns.iter().any(of_key)
    });
    let findings = found.map(|key| {
        let what = format!(
            "foreign key {} changes the key of rows (ON UPDATE CASCADE) to which values of the format aes-gcm, and tags, are bound: nobody \
             could open them, or they would be wrong, once {} changes such a key",
            key.name,
            key.references.plain()
        );
        let hint = "never change these keys there, or `bound_to` columns that do not change, or `format: pgp` without `tag`";
        Finding::table(CheckId::Encryption, &subject.definition.table.name, what, hint).into_note()
    });
    findings.collect()
}

pub(super) async fn check(plan: &Plan, session: &Session) -> Result<Vec<Finding>, Error> {
    let used =
        plan.tables.iter().flat_map(|table| table.columns.values()).filter_map(|change| match change {
            ColumnChange::Encrypt { format, key, previous, index_key, tag, .. } => {
                let previous = previous.map(|(format, key)| (key, Some(format)));
                let codes = [*index_key, tag.as_ref().map(|(_, key)| *key)].map(|key| Some((key?, None)));
                Some([Some((*key, Some(*format))), previous, codes[0], codes[1]])
            }
            _ => None,
        });
    let used: Vec<Used> = used.flatten().flatten().collect();
    let Some(plan) = plan.keys.as_ref().filter(|_| !used.is_empty()) else { return Ok(Vec::new()) };
    let mut findings = Vec::new();
    if let Err(error) = keyring::load(session, plan, &used).await {
        if error.is_transient() {
            return Err(error.into());
        }
        findings.push(Finding::server(CheckId::Encryption, error.to_string(), error.hint()));
    }
    let sql = "SELECT current_setting('server_encoding')";
    let row = session.query_one(sql, &[]).await.doing("reading the database's encoding")?;
    let encoding: String = row.get(0);
    if encoding != "UTF8" {
        let what =
            format!("columns can be encrypted in a database in UTF8 only, and this one is in {encoding}");
        let hint = "migrate the database to UTF8 first";
        findings.push(Finding::server(CheckId::Encryption, what, hint));
    }
    Ok(findings)
}
