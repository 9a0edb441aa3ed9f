//! What others have put on green before the swap: clients would get it, or it would act on what the run writes.

use tokio_postgres::Client;

use super::Error;
use super::shape::Green;
use crate::pg::{Colour, Ident, Literal, Planned, list};

const STRANGERS: Planned =
    Planned { name: "projh_strangers", sql: include_str!("../../sql/catalog/strangers.sql") };

/// A sentence for each thing on green, or on a partition of it, that the run has not made. Indexes are left out: the
/// fingerprint has them, once they are built.
///
/// # Errors
/// If green was dropped, or the catalog cannot be read.
pub async fn strangers(client: &Client, green: &Green) -> Result<Vec<String>, Error> {
    let failed = |source| Error::Catalog { what: "what others have put on green", source };
    let oid = super::oid_of(client, &green.at_home()).await?;
    let blue = &green.blue;
    let registered: Vec<Ident> =
        green.widened.registries.iter().flat_map(|registry| registry.trigger_names(Colour::Green)).collect();
    let triggers = array(blue.triggers.iter().map(|trigger| &trigger.name).chain(&registered));
    let policies = array(blue.policies.iter().map(|policy| &policy.name));
    let row_security = if blue.table.row_security { "true" } else { "false" };
    let args = [&oid.to_string(), triggers.as_str(), &policies, row_security];
    let rows = STRANGERS.query(client, &args).await.map_err(failed)?;
    rows.iter().map(|row| row.try_get(0).map_err(failed)).collect()
}

fn array<'a>(names: impl Iterator<Item = &'a Ident>) -> String {
    format!("ARRAY[{}]::text[]", list(names.map(|name| Literal(name.as_str()))))
}
