//! Values of rows in the server's log: our sessions keep them out if the role may change the settings for that.

use super::{CheckId, Finding};
use crate::error::{Doing, Error};
use crate::pg::connect::{Session, values_in_log};
use crate::pg::{Ident, list};

pub(super) async fn check(session: &Session) -> Result<Option<Finding>, Error> {
    let failed = "reading what the server logs";
    let rows = session.query(&values_in_log(), &[]).await.doing(failed)?;
    if rows.is_empty() {
        return Ok(None);
    }
    let names = "SELECT session_user::text, current_database()::text";
    let row = session.query_one(names, &[]).await.doing(failed)?;
    let (role, database) = (Ident(row.get(0)), Ident(row.get(1)));
    let settings: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let what = format!(
        "the server may write values of rows to its log, with parameters, plans or errors of this program's sessions: \
         role {role} may not set {} for them",
        list(settings.iter().map(|(name, _)| name.as_str()))
    );
    let set = settings
        .iter()
        .map(|(name, value)| format!("alter role {role} in database {database} set {name} = '{value}'"));
    let hint = format!("as a superuser: {}", set.collect::<Vec<_>>().join("; "));
    Ok(Some(Finding::server(CheckId::ServerLog, what, hint).into_note()))
}
