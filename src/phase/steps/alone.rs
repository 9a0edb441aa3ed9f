//! The statements of a step that cannot be executed in a transaction.
//!
//! Each has a fact before it. If it was interrupted, it is executed again, with two exceptions: an invalid index that an
//! interrupted CREATE INDEX CONCURRENTLY has left is dropped first, and one that is valid was built. An index of that
//! name that exists before the fact is somebody else's, and is left alone; so is one with another definition after it.

use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use crate::error::{Doing, Error};
use crate::hangs_on::unique_keys::UniqueKey;
use crate::lifecycle::{Fact, Way};
use crate::pg::connect::Session;
use crate::pg::sql::lexer;
use crate::pg::{ConnectionRole, Ident, QName, rolled_back};
use crate::phase::locks::{Patience, is_lock_error};
use crate::phase::step_back;
use crate::plan::{Script, Step};

use super::trial::{self, Trial};
use super::{Around, SEARCH_PATH, doing, failed};

/// Executes what is left of a step.
pub(super) async fn execute(
    around: &Around<'_>,
    step: &Step,
    script: &Script,
    way: Way,
) -> Result<(), Error> {
    let (begun, is_partial) = {
        let progress = around.journal.progress();
        (progress.steps.begun(&step.name, way), progress.steps.is_partial(&step.name))
    };
    let role = ConnectionRole::of_run(around.journal.run(), "steps").to_string();
    let path = "\"$user\", public";
    let session = around.cx.target.connect(&role, &[("search_path", path)]).await?;
    for (number, statement) in script.statements.iter().enumerate().skip(begun.unwrap_or(0)) {
        let was_begun = is_partial && begun.is_none_or(|begun| begun == number);
        let index = Made::by(&statement.sql);
        if begun != Some(number) {
            if let Some(index) = index.as_ref().filter(|_| !was_begun) {
                index.expect_none(&session, &doing(step, way)).await?;
            }
            let fact = Fact::StepIntended { step: step.name.clone(), way, statement: number };
            around.journal.record(fact).await?;
        }
        let patience = Patience::of(around.cx, around.journal);
        let (sql, what) = (&statement.sql, doing(step, way));
        let done = match &index {
            Some(index) => index.build(&session, &patience, (sql, &what), was_begun).await,
            None => {
                // DETACH CONCURRENTLY locks the partition, and clients wait behind that.
                let waits = lexer::mentions(sql, "concurrently") && !lexer::mentions(sql, "detach");
                patience.alone(&session, sql, &what, waits).await.map_err(Failure::from)
            }
        };
        // Of a step that was executed in part, some of what is undone may not be there.
        let is_missing = |error: &Error| {
            let missing =
                [SqlState::UNDEFINED_OBJECT, SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_FUNCTION];
            way == Way::Down && is_partial && error.sqlstate().is_some_and(|code| missing.contains(code))
        };
        match done {
            Err(Failure { error, hint: of_error }) if !is_missing(&error) => {
                let mut error = failed(step, way, Some(number), error);
                if let Error::Step { hint, .. } = &mut error {
                    *hint = of_error;
                }
                return Err(error);
            }
            _ => {}
        }
    }
    Ok(around.journal.record(Fact::StepDone { step: step.name.clone(), way }).await?)
}

/// What is called like the index that a statement makes, if that is somebody else's by now.
pub(in crate::phase) async fn of_others(session: &Session, sql: &str) -> Result<Option<String>, Error> {
    let Some(made) = Made::by_any(sql) else { return Ok(None) };
    if made.is_elsewhere(session).await? {
        return Ok(Some(format!("index {} is on another table than {}", made.name, made.table)));
    }
    made.other(session).await
}

/// Why a statement failed, and what to do about it.
struct Failure {
    error: Error,
    hint: Option<String>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, hint: None }
    }
}

/// An index that a statement makes.
struct Made {
    name: Ident,
    /// Its table, as SQL names it.
    table: String,
    unique: bool,
    /// Everything after the table.
    rest: String,
    /// Whether it may be there already.
    if_not_exists: bool,
}

impl Made {
    /// By CREATE INDEX CONCURRENTLY.
    fn by(sql: &str) -> Option<Self> {
        let tokens = lexer::tokens(sql).ok()?;
        tokens.get(..4)?.iter().any(|token| token.is_word("concurrently")).then(|| Self::by_any(sql))?
    }

    /// By CREATE INDEX, CONCURRENTLY or not.
    fn by_any(sql: &str) -> Option<Self> {
        let tokens = lexer::tokens(sql).ok()?;
        let at = tokens.iter().position(|token| token.is_word("index"))?;
        let is_build = tokens.first()?.is_word("create") && at <= 2;
        let mut rest = tokens.get(at + 1..)?;
        if rest.first()?.is_word("concurrently") {
            rest = &rest[1..];
        }
        let if_not_exists = rest.first()?.is_word("if");
        rest = rest.get(if if_not_exists { 3 } else { 0 }..)?;
        let on = rest.iter().position(|token| token.is_word("on"))?;
        let name = Ident::from(rest.get(on.checked_sub(1)?)?.name()?);
        let rest = &rest[on + 1..];
        let rest = if rest.first()?.is_word("only") { &rest[1..] } else { rest };
        let first = rest.first()?.name()?;
        let (table, end) = match rest.get(1) {
            Some(dot) if dot.is_symbol('.') => {
                (QName::new(first, rest.get(2)?.name()?).to_string(), rest.get(2)?.end)
            }
            _ => (Ident::from(first).to_string(), rest.first()?.end),
        };
        let unique = tokens.get(..at)?.iter().any(|token| token.is_word("unique"));
        is_build.then_some(Self { name, table, unique, rest: sql.get(end..)?.to_owned(), if_not_exists })
    }

    /// Builds the index, again whenever a deadlock ended the build. The invalid index that a failed build leaves is
    /// dropped: a unique one would go on rejecting rows.
    async fn build(
        &self,
        session: &Session,
        patience: &Patience<'_>,
        (sql, what): (&str, &str),
        was_begun: bool,
    ) -> Result<(), Failure> {
        if was_begun {
            let is_valid = self.is_valid(session).await?;
            // With IF NOT EXISTS, a valid one is taken as it is.
            if (!self.if_not_exists || is_valid == Some(false))
                && let Some(other) = self.other(session).await?
            {
                let what = format!("{what}: {other}; it is not of this run: drop it, or rename it");
                return Err(Error::Usage(what).into());
            }
            match is_valid {
                Some(true) => return Ok(()),
                Some(false) => self.drop(session, patience, what).await?,
                None => {}
            }
        }
        crate::crash::point("index concurrently");
        loop {
            let built = patience.once(session, sql, what, true).await;
            let Err(error) = built else { return Ok(()) };
            if session.is_closed() || error.sqlstate() == Some(&SqlState::DUPLICATE_TABLE) {
                return Err(error.into());
            }
            let is_twice = error.sqlstate() == Some(&SqlState::UNIQUE_VIOLATION);
            let hint = if is_twice { self.find_twins(session).await? } else { None };
            if self.is_valid(session).await? == Some(false) {
                self.drop(session, patience, what).await?;
            }
            if !is_lock_error(&error) {
                return Err(Failure { error, hint });
            }
            step_back().await;
        }
    }

    /// Its table; `None` if that does not exist.
    async fn table(&self, session: &Session) -> Result<Option<QName>, Error> {
        let sql = "SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                   WHERE c.oid = to_regclass($1)";
        let found = session.query_opt(sql, &[&self.table]).await.doing("looking for an index")?;
        Ok(found.map(|row| QName::new(row.get::<_, String>(0), row.get::<_, String>(1))))
    }

    /// How to find the rows that have the same key in a unique index, while what is left of that exists.
    async fn find_twins(&self, session: &Session) -> Result<Option<String>, Error> {
        let Some(table) = self.table(session).await? else { return Ok(None) };
        let keys = UniqueKey::of(session, &table).await.doing("reading the unique indexes")?;
        let key = keys.iter().find(|key| key.index == self.name);
        Ok(key.map(|key| {
            format!("find the rows that have the same key, and change them: {}", key.find_twins())
        }))
    }

    /// An error if somebody else's index has its name.
    async fn expect_none(&self, session: &Session, what: &str) -> Result<(), Error> {
        let why = match self.is_valid(session).await? {
            None => return Ok(()),
            Some(true) if self.if_not_exists => return Ok(()),
            Some(true) => "has that name, and is not of this run: drop it, or give this one another name",
            Some(false) => {
                "is there, and invalid: an interrupted CREATE INDEX CONCURRENTLY of somebody else has left it; drop it first"
            }
        };
        Err(Error::Usage(format!("{what}: index {} {why}", self.name)))
    }

    /// `None` if it does not exist.
    async fn is_valid(&self, session: &Session) -> Result<Option<bool>, Error> {
        let sql = "SELECT i.indisvalid AND i.indisready FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
                   WHERE i.indrelid = to_regclass($1) AND c.relname = $2";
        let found = session.query_opt(sql, &[&self.table, &self.name.as_str()]).await;
        Ok(found.doing("looking for an index")?.map(|row| row.get(0)))
    }

    /// Whether an index of this name in the table's schema is on another table.
    async fn is_elsewhere(&self, session: &Session) -> Result<bool, Error> {
        let sql = "SELECT EXISTS (SELECT FROM pg_class t JOIN pg_class c ON c.relnamespace = t.relnamespace \
                   JOIN pg_index i ON i.indexrelid = c.oid \
                   WHERE t.oid = to_regclass($1) AND c.relname = $2 AND i.indrelid <> t.oid)";
        let found = session.query_one(sql, &[&self.table, &self.name.as_str()]).await;
        Ok(found.doing("looking for an index")?.get(0))
    }

    /// What is wrong with the index of its name on its table, if that has another definition, whatever its storage parameters.
    /// What this one would have is what the server prints of one on a temporary table; where the server rejects that, it is
    /// taken to be the same.
    async fn other(&self, session: &Session) -> Result<Option<String>, Error> {
        let Some(table) = self.table(session).await? else { return Ok(None) };
        let doing = "comparing an index with that of a step";
        let Trial { table: on, make, build } = Trial::of(&table, None, (self.unique, &self.rest));
        // From the method on; before that, there are the names.
        let print = "SELECT i.indisunique, replace(substr(d.text, strpos(d.text, ' USING ')), coalesce(o.text, ''), '') \
                     FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
                     CROSS JOIN LATERAL (SELECT pg_get_indexdef(c.oid) AS text) d \
                     CROSS JOIN LATERAL (SELECT ' WITH (' || string_agg(quote_ident(option_name) || '=' || \
                       CASE quote_ident(option_value) WHEN option_value THEN option_value ELSE quote_literal(option_value) END, \
                       ', ') || ')' AS text FROM pg_options_to_table(c.reloptions)) o \
                     WHERE i.indrelid = to_regclass($1) AND c.relname = $2";
        // Nobody waits behind a session that waits for the lock of LIKE.
        let begin = format!("BEGIN; SET LOCAL lock_timeout = 0; {SEARCH_PATH}");
        let printed = rolled_back(session, &begin, async {
            let Some(is) = session.query_opt(print, &[&table.to_string(), &self.name.as_str()]).await? else {
                return Ok::<_, tokio_postgres::Error>(None);
            };
            session.batch_execute(&format!("{make}; {build}")).await?;
            let made = session.query_one(print, &[&on.to_string(), &trial::INDEX]).await?;
            let of = |row: &Row| (row.get::<_, bool>(0), row.get::<_, String>(1));
            Ok(Some((of(&is), of(&made))))
        });
        match printed.await.doing(doing)? {
            Ok(Some((is, made))) if is != made => {
                Ok(Some(format!("index {} on {table} has another definition than this one", self.name)))
            }
            Err(error) if !is_rejected(&error) => Err(error).doing(doing),
            _ => Ok(None),
        }
    }

    async fn drop(&self, session: &Session, patience: &Patience<'_>, what: &str) -> Result<(), Error> {
        let Some(table) = self.table(session).await? else { return Ok(()) };
        let index = QName { schema: table.schema, name: self.name.clone() };
        patience.alone(session, &format!("DROP INDEX CONCURRENTLY IF EXISTS {index}"), what, true).await
    }
}

/// Whether the server rejects a statement as it is: it would do so again.
fn is_rejected(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| ["42", "0A"].iter().any(|class| code.code().starts_with(class)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_is_built_concurrently_is_known_by_name() {
        let made = |sql| Made::by(sql).map(|made| (made.name.as_str().to_owned(), made.table));
        let of = |name: &str, table: &str| Some((name.to_owned(), table.to_owned()));
        assert_eq!(made("create index concurrently i on t (a)"), of("i", "\"t\""));
        assert_eq!(
            made("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS \"I\" ON ONLY app.t (a)"),
            of("I", "\"app\".\"t\"")
        );
        assert_eq!(made("drop index concurrently i"), None);
        assert_eq!(made("create index i on t (a)"), None);
    }
}
