//! Every statement that the run will execute for one table, tried in a transaction that is
//! rolled back: green's DDL, the copy, the statements of the stream and of the comparison.

use tokio_postgres::error::SqlState;

use super::preflight::{Preflight, Subject};
use super::rules::{self, Rule};
use super::{CheckId, Finding, count, dependents, functions, names_itself};
use crate::error::{Doing, Error};
use crate::green::nearest;
use crate::hangs_on;
use crate::hangs_on::{Green, GreenColumn, Source};
use crate::lane::apply::Apply;
use crate::lane::compare::{CompareError, Comparison};
use crate::lane::{Ends, Lane, working_objects};
use crate::lifecycle::LaneDesign;
use crate::pg::connect::Session;
use crate::pg::sql::joined;
use crate::pg::{self, AS_OPERATOR, Ident, QName, list, rolled_back};
use crate::phase::way_back;

/// The server rejected a statement, or green lacks something.
struct Refused {
    error: Option<tokio_postgres::Error>,
    /// What does not work.
    what: String,
    /// What to do about it.
    hint: String,
}

/// Refusals of the rehearsal; also sets the rules that green's rows will have to satisfy.
pub(super) async fn check(at: &Preflight<'_>, subject: &mut Subject<'_>) -> Result<Vec<Finding>, Error> {
    let Some(design) = &subject.design else { return Ok(Vec::new()) };
    let table = &subject.definition.table.name;
    // If its partitions' names are taken, by partitions of a run for instance, they cannot be moved there.
    let moves = [CheckId::Names, CheckId::AnotherRun].iter().all(|id| at.has_passed(*id, Some(table)));
    let rehearsed = rolled_back(at.session, "BEGIN", async {
        let soaks = !at.plan.settings.soak.is_zero();
        rehearse(at.session, table, design, (moves, soaks)).await
    })
    .await;
    let (findings, rules) = rehearsed.doing("rehearsing")??;
    subject.rules = rules;
    Ok(findings)
}

async fn rehearse(
    session: &Session,
    table: &QName,
    design: &LaneDesign,
    (moves, soaks): (bool, bool),
) -> Result<(Vec<Finding>, Vec<Rule>), Error> {
    let rehearsed = match make(session, table, design, moves).await {
        Ok(named) => match speak(session, design).await {
            Ok(()) if soaks => speak_back(session, design).await.map(|()| named),
            spoken => spoken.map(|()| named),
        },
        refused => refused,
    };
    let (mut findings, rules) = match &rehearsed {
        Ok(named) => {
            let rules = rules::read(session, &design.green).await.doing("rehearsing")?;
            let mut findings = unfilled(session, table, design).await?;
            findings.extend(named.iter().cloned());
            let called = called(session, table, &design.green).await.doing("rehearsing")?;
            findings.extend(called);
            (findings, rules)
        }
        Err(_) => (Vec::new(), Vec::new()),
    };
    if let Err(Refused { error, what, hint }) = rehearsed {
        if let Some(error) = error.filter(tokio_postgres::Error::is_closed) {
            return Err(error).doing("rehearsing");
        }
        findings.push(Finding::table(CheckId::Rehearsal, table, what, hint));
    }
    Ok((findings, rules))
}

/// Makes green, and has the copy's statement planned. Returns refusals for what of green refers to blue, and for
/// what could not be bound to green.
async fn make(
    session: &Session,
    table: &QName,
    design: &LaneDesign,
    moves: bool,
) -> Result<Vec<Finding>, Refused> {
    let green = &design.green;
    let (columns, expressions) = green.select_list();
    let mut statements = green.homes.create();
    statements.extend(green.create());
    // From here on, what one statement makes the next one may undo: references to blue are looked up after each.
    let complete = statements.len();
    statements.extend(green.rehearsal());
    let rehearsed = statements.len();
    if moves {
        statements.extend(green.move_leaves());
    }
    statements.extend(working_objects(0, &Ends::of(design), &design.table, &green.blue.columns));
    let insert = format!(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {table}",
        green.at_home(),
        list(&columns),
        list(&expressions),
    );
    let copy = format!("{}; EXPLAIN {insert}; {AS_OPERATOR}", green.blue.table.acting());
    let mut named = Vec::new();
    let as_they_are = statements.iter().map(|statement| (&statement.sql, &statement.sql));
    for (done, (statement, executed)) in as_they_are.chain([(&insert, &copy)]).enumerate() {
        session.batch_execute(executed).await.map_err(|error| {
            let is_right = error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) && *statement == insert;
            let hint = if is_right {
                let owner = &green.blue.table.owner;
                format!(
                    "the table's rows are copied with its owner's rights: grant {owner} what the server names"
                )
            } else {
                format!("change the plan so that this statement works: {statement}")
            };
            if let Some((function, hint)) = green.row_function_made_by(statement) {
                let what = format!("{function} does not fit the new table: {}", words(&error, statement));
                return Refused { error: Some(error), what, hint };
            }
            let what = format!("green cannot be made: {}", words(&error, statement));
            let hint = too_wide(&error, green).unwrap_or_else(|| match near(&error, green) {
                Some(near) => format!("did you mean {near}? Or {hint}"),
                None => hint,
            });
            Refused { error: Some(error), what, hint }
        })?;
        if (complete..=rehearsed).contains(&(done + 1)) {
            let found = names_itself::check(session, green).await.map_err(unasked)?;
            named.extend(found.into_iter().filter(|finding| !named.contains(finding)).collect::<Vec<_>>());
        }
        if done + 1 == rehearsed {
            named.extend(dependents::try_on(session, green).await.map_err(unasked)?);
        }
    }
    Ok(named)
}

/// The catalog could not be read.
fn unasked(error: tokio_postgres::Error) -> Refused {
    let what = format!("green cannot be examined: {}", pg::describe(&error));
    Refused { error: Some(error), what, hint: "correct what the server names, and check again".to_owned() }
}

/// Refusals for functions that the plan adds, and index expressions that cannot be computed for some of blue's rows.
async fn called(
    session: &Session,
    table: &QName,
    green: &Green,
) -> Result<Vec<Finding>, tokio_postgres::Error> {
    let view = QName::new(green.homes.green.clone(), "projh_values");
    let values = list(count::columns(green));
    session
        .batch_execute(&format!(
            "CREATE VIEW {view} AS SELECT {values} FROM {table}; GRANT SELECT ON {view} TO {}",
            green.blue.table.owner
        ))
        .await?;
    let added = green.columns.iter().filter(|column| column.source == Source::Added);
    let added: Vec<String> = added.map(|column| column.name.as_str().to_owned()).collect();
    let mut findings = Vec::new();
    for relation in [&green.at_home(), &view] {
        let row = session.query_one("SELECT to_regclass($1)::oid", &[&relation.to_string()]).await?;
        findings.extend(functions::check(session, table, row.get(0), &added).await?);
    }
    if findings.is_empty() {
        findings.extend(functions::check_indexes(session, &green.blue.table, &green.at_home(), &view).await?);
    }
    Ok(findings)
}

/// Refusals for columns of green that must have a value, and have no source of one.
async fn unfilled(session: &Session, table: &QName, design: &LaneDesign) -> Result<Vec<Finding>, Error> {
    let green = &design.green;
    let (columns, _) = green.select_list();
    let filled: Vec<&str> = columns.iter().map(Ident::as_str).collect();
    let sql = "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND attnotnull \
               AND NOT atthasdef AND attidentity = '' AND attname <> ALL ($2) ORDER BY attnum";
    let rows = session.query(sql, &[&green.at_home().to_string(), &filled]).await;
    let rows = rows.doing("rehearsing")?;
    let finding = |name: String| {
        let what = format!("column {name} must not be null, and no row has a value for it");
        let hint = format!("give {name} a default in add_columns, or leave out its not null");
        Finding::table(CheckId::Rehearsal, table, what, hint)
    };
    Ok(rows.iter().map(|row| finding(row.get(0))).collect())
}

/// Has the statements of the stream and of the comparison prepared. Their rows come from parameters, not from a table.
async fn speak(session: &Session, design: &LaneDesign) -> Result<(), Refused> {
    let refused = |error: tokio_postgres::Error| Refused {
        what: format!("the stream's rows cannot be written or compared: {}", pg::describe(&error)),
        hint: too_wide(&error, &design.green).unwrap_or_else(|| {
            "in the plan's expressions, name nothing but columns of this table, without the table's name"
                .to_owned()
        }),
        error: Some(error),
    };
    let lane = Lane::load(session, 0, &Ends::of(design)).await.map_err(refused)?;
    Apply::make(session, &lane).await.map_err(refused)?;
    session.batch_execute(&lane.acting.to_string()).await.map_err(refused)?;
    Apply::prepare(session, &lane).await.map_err(refused)?;
    let comparison = match Comparison::of(session, &lane).await {
        Ok(comparison) => comparison,
        Err(CompareError::Postgres { source, .. }) => return Err(refused(source)),
        Err(incomplete @ CompareError::Incomplete { .. }) => {
            let hint = "change the plan so that green has every column of blue's key".to_owned();
            return Err(Refused { error: None, what: incomplete.to_string(), hint });
        }
        // It has made no connection.
        Err(CompareError::Connect(_)) => return Ok(()),
    };
    let compared = match comparison.by_key(session, session).await {
        Err(CompareError::Postgres { source, .. }) => Err(refused(source)),
        // It compares nothing yet.
        Ok(_) | Err(CompareError::Connect(_) | CompareError::Incomplete { .. }) => Ok(()),
    };
    compared?;
    session.batch_execute(AS_OPERATOR).await.map_err(refused)
}

/// Has the statements prepared with which green's changes are applied to blue, if the way back is possible at all.
async fn speak_back(session: &Session, design: &LaneDesign) -> Result<(), Refused> {
    let refused = |error: tokio_postgres::Error| {
        Refused {
        what: format!("green's changes cannot be applied to blue: {}", pg::describe(&error)),
        hint: too_wide(&error, &design.green).unwrap_or_else(|| {
            "in `back`, name nothing but columns of the new table, without the table's name; or `soak: 0s`".to_owned()
        }),
        error: Some(error),
    }
    };
    let Ok(ends) = Ends::of(design).reversed() else { return Ok(()) };
    let green = design.green.at_home();
    let columns = hangs_on::read_columns(session, &green).await.map_err(|error| {
        let what = format!("green cannot be examined: {error}");
        Refused { error: None, what, hint: "check again".to_owned() }
    })?;
    let objects = working_objects(0, &ends, &green, &columns);
    session.batch_execute(&joined(&objects)).await.map_err(refused)?;
    way_back::rehearse(session, 0, design, &ends).await.map_err(refused).map(drop)
}

/// The server's error. A bound is the plan's own literal, so the message about it, unlike that about other
/// values, holds no row's value and can be shown.
fn words(error: &tokio_postgres::Error, statement: &str) -> String {
    let of_bound = statement.contains(" PARTITION OF ") && statement.starts_with("CREATE TABLE");
    match error.as_db_error().filter(|db| of_bound && db.code().code().starts_with("22")) {
        Some(db) => format!("a bound does not fit the partition key: {}", db.message()),
        None => pg::describe(error),
    }
}

/// What to do if a table, or what its rows pass through, would have too many columns.
fn too_wide(error: &tokio_postgres::Error, green: &Green) -> Option<String> {
    if error.code() != Some(&SqlState::TOO_MANY_COLUMNS) {
        return None;
    }
    let (blue, new) = (green.blue.columns.len(), green.columns.len());
    let is_encrypted =
        |column: &&GreenColumn| matches!(column.source, Source::Encrypted(_) | Source::BlindIndex(_));
    let encrypted = green.columns.iter().filter(is_encrypted).count();
    let key = green.blue.usable_key(true, None).map_or(1, |key| key.columns.len());
    let passes = match encrypted {
        0 => String::new(),
        // The batches of the stream: what it carries, what becomes of it, the key, and two more.
        _ => format!(
            ", and rows with encrypted columns pass through temporary tables of about {}: those of either table, one for each \
             encrypted column, blind index and tag, and the key",
            blue.max(new) + encrypted + key + 2
        ),
    };
    Some(format!(
        "the table has {blue} columns and the new one would have {new}{passes}; drop some, or move them to another table, before the run"
    ))
}

/// The column that was probably meant, if one was not found: that one is the first name in quotes in the message.
fn near<'a>(error: &tokio_postgres::Error, green: &'a Green) -> Option<&'a Ident> {
    let db = error.as_db_error().filter(|db| *db.code() == SqlState::UNDEFINED_COLUMN)?;
    let wrong = Ident::from(db.message().split('"').nth(1)?);
    nearest(&wrong, green.columns.iter().map(|column| &column.name))
}
