//! Values of columns that are encrypted already, in a rotation: the copy stops at the first that is in no format.

use super::count::{Count, Row};
use super::{CheckId, Finding, Subject};
use crate::hangs_on::{GreenColumn, Source};

const CHECK: CheckId = CheckId::Encryption;

/// The questions about those values. Without a key it is known that a value is of neither format: a packet of OpenPGP begins with a
/// byte of 128 or more, and aes-gcm with its four bytes, and has 60 at least.
pub(super) fn counts(subject: &Subject<'_>) -> Vec<Count> {
    let columns = subject.design.iter().flat_map(|design| &design.green.columns);
    columns.filter_map(|column| of_column(subject, column)).collect()
}

fn of_column(subject: &Subject<'_>, column: &GreenColumn) -> Option<Count> {
    let Source::Encrypted(how) = &column.source else { return None };
    how.previous?;
    let (table, blue) = (subject.definition.table.name.clone(), &how.blue);
    let name = blue.plain();
    let condition = format!(
        "CASE WHEN pg_catalog.substr({blue}, 1, 4) = '\\x50484901'::pg_catalog.bytea THEN pg_catalog.octet_length({blue}) < 60 \
         ELSE pg_catalog.substr({blue}, 1, 1) < '\\x80'::pg_catalog.bytea END"
    );
    let of = format!("values of {name} that are not encrypted");
    let found = Box::new(move |rows: i64, of: i64| {
        let what = format!(
            "{rows} of {of} rows have a value of {name} that is in neither format: nobody can open it"
        );
        let hint = "`projh-bluegreen phi coverage` tells what there is; encrypt these values, or correct them, first";
        Finding::table(CHECK, &table, what, hint)
    });
    Some(Count { of, row: Row::Blue, condition, found, raises: (CHECK, "correct these values".to_owned()) })
}
