//! The design of green: what in the plan does not fit the table, a table without a key, partitions that
//! cannot be created.

use super::preflight::Subject;
use super::{Finding, outliers};
use crate::error::Error;
use crate::hangs_on::{Fingerprint, Homes};
use crate::pg::RunObjects;
use crate::pg::connect::Session;
use crate::phase;

/// Refusals of the design; if there are none, sets the subject's `design`.
pub(super) async fn check(session: &Session, subject: &mut Subject<'_>) -> Result<Vec<Finding>, Error> {
    let ours = RunObjects::passing("check");
    let homes = Homes::of_tables(&ours, std::iter::once(&subject.plan.table));
    let found = (Fingerprint::of(session, &subject.plan.table).await?, subject.definition.clone());
    match phase::prepare::design_of(session, subject.plan, &homes[0], found).await {
        Ok(design) => {
            subject.design = Some(design);
            Ok(Vec::new())
        }
        Err(Error::Refused(refusals)) => Ok(refusals),
        Err(Error::Partition(error)) => {
            Ok(vec![outliers::refusal(session, subject.plan, &subject.definition, &error).await?])
        }
        Err(error) => Err(error),
    }
}
