//! The default of a column whose type changes.
//!
//! A new row gets the value that an old row's would have been converted to: the default is converted as the values are,
//! by the cast or by `using`. The default of a sequence stays as it is: it is what makes a column serial.

use crate::hangs_on::{Column, Definition, without_length};
use crate::pg::Ident;
use crate::pg::sql::lexer::{self, Token};

/// The default of `column` in its new type; `None` if blue's stays as it is, or cannot be converted by `using`.
pub(super) fn through(
    definition: &Definition,
    column: &Column,
    using: Option<&str>,
    data_type: &str,
) -> Option<String> {
    let default = goes_through(column)?;
    let data_type = without_length(data_type);
    let Some(using) = using else { return Some(format!("CAST(({default}) AS {data_type})")) };
    let old = format!("CAST(({default}) AS {})", column.data_type);
    let value = with_value(using, &column.name, &old, |name| definition.column(&name.into()).is_some())?;
    Some(format!("CAST(({value}) AS {data_type})"))
}

/// A default to convert: neither a sequence's nor one that names the table itself, which is set in the swap.
fn goes_through(column: &Column) -> Option<&String> {
    let default = column.default.as_ref().filter(|default| !default.starts_with("nextval("));
    default.filter(|_| column.default_names.is_none())
}

/// Whether a default is lost in the conversion: `using` reads other columns too.
pub(super) fn is_lost(
    definition: &Definition,
    column: &Column,
    using: Option<&str>,
    data_type: &str,
) -> bool {
    goes_through(column).is_some() && through(definition, column, using, data_type).is_none()
}

/// `sql` with a value in place of a column; `None` if it names another column or cannot be parsed.
fn with_value(sql: &str, column: &Ident, value: &str, is_column: impl Fn(&str) -> bool) -> Option<String> {
    let tokens = lexer::tokens(sql).ok()?;
    let mut out = String::new();
    let mut end = 0;
    for (at, token) in tokens.iter().enumerate() {
        out.push_str(sql.get(end..token.start)?);
        end = token.end;
        match token.name().filter(|name| is_column(name) && stands_for_a_column(&tokens, at)) {
            Some(name) if name == column.as_str() => out.push_str(value),
            Some(_) => return None,
            None => out.push_str(sql.get(token.start..token.end)?),
        }
    }
    Some(out)
}

/// Whether a token is a column: not a function, a type, or part of a qualified name or of an operator.
fn stands_for_a_column(tokens: &[Token], at: usize) -> bool {
    let symbol = |at: Option<usize>, signs: &[char]| {
        at.and_then(|at| tokens.get(at)).is_some_and(|token| signs.iter().any(|sign| token.is_symbol(*sign)))
    };
    let is_word = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.is_word(word));
    let at_time_zone = is_word(at, "at") && is_word(at + 1, "time") && is_word(at + 2, "zone");
    let after_as = at.checked_sub(1).is_some_and(|before| tokens[before].is_word("as"));
    !symbol(Some(at + 1), &['(', '.'])
        && !symbol(at.checked_sub(1), &['.', ':'])
        && !after_as
        && !at_time_zone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(sql: &str) -> Option<String> {
        with_value(sql, &"status".into(), "'new'", |name| ["status", "at", "text"].contains(&name))
    }

    #[test]
    fn the_value_takes_the_columns_place_and_nothing_elses() {
        assert_eq!(with("status::text::public.state").unwrap(), "'new'::text::public.state");
        assert_eq!(with("cast(Status as text) || status(1)").unwrap(), "cast('new' as text) || status(1)");
        assert_eq!(
            with("case \"status\" when 'status' then 1 end /* at */").unwrap(),
            "case 'new' when 'status' then 1 end"
        );
    }

    #[test]
    fn an_expression_over_other_columns_has_no_value_for_a_new_row() {
        assert_eq!(with("status at time zone 'UTC'").unwrap(), "'new' at time zone 'UTC'");
        assert_eq!(with("status || at"), None);
        assert_eq!(with("'"), None);
    }
}
