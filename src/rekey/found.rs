//! The tables of a plan that are encrypted, and why values of one cannot be encrypted again.

use tokio_postgres::Client;

use super::{Target, Work};
use crate::coverage::columns::{self, Table};
use crate::error::Error;
use crate::finding::{CheckId, Finding};
use crate::hangs_on;
use crate::journal;
use crate::pg::QName;
use crate::phi::Format;
use crate::plan::Plan;

/// Finds the tables, and refuses what cannot be done.
pub(crate) async fn survey(client: &Client, plan: &Plan) -> Result<Vec<Work>, Error> {
    let run = journal::latest(client, &plan.name, false).await?;
    let tables = columns::find(client, plan, run.as_ref().map(|run| &run.progress)).await?;
    let mut all = Vec::new();
    for mut table in tables {
        table.columns.retain(|column| column.planned.is_some() && !column.is_beside);
        if table.columns.is_empty() {
            continue;
        }
        refuse_runs(client, &table.name).await?;
        all.push(work(client, table).await?);
    }
    if all.is_empty() {
        return Err(Error::Usage("the plan encrypts no column, so there is no key to change".to_owned()));
    }
    Ok(all)
}

async fn work(client: &Client, table: Table) -> Result<Work, Error> {
    if let Some(column) = table.columns.iter().find(|column| !column.is_bytes) {
        let what = format!("column {} is not encrypted yet", column.name);
        return Err(refused(&table.name, what, "execute the plan: its run encrypts the column"));
    }
    let definition = hangs_on::read(client, &table.name).await?;
    let key = definition.usable_key(false, None).or_else(|_| definition.usable_key(true, None));
    let key = key.map_err(|none| refused(&table.name, none.to_string(), none.hint))?.columns;
    let columns: Vec<(Target, usize)> = table
        .columns
        .iter()
        .filter_map(|column| {
            let (format, encrypts) = column.planned?;
            let place = |at: &usize| key.iter().position(|of_key| of_key.name == table.key[*at]);
            let bound_to = column.bound_to.iter().filter_map(place).collect();
            let all = column.bound_to.len();
            Some((Target { name: column.name.clone(), format, key: encrypts, bound_to }, all))
        })
        .collect();
    let is_lost = |(column, all): &&(Target, usize)| {
        column.format == Format::AesGcm && (column.bound_to.len() != *all || *all == 0)
    };
    if let Some((column, _)) = columns.iter().find(is_lost) {
        let what = format!(
            "values of {}, of the format aes-gcm, are bound to columns that are not in the table's key",
            column.name
        );
        let hint =
            "give the key that the table had when they were encrypted: `bound_to: [id]` beside `format`";
        return Err(refused(&table.name, what, hint));
    }
    let columns = columns.into_iter().map(|(column, _)| column).collect();
    let triggers = definition.triggers.iter();
    let triggers = triggers.filter(|trigger| trigger.events.iter().any(|event| event == "UPDATE"));
    let triggers = triggers.map(|trigger| trigger.name.plain()).collect();
    let (acting, owner) = (definition.table.acting(), definition.table.owner.clone());
    Ok(Work { table, columns, key, acting, owner, triggers })
}

/// A run of the table has its own idea of its values, and exchanges it for another.
pub(super) async fn refuse_runs(client: &Client, table: &QName) -> Result<(), Error> {
    let Some(run) = journal::run_of_table(client, table).await? else { return Ok(()) };
    let what = format!("run {run} of this table is under way");
    let hint = format!("projh-bluegreen finish {run}, or rollback {run} --drop-green; and then again");
    Err(refused(table, what, hint))
}

fn refused(table: &QName, what: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::Refused(vec![Finding::table(CheckId::Encryption, table, what, hint)])
}
