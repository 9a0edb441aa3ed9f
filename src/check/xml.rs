//! XML that PostgreSQL does not send as it is.
//!
//! The server's output leaves an empty first line out. What comes through the stream would lose it, and
//! another one when it is read from green.

use super::{Finding, Subject};
use crate::error::Error;
use crate::pg::connect::Session;

pub(super) async fn check(session: &Session, subject: &Subject<'_>) -> Result<Vec<Finding>, Error> {
    let Some(design) = &subject.design else { return Ok(Vec::new()) };
    let table = &subject.definition.table.name;
    let kept = |name| design.green.name_of(name).is_some();
    let mut findings = Vec::new();
    for column in &subject.definition.columns {
        if column.base_type != "xml" || !kept(&column.name) {
            continue;
        }
        let name = &column.name;
        let sql = format!("SELECT count(*) FROM {table} WHERE xml_out({name})::text LIKE E'\\n%'");
        let row = session.query_one(&sql, &[]).await.map_err(Error::doing("looking at XML values"))?;
        let count: i64 = row.get(0);
        if count == 0 {
            continue;
        }
        let what = format!(
            "{count} values of column {name} begin with an empty line, which PostgreSQL does not send as it is"
        );
        let mend = format!(
            "update {} set {name} = ltrim(xml_out({name})::text, E'\\n')::xml where xml_out({name})::text like E'\\n%'",
            table.plain()
        );
        findings.push(Finding::table("xml", table, what, mend));
    }
    Ok(findings)
}
