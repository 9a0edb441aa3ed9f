//! The query of a view over a table whose columns have other types: what it selects is cast to the types of the view's columns.

use super::shape::without_length;
use super::views::ViewColumn;
use crate::pg::sql::lexer::{self, Token};
use crate::pg::{Ident, list};

/// The query for green.
pub(super) struct Fitted {
    pub(super) query: String,
    /// What clients of the view notice of it, to follow a sentence.
    pub(super) notes: String,
}

/// A view's query for green, where these columns of blue have other types. Where it cannot be written, the trial fails.
pub(super) fn fitted(query: &str, columns: &[ViewColumn], retyped: &[&Ident]) -> Fitted {
    let cast = if retyped.is_empty() { None } else { cast(query, columns, retyped) };
    cast.unwrap_or_else(|| Fitted { query: query.to_owned(), notes: String::new() })
}

fn cast(sql: &str, columns: &[ViewColumn], retyped: &[&Ident]) -> Option<Fitted> {
    let tokens = lexer::tokens(sql).ok()?;
    let names = |token: &Token| retyped.iter().any(|name| token.name() == Some(name.as_str()));
    let Some(items) = items(&tokens).filter(|items| items.len() == columns.len()) else {
        return if tokens.iter().any(names) { cast_all(sql, columns) } else { None };
    };
    let (mut query, mut notes, mut end) = (String::new(), String::new(), 0);
    for (item, column) in items.into_iter().zip(columns) {
        let expression = match item {
            [expression @ .., by, _] if by.is_word("as") => expression,
            expression => expression,
        };
        if !expression.iter().any(names) {
            continue;
        }
        let data_type = &column.data_type;
        let (from, to) = (item.first()?.start, item.last()?.end);
        let item = cast_to(&sql[from..expression.last()?.end], data_type)?;
        query += &format!("{}{item} AS {}", &sql[end..from], column.name);
        end = to;
        notes += &format!("; what it shows as {} is cast to {data_type}", column.name.plain());
        if column.updatable {
            notes += ", and can no longer be written through it";
        }
    }
    query += &sql[end..];
    Some(Fitted { query, notes })
}

/// The same of a query whose rows depend on what it selects, such as one with DISTINCT or UNION: around all of it. Nobody
/// writes through such a view.
fn cast_all(sql: &str, columns: &[ViewColumn]) -> Option<Fitted> {
    let casts = columns.iter().map(|column| {
        let name = &column.name;
        Some(format!("{} AS {name}", cast_to(&format!("q.{name}"), &column.data_type)?))
    });
    let casts = casts.collect::<Option<Vec<_>>>()?;
    let names = columns.iter().map(|column| &column.name);
    let query = sql.trim_end().trim_end_matches(';');
    Some(Fitted {
        query: format!("SELECT {} FROM ({query}) q({})", list(casts), list(names)),
        notes: "; what it shows is cast to the types that it has".to_owned(),
    })
}

/// A cast that fails if the value does not fit. To a type with a length a cast truncates instead, so the function that an
/// assignment calls is called before it: its last argument says that this is no cast.
fn cast_to(sql: &str, data_type: &str) -> Option<String> {
    let free = without_length(data_type);
    if free == data_type {
        return Some(format!("CAST({sql} AS {data_type})"));
    }
    let (base, length) = data_type.strip_suffix(')')?.split_once('(')?;
    let length: i32 = length.parse().ok()?;
    // The modifier of a character type counts the bytes of a header.
    let (function, modifier) = match base {
        "character varying" => ("varchar", length.checked_add(4)?),
        "character" => ("bpchar", length.checked_add(4)?),
        "bit" => ("bit", length),
        "bit varying" => ("varbit", length),
        _ => return None,
    };
    Some(format!("CAST(pg_catalog.\"{function}\"(CAST({sql} AS {free}), {modifier}, false) AS {data_type})"))
}

/// What a query selects, as the server prints it: between SELECT and FROM, separated by commas; `None` if which rows there are
/// depends on that.
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
    let is_one_of_several = |token: &Token| {
        is_over(token, &mut depth);
        depth == 0 && ["union", "intersect", "except"].iter().any(|word| token.is_word(word))
    };
    if rest[length..].iter().any(is_one_of_several) {
        return None;
    }
    let mut depth = 0;
    let items = rest[..length].split(|token| {
        is_over(token, &mut depth);
        depth == 0 && token.is_symbol(',')
    });
    Some(items.collect())
}
