//! Renamed columns in an index's definition.
//!
//! Everything that green gets before its columns are renamed is rewritten by the server. Indexes
//! come later, so their plain column lists are rewritten here; those with expressions are refused.

use crate::pg::Ident;

/// `USING btree (a, "B" DESC) INCLUDE (c)` with every listed column under the name `name_of` gives.
/// Only right where no key is an expression.
pub(super) fn columns_in(body: &str, name_of: impl Fn(&str) -> Option<Ident>) -> String {
    let mut out = String::new();
    let mut depth = 0_u32;
    let mut expecting = false;
    let mut rest = body;
    while let Some(first) = rest.chars().next() {
        let length = token_length(rest);
        let (token, after) = rest.split_at(length);
        rest = after;
        match first {
            '(' => {
                depth += 1;
                let before = out.trim_end();
                let list = depth == 1 && !before.ends_with("WITH");
                expecting = list;
            }
            ')' => depth = depth.saturating_sub(1),
            ',' => expecting = depth == 1,
            _ if expecting && !first.is_whitespace() => {
                expecting = false;
                if let Some(renamed) = name_of(&unquoted(token)) {
                    out += &renamed.to_string();
                    continue;
                }
            }
            _ => {}
        }
        out += token;
    }
    out
}

/// Bytes of the word, quoted name, literal or sign that `text` begins with.
fn token_length(text: &str) -> usize {
    let mut chars = text.char_indices();
    let Some((_, first)) = chars.next() else { return 0 };
    if first == '"' || first == '\'' {
        let mut inside = true;
        for (at, c) in chars {
            if c == first {
                inside = !inside;
            } else if !inside {
                return at;
            }
        }
        return text.len();
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    if !is_word(first) {
        return first.len_utf8();
    }
    text.find(|c| !is_word(c)).unwrap_or(text.len())
}

fn unquoted(token: &str) -> String {
    match token.strip_prefix('"').and_then(|token| token.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => token.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_columns_are_renamed() {
        let rename = |name: &str| match name {
            "text_pattern_ops" | "a" => Some(Ident::from("new")),
            "B, (c" => Some(Ident::from("d")),
            _ => None,
        };
        assert_eq!(
            columns_in(
                "USING gist (a text_pattern_ops (siglen='a, a'), \"B, (c\" COLLATE \"a\" DESC) INCLUDE (x, a) WITH (a='1')",
                rename
            ),
            "USING gist (\"new\" text_pattern_ops (siglen='a, a'), \"d\" COLLATE \"a\" DESC) INCLUDE (x, \"new\") WITH (a='1')"
        );
    }
}
