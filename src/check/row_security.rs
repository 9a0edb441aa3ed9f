//! Row security that would hide rows from us. With `row_security = off` the server raises an error
//! where it would otherwise leave rows out; better to know before.

use tokio_postgres::error::SqlState;

use super::{Finding, Subject};
use crate::error::Error;
use crate::pg::connect::Session;

pub(super) async fn check(session: &Session, subject: &Subject<'_>) -> Result<Vec<Finding>, Error> {
    let table = &subject.definition.table;
    let sql = format!("SELECT 1 FROM {} LIMIT 0", table.name);
    match session.query(&sql, &[]).await {
        Ok(_) => Ok(Vec::new()),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            let what =
                "its rows cannot be read completely by this role (no right, or row security hides some)";
            let mend = "connect as a member of the table's owner; where row security is forced, as a role with bypassrls";
            Ok(vec![Finding::table("row security", &table.name, what, mend)])
        }
        Err(error) => Err(Error::doing("reading a table")(error)),
    }
}
