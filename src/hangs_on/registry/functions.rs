//! The functions of the triggers that maintain a key registry.

use super::KeyRegistry;
use crate::hangs_on::shape::Green;
use crate::pg::{Ident, Literal, QName, list};

impl KeyRegistry {
    /// That of green: a key may be in several partitions, and a row may move.
    pub(super) fn body_of_green(&self, green: &Green) -> String {
        let (registry, live) = (&self.name, green.live());
        let columns = &self.columns;
        let again = self.duplicate(live);
        format!(
            "BEGIN \
             IF TG_OP = 'INSERT' THEN \
             INSERT INTO {registry} ({names}) VALUES ({new}) ON CONFLICT DO NOTHING; \
             IF NOT FOUND AND (SELECT pg_catalog.count(*) FROM (SELECT FROM {live} t WHERE {of_new} LIMIT 2) x) > 1 THEN {again} END IF; \
             ELSIF TG_OP = 'DELETE' THEN \
             DELETE FROM {registry} k WHERE {key_of_old} AND NOT EXISTS (SELECT FROM {live} t WHERE {of_old}); \
             ELSIF TG_OP = 'UPDATE' THEN \
             BEGIN UPDATE {registry} k SET {set} WHERE {key_of_old}; \
             EXCEPTION WHEN unique_violation THEN {again} END; \
             RETURN NEW; \
             ELSE TRUNCATE {registry}; END IF; \
             RETURN NULL; END",
            names = list(columns),
            new = values("NEW", columns),
            of_new = equal("t", columns, "NEW", columns),
            of_old = equal("t", columns, "OLD", columns),
            key_of_old = equal("k", columns, "OLD", columns),
            set = set(columns, columns),
        )
    }

    /// That of blue, whose own constraint keeps the key unique. Until all keys are there, one that is changed may be
    /// missing.
    pub(super) fn body_of_blue(&self) -> String {
        let registry = &self.name;
        let insert = format!(
            "INSERT INTO {registry} ({}) VALUES ({}) ON CONFLICT DO NOTHING;",
            list(&self.columns),
            values("NEW", &self.blue)
        );
        let old = equal("k", &self.columns, "OLD", &self.blue);
        format!(
            "BEGIN \
             IF TG_OP = 'INSERT' THEN {insert} \
             ELSIF TG_OP = 'DELETE' THEN DELETE FROM {registry} k WHERE {old}; \
             ELSIF TG_OP = 'UPDATE' THEN \
             UPDATE {registry} k SET {} WHERE {old}; IF NOT FOUND THEN {insert} END IF; \
             ELSE DELETE FROM {registry}; END IF; \
             RETURN NULL; END",
            set(&self.columns, &self.blue),
        )
    }

    /// What the server says of a key that is there twice, by the name that it had.
    fn duplicate(&self, live: &QName) -> String {
        let message =
            format!("duplicate key value violates unique constraint \"{}\"", self.constraint.as_str());
        format!(
            "RAISE unique_violation USING MESSAGE = {}, SCHEMA = {}, TABLE = {}, CONSTRAINT = {};",
            Literal(&message),
            Literal(live.schema.as_str()),
            Literal(live.name.as_str()),
            Literal(self.constraint.as_str())
        )
    }
}

/// `NEW."a", NEW."b"`.
fn values(row: &str, columns: &[Ident]) -> String {
    list(columns.iter().map(|name| format!("{row}.{name}")))
}

/// `k."a" = OLD."x" AND ...`.
pub(super) fn equal(left: &str, of_left: &[Ident], right: &str, of_right: &[Ident]) -> String {
    let pairs = of_left.iter().zip(of_right);
    pairs.map(|(a, b)| format!("{left}.{a} = {right}.{b}")).collect::<Vec<_>>().join(" AND ")
}

fn set(columns: &[Ident], of_new: &[Ident]) -> String {
    list(columns.iter().zip(of_new).map(|(column, new)| format!("{column} = NEW.{new}")))
}
