//! The rights of the role that the program connects as. None needs a superuser.

use postgres_types::ToSql;
use tokio_postgres::Row;

use super::{CheckId, Finding, Subject};
use crate::error::{Doing, Error};
use crate::green;
use crate::hangs_on::{Green, Table};
use crate::journal::{self, JournalError};
use crate::pg::activity::{self, ActivityError};
use crate::pg::connect::Session;
use crate::pg::{Colour, Ident, QName};

pub(super) async fn check_server(session: &Session) -> Result<Vec<Finding>, Error> {
    let sql = "SELECT current_user::text, current_database()::text, \
               has_database_privilege(current_database(), 'CREATE'), j.owner, \
               coalesce(pg_has_role(j.oid, 'USAGE'), true), has_database_privilege(current_database(), 'TEMPORARY') \
               FROM (VALUES (1)) AS one(n) LEFT JOIN (SELECT nspowner AS oid, pg_get_userbyid(nspowner)::text AS owner \
               FROM pg_namespace WHERE nspname = 'projh_bluegreen') AS j ON true";
    let row = session.query_one(sql, &[]).await.doing("asking for rights")?;
    let (role, database) = (Ident(row.get(0)), Ident(row.get(1)));
    let mut findings = Vec::new();
    if !row.get::<_, bool>(2) {
        let what = format!("role {role} may not create schemas and publications in database {database}");
        findings.push(Finding::server(
            CheckId::Rights,
            what,
            format!("grant create on database {database} to {role}"),
        ));
    }
    if !row.get::<_, bool>(5) {
        let what = format!("role {role} may not create temporary tables in database {database}");
        let hint = format!("grant temporary on database {database} to {role}");
        findings.push(Finding::server(CheckId::Rights, what, hint));
    }
    match activity::expect_sight(session).await {
        Err(ActivityError::Blind(_)) => {
            let what = format!(
                "role {role} cannot see the sessions of others: a client with an old snapshot would find the new table empty"
            );
            findings.push(Finding::server(CheckId::Rights, what, activity::grant_sight(&role)));
        }
        other => other?,
    }
    if let (Some(owner), false) = (row.get::<_, Option<String>>(3).map(Ident), row.get(4)) {
        let what = format!(
            "the journal, schema projh_bluegreen, belongs to {owner}, and {role} is not a member of it"
        );
        let hint = format!("grant {owner} to {role}, or connect as {owner}");
        findings.push(Finding::server(CheckId::Rights, what, hint));
    } else if let Err(stranger) = journal::check_owners(session).await {
        findings.push(of_stranger(stranger)?);
    }
    Ok(findings)
}

/// Whoever may create schemas could have created the journal's, with their own code in it.
fn of_stranger(error: JournalError) -> Result<Finding, Error> {
    let what = error.to_string();
    let JournalError::Stranger { owner, role, .. } = error else { return Err(error.into()) };
    let hint = format!(
        "look at what is in schema projh_bluegreen. If {owner} made it for this program: grant {owner} to {role}; \
         if not: drop schema projh_bluegreen cascade"
    );
    Ok(Finding::server(CheckId::Rights, what, hint))
}

pub(super) async fn check_table(session: &Session, subject: &Subject<'_>) -> Result<Vec<Finding>, Error> {
    let table = &subject.definition.table;
    let whose = format!("the table's owner {}", table.owner);
    let mut findings: Vec<Finding> =
        of_owner(session, table, &table.owner, &whose).await?.into_iter().collect();
    let refused = |(what, hint)| refusal(table, what, hint);
    findings.extend(of_schema(session, &table.name.schema, "it").await?.map(refused));
    let of_leaves = subject.plan.partition_by.as_ref().and_then(|by| by.schema.as_ref());
    if let Some(schema) = of_leaves.filter(|schema| **schema != table.name.schema) {
        findings.extend(of_schema(session, schema, "its partitions").await?.map(refused));
        let of_partitions = subject.definition.partitions.iter().map(|of| &of.foreign_keys);
        let mut keys = of_partitions.chain([&subject.definition.foreign_keys]);
        if table.owner_acts || keys.any(|keys| !keys.is_empty()) {
            findings.extend(of_owner_in(session, table, schema).await?);
        }
    }
    for referenced in subject.definition.referenced() {
        findings.extend(of_referenced(session, table, referenced).await?);
    }
    if let Some(design) = &subject.design {
        findings.extend(of_dependents(session, table, &design.green).await?);
    }
    Ok(findings)
}

/// What depends on the table is created again with its owner's rights, in its schema.
async fn of_dependents(session: &Session, table: &Table, green: &Green) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    let refused = |(what, hint)| refusal(table, what, hint);
    let (mut owners, mut schemas) = (vec![table.owner.clone()], vec![table.name.schema.clone()]);
    for (_, dependent) in green::dependents(&[green], Colour::Green) {
        if !owners.contains(&dependent.owner) {
            let whose = format!("{}, which owns {}", dependent.owner, dependent.what);
            findings.extend(of_owner(session, table, &dependent.owner, &whose).await?);
            owners.push(dependent.owner);
        }
        if dependent.is_table {
            findings.extend(of_use(session, table, &dependent.relation.schema).await?);
        }
        if dependent.is_created && !schemas.contains(&dependent.relation.schema) {
            findings.extend(of_schema(session, &dependent.relation.schema, "it").await?.map(refused));
            schemas.push(dependent.relation.schema);
        }
    }
    Ok(findings)
}

async fn ask(session: &Session, sql: &str, names: &[&str]) -> Result<Row, Error> {
    let params: Vec<&(dyn ToSql + Sync)> = names.iter().map(|name| name as &(dyn ToSql + Sync)).collect();
    session.query_one(sql, &params).await.doing("asking for rights")
}

fn refusal(table: &Table, what: String, hint: String) -> Finding {
    Finding::table(CheckId::Rights, &table.name, what, hint)
}

/// Green is made, given to the table's owner and exchanged with the owner's rights; likewise what depends on it.
async fn of_owner(
    session: &Session,
    table: &Table,
    owner: &Ident,
    whose: &str,
) -> Result<Option<Finding>, Error> {
    let sql = "SELECT current_user::text, pg_has_role($1::text, 'USAGE'), pg_has_role($1::text, 'MEMBER')";
    let row = ask(session, sql, &[owner.as_str()]).await?;
    let role = Ident(row.get(0));
    let (has_rights, is_member): (bool, bool) = (row.get(1), row.get(2));
    let what = || format!("role {role} does not have the rights of {whose}");
    // From version 16 on it is the membership that inherits, and not the role.
    let hint = if is_member && session.server_version_num() < 160_000 {
        format!("alter role {role} inherit")
    } else {
        format!("grant {owner} to {role}{}", if is_member { " with inherit true" } else { "" })
    };
    Ok((!has_rights).then(|| refusal(table, what(), hint)))
}

/// The schema that `whose` will be in: what stands in the way, and a hint.
pub(super) async fn of_schema(
    session: &Session,
    schema: &Ident,
    whose: &str,
) -> Result<Option<(String, String)>, Error> {
    let sql = "SELECT current_user::text, n.oid IS NOT NULL, \
               coalesce(has_schema_privilege(n.oid, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE'), false) \
               FROM (VALUES ($1::text)) AS s(name) LEFT JOIN pg_namespace n ON n.nspname = s.name";
    let row = ask(session, sql, &[schema.as_str()]).await?;
    let (role, exists, may) = (Ident(row.get(0)), row.get::<_, bool>(1), row.get::<_, bool>(2));
    if !exists {
        let what = format!("there is no schema {schema} for {whose}");
        return Ok(Some((what, format!("create schema {schema}"))));
    }
    let what = || format!("role {role} may not create relations in schema {schema}");
    Ok((!may).then(|| (what(), format!("grant usage, create on schema {schema} to {role}"))))
}

/// The schema of a table that references this one.
async fn of_use(session: &Session, table: &Table, schema: &Ident) -> Result<Option<Finding>, Error> {
    let sql = "SELECT current_user::text, has_schema_privilege($1, 'USAGE')";
    let row = ask(session, sql, &[schema.as_str()]).await?;
    let (role, may) = (Ident(row.get(0)), row.get::<_, bool>(1));
    let what =
        || format!("role {role} may not use schema {schema}, which has a table that references this one");
    Ok((!may).then(|| refusal(table, what(), format!("grant usage on schema {schema} to {role}"))))
}

/// The run reads the partitions as their owner, and the actions of a foreign key (ON DELETE CASCADE, say) run as their
/// owner, too.
async fn of_owner_in(session: &Session, table: &Table, schema: &Ident) -> Result<Option<Finding>, Error> {
    let sql = "SELECT bool_and(has_schema_privilege($1, oid, 'USAGE')) FROM pg_namespace WHERE nspname = $2";
    let row = ask(session, sql, &[table.owner.as_str(), schema.as_str()]).await?;
    let may = row.get::<_, Option<bool>>(0).unwrap_or(true);
    let what = || {
        format!(
            "the owner {} may not use schema {schema}, where the run and foreign keys act with its rights",
            table.owner
        )
    };
    Ok((!may).then(|| refusal(table, what(), format!("grant usage on schema {schema} to {}", table.owner))))
}

/// A table that a foreign key points at is locked in the swap, and the key is created again. LOCK requires
/// more than SELECT and REFERENCES.
async fn of_referenced(
    session: &Session,
    table: &Table,
    referenced: &QName,
) -> Result<Option<Finding>, Error> {
    let sql = "SELECT current_user::text, has_table_privilege(c.oid, 'REFERENCES'), \
               has_table_privilege(c.oid, 'UPDATE') OR has_table_privilege(c.oid, 'DELETE') \
               OR has_table_privilege(c.oid, 'TRUNCATE'), has_schema_privilege(c.relnamespace, 'USAGE') \
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = $1 AND c.relname = $2";
    let row = ask(session, sql, &[referenced.schema.as_str(), referenced.name.as_str()]).await?;
    let (role, may_reference, may_lock): (_, bool, bool) = (Ident(row.get(0)), row.get(1), row.get(2));
    let mut grants = Vec::new();
    if !row.get::<_, bool>(3) {
        grants.push(format!("grant usage on schema {} to {role}", referenced.schema));
    }
    let rights: Vec<&str> = [(may_reference, "references"), (may_lock, "update")]
        .iter()
        .filter(|(may, _)| !may)
        .map(|(_, r)| *r)
        .collect();
    if !rights.is_empty() {
        grants.push(format!("grant {} on {referenced} to {role}", rights.join(", ")));
    }
    let lock = "; delete or truncate would do instead of update. Revoke it after the swap";
    let hint = format!("{}{}", grants.join("; "), if may_lock { "" } else { lock });
    let verbs: Vec<&str> = [(may_reference, "reference"), (may_lock, "lock")]
        .iter()
        .filter(|(may, _)| !may)
        .map(|(_, v)| *v)
        .collect();
    let verbs = if verbs.is_empty() { "reach".to_owned() } else { verbs.join(" and ") };
    let what = format!("role {role} may not {verbs} {}, which a foreign key points at", referenced.plain());
    Ok((!grants.is_empty()).then(|| refusal(table, what, hint)))
}
