//! The rights of the role that the program connects as. None needs a superuser.

use super::{Finding, Subject};
use crate::error::Error;
use crate::pg::Ident;
use crate::pg::connect::Session;

pub(super) async fn check_server(session: &Session) -> Result<Vec<Finding>, Error> {
    let sql = "SELECT current_user::text, current_database()::text, \
               has_database_privilege(current_database(), 'CREATE')";
    let row = session.query_one(sql, &[]).await.map_err(Error::doing("asking for rights"))?;
    let (role, database): (String, String) = (row.get(0), row.get(1));
    if row.get(2) {
        return Ok(Vec::new());
    }
    let what = format!("role {role} may not make schemas and publications in database {database}");
    let mend = format!("grant create on database {} to {}", Ident(database), Ident(role));
    Ok(vec![Finding::server("rights", what, mend)])
}

pub(super) async fn check_table(session: &Session, subject: &Subject<'_>) -> Result<Vec<Finding>, Error> {
    let table = &subject.definition.table;
    let mut findings = Vec::new();
    let sql = "SELECT current_user::text, pg_has_role($1::text, 'USAGE'), has_schema_privilege($2, 'CREATE'), \
               has_schema_privilege($1::text::name, $2, 'CREATE')";
    let (owner, schema) = (table.owner.as_str(), table.name.schema.as_str());
    let row = session.query_one(sql, &[&owner, &schema]).await.map_err(Error::doing("asking for rights"))?;
    let role = Ident(row.get(0));
    let mut refuse =
        |what: String, mend: String| findings.push(Finding::table("rights", &table.name, what, mend));
    if !row.get::<_, bool>(1) {
        refuse(
            format!("role {role} does not have the rights of the table's owner {}", table.owner),
            format!("grant {} to {role}", table.owner),
        );
    }
    for (at, who) in [(2, &role), (3, &table.owner)] {
        if !row.get::<_, bool>(at) {
            refuse(
                format!("role {who} may not make relations in schema {schema}"),
                format!("grant create on schema {} to {who}", table.name.schema),
            );
        }
    }
    for key in &subject.definition.foreign_keys {
        let sql = "SELECT has_table_privilege($1::text::name, $2, 'REFERENCES'), \
                   pg_has_role((SELECT relowner FROM pg_class WHERE oid = to_regclass($2)), 'USAGE')";
        let params: [&(dyn postgres_types::ToSql + Sync); 2] = [&owner, &key.references.to_string()];
        let row = session.query_one(sql, &params).await.map_err(Error::doing("asking for rights"))?;
        if !row.get::<_, bool>(0) {
            refuse(
                format!("its owner may not reference {}", key.references.plain()),
                format!("grant references on {} to {}", key.references, table.owner),
            );
        }
    }
    Ok(findings)
}
