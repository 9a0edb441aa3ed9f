//! The design of green: what in the plan does not fit the table, a table without a key, partitions that
//! cannot be created.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::preflight::Subject;
use super::{Finding, outliers};
use crate::error::Error;
use crate::hangs_on::{Fingerprint, Homes};
use crate::pg::RunObjects;
use crate::pg::connect::Session;
use crate::phase;
use crate::plan::Plan;

/// Refusals of the design; if there are none, sets the subject's `design`.
pub(super) async fn check(
    plan: &Plan,
    session: &Session,
    subject: &mut Subject<'_>,
) -> Result<Vec<Finding>, Error> {
    let tables = || plan.tables.iter().map(|table| &table.table);
    let mut all = tables().zip(Homes::of_tables(&homes_of(plan), tables()));
    let Some((_, homes)) = all.find(|(table, _)| **table == subject.plan.table) else {
        return Err(Error::Bug("a table that is checked is not the plan's"));
    };
    let found = (Fingerprint::of(session, &subject.plan.table).await?, subject.definition.clone());
    match phase::prepare::design_of(session, subject.plan, &homes, found).await {
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

/// Named after the plan, so that checks of several plans at the same time are not in each other's way.
fn homes_of(plan: &Plan) -> RunObjects {
    let mut name = DefaultHasher::new();
    plan.name.hash(&mut name);
    RunObjects::of(&format!("check_{:016x}", name.finish()))
}
