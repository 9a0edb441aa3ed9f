//! The rows of a table are read and written with its owner's rights, so that no function of the owner's runs with those
//! of this role. That is not possible if the owner may not see and write every row.

use super::{CheckId, Finding};
use crate::error::{Doing, Error};
use crate::hangs_on::Table;
use crate::pg::Ident;
use crate::pg::connect::Session;

pub(super) async fn check(session: &Session, table: &Table) -> Result<Option<Finding>, Error> {
    if table.owner_acts {
        return Ok(None);
    }
    let sql = "SELECT current_user::text, \
               ARRAY(SELECT p FROM unnest('{select, insert, update, delete}'::text[]) p WHERE NOT has_table_privilege(c.relowner, c.oid, p)), \
               has_schema_privilege(c.relowner, c.relnamespace, 'USAGE'), \
               NOT (c.relrowsecurity AND c.relforcerowsecurity) OR o.rolsuper OR o.rolbypassrls \
               FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner WHERE c.oid = $1";
    let row = session.query_opt(sql, &[&table.oid]).await.doing("asking for rights")?;
    let Some(row) = row else { return Ok(None) };
    let (role, owner, name) = (Ident(row.get(0)), &table.owner, &table.name);
    let (denied, may_reach, sees_all): (Vec<String>, bool, bool) = (row.get(1), row.get(2), row.get(3));
    let mut lacks = Vec::new();
    lacks.extend((!may_reach).then(|| format!("grant usage on schema {} to {owner}", name.schema)));
    lacks.extend((!denied.is_empty()).then(|| format!("grant {} on {name} to {owner}", denied.join(", "))));
    lacks.extend((!sees_all).then(|| format!("alter role {owner} bypassrls")));
    if lacks.is_empty() {
        lacks.push(format!("grant {owner} to {role}{}", with_set(session)));
    }
    let what = format!(
        "functions of its constraints, indexes and columns run with the rights of role {role}: its owner {owner} may not \
         read and write every row, or {role} may not act as {owner}"
    );
    let hint = format!("trust {owner}, or: {}", lacks.join("; "));
    Ok(Some(Finding::table(CheckId::OwnersRights, name, what, hint).into_note()))
}

fn with_set(session: &Session) -> &'static str {
    if session.server_version_num() < 160_000 { "" } else { " with set true" }
}
