//! Renames columns in an index's definition.
//!
//! Everything that green gets before its columns are renamed is rewritten by the server. Indexes come later, so their
//! plain column lists are rewritten here; those with expressions are refused.

use crate::pg::Ident;
use crate::pg::sql::lexer::{self, Kind};

/// `USING btree (a, "B" DESC) INCLUDE (c)` with each listed column under the name that `name_of` gives. Only correct if
/// no key is an expression.
pub(super) fn columns_in(body: &str, name_of: impl Fn(&str) -> Option<Ident>) -> String {
    let Ok(tokens) = lexer::tokens(body) else { return body.to_owned() };
    let mut out = String::new();
    let (mut depth, mut expecting, mut end) = (0_u32, false, 0);
    let mut before_list = true;
    for token in &tokens {
        out.push_str(&body[end..token.start]);
        end = token.end;
        let written = &body[token.start..token.end];
        match token.kind {
            Kind::Symbol('(') => {
                depth += 1;
                expecting = depth == 1 && before_list;
            }
            Kind::Symbol(')') => depth = depth.saturating_sub(1),
            Kind::Symbol(',') => expecting = depth == 1,
            _ if expecting => {
                expecting = false;
                if let Some(renamed) = token.name().and_then(&name_of) {
                    out.push_str(&renamed.to_string());
                    continue;
                }
            }
            _ => {}
        }
        before_list = !token.is_word("with");
        out.push_str(written);
    }
    out.push_str(&body[end..]);
    out
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
