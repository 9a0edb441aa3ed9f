//! Fills the materialized views that a swap is about to make live, before it takes any lock that clients wait for.

use std::time::Duration;

use tokio_postgres::Client;

use crate::error::{Doing, Error};
use crate::event::Event;
use crate::green::materialized;
use crate::hangs_on::MaterializedView;
use crate::lifecycle::{Phase, Prepared};
use crate::pg::connect::AS_CONFIGURED;
use crate::pg::sql::Statement;
use crate::pg::{Colour, Literal};
use crate::run::Run;

/// How long to wait until the other table has what was committed before a materialized view was looked at.
const MARKER_WITHIN: Duration = Duration::from_secs(30);

/// Settings that the rows of a query can depend on: a client's REFRESH has those that the server, the database and the
/// role are configured with.
const CLIENTS: [(&str, &str); 11] = [
    ("search_path", AS_CONFIGURED),
    ("row_security", AS_CONFIGURED),
    ("TimeZone", AS_CONFIGURED),
    ("DateStyle", AS_CONFIGURED),
    ("IntervalStyle", AS_CONFIGURED),
    ("extra_float_digits", AS_CONFIGURED),
    ("bytea_output", AS_CONFIGURED),
    ("xmloption", AS_CONFIGURED),
    ("transform_null_equals", AS_CONFIGURED),
    ("array_nulls", AS_CONFIGURED),
    ("jit", AS_CONFIGURED),
];

/// Attempts that are given up for it: whoever refreshes so often that each is disturbed will do so again soon.
pub(super) const INSISTS: u32 = 3;

/// What the live materialized views were like when their counterparts began to be filled, in the order of
/// [`materialized::of`].
#[derive(Default)]
pub(super) struct Filled {
    states: Vec<Option<State>>,
    /// How many attempts were given up because a client had refreshed one meanwhile.
    pub(super) disturbed: u32,
}

/// What another REFRESH changes.
#[derive(PartialEq, Eq)]
struct State {
    is_populated: bool,
    file: Option<u32>,
    writes: Option<String>,
}

/// Fills those whose live counterpart was refreshed since they were filled; says whether there were any.
pub(super) async fn all(run: &Run<'_>, filled: &mut Filled) -> Result<bool, Error> {
    let prepared = super::prepared(run)?;
    let greens = prepared.greens();
    let views = materialized::of(&greens);
    if views.is_empty() {
        return Ok(false);
    }
    let who = run.journal.progress().live().other();
    let client = run.cx.target.connect(&run.role("materialized views"), &CLIENTS).await?;
    // Only REFRESH has the search path of a client.
    client.batch_execute("SET search_path = pg_catalog").await.doing("filling materialized views")?;
    filled.states.resize_with(views.len(), || None);
    let mut any = false;
    for (number, view) in views.iter().enumerate() {
        let state = state(&client, view).await.doing("looking at a materialized view")?;
        if filled.states[number].as_ref() == Some(&state) {
            continue;
        }
        any = true;
        run.feed()?.round_trip(MARKER_WITHIN).await?;
        let [fill, analyze] = materialized::fill(&greens, view, who, state.is_populated);
        let doing = format!("filling {}", view.what());
        run.patience().execute(&client, &fill.sql, &doing).await?;
        client.batch_execute("COMMIT").await.doing(doing.as_str())?;
        if state.is_populated {
            client.batch_execute(&analyze.sql).await.doing(doing.as_str())?;
        }
        filled.states[number] = Some(state);
        run.cx.tell(&Event::Step { phase: Phase::Swap, what: doing, done: number + 1, of: views.len() });
    }
    Ok(any)
}

/// The first one that was refreshed since its counterpart was filled. To be called while REFRESH is kept away.
pub(super) async fn outdated(
    client: &Client,
    prepared: &Prepared,
    filled: &Filled,
) -> Result<Option<String>, tokio_postgres::Error> {
    let greens = prepared.greens();
    for (number, view) in materialized::of(&greens).into_iter().enumerate() {
        let known = filled.states.get(number).and_then(Option::as_ref);
        if known != Some(&state(client, view).await?) {
            return Ok(Some(view.what()));
        }
    }
    Ok(None)
}

async fn state(client: &Client, view: &MaterializedView) -> Result<State, tokio_postgres::Error> {
    let name = Literal(&view.name.to_string()).to_string();
    let sql = format!(
        "SELECT relispopulated, pg_relation_filenode(oid) FROM pg_class WHERE oid = {name}::regclass"
    );
    let row = client.query_one(&sql, &[]).await?;
    let (is_populated, file) = (row.get(0), row.get(1));
    let writes = match view.writes().filter(|_| is_populated) {
        Some(sql) => Some(client.query_one(&sql, &[]).await?.get(0)),
        None => None,
    };
    Ok(State { is_populated, file, writes })
}

/// What fills all of them before the first swap, for the preview.
pub(crate) fn statements(prepared: &Prepared) -> Vec<Statement> {
    let greens = prepared.greens();
    let views = materialized::of(&greens).into_iter();
    views.flat_map(|view| materialized::fill(&greens, view, Colour::Green, true)).collect()
}
