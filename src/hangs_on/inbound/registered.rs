//! Foreign keys of other tables whose referenced key the plan widens: dropped in the swap, or turned to a key registry.
//!
//! One that is turned has a stand-in: a second key of the same columns and actions that references the registry, added
//! and validated before the swap. In the swap the stand-in takes the key's name, so that nothing is left to validate;
//! in a rollback it gives the name back and stays, because blue maintains the registry, too.

use super::InboundKey;
use crate::hangs_on::registry::KeyRegistry;
use crate::hangs_on::shape::Green;
use crate::hangs_on::table::comment_on_constraint;
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Colour, Ident, Literal, MAX_BYTES, QName, list};

impl InboundKey {
    /// Dropped once green is live; added again, NOT VALID, once blue is.
    pub(super) fn without(&self, green: &Green, who: Colour) -> Vec<Statement> {
        match who {
            Colour::Green => vec![self.drop_key(&self.name).locking(green.live(), LockMode::AccessExclusive)],
            Colour::Blue => self.again(green, Colour::Blue),
        }
    }

    /// The stand-in takes the key's place once green is live, and gives it back once blue is.
    pub(super) fn turn(&self, green: &Green, who: Colour, number: usize) -> Vec<Statement> {
        let stand_in = self.stand_in(green, number);
        match who {
            Colour::Green => {
                let drop = self.drop_key(&self.name).locking(green.live(), LockMode::AccessExclusive);
                let comment = comment_on_constraint(&self.name, &self.child, self.comment.as_ref());
                [drop, self.rename(&stand_in, &self.name)].into_iter().chain(comment).collect()
            }
            Colour::Blue => {
                let rename = self.rename(&self.name, &stand_in);
                std::iter::once(rename).chain(self.again(green, Colour::Blue)).collect()
            }
        }
    }

    /// The name of the stand-in, unique on the referencing table.
    pub(crate) fn stand_in(&self, green: &Green, number: usize) -> Ident {
        let mut table = green.live().name.as_str().to_owned();
        while table.len() > MAX_BYTES / 2 {
            table.pop();
        }
        format!("projh_{table}_{number}").into()
    }

    /// What gives it a stand-in, in this order, each in a transaction of its own. A partitioned table cannot have a key
    /// that is NOT VALID before PostgreSQL 18: its partitions get it, are validated, and merged into the parent's.
    pub(crate) fn stand_in_steps(
        &self,
        green: &Green,
        number: usize,
        registry: &KeyRegistry,
    ) -> Vec<Statement> {
        let name = self.stand_in(green, number);
        let tail = self.tail.as_deref().unwrap_or_default();
        let referenced = list(green.green_names(&self.referenced));
        let definition = format!(
            "FOREIGN KEY ({}) REFERENCES {} ({referenced}){tail}",
            list(&self.columns),
            registry.name
        );
        let add = |relation: &QName, end: &str| {
            let sql = format!("ALTER TABLE {relation} ADD CONSTRAINT {name} {definition}{end}");
            let add = Statement::on(relation, LockMode::ShareRowExclusive, "add a foreign key to", sql);
            add.locking(&registry.name, LockMode::ShareRowExclusive)
        };
        let validate = |relation: &QName| {
            let sql = format!("ALTER TABLE {relation} VALIDATE CONSTRAINT {name}");
            let verb = "validate a foreign key of";
            let validate = Statement::on(relation, LockMode::ShareUpdateExclusive, verb, sql);
            validate.reading_rows().locking(&registry.name, LockMode::RowShare)
        };
        let by_parts = self.partitioned && self.validated;
        let relations = if by_parts { self.leaves.clone() } else { vec![self.child.clone()] };
        let mut steps: Vec<Statement> =
            relations.iter().map(|relation| add(relation, " NOT VALID")).collect();
        if self.validated {
            steps.extend(relations.iter().map(validate));
        }
        if by_parts {
            let merge = add(&self.child, "");
            steps.push(merge.locking(&registry.name, LockMode::AccessExclusive));
        }
        steps
    }

    /// Takes its stand-in away.
    pub(crate) fn drop_stand_in(&self, green: &Green, number: usize, registry: &KeyRegistry) -> Statement {
        self.drop_key(&self.stand_in(green, number)).locking(&registry.name, LockMode::AccessExclusive)
    }

    /// Drops a key of the referencing table. Those of its partitions may not have been merged yet.
    fn drop_key(&self, name: &Ident) -> Statement {
        let drop = format!("DROP CONSTRAINT IF EXISTS {name}");
        let sql = match self.partitioned {
            false => format!("ALTER TABLE IF EXISTS {} {drop}", self.child),
            true => self.on_tree(&drop, name),
        };
        Statement::on(&self.child, LockMode::AccessExclusive, "drop a foreign key of", sql)
    }

    fn rename(&self, from: &Ident, to: &Ident) -> Statement {
        let rename = format!("RENAME CONSTRAINT {from} TO {to}");
        let sql = match self.partitioned {
            false => format!("ALTER TABLE {} {rename}", self.child),
            true => self.on_tree(&rename, from),
        };
        Statement::on(&self.child, LockMode::AccessExclusive, "rename a foreign key of", sql)
    }

    /// Executes an ALTER TABLE on the referencing table and on each of its partitions that has the constraint by then.
    fn on_tree(&self, action: &str, constraint: &Ident) -> String {
        let body = format!(
            "DECLARE part pg_catalog.regclass; BEGIN \
             FOR part IN SELECT relid FROM pg_catalog.pg_partition_tree(pg_catalog.to_regclass({})) ORDER BY level, relid LOOP \
             IF EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conrelid = part AND conname = {} AND contype = 'f') THEN \
             EXECUTE pg_catalog.format({}, part); END IF; END LOOP; END",
            Literal(&self.child.to_string()),
            Literal(constraint.as_str()),
            Literal(&format!("ALTER TABLE %s {}", action.replace('%', "%%")))
        );
        format!("DO {}", Literal(&body))
    }
}
