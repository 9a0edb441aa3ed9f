//! What a plan may not do to the table's triggers, and what should be known of those that it keeps.

use super::{Enabled, Trigger};
use crate::hangs_on::part::Conflict;
use crate::hangs_on::shape::{Green, GreenColumn};
use crate::pg::{Ident, list};

/// Something to know about triggers that a swap keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) what: String,
    pub(crate) hint: String,
}

/// Triggers that green cannot have, or that would do something else there.
pub(super) fn conflicts(green: &Green) -> Vec<Conflict> {
    let table = green.live().plain();
    let mut conflicts = Vec::new();
    for trigger in &green.blue.triggers {
        let name = &trigger.name;
        let mut refuse = |what: String, or: Option<String>| {
            let drop = format!("drop trigger {name} on {table}; and create it again after the swap");
            let hint = or.map_or(drop.clone(), |or| format!("{or}; or {drop}"));
            conflicts.push(Conflict::new(format!("trigger {name} {what}"), hint));
        };
        if let Some(column) = green.dropped_of(&trigger.columns) {
            refuse(format!("uses column {column}, which the plan drops"), None);
        }
        let lost = |columns: &[Ident]| {
            let dropped = green.dropped_of(columns).map(|column| (column.clone(), "drops"));
            dropped.or_else(|| green.renamed_of(columns).map(|column| (column.clone(), "renames")))
        };
        if let Some((column, verb)) = lost(&trigger.arguments) {
            refuse(format!("has column {column}, which the plan {verb}, among its arguments"), None);
        }
        if let Some((column, verb)) = lost(&trigger.reads) {
            let what = format!(
                "executes function {}, which reads new.{column} or old.{column}: the plan {verb} that column",
                trigger.function.plain()
            );
            let both =
                format!("read it as to_jsonb(new) ->> '{}', which fails on neither table", column.as_str());
            refuse(what, Some(both));
        }
        for (what, or) in partitioned(green, trigger) {
            refuse(what, or);
        }
    }
    conflicts
}

/// What partitions cannot have, each with what else can be done about it.
fn partitioned(green: &Green, trigger: &Trigger) -> Vec<(String, Option<String>)> {
    let Some(partition) = &green.partition else { return Vec::new() };
    let mut found = Vec::new();
    if trigger.for_each_row && trigger.transition_tables {
        let what = "is FOR EACH ROW and has transition tables, which a partitioned table cannot have";
        found.push((what.to_owned(), Some("make it FOR EACH STATEMENT".to_owned())));
    }
    if trigger.for_each_row && trigger.deferrable && partition.schema != green.live().schema {
        let what = format!(
            "is deferrable: SET CONSTRAINTS would not find it on partitions in schema {}",
            partition.schema
        );
        found.push((what, Some("leave `schema` out of partition_by".to_owned())));
    }
    let acts = |events: &[&str]| events.iter().any(|event| trigger.events.iter().any(|other| other == event));
    let key = green.blue.foreign_keys.iter().find(|key| {
        let tail = key.tail.as_deref().unwrap_or_default();
        let deletes = tail.contains("ON DELETE CASCADE") && acts(&["DELETE"]);
        let updates = ["ON DELETE SET", "ON UPDATE CASCADE", "ON UPDATE SET"];
        deletes || acts(&["UPDATE"]) && updates.iter().any(|action| tail.contains(action))
    });
    if let Some(key) = key.filter(|_| !trigger.for_each_row && trigger.enabled != Enabled::Disabled) {
        let what = format!(
            "is FOR EACH STATEMENT and would miss what foreign key {} does to rows, from the swap until the key is valid: \
             until then the partitions have it, and not their parent",
            key.name
        );
        found.push((what, Some("make it FOR EACH ROW".to_owned())));
    }
    found
}

impl Trigger {
    /// Its name and what becomes of it in the swap, for people.
    pub(crate) fn becomes(&self) -> String {
        let becomes = match self.enabled {
            Enabled::Origin => "fires for clients as before, never for what the run writes",
            Enabled::Always => "fires for clients as before (ENABLE ALWAYS), never for what the run writes",
            Enabled::Replica => {
                "fires as before, with session_replication_role = replica only (ENABLE REPLICA)"
            }
            Enabled::Disabled => "stays disabled",
        };
        format!("trigger {}: {becomes}", self.name.plain())
    }

    fn fires_on(&self, event: &str) -> bool {
        self.events.iter().any(|other| other == event)
    }
}

/// What should be known of the triggers that green will have.
pub(crate) fn told(green: &Green) -> Vec<Told> {
    let mut told = Vec::new();
    let active = || green.blue.triggers.iter().filter(|trigger| trigger.enabled != Enabled::Disabled);
    let names =
        |of: &dyn Fn(&Trigger) -> bool| list(active().filter(|one| of(one)).map(|one| one.name.plain()));
    let mut tell = |what: String, hint: &str| told.push(Told { what, hint: hint.to_owned() });
    if let Some(partition) = &green.partition {
        let column = partition.column.plain();
        let missed = names(&|one| one.for_each_row && !one.before && one.fires_on("UPDATE"));
        let fired = names(&|one| one.for_each_row && (one.fires_on("DELETE") || one.fires_on("INSERT")));
        let moved = [(missed, "does not fire as UPDATE for: "), (fired, "fires as DELETE and INSERT: ")];
        let moved: Vec<String> = moved
            .into_iter()
            .filter(|(names, _)| !names.is_empty())
            .map(|(names, what)| format!("{what}{names}"))
            .collect();
        if !moved.is_empty() {
            tell(
                format!("an UPDATE of {column} that moves a row to another partition {}", moved.join("; ")),
                "partition by a column that no UPDATE changes; or let the functions of these triggers expect it; or alter table \
                 ... enable replica trigger, where only sessions with session_replication_role = replica should fire one",
            );
        }
        let before = names(&|one| {
            one.for_each_row && one.before && (one.fires_on("INSERT") || one.fires_on("UPDATE"))
        });
        if !before.is_empty() {
            tell(
                format!(
                    "a BEFORE trigger that changes {column} so that the row belongs to another partition raises an error (0A000): {before}"
                ),
                "see that these triggers leave the partition key alone",
            );
        }
    }
    told.extend(named(green));
    told.extend(changed(green));
    told
}

/// Functions that ask which relation they fire for.
fn named(green: &Green) -> Option<Told> {
    let says = |trigger: &Trigger| {
        let relid = |name: &&String| name.ends_with("RELID");
        let named: Vec<&String> = match green.partition {
            Some(_) if trigger.for_each_row => trigger.names_of_table.iter().collect(),
            _ => trigger.names_of_table.iter().filter(relid).collect(),
        };
        (!named.is_empty()).then(|| {
            format!("{} (trigger {}: {})", trigger.function.plain(), trigger.name.plain(), list(named))
        })
    };
    let found: Vec<String> = green.blue.triggers.iter().filter_map(says).collect();
    let which = match green.partition {
        Some(_) => "the partition's in a trigger FOR EACH ROW, and the new table's OID in others",
        None => "the new table's OID",
    };
    (!found.is_empty()).then(|| Told {
        what: format!(
            "functions read the name or OID of the table that fires, which is then {which}: {}",
            list(found)
        ),
        hint: "see that they work with it; a name can be passed as an argument of the trigger (TG_ARGV)"
            .to_owned(),
    })
}

/// Functions that read a column whose values become others.
fn changed(green: &Green) -> Option<Told> {
    let says = |trigger: &Trigger| {
        let is_changed =
            |new: &&GreenColumn| new.source.changed().is_some_and(|blue| trigger.reads.contains(blue));
        let new = green.columns.iter().find(is_changed)?;
        let (function, name) = (trigger.function.plain(), trigger.name.plain());
        Some(format!("{function} (trigger {name}) gets column {} as {}", new.name.plain(), new.data_type))
    };
    let found: Vec<String> = green.blue.triggers.iter().filter_map(says).collect();
    (!found.is_empty()).then(|| Told {
        what: format!("functions of triggers get other values: {}", list(found)),
        hint: "see that they work with these".to_owned(),
    })
}
