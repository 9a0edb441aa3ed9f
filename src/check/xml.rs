//! XML that PostgreSQL does not send unchanged.
//!
//! The server's output leaves out an empty first line. A value would lose it in the stream, and
//! another one when it is read from green.

use super::count::{Count, Row};
use super::{CheckId, Finding, Subject};
use crate::hangs_on::Column;
use crate::pg::QName;

pub(super) fn counts(subject: &Subject<'_>) -> Vec<Count> {
    let Some(design) = &subject.design else { return Vec::new() };
    let columns = subject.definition.columns.iter();
    let kept =
        columns.filter(|column| column.base_type == "xml" && design.green.name_of(&column.name).is_some());
    kept.map(|column| count(&subject.definition.table.name, column)).collect()
}

fn count(table: &QName, column: &Column) -> Count {
    let (table, name) = (table.clone(), column.name.clone());
    let condition = format!("xml_out({name})::text LIKE E'\\n%'");
    Count {
        of: format!("values of {} that begin with an empty line", name.plain()),
        row: Row::Blue,
        raises: (
            CheckId::Xml,
            format!("find out why it fails: select * from {} where {condition}", table.plain()),
        ),
        condition,
        found: Box::new(move |values, _| {
            let what = format!(
                "{values} values of column {name} begin with an empty line, which PostgreSQL does not send"
            );
            let hint = format!(
                "update {} set {name} = ltrim(xml_out({name})::text, E'\\n')::xml where xml_out({name})::text like E'\\n%'",
                table.plain()
            );
            Finding::table(CheckId::Xml, &table, what, hint)
        }),
    }
}
