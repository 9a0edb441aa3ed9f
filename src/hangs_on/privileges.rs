//! Privileges on tables, columns and sequences.

use serde::{Deserialize, Serialize};

use super::Question;
use super::columns::Column;
use super::functions;
use super::grant::{Grant, role, sorted};
use super::part::{Compared, Part, counted};
use super::shape::Green;
use crate::pg::sql::Statement;
use crate::pg::{Colour, Ident, Literal, QName, list};

pub(super) const GRANTS: Question =
    Question { what: "its grants", sql: include_str!("../../sql/catalog/grants.sql") };

/// The privileges on a table, without those on its columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// The owner's privileges.
    pub owner: Vec<String>,
    /// Whether the owner still has all privileges.
    pub owner_has_all: bool,
    /// Those that the owner was granted WITH GRANT OPTION, which changes nothing but what a dump has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owner_grantable: Vec<String>,
    /// The privileges of all other roles.
    pub others: Vec<Grant>,
}

/// The [`Part`] of privileges on the table and its columns.
pub(super) struct Privileges;

impl Part for Privileges {
    /// Takes the privileges on the table that left away, and grants them on the one that is live.
    fn arrive(&self, green: &Green, who: Colour) -> Vec<Statement> {
        let (blue, live) = (&green.blue, green.live());
        let mut statements = blue.grants.take(&green.home_of(who.other()), &blue.columns);
        let lent = functions::lend(green, who.other());
        if !lent.is_empty() {
            // What the table that arrives was lent when it left, by its owner.
            statements.extend(blue.grants.take(live, &blue.columns));
        }
        statements.extend(lent);
        statements.extend(blue.grants.give(live, &blue.table.owner));
        let named = |of: &Column| match who {
            Colour::Blue => Some(of.name.clone()),
            Colour::Green => green.name_of(&of.name).cloned(),
        };
        for of in &blue.columns {
            let Some(name) = named(of) else { continue };
            statements.extend(of.grants.iter().map(|grant| grant.column_statement(live, &name)));
        }
        statements
    }

    fn kept(&self, green: &Green) -> Vec<String> {
        let on_columns = green.blue.columns.iter().map(|column| column.grants.len()).sum::<usize>();
        counted(green.blue.grants.others.len() + on_columns, "grant", "grants").into_iter().collect()
    }

    fn compare(&self, compared: &mut Compared<'_>) {
        let (was, is) = (&compared.was.grants, &compared.is.grants);
        compared.check("the owner's privileges", &was.owner, &is.owner);
        compared.check("the owner's grant options", &was.owner_grantable, &is.owner_grantable);
        compared.check("grants", &sorted(&was.others), &sorted(&is.others));
    }
}

impl Grants {
    /// The same privileges, granted by the owner.
    pub(super) fn by_owner(&self) -> Self {
        Self { others: self.others.iter().map(Grant::by_owner).collect(), ..self.clone() }
    }

    /// Grants exactly these privileges on `table`, on which only its owner has any so far.
    pub(super) fn give(&self, table: &QName, owner: &Ident) -> Vec<Statement> {
        let mut statements = Vec::new();
        if !self.owner_has_all {
            let revoke = format!("REVOKE ALL ON TABLE {table} FROM {owner}");
            statements.push(Statement::new("revoke", revoke));
            if !self.owner.is_empty() {
                let grant = format!("GRANT {} ON TABLE {table} TO {owner}", self.owner.join(", "));
                statements.push(Statement::new("grant", grant));
            }
        }
        if !self.owner_grantable.is_empty() {
            let privileges = self.owner_grantable.join(", ");
            let grant = format!("GRANT {privileges} ON TABLE {table} TO {owner} WITH GRANT OPTION");
            statements.push(Statement::new("grant", grant));
        }
        statements.extend(self.others.iter().map(|grant| grant.statement(&format!("TABLE {table}"))));
        statements
    }

    /// Revokes every privilege on `table`, and on its columns, from all but the owner.
    fn take<'a>(&'a self, table: &QName, columns: impl IntoIterator<Item = &'a Column>) -> Vec<Statement> {
        let on_columns = columns.into_iter().flat_map(|column| &column.grants);
        let mut roles: Vec<String> =
            self.others.iter().chain(on_columns).map(|grant| role(grant.grantee.as_ref())).collect();
        roles.sort();
        roles.dedup();
        if roles.is_empty() {
            return Vec::new();
        }
        let sql = format!("REVOKE ALL ON TABLE {table} FROM {} CASCADE", roles.join(", "));
        vec![Statement::new("revoke", sql)]
    }
}

/// Revokes from all but the owner what default privileges (or an event trigger) have just granted on the tables and
/// sequences of schema `home`, and on partitions of its tables elsewhere. It reads the actual privileges instead of
/// predicting them: an API role that could read a new leaf is a leak, not an inconvenience.
pub(crate) fn seal(home: &Ident) -> Statement {
    let home = Literal(&home.to_string()).to_string();
    seal_each(&format!(
        "SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::pg_catalog.regclass, c.relacl, ARRAY[c.relowner] \
         FROM pg_catalog.pg_class c \
         WHERE c.relkind IN ('r', 'p', 'm', 'S') AND (c.relnamespace = {home}::pg_catalog.regnamespace \
         OR c.oid IN (SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class p ON p.oid = i.inhparent \
         WHERE p.relnamespace = {home}::pg_catalog.regnamespace))"
    ))
}

/// The same for the schema itself, but for these roles: default privileges can grant USAGE on schemas too.
pub(crate) fn seal_schema(home: &Ident, but: &[&Ident]) -> Statement {
    let but = list(but.iter().map(|role| Literal(role.as_str())));
    seal_each(&format!(
        "SELECT 'SCHEMA ' || n.oid::pg_catalog.regnamespace, n.nspacl, n.nspowner || \
         ARRAY(SELECT k.oid FROM pg_catalog.pg_roles k WHERE k.rolname = ANY (ARRAY[{but}]::pg_catalog.name[])) \
         FROM pg_catalog.pg_namespace n WHERE n.oid = {}::pg_catalog.regnamespace",
        Literal(&home.to_string())
    ))
}

/// The same for a routine, written as `regprocedure` reads it: everybody may execute one that is new.
pub(super) fn seal_routine(routine: &str) -> Statement {
    seal_each(&format!(
        "SELECT 'ROUTINE ' || p.oid::pg_catalog.regprocedure, coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner)), \
         ARRAY[p.proowner] FROM pg_catalog.pg_proc p WHERE p.oid = {}::pg_catalog.regprocedure",
        Literal(routine)
    ))
}

/// `objects`: SQL for what follows ON, the privileges on it, and the roles that keep theirs.
fn seal_each(objects: &str) -> Statement {
    let body = format!(
        "DECLARE r record; BEGIN \
         FOR r IN SELECT DISTINCT o.object, \
         CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END AS role \
         FROM ({objects}) o(object, acl, keep), pg_catalog.aclexplode(o.acl) a WHERE a.grantee <> ALL (o.keep) \
         LOOP EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM %s CASCADE', r.object, r.role); END LOOP; END"
    );
    Statement::new("revoke what default privileges granted", format!("DO {}", Literal(&body)))
}
