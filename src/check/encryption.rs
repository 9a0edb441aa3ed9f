//! Encrypted columns: the keys are there, and text is in UTF-8 on either side of the encryption.

use super::{CheckId, Finding};
use crate::error::{Doing, Error};
use crate::pg::connect::Session;
use crate::phase::keyring::{self, Used};
use crate::plan::{ColumnChange, Plan};

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
