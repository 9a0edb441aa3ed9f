//! Functions that only work with a client's `search_path`.
//!
//! Our sessions have none, and neither have CREATE INDEX, ANALYZE and autovacuum from PostgreSQL 17 on. A
//! function that names another one, a table, a type or an operator without its schema works for clients,
//! and raises an error when the copy writes a row or an index is built. Functions are followed from the
//! table's expressions through the catalog, and through the text of those written in SQL and PL/pgSQL; whether
//! those in other languages work, only their execution can show.

use std::collections::{BTreeSet, VecDeque};

use super::{CheckId, Finding, Subject};
use crate::error::{Doing, Error};
use crate::hangs_on::Table;
use crate::pg::connect::Session;
use crate::pg::sql::lexer::{self, Kind, Token};
use crate::pg::{self, Ident, QName};

/// The check that finds them.
pub(super) const CHECK: CheckId = CheckId::Functions;
/// The hint if the function is not known.
pub(super) const HINT: &str = "qualify what the functions called here name with its schema, or give them a \
                               search_path: alter function ... set search_path = ...";
/// Rows that an index expression is tried on.
const SAMPLE: u32 = 1_000;

/// A function, and the object of the table that calls it.
struct Called {
    root: String,
    oid: u32,
}

/// A function whose text is read.
struct Function {
    signature: String,
    schema: String,
    body: String,
    arguments: Vec<String>,
}

/// A refusal for each function that is called for the table's rows.
pub(super) async fn check_table(session: &Session, subject: &Subject<'_>) -> Result<Vec<Finding>, Error> {
    let table = &subject.definition.table;
    let found = check(session, &table.name, table.oid, &[]).await;
    found.doing("reading the functions of a table")
}

/// A refusal for each function that is called for the rows of `relation`; `added` are columns whose defaults are
/// computed for them.
pub(super) async fn check(
    session: &Session,
    table: &QName,
    relation: u32,
    added: &[String],
) -> Result<Vec<Finding>, tokio_postgres::Error> {
    let sql = include_str!("../../sql/catalog/functions_called.sql");
    let rows = session.query(sql, &[&relation, &added]).await?;
    let mut left: VecDeque<Called> =
        rows.iter().map(|row| Called { root: row.get(0), oid: row.get(1) }).collect();
    let mut seen: BTreeSet<u32> = left.iter().map(|called| called.oid).collect();
    let mut findings = Vec::new();
    while let Some(called) = left.pop_front() {
        let Some(function) = read(session, called.oid).await? else { continue };
        let names = Names::of(&function);
        for oid in qualified(session, &names).await? {
            if seen.insert(oid) {
                left.push_back(Called { root: called.root.clone(), oid });
            }
        }
        findings.extend(unqualified(session, table, &called.root, &function, &names).await?);
    }
    Ok(findings)
}

/// `None` if there is no text to read, or the function has a `search_path` of its own.
async fn read(session: &Session, oid: u32) -> Result<Option<Function>, tokio_postgres::Error> {
    let sql = "SELECT format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), n.nspname::text, \
               p.prosrc, coalesce(p.proargnames, '{}') FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
               JOIN pg_language l ON l.oid = p.prolang WHERE p.oid = $1 AND n.nspname <> 'pg_catalog' \
               AND l.lanname IN ('sql', 'plpgsql') AND p.prosqlbody IS NULL \
               AND coalesce(p.proconfig::text NOT LIKE '%search_path=%', true)";
    let row = session.query_opt(sql, &[&oid]).await?;
    Ok(row.map(|row| Function {
        signature: row.get(0),
        schema: row.get(1),
        body: row.get(2),
        arguments: row.get(3),
    }))
}

/// The functions that a text names with their schemas.
async fn qualified(session: &Session, names: &Names) -> Result<Vec<u32>, tokio_postgres::Error> {
    let (schemas, functions): (Vec<&str>, Vec<&str>) =
        names.qualified.iter().map(|(schema, name)| (schema.as_str(), name.as_str())).unzip();
    let sql = "SELECT p.oid FROM unnest($1::text[], $2::text[]) q(schema, name) JOIN pg_namespace n ON n.nspname = q.schema \
               JOIN pg_proc p ON p.pronamespace = n.oid AND p.proname = q.name WHERE n.nspname <> 'pg_catalog' ORDER BY 1";
    Ok(session.query(sql, &[&schemas, &functions]).await?.iter().map(|row| row.get(0)).collect())
}

async fn unqualified(
    session: &Session,
    table: &QName,
    root: &str,
    function: &Function,
    names: &Names,
) -> Result<Option<Finding>, tokio_postgres::Error> {
    let lists = [&names.functions, &names.tables, &names.types, &names.operators];
    let lists = lists.map(|list| list.iter().map(String::as_str).collect::<Vec<_>>());
    let sql = include_str!("../../sql/catalog/names_of_bodies.sql");
    let rows = session.query(sql, &[&lists[0], &lists[1], &lists[2], &lists[3]]).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let named: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let mut path = vec![function.schema.clone()];
    for schema in rows.iter().flat_map(|row| row.get::<_, Vec<String>>(1)) {
        if !path.contains(&schema) {
            path.push(schema);
        }
    }
    let path: Vec<String> = path.into_iter().map(|schema| Ident(schema).plain()).collect();
    let what = format!(
        "{root} calls function {}, which names {} without a schema: it fails in a session without its clients' \
         search_path, as those of a run are",
        function.signature,
        named.join(", ")
    );
    let hint = format!("alter function {} set search_path = {}", function.signature, path.join(", "));
    Ok(Some(Finding::table(CHECK, table, what, hint)))
}

/// Whether something was not found by its name: a function or operator, a table, a type, a schema.
pub(super) fn is_about_names(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| ["42883", "42P01", "42704", "3F000"].contains(&code.code()))
}

/// Computes the expressions of green's indexes for some rows. Both relations exist in this transaction: green,
/// and a view with green's columns over blue's rows.
pub(super) async fn check_indexes(
    session: &Session,
    table: &Table,
    green: &QName,
    view: &QName,
) -> Result<Vec<Finding>, tokio_postgres::Error> {
    let sql = include_str!("../../sql/catalog/index_expressions.sql");
    let rows = session.query(sql, &[&green.to_string()]).await?;
    let mut findings = Vec::new();
    for row in &rows {
        let (index, expression): (String, String) = (row.get(0), row.get(1));
        let sample = format!("SELECT * FROM {view} LIMIT {SAMPLE}");
        let sql = format!(
            "SELECT count(*) FILTER (WHERE num_nulls({expression}) > 1) FROM ({sample}) AS {}",
            green.name
        );
        session.batch_execute(&format!("SAVEPOINT projh_expression; {}", table.acting())).await?;
        let tried = session.batch_execute(&sql).await;
        session.batch_execute("ROLLBACK TO SAVEPOINT projh_expression").await?;
        match tried {
            Ok(()) => {}
            Err(error) if error.as_db_error().is_none() => return Err(error),
            Err(error) => {
                let what = format!(
                    "index {index} cannot be computed for some row in a session without a search_path: {}",
                    pg::describe(&error)
                );
                let hint = match is_about_names(&error) {
                    true => HINT.to_owned(),
                    false => format!("drop_indexes: [{index}], or correct the function that it calls"),
                };
                findings.push(Finding::table(CHECK, &table.name, what, hint));
            }
        }
    }
    Ok(findings)
}

/// What the text of a function names.
#[derive(Debug, Default, PartialEq)]
struct Names {
    functions: BTreeSet<String>,
    tables: BTreeSet<String>,
    types: BTreeSet<String>,
    operators: BTreeSet<String>,
    /// Functions with their schemas.
    qualified: BTreeSet<(String, String)>,
}

impl Names {
    fn of(function: &Function) -> Self {
        // A text that cannot be split into tokens could not be executed either.
        let tokens = lexer::tokens(&function.body).unwrap_or_default();
        let mut names = Self::default();
        for (at, token) in tokens.iter().enumerate() {
            match &token.kind {
                Kind::Word(name) | Kind::Quoted(name) => names.take(name, &tokens, at),
                Kind::Symbol(_) => names.operators.extend(operator(&tokens, at)),
                Kind::Other => {}
            }
        }
        names.tables.retain(|name| !function.arguments.contains(name));
        names
    }

    fn take(&mut self, name: &str, tokens: &[Token], at: usize) {
        let symbol = |at: Option<usize>, wanted: char| {
            at.and_then(|at| tokens.get(at)).is_some_and(|token| token.is_symbol(wanted))
        };
        let word =
            |back: usize, wanted: &str| at.checked_sub(back).is_some_and(|at| tokens[at].is_word(wanted));
        let calls = symbol(Some(at + 1), '(') && !tokens[at].is_word("as");
        if symbol(at.checked_sub(1), '.') {
            let schema = at.checked_sub(2).and_then(|at| tokens[at].name()).filter(|_| calls);
            self.qualified.extend(schema.map(|schema| (schema.to_owned(), name.to_owned())));
            return;
        }
        if symbol(Some(at + 1), '.') {
            return;
        }
        if symbol(at.checked_sub(1), ':') && symbol(at.checked_sub(2), ':') {
            self.types.insert(name.to_owned());
        } else if calls && !defines(tokens, at) {
            self.functions.insert(name.to_owned());
        } else if word(1, "join")
            || word(1, "from") && !word(2, "distinct") && !inside_call_with_from(tokens, at)
            || word(1, "into") && word(2, "insert")
            || word(1, "update") && !word(2, "for")
        {
            let is_local = (0..tokens.len()).any(|at| tokens[at].name() == Some(name) && defines(tokens, at));
            if !is_local {
                self.tables.insert(name.to_owned());
            }
        }
    }
}

/// Whether this is the name of a common table expression: `name AS (`, `name (columns) AS (`.
fn defines(tokens: &[Token], at: usize) -> bool {
    let before = at.checked_sub(1).map(|at| &tokens[at]);
    let begins = before.is_some_and(|t| t.is_word("with") || t.is_word("recursive") || t.is_symbol(','));
    begins && tokens[at + 1..].iter().take(16).any(|token| token.is_word("as"))
}

/// `extract(year from x)` and its like have no table after FROM.
fn inside_call_with_from(tokens: &[Token], at: usize) -> bool {
    let mut depth = 0_usize;
    for (number, token) in tokens[..at].iter().enumerate().rev() {
        if token.is_symbol(')') {
            depth += 1;
        } else if token.is_symbol('(') {
            if depth == 0 {
                let name = number.checked_sub(1).and_then(|at| tokens[at].name());
                return name.is_some_and(|name| ["extract", "substring", "trim", "overlay"].contains(&name));
            }
            depth -= 1;
        }
    }
    false
}

/// The operator that begins here.
fn operator(tokens: &[Token], at: usize) -> Option<String> {
    let part = |token: &Token| match token.kind {
        Kind::Symbol(c) if "+-*/<>=~!@#%^&|`?".contains(c) => Some(c),
        _ => None,
    };
    let continues = at
        .checked_sub(1)
        .is_some_and(|before| part(&tokens[before]).is_some() && tokens[before].end == tokens[at].start);
    if continues {
        return None;
    }
    let mut name = String::from(part(&tokens[at])?);
    for pair in tokens[at..].windows(2) {
        match part(&pair[1]).filter(|_| pair[0].end == pair[1].start) {
            Some(c) => name.push(c),
            None => break,
        }
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(body: &str) -> Names {
        let arguments = vec!["day".to_owned()];
        Names::of(&Function {
            signature: String::new(),
            schema: String::new(),
            body: body.to_owned(),
            arguments,
        })
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn names_without_a_schema_are_found_where_they_are_names() {
        let found = names(
            "with w as (select 1), v(a) as (select 2) select squash(lower($1)) || app.norm(x)::word -- gone(1)
             from kinds join w on true, lateral other.f(1) where x is distinct from y and a <<>> b and 'no(1)' = $$no(2)$$
             and extract(year from day) > 0 and z::pg_catalog.text = 'a'",
        );
        assert_eq!(found.functions, set(&["extract", "lower", "squash"]));
        assert_eq!(found.tables, set(&["kinds"]));
        assert_eq!(found.types, set(&["word"]));
        assert_eq!(found.operators, set(&["<<>>", "=", ">", "||"]));
        let qualified = [("app", "norm"), ("other", "f")];
        assert_eq!(found.qualified, qualified.map(|(s, n)| (s.to_owned(), n.to_owned())).into());
    }
}
