//! Row security that would hide rows from us. With `row_security = off` the server raises an error
//! instead of leaving rows out; it is better to know before.

use tokio_postgres::error::SqlState;

use super::{CheckId, Finding};
use crate::error::{Doing, Error};
use crate::hangs_on::Table;
use crate::pg::connect::Session;
use crate::pg::{self, Ident};

/// Whether every row of the table can be read: tries to.
pub(super) async fn check(session: &Session, table: &Table) -> Result<Option<Finding>, Error> {
    let sql = format!("SELECT 1 FROM {} LIMIT 0", table.name);
    match table.acting().ask(session, &sql, &[]).await {
        Ok(_) => Ok(None),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            explain(session, table).await.map(Some)
        }
        Err(error) if error.as_db_error().is_some() && !pg::is_transient(&error) => {
            let what =
                format!("it cannot be read in a session without a search_path: {}", pg::describe(&error));
            let hint =
                "give the functions of its indexes a search_path: alter function ... set search_path = ...";
            Ok(Some(Finding::table(CheckId::Functions, &table.name, what, hint)))
        }
        Err(error) => Err(error).doing("reading a table"),
    }
}

async fn explain(session: &Session, table: &Table) -> Result<Finding, Error> {
    let sql = "SELECT current_user::text, has_table_privilege($1::oid, 'SELECT') AND has_schema_privilege($2, 'USAGE')";
    let params: [&(dyn postgres_types::ToSql + Sync); 2] = [&table.oid, &table.name.schema.as_str()];
    let row = session.query_one(sql, &params).await.doing("asking for rights")?;
    let (role, may_read) = (Ident(row.get(0)), row.get::<_, bool>(1));
    Ok(if may_read {
        let what = format!("row security would hide rows of it from role {role}");
        let hint = if table.force_row_security {
            format!("alter role {role} bypassrls")
        } else {
            format!("grant {} to {role}, or alter role {role} bypassrls", table.owner)
        };
        Finding::table(CheckId::RowSecurity, &table.name, what, hint)
    } else {
        let schema = &table.name.schema;
        let hint = format!("grant usage on schema {schema} to {role}; grant {} to {role}", table.owner);
        Finding::table(CheckId::Rights, &table.name, format!("role {role} may not read it"), hint)
    })
}
