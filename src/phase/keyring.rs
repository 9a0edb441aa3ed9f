//! The keys of encrypted columns, for a run or for a check.

use tokio_postgres::Client;

use crate::error::Error;
use crate::hangs_on::{Green, GreenColumn, Source};
use crate::lifecycle::Prepared;
use crate::phi::{Format, KeyId, Keyring, KeysError, KeysPlan};
use crate::run::Run;

/// The keys of a run, from the provider of the plan, or of the journal if the command was given no plan. `None` if nothing
/// is encrypted.
pub(super) async fn of_run(run: &Run<'_>, prepared: &Prepared) -> Result<Option<Keyring>, Error> {
    let greens = prepared.lanes.iter().map(|lane| &lane.green);
    let used: Vec<Used> = greens.flat_map(used).collect();
    if used.is_empty() {
        return Ok(None);
    }
    let plan = run.forward.plan.keys.as_ref().or(prepared.keys.as_ref());
    let plan = plan.ok_or(Error::Bug("the journal does not say where the keys come from"))?;
    Ok(Some(load(run.journal.session(), plan, &used).await?))
}

/// A key that is used, and the format of the values under it; none of a blind index.
pub(crate) type Used = (KeyId, Option<Format>);

/// Gets the keys, with all of those that are used.
///
/// # Errors
/// If this build refuses a format, the provider fails, or does not give one of the keys.
pub(crate) async fn load(client: &Client, plan: &KeysPlan, used: &[Used]) -> Result<Keyring, KeysError> {
    let is_refused = |format: &Option<Format>| format.is_some_and(|format| format.is_covered().is_err());
    if let Some((id, _)) = used.iter().find(|(_, format)| is_refused(format)) {
        return Err(KeysError::NotCovered(*id));
    }
    let keyring = plan.load(client).await?;
    match used.iter().find(|(id, _)| keyring.get(*id).is_none()) {
        Some((id, _)) => Err(KeysError::Missing(*id)),
        None => Ok(keyring),
    }
}

/// The keys that a table's encrypted columns need, on the way there and back.
pub(crate) fn used<'a>(green: &'a Green) -> impl Iterator<Item = Used> + use<'a> {
    let of_source = |source: &Source| match source {
        Source::Encrypted(how) => {
            [Some((how.key, Some(how.format))), how.previous.map(|(format, key)| (key, Some(format)))]
        }
        Source::BlindIndex(index) => [Some((index.key, None)), None],
        _ => [None, None],
    };
    let of_column = move |column: &'a GreenColumn| {
        let kept = column.source.kept_codes().iter().map(|(_, code)| (code.key, None));
        of_source(&column.source).into_iter().flatten().chain(kept)
    };
    green.columns.iter().flat_map(of_column)
}
