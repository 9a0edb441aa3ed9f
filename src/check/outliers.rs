//! Rows that lie far from all others in time: an end of 9999-12-31 for "open", a beginning of 1900-01-01 for "unknown".
//! They stretch the ranges of a plan that takes them from the data: that is reported, with the lines that the plan
//! needs.

use jiff::civil::Date;

use super::{CheckId, Finding, Subject};
use crate::error::{Doing, Error};
use crate::green::time_key;
use crate::hangs_on::{Definition, GreenPartition};
use crate::pg::connect::Session;
use crate::plan::partition::PartitionError;
use crate::plan::{Partitions, TablePlan, Unit};

const CHECK: CheckId = CheckId::Partitions;
/// From this number of partitions on, it is checked whether most of them will be empty.
const LEAVES_MANY: usize = 400;
/// Months without rows that separate one kind of rows from another.
const GAP_MONTHS: i64 = 24;
/// The share of all rows that one kind must have at least, or nothing is proposed.
const PART_OF_ALL: f64 = 0.9;
/// Months ahead that a proposal makes room for.
const AHEAD_MONTHS: i64 = 12;

/// The refusal of a plan whose partitions cannot be made.
pub(super) async fn refusal(
    session: &Session,
    plan: &TablePlan,
    definition: &Definition,
    error: &PartitionError,
) -> Result<Finding, Error> {
    let proposal = match error {
        PartitionError::TooMany { .. } | PartitionError::OutOfTime => {
            Months::read(session, plan, definition).await?.and_then(|months| months.proposal(plan))
        }
        _ => None,
    };
    let hint = match (proposal, error) {
        (Some(proposal), _) => proposal,
        (None, PartitionError::NotTime { .. }) => {
            "name a date or timestamp, or give `bounds` instead of `every`".to_owned()
        }
        (None, PartitionError::NoZone { .. }) => "leave out `time_zone`".to_owned(),
        (None, PartitionError::TooMany { .. }) => {
            "give `every` a longer range, or partition_by a `from` and an `until`".to_owned()
        }
        (None, _) => "change partition_by in the plan".to_owned(),
    };
    Ok(Finding::table(CHECK, &plan.table, error.to_string(), hint))
}

/// A note if most of the partitions will be empty.
pub(super) async fn note(session: &Session, subject: &Subject<'_>) -> Result<Option<Finding>, Error> {
    let partition = partition_of(subject).filter(|partition| partition.leaves.len() >= LEAVES_MANY);
    let Some(partition) = partition else { return Ok(None) };
    let months = Months::read(session, subject.plan, &subject.definition).await?;
    let Some(proposal) = months.and_then(|months| months.proposal(subject.plan)) else { return Ok(None) };
    let what = format!(
        "this makes {} partitions, and most of them will be empty: a few rows lie far from all others",
        partition.leaves.len()
    );
    Ok(Some(Finding::table(CHECK, &subject.definition.table.name, what, proposal).into_note()))
}

fn partition_of<'a>(subject: &'a Subject<'_>) -> Option<&'a GreenPartition> {
    subject.design.as_ref()?.green.partition.as_ref()
}

/// Pairs of a month and its number of rows, in ascending order; months are counted from the year 0.
struct Months(Vec<(i64, i64)>);

impl Months {
    /// `None` if the plan does not partition by time.
    async fn read(
        session: &Session,
        plan: &TablePlan,
        definition: &Definition,
    ) -> Result<Option<Self>, Error> {
        let Some(key) = time_key(plan, definition) else { return Ok(None) };
        let civil = key.civil("c");
        let sql = format!(
            "SELECT (extract(year FROM {civil}) * 12 + extract(month FROM {civil}) - 1)::bigint, count(*) \
             FROM (SELECT {value} AS c FROM {table} WHERE {in_range}) AS s GROUP BY 1 ORDER BY 1",
            value = key.value,
            table = plan.table,
            in_range = key.is_in_range(),
        );
        let rows = definition.table.acting().ask(session, &sql, &[]).await;
        let rows = rows.doing("counting rows by month")?;
        Ok(Some(Self(rows.iter().map(|row| (row.get(0), row.get(1))).collect())))
    }

    /// The months of most rows, without a long gap between them: the first and the last, and how many rows are
    /// elsewhere. `None` if all rows are of one kind, or no kind has [`PART_OF_ALL`] of them.
    fn most(&self) -> Option<(i64, i64, i64)> {
        let all: i64 = self.0.iter().map(|(_, rows)| rows).sum();
        let kinds = self.0.chunk_by(|(before, _), (after, _)| after - before <= GAP_MONTHS);
        let rows = |kind: &[(i64, i64)]| kind.iter().map(|(_, rows)| rows).sum::<i64>();
        let most = kinds.max_by_key(|kind| rows(kind))?;
        let elsewhere = all - rows(most);
        let is_most = rows(most) as f64 >= all as f64 * PART_OF_ALL;
        (is_most && elsewhere > 0).then_some((most.first()?.0, most.last()?.0, elsewhere))
    }

    /// The lines to add to a plan, so that the ranges hold most of the rows.
    fn proposal(&self, plan: &TablePlan) -> Option<String> {
        let by = plan.partition_by.as_ref()?;
        let Partitions::Every { unit, from, until, .. } = by.into else { return None };
        let (first, last, elsewhere) = self.most()?;
        let today = jiff::Zoned::now().date();
        let last = last.max(i64::from(today.year()) * 12 + i64::from(today.month()) - 1) + AHEAD_MONTHS;
        let whole = if unit == Unit::Year { 12 } else { 1 };
        let from = from.or(first_of(first.div_euclid(whole) * whole))?;
        let until = until.or(first_of((last + whole).div_euclid(whole) * whole))?;
        let default = if by.default { "go to the default partition" } else { "need `default: true`" };
        Some(format!(
            "write in partition_by: from: {from}, until: {until}; {elsewhere} rows are \
             outside these, and {default}"
        ))
    }
}

fn first_of(month: i64) -> Option<Date> {
    let year = i16::try_from(month.div_euclid(12)).ok()?;
    Date::new(year, i8::try_from(month.rem_euclid(12) + 1).ok()?, 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_rows_far_away_are_of_another_kind() {
        let month = |year: i64, month: i64| year * 12 + month - 1;
        let mut months = vec![(month(1900, 1), 1)];
        months.extend((1..=10).map(|at| (month(2025, at), 500)));
        months.push((month(9999, 12), 2));
        assert_eq!(Months(months.clone()).most(), Some((month(2025, 1), month(2025, 10), 3)));
        assert_eq!(Months(months[1..11].to_vec()).most(), None);
        // Half of the rows are no outliers.
        assert_eq!(Months(vec![(month(2000, 1), 100), (month(2025, 1), 101)]).most(), None);
        assert_eq!(Months(Vec::new()).most(), None);
    }
}
