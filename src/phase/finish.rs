//! Finish: blue is dropped, and with it the way back. Nothing of ours is left but the journal.

use super::settle::patiently;
use crate::error::Error;
use crate::journal::Journal;
use crate::lane;
use crate::lifecycle::{Fact, Prepared};

/// Drops blue and the homes.
///
/// # Errors
/// If the run is not that far, somebody has come to depend on blue, or the server said no.
pub async fn run(journal: &Journal) -> Result<(), Error> {
    let (settled, prepared) = {
        let progress = journal.progress();
        (progress.settled, progress.prepared.clone())
    };
    let Some(prepared) = prepared.filter(|_| settled) else {
        let what = "the run has not been swapped and settled yet, so there is nothing to finish";
        return Err(Error::Usage(format!("{what}; `projh-bluegreen execute` goes on with it")));
    };
    patiently(journal.session(), &statements(&prepared).join("; "), "dropping blue").await?;
    journal.end(journal.session(), Fact::Finished).await?;
    Ok(())
}

/// What finish carries out, in one transaction.
pub(crate) fn statements(prepared: &Prepared) -> Vec<String> {
    let blues =
        prepared.lanes.iter().map(|lane| format!("DROP TABLE {}", lane.table.in_schema(&prepared.blue_home)));
    let mut statements: Vec<String> = blues.collect();
    statements.push(format!("DROP SCHEMA {}", prepared.blue_home));
    for number in 0..prepared.lanes.len() {
        statements.push(format!("DROP TABLE {}", lane::dirty_table(&prepared.green_home, number)));
        statements.push(format!("DROP TYPE {}", lane::row_type(&prepared.green_home, number)));
    }
    statements.push(format!("DROP SCHEMA {}", prepared.green_home));
    statements
}
