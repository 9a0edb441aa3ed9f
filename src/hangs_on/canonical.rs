//! When two SQL texts that the server printed mean the same.
//!
//! An expression that is parsed again is not always printed as before: casts move
//! (`(ARRAY['a'::varchar])::text[]` becomes `ARRAY[('a'::varchar)::text]`) and parentheses come and
//! go. Compared are the tokens in their grouping, without casts and without empty grouping.

/// The text in a form in which equal expressions are equal.
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

/// Words, quoted names, literals, and single signs (`::` is one).
fn tokens(sql: &str) -> Vec<String> {
    let chars: Vec<char> = sql.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let start = at;
        let first = chars[at];
        at += 1;
        if first.is_whitespace() {
            continue;
        }
        if first == '\'' || first == '"' {
            at = end_of_quoted(&chars, start);
        } else if is_word(first) {
            at += chars[at..].iter().take_while(|c| is_word(**c)).count();
        } else if first == ':' && chars.get(at) == Some(&':') {
            at += 1;
        }
        tokens.push(chars[start..at].iter().collect());
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

fn end_of_quoted(chars: &[char], start: usize) -> usize {
    let quote = chars[start];
    let mut at = start + 1;
    while at < chars.len() {
        if chars[at] == quote {
            if chars.get(at + 1) != Some(&quote) {
                return at + 1;
            }
            at += 1;
        }
        at += 1;
    }
    at
}

/// Leaves out every `::type`, with its schema, modifier and array brackets.
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
        at += 2; // the sign and the name (or its schema)
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
