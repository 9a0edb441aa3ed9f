//! Splits SQL text into tokens by the quoting rules of PostgreSQL's own scanner (`standard_conforming_strings` on). No
//! other part of the program parses SQL.

use crate::pg::QName;

/// A token and the bytes that it spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Unquoted, folded to lower case: a keyword or a name.
    Word(String),
    /// A quoted name, its quotes removed.
    Quoted(String),
    /// A string, a number or anything else that is not a name.
    Other,
    /// One character of an operator or of punctuation.
    Symbol(char),
}

/// Why a text cannot be split into tokens. The text itself is not quoted: it may hold a value of the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub(crate) struct LexError {
    pub(crate) problem: &'static str,
    /// What to write instead, where that is known.
    pub(crate) hint: Option<&'static str>,
}

fn error<T>(problem: &'static str, hint: Option<&'static str>) -> Result<T, LexError> {
    Err(LexError { problem, hint })
}

impl Token {
    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word(text) if text == word)
    }

    pub(crate) fn is_symbol(&self, symbol: char) -> bool {
        self.kind == Kind::Symbol(symbol)
    }

    /// The name it stands for, if it can be one.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(text) | Kind::Quoted(text) => Some(text),
            Kind::Other | Kind::Symbol(_) => None,
        }
    }
}

fn starts_word(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

fn continues_word(c: char) -> bool {
    starts_word(c) || c.is_ascii_digit() || c == '$'
}

/// Splits `text` into tokens; comments and white space are dropped.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, LexError> {
    let mut tokens = Vec::new();
    let mut start = 0;
    while let Some(first) = text[start..].chars().next() {
        let rest = &text[start..];
        let (kind, length) = if first.is_ascii_whitespace() {
            (None, 1)
        } else if rest.starts_with("--") {
            (None, line_comment(rest)?)
        } else if rest.starts_with("/*") {
            (None, block_comment(rest)?)
        } else if first == '"' {
            let (name, length) = quoted_name(rest)?;
            (Some(Kind::Quoted(name)), length)
        } else if first == '\'' {
            let escapes = tokens.last().is_some_and(|t: &Token| t.end == start && t.is_word("e"));
            (Some(Kind::Other), string(rest, escapes)?)
        } else if first == '$' {
            dollar_string(rest)?
        } else if starts_word(first) {
            let length = rest.find(|c| !continues_word(c)).unwrap_or(rest.len());
            (Some(Kind::Word(rest[..length].to_ascii_lowercase())), length)
        } else if first.is_ascii_digit() {
            (Some(Kind::Other), rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len()))
        } else {
            (Some(Kind::Symbol(first)), first.len_utf8())
        };
        tokens.extend(kind.map(|kind| Token { kind, start, end: start + length }));
        start += length;
    }
    Ok(tokens)
}

fn line_comment(rest: &str) -> Result<usize, LexError> {
    match rest.find('\n') {
        Some(end) => Ok(end + 1),
        None => error(
            "a `--` comment runs to the end of this SQL",
            Some("YAML may have joined the lines: use `/* ... */`, or a YAML comment"),
        ),
    }
}

fn block_comment(rest: &str) -> Result<usize, LexError> {
    let (mut at, mut depth) = (2, 1_usize);
    while depth > 0 {
        let tail = &rest.as_bytes()[at..];
        match tail {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            [] => return error("a `/*` comment does not end", Some("close it with `*/`")),
            _ => at += 1,
        }
    }
    Ok(at)
}

/// The name, and the length in bytes including its quotes.
fn quoted_name(rest: &str) -> Result<(String, usize), LexError> {
    let mut name = String::new();
    let mut at = 1;
    while let Some(end) = rest[at..].find('"') {
        name.push_str(&rest[at..at + end]);
        at += end + 1;
        if !rest[at..].starts_with('"') {
            return Ok((name, at));
        }
        name.push('"');
        at += 1;
    }
    error("a quoted name does not end", Some("close it with `\"`"))
}

fn string(rest: &str, escapes: bool) -> Result<usize, LexError> {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 2,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => return Ok(at + 1),
            _ => at += 1,
        }
    }
    error("a string does not end", Some("close it with `'`"))
}

/// `$tag$ ... $tag$`, or a lone `$`.
fn dollar_string(rest: &str) -> Result<(Option<Kind>, usize), LexError> {
    let lone = (Some(Kind::Symbol('$')), 1);
    let Some(end) = rest[1..].find('$') else { return Ok(lone) };
    let tag = &rest[1..1 + end];
    if !tag.chars().all(|c| continues_word(c) && c != '$') || tag.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(lone);
    }
    let fence = &rest[..end + 2];
    match rest[fence.len()..].find(fence) {
        Some(close) => Ok((Some(Kind::Other), close + 2 * fence.len())),
        None => error("a string between `$`s does not end", None),
    }
}

/// The text with `by` in place of a name wherever that stands unquoted and unqualified; `None` if the
/// text cannot be split.
pub(crate) fn replaced(sql: &str, name: &str, by: &str) -> Option<String> {
    let found = tokens(sql).ok()?;
    let (mut text, mut done) = (String::new(), 0);
    for (at, token) in found.iter().enumerate() {
        let qualified = at > 0 && found[at - 1].is_symbol('.');
        if token.name() == Some(name) && !qualified {
            text += &sql[done..token.start];
            text += by;
            done = token.end;
        }
    }
    Some(text + &sql[done..])
}

/// The text with `to` in place of the relation or type `from` wherever that is written with its schema. Functions of
/// that name are others. A text that cannot be split stays as it is.
pub(crate) fn renamed(sql: &str, from: &QName, to: &QName) -> String {
    renamed_where(sql, from, to, false)
}

/// The same for calls of the function `from`.
pub(crate) fn renamed_call(sql: &str, from: &QName, to: &QName) -> String {
    renamed_where(sql, from, to, true)
}

fn renamed_where(sql: &str, from: &QName, to: &QName, calls: bool) -> String {
    let Ok(found) = tokens(sql) else { return sql.to_owned() };
    let (mut text, mut done) = (String::new(), 0);
    for (at, three) in found.windows(3).enumerate() {
        let is_it = three[0].name() == Some(from.schema.as_str())
            && three[1].is_symbol('.')
            && three[2].name() == Some(from.name.as_str());
        let is_part = at > 0 && found[at - 1].is_symbol('.');
        // The server writes a space between a table and its columns.
        let is_call = |next: &Token| next.is_symbol('(') && next.start == three[2].end;
        let is_function = found.get(at + 3).is_some_and(is_call);
        let is_column = found.get(at + 3).is_some_and(|next| next.is_symbol('.'));
        if is_it && !is_part && is_function == calls && !is_column {
            text += &sql[done..three[0].start];
            text += &to.to_string();
            done = three[2].end;
        }
    }
    text + &sql[done..]
}

/// The text with `to` in place of the relation `name` wherever that is written without a schema, where a relation can be.
/// A text that cannot be split stays as it is.
pub(crate) fn renamed_bare(sql: &str, name: &str, to: &QName) -> String {
    const BEFORE: [&str; 13] = [
        "on",
        "table",
        "only",
        "from",
        "join",
        "into",
        "update",
        "using",
        "references",
        "truncate",
        "lock",
        "column",
        "analyze",
    ];
    let Ok(found) = tokens(sql) else { return sql.to_owned() };
    let (mut text, mut done) = (String::new(), 0);
    for pair in found.windows(2) {
        let is_place = BEFORE.iter().any(|word| pair[0].is_word(word));
        let next = found.iter().find(|token| token.start >= pair[1].end);
        let is_schema = !pair[0].is_word("column") && next.is_some_and(|next| next.is_symbol('.'));
        if is_place && pair[1].name() == Some(name) && !is_schema {
            text += &sql[done..pair[1].start];
            text += &to.to_string();
            done = pair[1].end;
        }
    }
    text + &sql[done..]
}

/// Whether SQL text contains this name, quoted or not. Text that cannot be split is assumed to.
pub(crate) fn mentions(sql: &str, name: &str) -> bool {
    tokens(sql).map_or(true, |tokens| tokens.iter().any(|token| token.name() == Some(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_where_it_is_a_name() {
        assert!(mentions("lower(code) = 'x'", "code") && mentions("LOWER(Code)", "code"));
        assert!(mentions("\"Code\" > 1", "Code") && !mentions("code > 1", "Code"));
        assert!(!mentions("note = 'code' -- code\n and decode(note, $$code$$) = barcode", "code"));
        assert!(mentions("'", "code"));
    }

    #[test]
    fn a_name_is_replaced_where_it_is_a_name() {
        let made = replaced("VALUE > 0 AND note <> 'value' AND a.value = \"value\"", "value", "(x)");
        assert_eq!(made.as_deref(), Some("(x) > 0 AND note <> 'value' AND a.value = (x)"));
        assert_eq!(replaced("'", "value", "x"), None);
    }

    #[test]
    fn a_relation_is_renamed_where_its_schema_is_written() {
        let (from, to) = (QName::new("app", "t"), QName::new("home", "T"));
        let sql = "SELECT t.a, app.t(1), x.app.t, 'app.t'::text, NULL::app.t FROM app.t, \"app\".\"t\" t_1; INSERT INTO app.t (a)";
        let expected = "SELECT t.a, app.t(1), x.app.t, 'app.t'::text, NULL::\"home\".\"T\" FROM \"home\".\"T\", \"home\".\"T\" t_1; INSERT INTO \"home\".\"T\" (a)";
        assert_eq!(renamed(sql, &from, &to), expected);
    }

    #[test]
    fn a_relation_without_a_schema_is_renamed_where_one_can_be() {
        let sql = "create trigger t after insert on t for each row; alter table only t add t int; comment on column t.t is ''; \
                   update t set t = t.t from app.t";
        let expected = "create trigger t after insert on \"h\".\"t\" for each row; alter table only \"h\".\"t\" add t int; \
                        comment on column \"h\".\"t\".t is ''; update \"h\".\"t\" set t = t.t from app.t";
        assert_eq!(renamed_bare(sql, "t", &QName::new("h", "t")), expected);
    }

    #[test]
    fn a_token_knows_its_place() {
        let text = "a /* b */ \"c\"\"d\"";
        let found: Vec<&str> =
            tokens(text).unwrap().iter().map(|token| &text[token.start..token.end]).collect();
        assert_eq!(found, ["a", "\"c\"\"d\""]);
    }
}
