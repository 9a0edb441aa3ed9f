//! Whether two SQL texts that the server printed mean the same.
//!
//! An expression that is parsed again is not always printed as before: casts move (`(ARRAY['a'::varchar])::text[]`
//! becomes `ARRAY[('a'::varchar)::text]`) and parentheses come and go. So tokens are compared in their grouping,
//! without casts and without redundant grouping.

use crate::pg::sql::lexer;

/// A form of the text in which equal expressions are equal.
pub(super) fn canonical(sql: &str) -> String {
    let tokens = without_casts(&tokens(sql));
    let mut position = 0;
    group(&tokens, &mut position).print()
}

/// Whether two optional texts mean the same.
pub(super) fn same(one: Option<&str>, other: Option<&str>) -> bool {
    one.map(canonical) == other.map(canonical)
}

enum Node {
    Token(String),
    Group(Vec<Node>),
}

impl Node {
    fn print(&self) -> String {
        match self {
            Node::Token(text) => text.clone(),
            Node::Group(nodes) => match nodes.as_slice() {
                [only] => only.print(),
                nodes => format!("({})", nodes.iter().map(Node::print).collect::<Vec<_>>().join(" ")),
            },
        }
    }
}

fn group(tokens: &[String], position: &mut usize) -> Node {
    let mut nodes = Vec::new();
    while let Some(token) = tokens.get(*position) {
        *position += 1;
        match token.as_str() {
            "(" => nodes.push(group(tokens, position)),
            ")" => break,
            _ => nodes.push(Node::Token(token.clone())),
        }
    }
    Node::Group(nodes)
}

/// The tokens as they are written; `::` is one. Text that cannot be parsed is a single token, equal only to itself.
fn tokens(sql: &str) -> Vec<String> {
    let Ok(found) = lexer::tokens(sql) else { return vec![sql.to_owned()] };
    let mut tokens: Vec<String> = Vec::new();
    let mut end = 0;
    for token in found {
        let is_second_colon =
            token.is_symbol(':') && token.start == end && tokens.last().is_some_and(|last| last == ":");
        match tokens.last_mut() {
            Some(last) if is_second_colon => last.push(':'),
            _ => tokens.push(sql[token.start..token.end].to_owned()),
        }
        end = token.end;
    }
    tokens
}

/// Removes every `::type`, with its schema, modifier and array brackets.
fn without_casts(tokens: &[String]) -> Vec<String> {
    const FOLLOWING: [&str; 5] = ["varying", "precision", "with", "without", "zone"];
    let mut kept = Vec::new();
    let mut at = 0;
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token == text);
    while at < tokens.len() {
        if tokens[at] != "::" {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += 2; // the `::` and the name (or its schema)
        while is(at, ".") {
            at += 2;
        }
        loop {
            let time_zone = is(at, "time") && is(at + 1, "zone");
            if time_zone || tokens.get(at).is_some_and(|token| FOLLOWING.contains(&token.as_str())) {
                at += 1;
            } else if is(at, "(") && tokens.get(at + 1).is_some_and(|token| token.parse::<i32>().is_ok()) {
                at += tokens[at..].iter().take_while(|token| *token != ")").count() + 1;
            } else if is(at, "[") && is(at + 1, "]") {
                at += 2;
            } else {
                break;
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_prints_differently_is_the_same() {
        for (one, other) in [
            (
                "((status)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[]))",
                "((status)::text = ANY (ARRAY[('a'::character varying)::text, ('b'::character varying)::text]))",
            ),
            ("((a > 1))", "(a > 1)"),
            ("('x'::timestamp with time zone < b)", "('x' < b)"),
            ("(n)::numeric(10,2) > 0", "n > 0"),
        ] {
            assert_eq!(canonical(one), canonical(other));
        }
    }

    #[test]
    fn what_means_something_else_is_not() {
        for (one, other) in [
            ("a and (b or c)", "(a and b) or c"),
            ("a > 1", "a > 2"),
            ("name = 'A::text'", "name = 'A'"),
            ("\"A\" = 1", "a = 1"),
            ("lower(a)", "upper(a)"),
            ("a = '('", "a = ')'"),
        ] {
            assert_ne!(canonical(one), canonical(other));
        }
    }
}
