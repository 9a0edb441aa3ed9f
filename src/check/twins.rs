//! Keys of blue's own unique indexes that several rows have: an index that has lost entries lets them in, and
//! green's would refuse them, but only after the copy.
//!
//! Counting them sorts the table, so it is done for small ones only; for others the index phase reports the
//! same, later.

use tokio_postgres::error::SqlState;

use super::{CheckId, Finding, Subject};
use crate::error::{Doing, Error};
use crate::hangs_on::unique_keys::{UniqueKey, WITHOUT_INDEXES};
use crate::hangs_on::{Index, KeySource};
use crate::lifecycle::LaneDesign;
use crate::pg::connect::Session;
use crate::pg::{self, list, rolled_back};

const CHECK: CheckId = CheckId::UniqueIndexes;
/// The largest heap for which keys are counted: 256 MiB.
const BYTES_MAX: u64 = 256 << 20;

pub(super) async fn check(session: &Session, subject: &Subject<'_>) -> Result<Vec<Finding>, Error> {
    let Some(design) = subject.design.as_ref().filter(|_| subject.definition.table.heap_bytes <= BYTES_MAX)
    else {
        return Ok(Vec::new());
    };
    let table = &subject.definition.table.name;
    let doing = "counting keys";
    let is_kept = |index: &&Index| {
        let in_green = design.green.indexes.iter().any(|kept| kept.name == index.name && kept.unique);
        in_green && index.valid && index.immediate && !index.exclusion
    };
    let indexes: Vec<&Index> = subject.definition.indexes.iter().filter(is_kept).collect();
    let begin = format!("BEGIN READ ONLY; {WITHOUT_INDEXES}; {}", subject.definition.table.acting());
    let mut findings = Vec::new();
    findings.extend(not_distinct(session, design, &begin).await?);
    for key in UniqueKey::of(session, table).await.doing(doing)? {
        if !indexes.iter().any(|index| index.name == key.index) {
            continue;
        }
        let count = key.count_twins();
        let counted = rolled_back(session, &begin, session.query_one(&count, &[])).await.doing(doing)?;
        match counted.map(|row| row.get::<_, i64>(0)) {
            Ok(0) => {}
            Ok(count) => {
                let what = format!(
                    "{count} keys of its unique index {} have several rows each: the index has lost some, as after \
                     an upgrade of the operating system that changed how text is sorted, or after a function of its \
                     expression was replaced; green's would refuse them",
                    key.index.plain()
                );
                findings.push(Finding::table(CHECK, table, what, key.hint()));
            }
            Err(error) if error.code().is_some_and(is_computed) => {
                let (index, error) = (key.index.plain(), pg::describe(&error));
                let what = format!("index {index} cannot be computed again for every row: {error}");
                let hint =
                    format!("change such rows, or the function; or `drop_indexes: [{}]`", key.index.as_str());
                findings.push(Finding::table(CHECK, table, what, hint));
            }
            Err(error) => return Err(error).doing(doing),
        }
    }
    Ok(findings)
}

/// Rows that the plan's primary key does not tell apart, in a table that has no key of its own.
async fn not_distinct(session: &Session, design: &LaneDesign, begin: &str) -> Result<Option<Finding>, Error> {
    if design.key.source != KeySource::PlansKey {
        return Ok(None);
    }
    let table = &design.table;
    let columns = list(design.key.columns.iter().map(|column| &column.name));
    let sql =
        format!("SELECT count(*) FROM (SELECT FROM {table} GROUP BY {columns} HAVING count(*) > 1) AS twins");
    let doing = "counting rows that are not distinct";
    let row = rolled_back(session, begin, session.query_one(&sql, &[])).await.doing(doing)?.doing(doing)?;
    let count: i64 = row.get(0);
    let what = format!(
        "it has no key, and {count} values of ({columns}), the plan's primary key, have several rows each"
    );
    let hint = format!(
        "remove all but one of them, or more columns: select {columns} from {} group by {columns} having count(*) > 1",
        table.plain()
    );
    Ok((count > 0).then(|| Finding::table(CHECK, table, what, hint)))
}

/// Whether an expression could not be computed for some value.
fn is_computed(code: &SqlState) -> bool {
    ["22", "P0", "38"].iter().any(|class| code.code().starts_with(class))
}
