//! `phi coverage`: how much of what a plan encrypts, or a comment marks as protected health information, is encrypted; and
//! where its plaintext remains.
//!
//! Invariants: all of it is read at one point, and nothing is changed; no value is reported. What a value says of itself
//! is read without a key; with keys, every value is opened.

pub(crate) mod columns;
mod places;
mod values;

use tokio_postgres::Client;

pub use places::PhiPlace;
pub(crate) use places::after_finish;
pub use values::PhiColumn;

use crate::error::{Doing, Error};
use crate::phi::Keyring;
use crate::plan::Plan;

/// What was found.
pub struct Coverage {
    /// The columns, by table.
    pub columns: Vec<PhiColumn>,
    /// Where plaintext remains, as far as it can be known.
    pub places: Vec<PhiPlace>,
}

impl Coverage {
    /// Whether every value of every column is encrypted, and was opened if there are keys.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.columns.iter().all(PhiColumn::is_complete)
    }
}

/// Reads every value of these columns; `keyring` is `None` if values are only asked what they say of themselves.
///
/// # Errors
/// If a table of the plan is missing, row security would hide rows, the server rejected a query, or the connection was lost.
pub async fn cover(client: &Client, plan: &Plan, keyring: Option<&Keyring>) -> Result<Coverage, Error> {
    let runs = crate::journal::list(client).await?;
    let progress = runs.iter().find(|run| run.found.plan_name == plan.name).map(|run| &run.progress);
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL row_security = off";
    client.batch_execute(begin).await.doing("beginning to read encrypted columns")?;
    let tables = columns::find(client, plan, progress).await?;
    let mut columns = Vec::new();
    for table in &tables {
        columns.extend(values::count(client, table, keyring).await?);
    }
    let places = places::find(client, plan, &tables, &runs).await?;
    client.batch_execute("COMMIT").await.doing("ending to read encrypted columns")?;
    Ok(Coverage { columns, places })
}
