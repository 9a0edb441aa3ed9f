//! The design of green: what in the plan does not go together with the table, a table without a key, partitions that
//! cannot be made.

use super::preflight::Subject;
use super::{Finding, outliers};
use crate::error::Error;
use crate::hangs_on::Homes;
use crate::pg::connect::Session;
use crate::phase;

/// Also keeps the design.
pub(super) async fn check(session: &Session, subject: &mut Subject<'_>) -> Result<Vec<Finding>, Error> {
    let homes = Homes { blue: "projh_bg_check_blue".into(), green: "projh_bg_check_green".into() };
    match phase::prepare::design(session, subject.plan, &homes).await {
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
