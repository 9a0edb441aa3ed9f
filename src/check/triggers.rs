//! The table's triggers: what becomes of each, and the right to create them on green.

use super::preflight::Subject;
use super::{CheckId, Finding};
use crate::error::{Doing, Error};
use crate::hangs_on;
use crate::pg::Ident;
use crate::pg::connect::Session;

pub(super) async fn check(session: &Session, subject: &Subject<'_>) -> Result<Vec<Finding>, Error> {
    let Some(design) = &subject.design else { return Ok(Vec::new()) };
    let table = &subject.definition.table.name;
    let mut findings = Vec::new();
    for trigger in &subject.definition.triggers {
        let hint = "nothing to do; execute --dry-run shows the statements";
        findings.push(Finding::table(CheckId::Triggers, table, trigger.becomes(), hint).into_note());
    }
    for told in hangs_on::told(&design.green) {
        findings.push(Finding::table(CheckId::Triggers, table, told.what, told.hint).into_note());
    }
    findings.extend(of_functions(session, subject).await?);
    Ok(findings)
}

/// Whoever creates a trigger must be allowed to execute its function, and to look it up.
async fn of_functions(session: &Session, subject: &Subject<'_>) -> Result<Vec<Finding>, Error> {
    let sql = "SELECT current_user::text, has_schema_privilege(n.oid, 'USAGE'), has_function_privilege(p.oid, 'EXECUTE') \
               FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
               WHERE n.nspname = $1 AND p.proname = $2 AND p.pronargs = 0";
    let mut findings = Vec::new();
    for trigger in &subject.definition.triggers {
        let function = &trigger.function;
        let params: [&(dyn postgres_types::ToSql + Sync); 2] =
            [&function.schema.as_str(), &function.name.as_str()];
        let Some(row) = session.query_opt(sql, &params).await.doing("asking for rights")? else { continue };
        let (role, may_look, may_execute) = (Ident(row.get(0)), row.get::<_, bool>(1), row.get::<_, bool>(2));
        let usage = (!may_look).then(|| format!("grant usage on schema {} to {role}", function.schema));
        let execute = (!may_execute).then(|| format!("grant execute on function {function}() to {role}"));
        let grants: Vec<String> = usage.into_iter().chain(execute).collect();
        if !grants.is_empty() {
            let what = format!(
                "role {role} may not execute function {}, so it cannot create trigger {} on the new table",
                function.plain(),
                trigger.name
            );
            findings.push(Finding::table(
                CheckId::Triggers,
                &subject.definition.table.name,
                what,
                grants.join("; "),
            ));
        }
    }
    Ok(findings)
}
