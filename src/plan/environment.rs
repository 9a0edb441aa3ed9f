//! `${NAME}` and `${NAME:-default}` in a plan's values.
//!
//! `$${` stands for `${` itself. A value is looked up once and not expanded again: it cannot name further variables.

/// Looks up a variable of the environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Why a `${...}` could not be expanded.
#[derive(Clone, Debug)]
pub(super) struct Unfilled {
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// The syntax is right, and the variable is not set.
    pub(super) unset: bool,
}

impl Unfilled {
    fn malformed(message: String) -> Self {
        Self {
            message,
            hint: Some("write `${NAME}` or `${NAME:-default}`; `$${` is `${` itself".to_owned()),
            unset: false,
        }
    }
}

/// Expands each `${NAME}` and `${NAME:-default}`; the default is used if NAME is unset or empty.
pub(super) fn interpolate(text: &str, env: Env<'_>) -> Result<String, Unfilled> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, after) = (&rest[..start], &rest[start + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            filled.push_str(before);
            filled.push_str("${");
            rest = after;
            continue;
        }
        filled.push_str(before);
        let Some(end) = after.find('}') else {
            return Err(Unfilled::malformed("`${` without a closing `}`".to_owned()));
        };
        let (name, default) = match after[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&after[..end], None),
        };
        filled.push_str(&look_up(name, default, env)?);
        rest = &after[end + 1..];
    }
    filled.push_str(rest);
    Ok(filled)
}

fn look_up(name: &str, default: Option<&str>, env: Env<'_>) -> Result<String, Unfilled> {
    let well_formed = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !well_formed {
        let message = format!("`${{{name}}}` does not name an environment variable");
        return Err(Unfilled::malformed(message));
    }
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Unfilled {
            message: format!("the environment variable `{name}` is not set"),
            hint: Some(format!("set it, or give a default: `${{{name}:-...}}`")),
            unset: true,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str) -> Option<String> {
        let env = |name: &str| match name {
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${EMPTY:-no}".to_owned()),
            _ => None,
        };
        interpolate(text, &env).ok()
    }

    #[test]
    fn a_default_counts_where_there_is_nothing() {
        assert_eq!(fill("a${EMPTY:-b}c").as_deref(), Some("abc"));
        assert_eq!(fill("a${EMPTY}c").as_deref(), Some("ac"));
        assert_eq!(fill("${UNSET:-}").as_deref(), Some(""));
        assert_eq!(fill("${UNSET}"), None);
    }

    #[test]
    fn a_second_dollar_sign_leaves_it_as_it_is() {
        assert_eq!(fill("a$${b}c").as_deref(), Some("a${b}c"));
        assert_eq!(fill("$${").as_deref(), Some("${"));
        assert_eq!(fill("$${x}${EMPTY:-y}$$").as_deref(), Some("${x}y$$"));
    }

    #[test]
    fn a_value_is_not_read_again() {
        assert_eq!(fill("${NESTED}").as_deref(), Some("${EMPTY:-no}"));
        assert_eq!(fill("$NESTED {x} $$").as_deref(), Some("$NESTED {x} $$"));
    }
}
