//! Which rows of a batch the server rejects: a statement that writes many rows fails as a whole.
//!
//! The batch is applied again in ever smaller parts, in a transaction that is rolled back. All rows that it replaces are
//! deleted first, so that a row is rejected for what it is, or because another row that stays has its key; not because
//! of a row that the batch would have changed as well.

use std::collections::HashMap;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

use super::work::Work;
use super::{Apply, Failed};
use crate::lane::coalesce::{Key, Net, Row};

/// The most keys that are named.
pub(super) const NAMED_MAX: usize = 20;
/// The most statements that the search takes.
const TRIES_MAX: usize = 500;

/// Rows of a batch that one statement applies.
#[derive(Clone, Copy)]
enum Part<'a> {
    Deleted(&'a [&'a Key]),
    Rewritten(&'a [(&'a Key, &'a Row, &'a Key)]),
    Inserted(&'a [(&'a Key, &'a Row)]),
}

impl<'a> Part<'a> {
    /// Its only key, or its two halves; `None` if it has no rows.
    fn divided(self) -> Option<Result<&'a Key, [Self; 2]>> {
        fn halves<T>(rows: &[T]) -> (&[T], &[T]) {
            rows.split_at(rows.len() / 2)
        }
        match self {
            Self::Deleted([]) | Self::Rewritten([]) | Self::Inserted([]) => None,
            Self::Deleted([key]) | Self::Rewritten([(key, ..)]) | Self::Inserted([(key, _)]) => Some(Ok(key)),
            Self::Deleted(rows) => {
                let (one, other) = halves(rows);
                Some(Err([Self::Deleted(one), Self::Deleted(other)]))
            }
            Self::Rewritten(rows) => {
                let (one, other) = halves(rows);
                Some(Err([Self::Rewritten(one), Self::Rewritten(other)]))
            }
            Self::Inserted(rows) => {
                let (one, other) = halves(rows);
                Some(Err([Self::Inserted(one), Self::Inserted(other)]))
            }
        }
    }
}

/// The keys of rows that the server rejects with this SQLSTATE, in the transaction that is open on `client`.
pub(super) async fn find(
    apply: &Apply,
    client: &Client,
    keys: &HashMap<Key, Net>,
    code: &SqlState,
) -> Result<Vec<Key>, Error> {
    let mut work = Work::sort(keys, !apply.lane.kept.is_empty());
    let replaced = std::mem::take(&mut work.replaced);
    work.replace_otherwise(replaced);
    let mut rejected = Vec::new();
    let mut tries = 0;
    for whole in [Part::Deleted(&work.gone), Part::Rewritten(&work.rewritten), Part::Inserted(&work.rows)] {
        let mut left = vec![whole];
        while let Some(part) = left.pop() {
            let Some(divided) = part.divided() else { continue };
            if rejected.len() == NAMED_MAX || tries == TRIES_MAX {
                break;
            }
            tries += 1;
            client.batch_execute("SAVEPOINT projh_part").await?;
            let error = match apply.part(client, part).await {
                Ok(()) => continue,
                Err(Failed::Postgres(error)) if error.code().is_none() => return Err(error),
                Err(Failed::Postgres(error)) => error,
                // It was sealed before the server rejected the batch.
                Err(Failed::Cipher(..)) => return Ok(rejected),
            };
            client.batch_execute("ROLLBACK TO SAVEPOINT projh_part").await?;
            match divided {
                Ok(key) if error.code() == Some(code) => rejected.push(key.clone()),
                Ok(_) => {}
                Err([one, other]) => left.extend([other, one]),
            }
        }
    }
    Ok(rejected)
}

impl Apply {
    async fn part(&self, client: &Client, part: Part<'_>) -> Result<(), Failed> {
        match part {
            Part::Deleted(keys) => self.on_keys(client, &self.delete, keys).await.map(drop),
            Part::Rewritten(rows) => self.rewrite(client, rows).await.map(drop),
            Part::Inserted(rows) => self.insert(client, rows).await,
        }
    }
}
