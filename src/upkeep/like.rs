//! New partitions like their siblings: built beside the table, out of clients' reach, and attached.

use super::Work;
use crate::hangs_on::{Column, Definition, ReplicaIdentityKind, seal, seal_schema};
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Literal, QName};
use crate::plan::partition::Leaf;

/// The most blocks of a default partition that ATTACH may scan under its lock: 8 MB, a few milliseconds.
const SCANNED_MAX: u32 = 1_024;

/// What LIKE copies: a partition gets its identity from its parent, and its siblings have no comments.
pub(super) const LIKE: &str = "INCLUDING ALL EXCLUDING IDENTITY EXCLUDING COMMENTS EXCLUDING STATISTICS";

impl Work<'_> {
    /// Whether the partitions can be attached as they are created: no row has to be moved, and little has to be scanned
    /// to see that.
    pub(super) fn is_direct(&self) -> bool {
        let rows: u64 = self.missing.iter().map(|(_, rows)| *rows).sum();
        self.found.default().is_none_or(|default| rows == 0 && default.blocks <= SCANNED_MAX)
    }

    /// One transaction.
    pub(super) fn attach_directly(&self) -> Vec<Statement> {
        let home = self.home();
        let mut statements = self.make_home();
        for (leaf, _) in &self.missing {
            let name = QName { schema: home.clone(), name: leaf.name.clone() };
            statements.extend(self.create(&name, &self.found.sibling));
        }
        statements.push(seal(&home));
        for (leaf, _) in &self.missing {
            statements.extend(self.attach_leaf(leaf));
        }
        statements.push(Statement::new("drop the private schema", format!("DROP SCHEMA {home}")));
        statements
    }

    /// The private schema in which they are built; one of an earlier attempt is dropped.
    pub(super) fn make_home(&self) -> Vec<Statement> {
        let (home, owner) = (self.home(), &self.found.table.table.owner);
        vec![
            Statement::new("clear the way", format!("DROP SCHEMA IF EXISTS {home} CASCADE")),
            Statement::new("create a private schema", format!("CREATE SCHEMA {home}")),
            seal_schema(&home, &[]),
            Statement::new("grant", format!("GRANT USAGE, CREATE ON SCHEMA {home} TO {owner}")),
        ]
    }

    /// An empty table like one of the partitions.
    pub(super) fn create(&self, name: &QName, sibling: &Definition) -> Vec<Statement> {
        let (parent, table) = (self.found.name(), &sibling.table);
        let statistics = if sibling.statistics.is_empty() { "" } else { " INCLUDING STATISTICS" };
        let sql = format!("CREATE TABLE {name} (LIKE {parent} {LIKE}{statistics}){}", table.storage_clause());
        let on = |verb: &str, sql: String| Statement::making(name, verb, sql);
        let mut statements = vec![
            on("create partition", sql).locking(parent, LockMode::AccessShare),
            on("set the owner of", format!("ALTER TABLE {name} OWNER TO {}", table.owner)),
        ];
        for column in &sibling.columns {
            let options: Vec<&str> = column.options.iter().map(String::as_str).collect();
            let target = column.statistics_target.map(|target| format!("STATISTICS {target}"));
            let options = (!options.is_empty()).then(|| format!("({})", options.join(", ")));
            statements.extend(target.into_iter().chain(options).map(|what| {
                let sql = format!("ALTER TABLE {name} ALTER COLUMN {} SET {what}", column.name);
                on("set options of a column of", sql)
            }));
        }
        let identity = match table.replica_identity.kind {
            ReplicaIdentityKind::Full => Some("FULL"),
            ReplicaIdentityKind::Nothing => Some("NOTHING"),
            ReplicaIdentityKind::Default | ReplicaIdentityKind::Index => None,
        };
        let identity = identity.map(|kind| {
            on("set the replica identity of", format!("ALTER TABLE {name} REPLICA IDENTITY {kind}"))
        });
        let flags = [("ENABLE", table.row_security), ("FORCE", table.force_row_security)].into_iter();
        let flags = flags.filter(|(_, is_set)| *is_set).map(|(flag, _)| {
            on("set row security of", format!("ALTER TABLE {name} {flag} ROW LEVEL SECURITY"))
        });
        statements.extend(identity.into_iter().chain(flags));
        statements
    }

    /// What the default partition has set in another way than its parent, for the one that takes its place.
    pub(super) fn like_default(&self, name: &QName) -> Vec<Statement> {
        let Some(default) = &self.found.default_itself else { return Vec::new() };
        let on = |verb: &str, sql: String| Statement::making(name, verb, sql);
        let comment = |what: String, text: Option<&String>| {
            text.map(|text| on("comment on", format!("COMMENT ON {what} IS {}", Literal(text))))
        };
        let mut statements: Vec<Statement> =
            comment(format!("TABLE {name}"), default.table.comment.as_ref()).into_iter().collect();
        for column in &default.columns {
            let Some(of_parent) = self.found.table.column(&column.name) else { continue };
            let set = |of: fn(&Column) -> Option<&String>, what: &str, unset: &str| {
                let value = of(column);
                let action = value.map_or_else(|| unset.to_owned(), |value| format!("SET {what} {value}"));
                let sql = format!("ALTER TABLE {name} ALTER COLUMN {} {action}", column.name);
                (value != of(of_parent))
                    .then(|| on("set what the default partition has for a column of", sql))
            };
            let settings = [
                set(|of| of.default.as_ref(), "DEFAULT", "DROP DEFAULT"),
                // That of its type, where the parent has another one, is not replaced at all.
                set(|of| of.storage.as_ref(), "STORAGE", "SET STORAGE DEFAULT"),
                set(|of| of.compression.as_ref(), "COMPRESSION", "SET COMPRESSION DEFAULT"),
                comment(format!("COLUMN {name}.{}", column.name), column.comment.as_ref()),
            ];
            statements.extend(settings.into_iter().flatten());
        }
        statements
    }

    /// Moves a table from the private schema to its own, with the privileges of the one that it is like, and attaches it.
    pub(super) fn attach(&self, placed: &QName, bound: &str, sibling: &Definition) -> Vec<Statement> {
        let parent = self.found.name();
        let (built, schema) = (placed.in_schema(&self.home()), &placed.schema);
        let is_sibling = sibling.table.name != *parent;
        let grants = sibling.grants.others.iter().filter(|_| is_sibling);
        let mut statements = vec![Statement::making(
            &built,
            "move to its schema:",
            format!("ALTER TABLE {built} SET SCHEMA {schema}"),
        )];
        statements.extend(grants.map(|grant| grant.statement(&format!("TABLE {placed}"))));
        let sql = format!("ALTER TABLE {parent} ATTACH PARTITION {placed} {bound}");
        let mut attach = Statement::on(parent, LockMode::ShareUpdateExclusive, "attach a partition to", sql);
        if let Some(default) = self.found.default() {
            attach = attach.locking(&default.name, LockMode::AccessExclusive);
        }
        for key in &self.found.table.foreign_keys {
            attach = attach.locking(&key.references, LockMode::ShareRowExclusive);
        }
        statements.push(attach);
        statements
    }

    /// The same for one of the missing partitions.
    pub(super) fn attach_leaf(&self, leaf: &Leaf) -> Vec<Statement> {
        let placed = QName { schema: self.schema().clone(), name: leaf.name.clone() };
        self.attach(&placed, &leaf.bound, &self.found.sibling)
    }
}
