//! What a statement of ours does, in words, and which locks PostgreSQL takes for it.
//!
//! The phases make the statements, so their forms are few and all their names are quoted. That the locks
//! are the ones that a server takes is shown by a test, which carries every statement out and looks.

use crate::event::Blocks;
use crate::hangs_on::ForeignKey;
use crate::lifecycle::LaneDesign;
use crate::pg::{Ident, QName};

/// A lock mode of PostgreSQL's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    AccessShare,
    RowShare,
    RowExclusive,
    ShareUpdateExclusive,
    Share,
    ShareRowExclusive,
    AccessExclusive,
}

impl Mode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AccessShare => "ACCESS SHARE",
            Self::RowShare => "ROW SHARE",
            Self::RowExclusive => "ROW EXCLUSIVE",
            Self::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            Self::Share => "SHARE",
            Self::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Self::AccessExclusive => "ACCESS EXCLUSIVE",
        }
    }

    pub(super) fn blocks(self) -> Blocks {
        match self {
            Self::AccessShare | Self::RowShare | Self::RowExclusive | Self::ShareUpdateExclusive => {
                Blocks::Ddl
            }
            Self::Share | Self::ShareRowExclusive => Blocks::Writes,
            Self::AccessExclusive => Blocks::ReadsAndWrites,
        }
    }
}

/// A statement, understood.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Meaning {
    /// What it does.
    pub(super) what: String,
    /// The relation it works on.
    pub(super) relation: Option<QName>,
    /// Its locks on tables and sequences.
    pub(super) locks: Vec<(QName, Mode)>,
}

impl Meaning {
    fn of(verb: &str, relation: QName, mode: Option<Mode>) -> Self {
        let what = format!("{verb} {}", shown(&relation.name));
        let locks = mode.map(|mode| (relation.clone(), mode)).into_iter().collect();
        Self { what, relation: Some(relation), locks }
    }

    fn without_lock(what: impl Into<String>) -> Self {
        Self { what: what.into(), ..Self::default() }
    }
}

/// Understands a statement; `lane` is the one it is for.
pub(super) fn understand(sql: &str, lane: Option<&LaneDesign>) -> Meaning {
    let keys = lane.map_or(&[][..], |lane| &lane.green.blue.foreign_keys);
    let words = |prefix: &str| sql.strip_prefix(prefix);
    if let Some((relation, verb)) = rehearsed(sql) {
        return Meaning::of(verb, relation, Some(Mode::AccessExclusive));
    }
    if let Some((relation, rest)) = words("ALTER TABLE ").and_then(|rest| named(without(rest, "ONLY "))) {
        return alter_table(relation, rest, keys);
    }
    if let Some((relation, rest)) = words("CREATE TABLE ").and_then(named) {
        return create_table(relation, rest, lane);
    }
    if let Some(lock) = words("LOCK TABLE ") {
        return lock_table(lock);
    }
    if let Some((sequence, rest)) = words("ALTER SEQUENCE ").and_then(named) {
        return alter_sequence(sequence, rest);
    }
    if let Some(tables) = words("CREATE PUBLICATION ").and_then(|rest| rest.split_once(" FOR TABLE ")) {
        let locks = all_named(tables.1).into_iter().map(|table| (table, Mode::ShareUpdateExclusive));
        return Meaning {
            locks: locks.collect(),
            ..Meaning::without_lock("publish the live tables' changes")
        };
    }
    simple(sql, words)
}

/// Statements on the parent alone: what green will get is tried on empty tables.
fn rehearsed(sql: &str) -> Option<(QName, &'static str)> {
    if let Some((relation, rest)) = sql.strip_prefix("ALTER TABLE ONLY ").and_then(named) {
        let verb = if rest.starts_with("ADD CONSTRAINT ") {
            "rehearse a key on"
        } else {
            rest.starts_with("DROP CONSTRAINT ").then_some("undo the rehearsal of a key on")?
        };
        return Some((relation, verb));
    }
    let index = sql
        .strip_prefix("CREATE ")
        .filter(|rest| rest.starts_with("INDEX ") || rest.starts_with("UNIQUE INDEX "))?;
    let (_, rest) = index.split_once("ON ONLY ")?;
    Some((named(rest)?.0, "rehearse an index on"))
}

/// Statements without a grammar of their own.
fn simple<'a>(sql: &'a str, words: impl Fn(&str) -> Option<&'a str>) -> Meaning {
    let on = |rest: &'a str, word: &str| rest.split_once(word).and_then(|(_, rest)| named(rest));
    let index = words("CREATE INDEX ").or_else(|| words("CREATE UNIQUE INDEX "));
    if let Some((table, _)) = index.and_then(|rest| {
        let rest = rest.split_once("ON ").map(|(_, rest)| rest)?;
        named(without(rest, "ONLY "))
    }) {
        return Meaning::of("build an index on", table, Some(Mode::Share));
    }
    if let Some((index, _)) = words("DROP INDEX ").and_then(named) {
        return Meaning::of("undo the rehearsal of index", index, None);
    }
    if let Some((policy, rest)) = words("CREATE POLICY ").and_then(ident)
        && let Some((table, _)) = on(rest, " ON ")
    {
        return Meaning::of(&format!("policy {} on", shown(&policy)), table, Some(Mode::AccessExclusive));
    }
    if let Some((table, _)) = words("DROP POLICY ").and_then(|rest| on(rest, " ON ")) {
        return Meaning::of("undo the rehearsal of a policy on", table, Some(Mode::AccessExclusive));
    }
    if let Some((table, _)) = words("DROP TABLE ").and_then(named) {
        return Meaning::of("drop", table, Some(Mode::AccessExclusive));
    }
    if let Some((table, _)) = words("ANALYZE ").and_then(named) {
        return Meaning::of("analyze", table, Some(Mode::ShareUpdateExclusive));
    }
    if let Some((table, _)) = words("COMMENT ON TABLE ").and_then(named) {
        return Meaning::of("comment on", table, Some(Mode::ShareUpdateExclusive));
    }
    if let Some((table, _)) = words("COMMENT ON CONSTRAINT ").and_then(|rest| on(rest, " ON ")) {
        return Meaning::of("comment on a constraint of", table, Some(Mode::AccessShare));
    }
    if let Some((sequence, _)) = sql.contains("setval(").then(|| on(sql, ", ")).flatten() {
        return set_sequence(sql, sequence);
    }
    Meaning::without_lock(plain_words(sql))
}

fn plain_words(sql: &str) -> &'static str {
    const WORDS: [(&str, &str); 14] = [
        ("BEGIN", "begin a transaction"),
        ("SET LOCAL", "set the time-outs"),
        ("CREATE SCHEMA", "create a private schema"),
        ("DROP SCHEMA", "drop a private schema"),
        ("CREATE TYPE", "create the type of rows on their way"),
        ("DROP TYPE", "drop the type of rows on their way"),
        ("DO ", "take away what default privileges gave"),
        ("GRANT", "grant"),
        ("REVOKE", "revoke"),
        ("COMMENT", "comment"),
        ("DROP PUBLICATION", "drop the publication"),
        ("ALTER INDEX", "settings of an index"),
        ("COMMIT", "commit"),
        ("SELECT pg_logical_emit_message", "mark the exact boundary in the stream"),
    ];
    WORDS.iter().find(|(prefix, _)| sql.starts_with(prefix)).map_or("execute", |(_, words)| words)
}

fn alter_table(relation: QName, rest: &str, keys: &[ForeignKey]) -> Meaning {
    let key = |rest: &str| {
        let (name, _) = ident(rest)?;
        keys.iter().find(|key| key.name == name && key.references != relation)
    };
    if let Some(rest) = rest.strip_prefix("VALIDATE CONSTRAINT ") {
        let referenced = key(rest).map(|key| (key.references.clone(), Mode::RowShare));
        let mut meaning =
            Meaning::of("validate a foreign key of", relation, Some(Mode::ShareUpdateExclusive));
        meaning.locks.extend(referenced);
        return meaning;
    }
    if let Some(rest) = rest.strip_prefix("ADD CONSTRAINT ") {
        let Some(after) = ident(rest).map(|(_, after)| after) else { return Meaning::default() };
        if after.trim_start().starts_with("FOREIGN KEY") {
            // Taking the place of the partitions' own keys, it drops their triggers on the referenced table.
            let merges = !after.ends_with(" NOT VALID");
            let mode = if merges { Mode::AccessExclusive } else { Mode::ShareRowExclusive };
            let referenced = key(rest).map(|key| (key.references.clone(), mode));
            let mut meaning = Meaning::of("add a foreign key to", relation, Some(Mode::ShareRowExclusive));
            meaning.locks.extend(referenced);
            return meaning;
        }
        let verb = if after.trim_start().starts_with("CHECK") { "add a CHECK to" } else { "build a key on" };
        return Meaning::of(verb, relation, Some(Mode::AccessExclusive));
    }
    if let Some(rest) = rest.strip_prefix("DROP CONSTRAINT ") {
        let referenced = key(rest).map(|key| (key.references.clone(), Mode::AccessExclusive));
        let mut meaning = Meaning::of("drop a constraint of", relation, Some(Mode::AccessExclusive));
        meaning.locks.extend(referenced);
        return meaning;
    }
    const VERBS: [(&str, &str); 11] = [
        ("ADD PRIMARY KEY", "build a key on"),
        ("ADD UNIQUE", "build a key on"),
        ("ADD COLUMN", "add a column to"),
        ("RENAME COLUMN", "rename a column of"),
        ("SET SCHEMA", "move to another schema:"),
        ("OWNER TO", "give its owner to"),
        ("ENABLE ROW", "close with row security:"),
        ("DISABLE ROW", "row security as before:"),
        ("FORCE ROW", "row security as before:"),
        ("REPLICA IDENTITY", "replica identity of"),
        ("CLUSTER ON", "CLUSTER mark of"),
    ];
    let verb = VERBS.iter().find(|(prefix, _)| rest.starts_with(prefix));
    let planner = rest.contains(" SET STATISTICS ") || rest.contains(" SET (");
    let mode = if planner || rest.starts_with("CLUSTER ON") {
        Mode::ShareUpdateExclusive
    } else {
        Mode::AccessExclusive
    };
    Meaning::of(verb.map_or("settings of", |(_, verb)| verb), relation, Some(mode))
}

fn create_table(relation: QName, rest: &str, lane: Option<&LaneDesign>) -> Meaning {
    if rest.starts_with("PARTITION OF ") {
        return Meaning::of("create partition", relation, None);
    }
    if rest.starts_with("AS ") {
        let mut meaning = Meaning::of("create the working table", relation, None);
        meaning.locks.extend(lane.map(|lane| (lane.table.clone(), Mode::AccessShare)));
        return meaning;
    }
    Meaning::of("create green,", relation, None)
}

fn lock_table(lock: &str) -> Meaning {
    let (tables, mode) = lock.split_once(" IN ").unwrap_or((lock, ""));
    let mode = match mode {
        "SHARE UPDATE EXCLUSIVE MODE" => Mode::ShareUpdateExclusive,
        _ => Mode::AccessExclusive,
    };
    let what = match mode {
        Mode::AccessExclusive => "lock the live tables: from here on clients wait",
        _ => "keep autovacuum away from green",
    };
    let locks = all_named(tables).into_iter().map(|table| (table, mode)).collect();
    Meaning { locks, ..Meaning::without_lock(what) }
}

/// Clients' `nextval` waits behind it.
fn alter_sequence(sequence: QName, rest: &str) -> Meaning {
    let table = rest.strip_prefix("OWNED BY ").and_then(named).map(|(table, _)| table);
    let mut meaning = Meaning::of("another owner for sequence", sequence, Some(Mode::ShareRowExclusive));
    meaning.locks.extend(table.map(|table| (table, Mode::AccessShare)));
    meaning
}

/// `SELECT setval(...) FROM blue's b, green's g, ...`
fn set_sequence(sql: &str, green: QName) -> Meaning {
    let blue = sql.rsplit_once(" FROM ").and_then(|(_, from)| named(from)).map(|(blue, _)| blue);
    let mut meaning = Meaning::of("set ahead sequence", green, Some(Mode::RowExclusive));
    meaning.locks.extend(blue.map(|blue| (blue, Mode::AccessShare)));
    meaning
}

fn without<'a>(text: &'a str, prefix: &str) -> &'a str {
    text.strip_prefix(prefix).unwrap_or(text)
}

/// A quoted name, and what follows it.
fn ident(text: &str) -> Option<(Ident, &str)> {
    let rest = text.strip_prefix('"')?;
    let mut from = 0;
    loop {
        let at = from + rest[from..].find('"')?;
        if !rest[at + 1..].starts_with('"') {
            return Some((Ident(rest[..at].replace("\"\"", "\"")), &rest[at + 1..]));
        }
        from = at + 2;
    }
}

/// A quoted, qualified name, and what follows it and a space.
fn named(text: &str) -> Option<(QName, &str)> {
    let (schema, rest) = ident(text)?;
    let (name, rest) = ident(rest.strip_prefix('.')?)?;
    Some((QName { schema, name }, rest.trim_start()))
}

/// All of a list.
fn all_named(text: &str) -> Vec<QName> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = named(rest) {
        names.push(name);
        rest = after.trim_start_matches([',', ' ']);
    }
    names
}

/// For people.
fn shown(name: &Ident) -> &str {
    name.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locks(sql: &str) -> Vec<(String, Mode)> {
        understand(sql, None).locks.into_iter().map(|(name, mode)| (name.plain(), mode)).collect()
    }

    #[test]
    fn names_are_read_whatever_is_in_them() {
        let sql = r#"ALTER TABLE ONLY "a ""b"" ON".", c" SET SCHEMA "d""#;
        let name = QName::new("a \"b\" ON", ", c").plain();
        assert_eq!(locks(sql), [(name, Mode::AccessExclusive)]);
    }

    #[test]
    fn a_lock_is_on_every_table_of_its_list() {
        let sql = r#"LOCK TABLE "public"."a", "public"."b" IN ACCESS EXCLUSIVE MODE"#;
        let expected =
            [("public.a".to_owned(), Mode::AccessExclusive), ("public.b".to_owned(), Mode::AccessExclusive)];
        assert_eq!(locks(sql), expected);
    }
}
