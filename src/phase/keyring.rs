//! The keys of encrypted columns, for a run or for a check.

use tokio_postgres::Client;

use crate::error::Error;
use crate::hangs_on::{Green, Source};
use crate::lifecycle::Prepared;
use crate::phi::{KeyId, Keyring, KeysError, KeysPlan};
use crate::run::Run;

/// The keys of a run, from the provider of the plan, or of the journal if the command was given no plan. `None` if nothing
/// is encrypted.
pub(super) async fn of_run(run: &Run<'_>, prepared: &Prepared) -> Result<Option<Keyring>, Error> {
    let greens = prepared.lanes.iter().map(|lane| &lane.green);
    let used: Vec<KeyId> = greens.flat_map(used).collect();
    if used.is_empty() {
        return Ok(None);
    }
    let plan = run.forward.plan.keys.as_ref().or(prepared.keys.as_ref());
    let plan = plan.ok_or(Error::Bug("the journal does not say where the keys come from"))?;
    Ok(Some(load(run.journal.session(), plan, &used).await?))
}

/// Gets the keys, with all of those that are used.
///
/// # Errors
/// If the provider fails, or does not give one of them.
pub(crate) async fn load(client: &Client, plan: &KeysPlan, used: &[KeyId]) -> Result<Keyring, KeysError> {
    let keyring = plan.load(client).await?;
    match used.iter().find(|id| keyring.get(**id).is_none()) {
        Some(id) => Err(KeysError::Missing(*id)),
        None => Ok(keyring),
    }
}

/// The keys that a table's encrypted columns need, on the way there and back.
pub(crate) fn used(green: &Green) -> impl Iterator<Item = KeyId> {
    green
        .columns
        .iter()
        .flat_map(|column| match &column.source {
            Source::Encrypted(how) => [Some(how.key), how.previous.map(|(_, key)| key)],
            Source::BlindIndex(index) => [Some(index.key), None],
            _ => [None, None],
        })
        .flatten()
}
