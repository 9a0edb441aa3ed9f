//! Before clients get views of the old shape: whether the functions that these call know the keys of the plan.

use tokio_postgres::error::SqlState;

use crate::error::{Doing, Error};
use crate::event::Event;
use crate::finding::{CheckId, Finding};
use crate::hangs_on::Green;
use crate::pg::connect::Session;
use crate::pg::{self, list, rolled_back};
use crate::phase::steps::SEARCH_PATH;
use crate::run::Run;

/// Calls them once for each key.
///
/// # Errors
/// [`Error::Refused`] with those that fail.
pub(super) async fn expect_keys(run: &Run<'_>) -> Result<(), Error> {
    let prepared = crate::phase::prepared(run)?;
    let (mut calls, mut findings) = (Vec::new(), Vec::new());
    for green in prepared.greens() {
        for call in green.calls_of_view() {
            if !calls.iter().any(|(_, known)| *known == call) {
                calls.push((green, call));
            }
        }
    }
    if calls.is_empty() {
        return Ok(());
    }
    let session = run.connect("steps").await?;
    for green in prepared.greens() {
        tell_excluded(run, &session, green).await?;
    }
    let doing = "trying the functions of the views of the old shape";
    for (green, call) in calls {
        let begin = format!("BEGIN; SET LOCAL statement_timeout = '5s'; {SEARCH_PATH}");
        let sql = format!("SELECT {call}");
        let Err(error) = rolled_back(&session, &begin, session.batch_execute(&sql)).await.doing(doing)?
        else {
            continue;
        };
        // Clients may have what this session has not: a privilege, or a key that each session gives.
        let is_of_session = [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE];
        if error.code().is_some_and(|code| is_of_session.contains(code)) {
            let text = format!(
                "it could not be tried whether clients of the views of the old shape have their keys: {call} fails here"
            );
            run.cx.tell(&Event::Notice { text });
        } else if error.is_closed() {
            return Err(error).doing(doing);
        } else {
            findings.push(refused(green, &call, &error));
        }
    }
    if findings.is_empty() { Ok(()) } else { Err(Error::Refused(findings)) }
}

/// Reports roles that use the table and may not call what its view calls.
async fn tell_excluded(run: &Run<'_>, session: &Session, green: &Green) -> Result<(), Error> {
    let called = green.functions_of_view();
    let table = green.live();
    let sql = "SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END \
               FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee \
               WHERE c.oid = to_regclass($1) AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE') AND a.grantee <> c.relowner \
               AND NOT coalesce(r.rolsuper, false) AND EXISTS (SELECT FROM unnest($2::text[]) f WHERE to_regprocedure('public.' || f) IS NOT NULL \
               AND NOT has_function_privilege(coalesce(r.rolname, 'public'), to_regprocedure('public.' || f), 'EXECUTE')) ORDER BY 1";
    let rows = session.query(sql, &[&table.to_string(), &called]).await;
    let rows = rows.doing("looking for roles that may not call the functions of the view")?;
    if rows.is_empty() {
        return Ok(());
    }
    let roles = list(rows.iter().map(|row| row.get::<_, String>(0)));
    let text = format!(
        "of {}, the view of the old shape fails for {roles}, who may not call all of {} (42501): grant them that, as members of phi_user for \
         example, if they are to use it",
        table.plain(),
        called.join(", ")
    );
    run.cx.tell(&Event::Notice { text });
    Ok(())
}

fn refused(green: &Green, call: &str, error: &tokio_postgres::Error) -> Finding {
    let what = format!(
        "clients of the view of the old shape could not use it after the swap: {call} fails: {}",
        pg::describe(error)
    );
    let hint = "load the plan's keys where these functions look for them (sql/project-h/phi.sql: table phi.keys), then \
                `projh-bluegreen execute` goes on";
    Finding::table(CheckId::Encryption, green.live(), what, hint)
}
