//! Encrypted columns: the keys are there, and text is in UTF-8 on either side of the encryption.

use super::preflight::Subject;
use super::{CheckId, Finding};
use crate::error::{Doing, Error};
use crate::hangs_on::BlindIndex;
use crate::pg::Ident;
use crate::pg::connect::Session;
use crate::phase::keyring::{self, Used};
use crate::plan::{ColumnChange, Plan};

/// The blind indexes and tags that the table has already.
pub(super) fn notes(subject: &Subject<'_>) -> Vec<Finding> {
    let columns = subject.design.iter().flat_map(|design| &design.green.columns);
    let note = |(name, code): &(Ident, BlindIndex)| {
        let (of, what) = (&code.of, code.what());
        let text = format!(
            "column {name} stays as it is, as the {what} of column {of}: verification compares it with each value"
        );
        let hint = "`projh-bluegreen phi coverage` counts those that are wrong, before the run";
        Finding::table(CheckId::Encryption, &subject.plan.table, text, hint).into_note()
    };
    columns.flat_map(|column| column.source.kept_codes()).map(note).collect()
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
