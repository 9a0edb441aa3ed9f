//! Names that green is going to need and somebody else has already.

use super::{Finding, Subject};
use crate::error::Error;
use crate::pg::connect::Session;

pub(super) async fn check(session: &Session, subject: &Subject<'_>) -> Result<Vec<Finding>, Error> {
    let Some(design) = &subject.design else { return Ok(Vec::new()) };
    let taken = design.green.taken_names(session).await?;
    let table = &subject.definition.table.name;
    Ok(taken.into_iter().map(|taken| Finding::table("names", table, taken.what, taken.mend)).collect())
}
