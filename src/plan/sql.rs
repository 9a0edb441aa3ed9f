//! The little SQL in a plan, parsed just far enough: names, the head of a CREATE INDEX, a column's definition,
//! expressions. What it means is for the server to decide.
//!
//! Invariant: text that passes is part of one statement, with every quote, comment and parenthesis closed, so it cannot
//! swallow or end the SQL around it.

use crate::pg::sql::lexer::{self, Kind, LexError, Token};
use crate::pg::{Ident, MAX_BYTES, QName};

use super::problem::Collected;
use super::yaml::Node;

/// What is wrong with a piece of SQL, and what to write instead. It does not quote the SQL, which may hold a
/// value of the environment.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct SqlProblem {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// Reads one value with `parse`, and reports what is wrong with it under the value's name.
pub(super) fn take<T>(
    node: &Node,
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, SqlProblem>,
    found: &mut Collected,
) -> Option<T> {
    let scalar = node.scalar()?;
    match parse(&scalar.text) {
        Ok(value) => Some(value),
        Err(problem) => {
            let message = format!("`{name}: {}`: {}", scalar.shown(), problem.message);
            found.add_with_hint(node.at, message, problem.hint);
            None
        }
    }
}

impl From<LexError> for SqlProblem {
    fn from(error: LexError) -> Self {
        Self { message: error.problem.to_owned(), hint: error.hint.map(str::to_owned) }
    }
}

/// The tokens of text that was typed, or pasted from a page with typographic quotes.
fn tokens(text: &str) -> Result<Vec<Token>, SqlProblem> {
    let found = lexer::tokens(text)?;
    let typographic = |token: &Token| {
        let first = text[token.start..token.end].chars().next();
        first.filter(|first| matches!(first, '“' | '”' | '„' | '‘' | '’'))
    };
    match found.iter().find_map(typographic) {
        Some(first) => problem(format!("`{first}` is not a quote in PostgreSQL"), "write `\"` or `'`"),
        None => Ok(found),
    }
}

fn problem<T>(message: impl Into<String>, hint: &str) -> Result<T, SqlProblem> {
    let hint = (!hint.is_empty()).then(|| hint.to_owned());
    Err(SqlProblem { message: message.into(), hint })
}

/// Checks that a name fits; PostgreSQL would truncate it without an error.
pub(super) fn check_length(name: &str) -> Result<(), SqlProblem> {
    if name.is_empty() {
        return problem("a name cannot be empty", "");
    }
    if name.len() > MAX_BYTES {
        let message = format!("this name has {} bytes, and PostgreSQL keeps {MAX_BYTES}", name.len());
        return problem(message, "shorten it");
    }
    if name.contains('\0') {
        return problem("a name cannot hold a zero byte", "");
    }
    Ok(())
}

/// One name: `start_time`, or `"Start Time"`. Unquoted, it is folded to lower case.
pub(super) fn ident(text: &str) -> Result<Ident, SqlProblem> {
    let found = tokens(text)?;
    let [token] = found.as_slice() else { return not_a_name() };
    let Some(name) = token.name() else { return not_a_name() };
    check_length(name)?;
    Ok(Ident::from(name))
}

fn not_a_name<T>() -> Result<T, SqlProblem> {
    problem(
        "this is not a single SQL name",
        "quote a name with characters other than letters, digits and `_`, for SQL and for YAML: '\"Follow Up\"'",
    )
}

/// `schema.table`, either part may be quoted; the default schema is `public`.
pub(super) fn qname(text: &str) -> Result<QName, SqlProblem> {
    let found = tokens(text)?;
    let (schema, name) = match found.as_slice() {
        [name] => ("public", name.name()),
        [schema, dot, name] if dot.is_symbol('.') => match schema.name() {
            Some(schema) => (schema, name.name()),
            None => ("", None),
        },
        _ => ("", None),
    };
    let Some(name) = name else {
        return problem(
            "this is not a table's name",
            "write `schema.table`; quote all but letters, digits and `_`: '\"My Schema\".\"My Table\"'",
        );
    };
    check_length(schema)?;
    check_length(name)?;
    Ok(QName::new(schema, name))
}

/// An expression, a type or a column's definition: part of a statement, without a top-level comma.
pub(super) fn fragment(text: &str) -> Result<String, SqlProblem> {
    let found = tokens(text)?;
    let (Some(first), Some(last)) = (found.first(), found.last()) else {
        return problem("this SQL is empty", "");
    };
    check_closed(&found)?;
    if top_level(&found).any(|token| token.is_symbol(',')) {
        return problem("a comma here would begin another entry", "write one entry for each");
    }
    Ok(text[first.start..last.end].to_owned())
}

/// One statement, without its closing `;`.
pub(super) fn statement(text: &str) -> Result<String, SqlProblem> {
    let mut found = tokens(text)?;
    while found.last().is_some_and(|token| token.is_symbol(';')) {
        found.pop();
    }
    let (Some(first), Some(last)) = (found.first(), found.last()) else {
        return problem("this SQL is empty", "");
    };
    check_closed(&found)?;
    Ok(text[first.start..last.end].to_owned())
}

fn check_closed(found: &[Token]) -> Result<(), SqlProblem> {
    let mut open = Vec::new();
    for token in found {
        match token.kind {
            Kind::Symbol('(') => open.push(')'),
            Kind::Symbol('[') => open.push(']'),
            Kind::Symbol(close @ (')' | ']')) if open.pop() != Some(close) => {
                return problem(format!("a `{close}` closes nothing"), "");
            }
            Kind::Symbol(';') => return problem("a `;` would end the statement here", "write one statement"),
            _ => {}
        }
    }
    match open.pop() {
        Some(close) => problem(
            format!("a `{close}` is missing"),
            "between `{` and `}` or `[` and `]` of YAML, a comma ends a value: quote the whole SQL there",
        ),
        None => Ok(()),
    }
}

/// The tokens outside parentheses and brackets.
fn top_level(found: &[Token]) -> impl Iterator<Item = &Token> {
    let mut depth = 0_usize;
    found.iter().filter(move |token| match token.kind {
        Kind::Symbol('(' | '[') => {
            depth += 1;
            false
        }
        Kind::Symbol(')' | ']') => {
            depth = depth.saturating_sub(1);
            false
        }
        _ => depth == 0,
    })
}

/// `name definition`: a column, its name separated.
pub(super) fn column(text: &str) -> Result<(Ident, String), SqlProblem> {
    const HINT: &str = "write `name type ...`, as in `follow_up boolean not null default false`";
    let found = tokens(text)?;
    let Some(name) = found.first().and_then(Token::name) else {
        return problem("this is not a column", HINT);
    };
    check_length(name)?;
    if found.len() < 2 {
        return problem("this column has no type", HINT);
    }
    let definition = fragment(&text[found[0].end..])?;
    Ok((Ident::from(name), definition))
}

/// The head of a CREATE INDEX.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IndexHead {
    pub(super) name: Ident,
    pub(super) unique: bool,
    /// `None` if the statement does not qualify the table.
    pub(super) schema: Option<Ident>,
    pub(super) table: Ident,
    /// Everything after the table's name.
    pub(super) rest: String,
}

const INDEX_SHAPE: &str = "write `create [unique] index name on table (columns) ...`";

/// Parses `create [unique] index name on [schema.]table rest`.
pub(super) fn index(text: &str) -> Result<IndexHead, SqlProblem> {
    let text = statement(text)?;
    let found = tokens(&text)?;
    let mut left = found.as_slice();
    if !take_word(&mut left, "create") {
        return problem("this is not a CREATE INDEX statement", INDEX_SHAPE);
    }
    let unique = take_word(&mut left, "unique");
    if !take_word(&mut left, "index") {
        return problem("this is not a CREATE INDEX statement", INDEX_SHAPE);
    }
    refuse_modifiers(left)?;
    let name = match left {
        [name, on, ..] if on.is_word("on") => name.name(),
        [schema, dot, _, on, ..] if dot.is_symbol('.') && on.is_word("on") && schema.name().is_some() => {
            return problem(
                "an index's name has no schema",
                "it is in its table's schema: leave out the schema",
            );
        }
        _ => None,
    };
    let Some(name) = name else { return problem("this is not a CREATE INDEX statement", INDEX_SHAPE) };
    check_length(name)?;
    left = &left[2..];
    if left.first().is_some_and(|t| t.is_word("only")) && left.get(1).is_some_and(|t| t.name().is_some()) {
        return problem("ONLY would leave the partitions without the index", "leave out `only`");
    }
    let (schema, table, used) = match left {
        [schema, dot, table, ..] if dot.is_symbol('.') => (schema.name().map(Ident::from), table.name(), 3),
        [table, ..] => (None, table.name(), 1),
        [] => (None, None, 0),
    };
    let Some(table) = table else { return problem("the statement names no table", INDEX_SHAPE) };
    let Some(begin) = left.get(used).filter(|t| t.is_symbol('(') || t.is_word("using")) else {
        return problem("after the table, the index's columns are expected", INDEX_SHAPE);
    };
    Ok(IndexHead {
        name: Ident::from(name),
        unique,
        schema,
        table: Ident::from(table),
        rest: text[begin.start..].to_owned(),
    })
}

fn refuse_modifiers(left: &[Token]) -> Result<(), SqlProblem> {
    let word = |at: usize, word: &str| left.get(at).is_some_and(|t: &Token| t.is_word(word));
    if word(0, "concurrently") && !word(1, "on") {
        return problem(
            "CONCURRENTLY cannot be used here: green is not in use yet when its indexes are built",
            "leave out `concurrently`",
        );
    }
    if word(0, "if") && word(1, "not") && word(2, "exists") {
        return problem(
            "IF NOT EXISTS could accept a different index of that name",
            "leave out `if not exists`",
        );
    }
    if word(0, "on") && !word(1, "on") {
        return problem("the index has no name", "name it: `create index name on ...`");
    }
    Ok(())
}

fn take_word(left: &mut &[Token], word: &str) -> bool {
    let found = left.first().is_some_and(|token| token.is_word(word));
    if found {
        *left = &left[1..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<T: std::fmt::Debug>(result: Result<T, SqlProblem>) -> String {
        result.unwrap_err().message
    }

    #[test]
    fn names_fold_as_the_server_folds_them() {
        assert_eq!(ident("Start_Time").unwrap(), Ident::from("start_time"));
        assert_eq!(ident("\"Start \"\"Time\"").unwrap(), Ident::from("Start \"Time"));
        assert_eq!(ident("größe").unwrap(), Ident::from("größe"));
        for text in ["", "start time", "a.b", "1a", "\"x", "a;", "“a”", "\"\"", "a -- b"] {
            assert!(ident(text).is_err(), "{text}");
        }
        assert!(ident(&"a".repeat(63)).is_ok());
        assert!(refusal(ident(&"ä".repeat(32))).contains("64 bytes"));
    }

    #[test]
    fn a_table_may_be_quoted_or_leave_its_schema_away() {
        assert_eq!(qname("Public.Appointments").unwrap(), QName::new("public", "appointments"));
        assert_eq!(qname("appointments").unwrap(), QName::new("public", "appointments"));
        assert_eq!(qname("\"My.Schema\" . \"T\"").unwrap(), QName::new("My.Schema", "T"));
        for text in ["a.b.c", "a.", ".b", "a b", "1.2", "'a'.b"] {
            assert!(qname(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_index_is_taken_apart() {
        let head = index(
            "CREATE /* a /* nested */ one */ UNIQUE INDEX \"Idx\" ON public.Appointments\n\
             using btree (lower(note), start_time desc) include (x) where status = ';' ; ",
        )
        .unwrap();
        assert_eq!(head.name, Ident::from("Idx"));
        assert!(head.unique);
        assert_eq!(head.schema, Some(Ident::from("public")));
        assert_eq!(head.table, Ident::from("appointments"));
        assert_eq!(head.rest, "using btree (lower(note), start_time desc) include (x) where status = ';'");
        assert_eq!(index("create index i on t(a)").unwrap().rest, "(a)");
    }

    #[test]
    fn an_index_that_is_not_ours_to_build_is_refused() {
        for (text, expected) in [
            ("create index concurrently i on t (a)", "CONCURRENTLY"),
            ("create index if not exists i on t (a)", "IF NOT EXISTS"),
            ("create index on t (a)", "no name"),
            ("create index i on only t (a)", "ONLY"),
            ("create index s.i on t (a)", "no schema"),
            ("create table t (a int)", "not a CREATE INDEX"),
            ("create index i on", "no table"),
            ("create index i on t", "columns are expected"),
            ("create index i on t (a", "`)` is missing"),
            ("create index i on t (a))", "closes nothing"),
            ("create index i on t (a); drop table t", "would end the statement"),
            ("create index i on t (a) -- where b", "runs to the end"),
            ("create index i on t (a) where b = 'x", "does not end"),
            ("", "empty"),
        ] {
            let message = refusal(index(text));
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn a_fragment_cannot_leave_its_place() {
        for text in [
            "extract(epoch from end_time - start_time)::int / 60",
            "numeric(10, 2)",
            "array[1, 2]",
            "E'it\\'s; --' || $q$ ; /* $q$ || ';'",
            "case when a then 'x' end /* why */",
        ] {
            assert_eq!(fragment(&format!(" {text} ")).unwrap(), text.trim_end_matches(" /* why */"));
        }
        for text in
            ["1, 2", "1; drop table t", "1)", "(1", "'x", "$$ x", "E'x\\'", "/* x", "1 -- x", "\"x", "  "]
        {
            assert!(fragment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_column_is_a_name_and_its_definition() {
        let (name, definition) = column("\"Follow Up\" boolean not null default false").unwrap();
        assert_eq!((name.as_str(), definition.as_str()), ("Follow Up", "boolean not null default false"));
        for text in ["follow_up", "", "'x' int", "a int, add column b int", "a int; drop table t"] {
            assert!(column(text).is_err(), "{text}");
        }
    }
}
