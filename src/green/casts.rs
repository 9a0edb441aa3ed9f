//! Columns whose new type is reached by a cast: it has to mean the same in every session, and to lose nothing.
//!
//! A cast that reads TimeZone, DateStyle or another setting would use this program's settings, not those of the
//! database's users: the plan has to say what is meant. A cast to a domain of a type with a length truncates, on the way
//! there and on the way back.

use tokio_postgres::Client;

use crate::error::{Doing, Error};
use crate::hangs_on::{Column, Conflict, Definition, without_length};
use crate::pg::Ident;
use crate::plan::{ColumnChange, TablePlan};

const DOMAIN_WITH_LENGTH: &str = include_str!("../../sql/catalog/domain_with_length.sql");
const READS_SETTINGS: &str = include_str!("../../sql/catalog/cast_reads_settings.sql");

/// A conflict for each column whose cast reads settings or truncates.
///
/// # Errors
/// If the catalog cannot be read.
pub(crate) async fn conflicts(
    client: &Client,
    definition: &Definition,
    plan: &TablePlan,
) -> Result<Vec<Conflict>, Error> {
    let mut conflicts = Vec::new();
    for (name, change) in &plan.columns {
        let Some(column) = definition.column(name).filter(|column| column.generated.is_none()) else {
            continue;
        };
        let ColumnChange::Change { data_type, using, back, one_way, rename, .. } = change else { continue };
        let (old, green) = (&column.data_type, rename.as_ref().unwrap_or(name));
        let new = data_type.as_ref().unwrap_or(old);
        if new == old && using.is_none() {
            continue;
        }
        if let Some(base) = truncates(client, new).await? {
            conflicts.push(truncating(name, new, &base));
            continue;
        }
        let has_back = back.is_some() || using.is_none() && !one_way;
        if has_back && let Some(base) = truncates(client, old).await? {
            conflicts.push(truncating_back(column, green, &base));
        }
        if using.is_some() {
            continue;
        }
        let types: [String; 2] = [without_length(old), without_length(new)];
        let row = client.query_one(READS_SETTINGS, &[&types[0], &types[1]]).await;
        if row.doing("asking what a cast reads")?.get(0) {
            conflicts.push(conflict(column, new, green));
        }
    }
    Ok(conflicts)
}

/// The type with a length that a cast to this type truncates to, if it is a domain of one.
async fn truncates(client: &Client, data_type: &str) -> Result<Option<String>, Error> {
    let row = client.query_opt(DOMAIN_WITH_LENGTH, &[&data_type]).await;
    Ok(row.doing("asking what a domain is made of")?.map(|row| row.get(0)))
}

fn truncating_back(column: &Column, green: &Ident, base: &str) -> Conflict {
    let (name, old) = (&column.name, &column.data_type);
    let what = format!(
        "column {name} cannot be converted back to {old}: that domain is made of {base}, and a cast to it truncates longer \
         values without an error: a rollback after the swap would cut what clients write into {green}, and views would show it cut"
    );
    let hint = format!(
        "give column {name} the type {base} before the run; or accept with `one_way: true`, without `back`, that a rollback \
         after the swap loses new values of {green}"
    );
    Conflict::new(what, hint)
}

fn truncating(name: &Ident, new: &str, base: &str) -> Conflict {
    let what = format!(
        "column {name} cannot become {new}: that domain is made of {base}, and a cast to it truncates longer values without an \
         error"
    );
    let hint = format!(
        "use type {base}; or create the domain without a length, and with a CHECK on length(value) instead"
    );
    Conflict::new(what, hint)
}

fn conflict(column: &Column, new: &str, green: &Ident) -> Conflict {
    let (name, old) = (&column.name, &column.data_type);
    let what = format!(
        "column {name} cannot be cast from {old} to {new} without `using`: the result depends on settings of the \
         session, such as TimeZone and DateStyle"
    );
    let (written, blue, green) = (name.in_plan(), name.plain(), green.plain());
    let hint = match (moment(old), moment(new)) {
        (Some(was), Some(is)) => format!(
            "name the time zone that is meant: {written}: {{type: {new}, using: \"{}\", back: \"{}\"}}",
            in_zone(&blue, was, is),
            in_zone(&green, is, was)
        ),
        _ => format!(
            "write the conversion in the plan: {written}: {{type: {new}, using: \"...\", back: \"...\"}}, with a time zone \
             (at time zone 'Area/City') or a format (to_char, to_date, encode) where there is one"
        ),
    };
    Conflict::new(what, hint)
}

/// A point in time, by PostgreSQL's type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    Date,
    Timestamp,
    TimestampTz,
}

fn moment(data_type: &str) -> Option<Moment> {
    let name = data_type.to_lowercase();
    match name.trim().trim_start_matches("pg_catalog.") {
        name if name.ends_with(']') => None,
        "date" => Some(Moment::Date),
        name if name.starts_with("timestamptz") => Some(Moment::TimestampTz),
        name if name.starts_with("timestamp") && name.ends_with("with time zone") => {
            Some(Moment::TimestampTz)
        }
        name if name.starts_with("timestamp") => Some(Moment::Timestamp),
        _ => None,
    }
}

/// The conversion of a column, in a named zone.
fn in_zone(column: &str, from: Moment, to: Moment) -> String {
    // AT TIME ZONE would first convert a date to timestamptz, in the session's zone.
    let from = if from == Moment::Date { format!("{column}::timestamp") } else { column.to_owned() };
    let there = format!("{from} at time zone 'Area/City'");
    if to == Moment::Date { format!("({there})::date") } else { there }
}
