//! A script of somebody else: split into its statements, and what each of them is, as far as its words show.

use super::LockMode;
use super::lexer::{self, LexError, Token};
use crate::pg::QName;

/// A statement of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Where it begins in the script, in bytes.
    pub(crate) start: usize,
    /// Its text, without the closing `;`.
    pub(crate) sql: String,
}

/// Splits a script at each `;` that ends a statement, as psql does: not at those within a SQL-standard function body.
pub(crate) fn split(text: &str) -> Result<Vec<Part>, LexError> {
    let tokens = lexer::tokens(text)?;
    let (mut parts, mut first, mut depth, mut bodies) = (Vec::new(), 0, 0_usize, 0_usize);
    for (at, token) in tokens.iter().enumerate() {
        let of_statement = &tokens[first..=at];
        if token.is_symbol('(') {
            depth += 1;
        } else if token.is_symbol(')') {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && makes_routine(of_statement) {
            if token.is_word("begin") || (bodies > 0 && token.is_word("case")) {
                bodies += 1;
            } else if token.is_word("end") {
                bodies = bodies.saturating_sub(1);
            }
        }
        if token.is_symbol(';') && depth == 0 && bodies == 0 {
            parts.extend(part(text, &tokens[first..at]));
            first = at + 1;
        }
    }
    parts.extend(part(text, &tokens[first..]));
    Ok(parts)
}

fn part(text: &str, tokens: &[Token]) -> Option<Part> {
    let (first, last) = (tokens.first()?, tokens.last()?);
    Some(Part { start: first.start, sql: text[first.start..last.end].to_owned() })
}

fn makes_routine(tokens: &[Token]) -> bool {
    let is_head = |token: &&Token| ["function", "procedure"].iter().any(|word| token.is_word(word));
    tokens.first().is_some_and(|token| token.is_word("create")) && tokens.iter().take(4).any(|t| is_head(&t))
}

/// The words of a statement that stand outside of parentheses; another token is an empty word.
fn words(sql: &str) -> Vec<String> {
    let mut depth = 0_usize;
    let mut words = Vec::new();
    for token in lexer::tokens(sql).unwrap_or_default() {
        match token.kind {
            lexer::Kind::Symbol('(') => depth += 1,
            lexer::Kind::Symbol(')') => depth = depth.saturating_sub(1),
            lexer::Kind::Word(word) if depth == 0 => words.push(word),
            _ if depth == 0 => words.push(String::new()),
            _ => {}
        }
    }
    words
}

fn begins(words: &[String], with: &[&str]) -> bool {
    words.len() >= with.len() && words.iter().zip(with).all(|(word, with)| word == with)
}

/// What kind of statement it is, for people: `create index`.
pub(crate) fn verb(sql: &str) -> String {
    let words = words(sql);
    let skipped = ["or", "replace", "unique", "concurrently", "constraint", "temporary", "temp", "unlogged"];
    let count = match words.first().map(String::as_str) {
        Some("create" | "alter" | "drop" | "comment" | "refresh") => 2,
        _ => 1,
    };
    let said: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|word| !word.is_empty() && !skipped.contains(word))
        .take(count)
        .collect();
    said.join(" ")
}

/// Whether the server refuses to execute it in a transaction.
pub(crate) fn is_alone(sql: &str) -> bool {
    let words = words(sql);
    let has = |word: &str| words.iter().any(|other| other == word);
    let is = |with: &[&str]| begins(&words, with);
    let concurrently = is(&["create", "index", "concurrently"])
        || is(&["create", "unique", "index", "concurrently"])
        || is(&["drop", "index", "concurrently"])
        || (is(&["alter", "table"]) && has("detach") && has("concurrently"));
    let of_cluster = ["database", "tablespace", "subscription"];
    concurrently
        || is(&["reindex"])
            && (lexer::mentions(sql, "concurrently")
                || ["schema", "database", "system"].iter().any(|w| has(w)))
        || is(&["vacuum"])
        || is(&["alter", "system"])
        || of_cluster.iter().any(|what| is(&["create", what]) || is(&["drop", what]))
}

/// Why a script cannot have the statement; `None` if it can.
pub(crate) fn refused(sql: &str) -> Option<&'static str> {
    let words = words(sql);
    let is = |with: &[&str]| begins(&words, with);
    let of_transactions =
        ["begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release", "prepare"];
    if sql.starts_with('\\') {
        return Some("commands of psql are not SQL");
    }
    if of_transactions.iter().any(|word| is(&[word])) {
        return Some("transactions are begun and ended by the run");
    }
    if ["set", "reset", "discard"].iter().any(|word| is(&[word])) {
        return Some("settings are those of the run: write names with their schemas");
    }
    let has = |word: &str| words.iter().any(|other| other == word);
    if is(&["copy"]) && (has("stdin") || has("stdout")) {
        return Some("COPY from or to the client has no data here");
    }
    None
}

/// What a statement locks, as far as its words show.
pub(crate) enum Locks {
    /// No table.
    None,
    /// This one, longest and most strongly.
    Of(QName, LockMode),
    /// Only the server can know.
    Unknown,
}

/// What a statement locks: the table that it names first, which is in `public` if it has no schema.
pub(crate) fn locks(sql: &str) -> Locks {
    let words = words(sql);
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    let has = |word: &str| words.iter().any(|other| other == word);
    let on = |after: &str, mode| named(sql, after).map_or(Locks::Unknown, |table| Locks::Of(table, mode));
    let concurrently = if has("concurrently") { LockMode::ShareUpdateExclusive } else { LockMode::Share };
    let alter = if has("validate") || has("attach") {
        LockMode::ShareUpdateExclusive
    } else {
        LockMode::AccessExclusive
    };
    match (word(0), verb(sql).as_str()) {
        (_, "create index") => on("on", concurrently),
        (_, "create trigger") => on("on", LockMode::ShareRowExclusive),
        (_, "create policy" | "alter policy" | "drop policy" | "drop trigger" | "drop rule") => {
            on("on", LockMode::AccessExclusive)
        }
        (_, "create rule") => on("to", LockMode::AccessExclusive),
        (_, "alter table") => on("table", alter),
        (_, "drop table") => on("table", LockMode::AccessExclusive),
        (_, "drop view" | "alter view" | "drop materialized" | "alter materialized") => {
            on("view", LockMode::AccessExclusive)
        }
        (_, "create view") if word(1) == "or" => on("view", LockMode::AccessExclusive),
        ("truncate", _) => on(if has("table") { "table" } else { "truncate" }, LockMode::AccessExclusive),
        ("insert" | "merge", _) => on("into", LockMode::RowExclusive),
        ("update", _) => on("update", LockMode::RowExclusive),
        ("delete", _) => on("from", LockMode::RowExclusive),
        (_, "comment on") if word(2) == "table" => on("table", LockMode::ShareUpdateExclusive),
        ("grant" | "revoke" | "comment", _) => Locks::None,
        ("create" | "alter" | "drop", verb) => {
            let free = [
                "function",
                "procedure",
                "schema",
                "type",
                "domain",
                "role",
                "extension",
                "sequence",
                "table",
                "view",
            ];
            let is_free = free.iter().any(|what| verb.ends_with(what)) && word(0) == "create";
            let is_body = ["function", "procedure", "role"].iter().any(|what| verb.ends_with(what));
            if is_free || is_body { Locks::None } else { Locks::Unknown }
        }
        _ => Locks::Unknown,
    }
}

/// The relation that stands after a word, in `public` if it has no schema.
pub(crate) fn named(sql: &str, after: &str) -> Option<QName> {
    let tokens = lexer::tokens(sql).ok()?;
    let at = tokens.iter().position(|token| token.is_word(after))?;
    relation(tokens.get(at + 1..)?)
}

/// The same after the last such word.
pub(crate) fn named_last(sql: &str, after: &str) -> Option<QName> {
    let tokens = lexer::tokens(sql).ok()?;
    let at = tokens.iter().rposition(|token| token.is_word(after))?;
    relation(tokens.get(at + 1..)?)
}

/// The relation that tokens begin with.
fn relation(tokens: &[Token]) -> Option<QName> {
    let skipped = ["only", "if", "exists", "table"];
    let rest: Vec<&Token> =
        tokens.iter().skip_while(|token| skipped.iter().any(|word| token.is_word(word))).collect();
    let first = rest.first()?.name()?;
    match (rest.get(1), rest.get(2)) {
        (Some(dot), Some(name)) if dot.is_symbol('.') => Some(QName::new(first, name.name()?)),
        _ => Some(QName::new("public", first)),
    }
}

/// Where in a text a byte is: its line and its column in characters, from 1.
pub(crate) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_split_where_statements_end() {
        let text = "-- first\ncreate table a (b int); ;\n  create or replace function f() returns int\nbegin atomic\n \
                    select case when true then 1 end; select 2;\nend;\ndo $$ begin perform 1; end $$;\nselect ';'";
        let parts = split(text).unwrap();
        let texts: Vec<&str> = parts.iter().map(|part| part.sql.as_str()).collect();
        assert_eq!(texts.len(), 4, "{texts:#?}");
        assert!(texts[1].starts_with("create or replace") && texts[1].ends_with("end"));
        assert_eq!(texts[3], "select ';'");
        assert_eq!(position(text, parts[0].start), (2, 1));
        assert_eq!(position(text, parts[1].start), (3, 3));
        assert!(split("select 'x").is_err() && split(" ; ").unwrap().is_empty());
    }

    #[test]
    fn what_cannot_run_in_a_transaction_is_known() {
        for sql in [
            "create index concurrently i on t (a)",
            "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)",
            "drop index concurrently i",
            "reindex (verbose) index concurrently i",
            "reindex (concurrently) table t",
            "vacuum (analyze) t",
            "alter table t detach partition p concurrently",
            "alter system set work_mem = '1MB'",
        ] {
            assert!(is_alone(sql), "{sql}");
        }
        for sql in [
            "create index i on t (a)",
            "refresh materialized view concurrently m",
            "create function f() returns int language sql as 'select 1'",
            "select 'vacuum'",
            "alter table t detach partition p",
        ] {
            assert!(!is_alone(sql), "{sql}");
        }
    }

    #[test]
    fn the_table_that_a_statement_locks_is_known_where_its_words_show_it() {
        let locked = |sql| match locks(sql) {
            Locks::None => "none".to_owned(),
            Locks::Of(relation, mode) => format!("{} {mode}", relation.plain()),
            Locks::Unknown => "unknown".to_owned(),
        };
        for (sql, expected) in [
            ("create unique index concurrently i on only app.t (a)", "app.t SHARE UPDATE EXCLUSIVE"),
            ("create index i on t (a)", "public.t SHARE"),
            (
                "create or replace trigger x after insert on app.t execute function f()",
                "app.t SHARE ROW EXCLUSIVE",
            ),
            ("alter table if exists only t add a int", "public.t ACCESS EXCLUSIVE"),
            ("alter table t validate constraint c", "public.t SHARE UPDATE EXCLUSIVE"),
            ("drop policy if exists p on t", "public.t ACCESS EXCLUSIVE"),
            ("truncate t", "public.t ACCESS EXCLUSIVE"),
            ("drop view if exists app.v", "app.v ACCESS EXCLUSIVE"),
            ("create or replace view v as select 1 as a", "public.v ACCESS EXCLUSIVE"),
            ("create view v as select 1 as a", "none"),
            ("alter materialized view v rename to w", "public.v ACCESS EXCLUSIVE"),
            ("insert into t select 1", "public.t ROW EXCLUSIVE"),
            ("create or replace function f() returns int language sql as 'x'", "none"),
            ("grant select on t to r", "none"),
            ("do $$ begin end $$", "unknown"),
            ("select f()", "unknown"),
        ] {
            assert_eq!(locked(sql), expected, "{sql}");
        }
    }

    #[test]
    fn what_no_script_can_have_is_refused() {
        for sql in ["begin", "COMMIT", "set search_path = a", "copy t from stdin", "\\i x", "savepoint s"] {
            assert!(refused(sql).is_some(), "{sql}");
        }
        assert_eq!(refused("update t set a = 1"), None);
        assert_eq!(verb("create or replace function f()"), "create function");
        assert_eq!(verb("create unique index concurrently i on t (a)"), "create index");
        assert_eq!(verb("grant select on t to r"), "grant");
    }
}
