//! Event triggers fire for the DDL of a run, too, and in a swap while clients wait.

use super::{CheckId, Finding};
use crate::error::{Doing, Error};
use crate::pg::Ident;
use crate::pg::connect::Session;

pub(super) async fn check(session: &Session) -> Result<Vec<Finding>, Error> {
    // Those of extensions are left out: theirs watch what the extension has made.
    let sql = "SELECT e.evtname::text, e.evtevent::text, e.evtfoid::regprocedure::text, pg_catalog.array_to_string(e.evttags, ', ') \
               FROM pg_catalog.pg_event_trigger e WHERE e.evtenabled IN ('O', 'A') \
               AND e.evtevent IN ('ddl_command_start', 'ddl_command_end', 'sql_drop', 'table_rewrite') \
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_event_trigger'::regclass \
               AND d.objid = e.oid AND d.deptype = 'e') ORDER BY 1";
    let rows = session.query(sql, &[]).await.doing("looking for event triggers")?;
    let note = |row: &tokio_postgres::Row| {
        let (name, event, function): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let tags = row.get::<_, Option<String>>(3).map_or_else(String::new, |tags| format!(" of {tags}"));
        let name = Ident(name);
        let what = format!(
            "event trigger {} ({event}{tags}, function {function}) fires for what the program makes, alters and drops, \
             also in the swap, when for a moment no table has the name of the table",
            name.plain()
        );
        let hint = format!(
            "let {function} leave alone what is in schemas projh_*, and name no table of the plan; or disable it for the run: \
             alter event trigger {name} disable"
        );
        Finding::server(CheckId::EventTriggers, what, hint).into_note()
    };
    Ok(rows.iter().map(note).collect())
}
