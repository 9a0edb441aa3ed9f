//! A view's query over a table whose columns have other types: what it selects is cast to the types of the view's columns.

use super::View;
use crate::hangs_on::shape::{Green, without_length};
use crate::pg::Ident;
use crate::pg::sql::lexer::{self, Token};

/// The query for green.
pub(super) struct Fitted {
    pub(super) query: String,
    /// What clients of the view notice of it, to follow a sentence.
    pub(super) notes: String,
}

impl View {
    /// Its query for green. Where that cannot be written, the trial fails.
    pub(super) fn fitted(&self, green: &Green) -> Fitted {
        let retyped: Vec<&Ident> = green.cast_among(&self.uses).collect();
        let cast = if retyped.is_empty() { None } else { self.cast(&retyped) };
        cast.unwrap_or_else(|| Fitted { query: self.query.clone(), notes: String::new() })
    }

    fn cast(&self, retyped: &[&Ident]) -> Option<Fitted> {
        let tokens = lexer::tokens(&self.query).ok()?;
        let items = items(&tokens)?;
        if items.len() != self.columns.len() {
            return None;
        }
        let (mut query, mut notes, mut end) = (String::new(), String::new(), 0);
        for (item, column) in items.into_iter().zip(&self.columns) {
            let names = |token: &Token| retyped.iter().any(|name| token.name() == Some(name.as_str()));
            if !item.iter().any(names) {
                continue;
            }
            // A cast to a length truncates silently.
            let data_type = Some(&column.data_type).filter(|it| without_length(it) == **it)?;
            let expression = match item {
                [expression @ .., by, _] if by.is_word("as") => expression,
                expression => expression,
            };
            let (from, to) = (item.first()?.start, item.last()?.end);
            let sql = &self.query[from..expression.last()?.end];
            query += &format!("{}CAST({sql} AS {data_type}) AS {}", &self.query[end..from], column.name);
            end = to;
            notes += &format!("; what it shows as {} is cast to {data_type}", column.name.plain());
            if column.updatable {
                notes += ", and can no longer be written through it";
            }
        }
        query += &self.query[end..];
        Some(Fitted { query, notes })
    }
}

/// What a query selects, as the server prints it: between SELECT and FROM, separated by commas.
fn items(tokens: &[Token]) -> Option<Vec<&[Token]>> {
    let (first, rest) = tokens.split_first()?;
    if !first.is_word("select") || rest.first()?.is_word("distinct") {
        return None;
    }
    let (mut depth, mut length) = (0_u32, 0);
    let is_over = |token: &Token, depth: &mut u32| {
        if token.is_symbol('(') || token.is_symbol('[') {
            *depth += 1;
        } else if token.is_symbol(')') || token.is_symbol(']') {
            *depth = depth.saturating_sub(1);
        }
        *depth == 0 && token.is_word("from")
    };
    for token in rest {
        if is_over(token, &mut depth) {
            break;
        }
        length += 1;
    }
    let mut depth = 0;
    let items = rest[..length].split(|token| {
        is_over(token, &mut depth);
        depth == 0 && token.is_symbol(',')
    });
    Some(items.collect())
}
