//! The statements of a step that cannot be executed in a transaction.
//!
//! Each has a fact before it. If it was interrupted, it is executed again, with two exceptions: an invalid index that an
//! interrupted CREATE INDEX CONCURRENTLY has left is dropped first, and one that is valid was built.

use tokio_postgres::error::SqlState;

use crate::error::{Doing, Error};
use crate::lifecycle::{Fact, Way};
use crate::pg::connect::Session;
use crate::pg::sql::lexer;
use crate::pg::{ConnectionRole, Ident, QName};
use crate::phase::locks::Patience;
use crate::plan::{Script, Step};

use super::{Around, doing, failed};

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
        if begun != Some(number) {
            let fact = Fact::StepIntended { step: step.name.clone(), way, statement: number };
            around.journal.record(fact).await?;
        }
        let done = one(around, &session, &statement.sql, was_begun, &doing(step, way)).await;
        // Of a step that was executed in part, some of what is undone may not be there.
        let is_missing = |error: &Error| {
            let missing =
                [SqlState::UNDEFINED_OBJECT, SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_FUNCTION];
            way == Way::Down && is_partial && error.sqlstate().is_some_and(|code| missing.contains(code))
        };
        match done {
            Err(error) if !is_missing(&error) => return Err(failed(step, way, Some(number), error)),
            _ => {}
        }
    }
    Ok(around.journal.record(Fact::StepDone { step: step.name.clone(), way }).await?)
}

async fn one(
    around: &Around<'_>,
    session: &Session,
    sql: &str,
    was_begun: bool,
    what: &str,
) -> Result<(), Error> {
    let patience = Patience::of(around.cx, around.journal);
    let Some(index) = Made::by(sql) else {
        // DETACH CONCURRENTLY locks the partition, and clients wait behind that.
        let waits = lexer::mentions(sql, "concurrently") && !lexer::mentions(sql, "detach");
        return patience.alone(session, sql, what, waits).await;
    };
    if was_begun {
        match index.is_valid(session).await? {
            Some(true) => return Ok(()),
            Some(false) => index.drop(session, &patience, what).await?,
            None => {}
        }
    } else if index.is_valid(session).await? == Some(false) {
        return Err(Error::Usage(format!(
            "{what}: index {} is there, and invalid: an interrupted CREATE INDEX CONCURRENTLY of somebody else has left \
             it; drop it first",
            index.name
        )));
    }
    crate::crash::point("index concurrently");
    let built = patience.alone(session, sql, what, true).await;
    if built.is_err() && !session.is_closed() && index.is_valid(session).await? == Some(false) {
        index.drop(session, &patience, what).await?;
    }
    built
}

/// An index that a statement makes.
struct Made {
    name: Ident,
    /// Its table, as SQL names it.
    table: String,
}

impl Made {
    /// By CREATE INDEX CONCURRENTLY.
    fn by(sql: &str) -> Option<Self> {
        let tokens = lexer::tokens(sql).ok()?;
        let at = tokens.iter().position(|token| token.is_word("concurrently"))?;
        let is_build = tokens.first()?.is_word("create") && tokens.get(at.checked_sub(1)?)?.is_word("index");
        let rest = tokens.get(at + 1..)?;
        let on = rest.iter().position(|token| token.is_word("on"))?;
        let name = Ident::from(rest.get(on.checked_sub(1)?)?.name()?);
        let rest = &rest[on + 1..];
        let rest = if rest.first()?.is_word("only") { &rest[1..] } else { rest };
        let first = rest.first()?.name()?;
        let table = match rest.get(1) {
            Some(dot) if dot.is_symbol('.') => QName::new(first, rest.get(2)?.name()?).to_string(),
            _ => Ident::from(first).to_string(),
        };
        is_build.then_some(Self { name, table })
    }

    /// `None` if it does not exist.
    async fn is_valid(&self, session: &Session) -> Result<Option<bool>, Error> {
        let sql = "SELECT i.indisvalid AND i.indisready FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
                   WHERE i.indrelid = to_regclass($1) AND c.relname = $2";
        let found = session.query_opt(sql, &[&self.table, &self.name.as_str()]).await;
        Ok(found.doing("looking for an index")?.map(|row| row.get(0)))
    }

    async fn drop(&self, session: &Session, patience: &Patience<'_>, what: &str) -> Result<(), Error> {
        let sql = "SELECT format('DROP INDEX CONCURRENTLY IF EXISTS %I.%I', n.nspname, $2::text) FROM pg_class c \
                   JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)";
        let found = session.query_one(sql, &[&self.table, &self.name.as_str()]).await;
        let drop: String = found.doing("looking for an index")?.get(0);
        patience.alone(session, &drop, what, true).await
    }
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
