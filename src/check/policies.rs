//! `policies` and `triggers` of the plan: what they open, and what does not come into force.

use super::preflight::Subject;
use super::{CheckId, Finding};
use crate::pg::sql::{lexer, script};
use crate::plan::{Adornment, Plan};

/// Notes on the policies of the plan, and a refusal of a trigger that the table already has.
pub(super) fn check(plan: &Plan, subject: &Subject<'_>) -> Vec<Finding> {
    let definition = &subject.definition;
    let table = &definition.table.name;
    let statements = |adornment: Adornment| {
        let name = adornment.step(table);
        let step = plan.steps.iter().find(move |step| step.name == name);
        step.into_iter().flat_map(|step| step.up.statements.iter().map(|statement| statement.sql.as_str()))
    };
    let mut findings = Vec::new();
    for sql in statements(Adornment::Triggers).filter(|sql| script::verb(sql) == "create trigger") {
        if let Some(trigger) = definition.triggers.iter().find(|trigger| names(sql, trigger.name.as_str())) {
            let what = format!(
                "the plan makes trigger {}, and the table has one of that name",
                trigger.name.plain()
            );
            let hint = "give it another name; the table's own triggers move by themselves";
            findings.push(Finding::table(CheckId::Policies, table, what, hint));
        }
    }
    let policies: Vec<&str> =
        statements(Adornment::Policies).filter(|sql| script::verb(sql) == "create policy").collect();
    if policies.is_empty() {
        return findings;
    }
    let mut note = |what: String, hint: &str| {
        findings.push(Finding::table(CheckId::Policies, table, what, hint).into_note());
    };
    let enables = |word: &str| {
        statements(Adornment::Policies).any(|sql| {
            script::verb(sql) == "alter table" && lexer::mentions(sql, word) && !lexer::mentions(sql, "no")
        })
    };
    if !definition.table.row_security && !enables("enable") {
        let what = "row security is not enabled: the plan's policies have no effect".to_owned();
        note(what, "add `alter table ... enable row level security` to `policies`");
    }
    if !definition.table.force_row_security && !enables("force") {
        let what = format!(
            "policies do not hold for the owner, {}, for superusers, and for roles with BYPASSRLS",
            definition.table.owner.plain()
        );
        note(what, "`alter table ... force row level security` makes them hold for the owner, too");
    }
    for sql in policies.iter().filter(|sql| !lexer::mentions(sql, "restrictive")) {
        let opened =
            definition.policies.iter().filter(|old| old.permissive && !names(sql, old.name.as_str()));
        let opened: Vec<String> =
            opened.filter(|old| same_command(sql, &old.command)).map(|old| old.name.plain()).collect();
        if !opened.is_empty() {
            let what = format!(
                "a policy of the plan is permissive, as is {}: what either of them allows is allowed",
                opened.join(", ")
            );
            note(what, "`as restrictive` closes, whatever others allow; or name another role or command");
        }
    }
    findings
}

/// Whether the statement makes an object of this name.
fn names(sql: &str, name: &str) -> bool {
    let tokens = lexer::tokens(sql).unwrap_or_default();
    let at = tokens.iter().position(|token| token.is_word("policy") || token.is_word("trigger"));
    at.and_then(|at| tokens.get(at + 1)?.name()).is_some_and(|found| found == name)
}

/// Whether a policy can hold for the same statements.
fn same_command(sql: &str, command: &str) -> bool {
    let tokens = lexer::tokens(sql).unwrap_or_default();
    let at = tokens.iter().position(|token| token.is_word("for"));
    let own = at.and_then(|at| tokens.get(at + 1)?.name()).unwrap_or("all");
    own == "all" || command == "ALL" || own.eq_ignore_ascii_case(command)
}
