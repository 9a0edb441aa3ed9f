//! Queries that a session plans once.
//!
//! The guard's queries have some twenty joins each, so that planning takes longer than executing; they are asked every
//! second of a soak, and under the swap's lock.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::Value;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Row};

/// For sessions that look few rows up in large tables, by keys: a plan over many partitions takes longer to make than to
/// execute, and the server does not know how few rows it will be.
pub const LOOK_UP_BY_KEY: &str = "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off; \
                                         SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan";

/// A query that each session prepares once for each list of arguments: the server plans a statement with parameters again for
/// each of its first executions, and one without never.
pub(crate) struct Planned {
    /// What the names of the prepared statements begin with.
    pub(crate) name: &'static str,
    /// Its text, with `$1` and so on for the arguments.
    pub(crate) sql: &'static str,
}

impl Planned {
    /// Its rows. `args` are SQL literals. Not to be called twice at a time with the same arguments in one session.
    ///
    /// # Errors
    /// If the server rejected the query, or the connection was lost.
    pub(crate) async fn query(&self, client: &Client, args: &[&str]) -> Result<Vec<Row>, Error> {
        let mut hash = DefaultHasher::new();
        args.hash(&mut hash);
        let name = format!("{}_{:016x}", self.name, hash.finish());
        let known = "SELECT EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE name = $1)";
        let known = client.query_typed(known, &[(&name, Type::TEXT)]).await?;
        if !known.first().is_some_and(|row| row.get::<_, bool>(0)) {
            client.batch_execute(&format!("PREPARE {name} AS {}", self.with(args))).await?;
        }
        client.query_typed(&format!("EXECUTE {name}"), &[]).await
    }

    /// The JSON value of its only row.
    ///
    /// # Errors
    /// As [`Planned::query`].
    pub(crate) async fn json(&self, client: &Client, args: &[&str]) -> Result<Value, Error> {
        let rows = self.query(client, args).await?;
        rows.first().map_or(Ok(Value::Null), |row| row.try_get(0))
    }

    /// Its text with the arguments in it, and without comments, which end with a line, and an argument may have several.
    fn with(&self, args: &[&str]) -> String {
        let lines = self.sql.lines().filter(|line| !line.trim_start().starts_with("--"));
        let mut text = String::new();
        for line in lines {
            let mut rest = line;
            while let Some(at) = rest.find('$') {
                let number = rest[at + 1..].chars().next().and_then(|digit| digit.to_digit(10));
                let argument = number.and_then(|number| args.get((number as usize).checked_sub(1)?));
                let (before, after) = rest.split_at(at);
                text.push_str(before);
                // A digit is one byte.
                (rest, text) = match argument {
                    Some(argument) => (&after[2..], text + argument),
                    None => (&after[1..], text + "$"),
                };
            }
            text.push_str(rest);
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Planned;

    #[test]
    fn arguments_take_the_places_of_parameters_and_of_nothing_else() {
        let sql = "-- of $1\n  -- and $2\nselect $1::oid, '$', $2, $3, ä$1 from t";
        let planned = Planned { name: "x", sql };
        let text = planned.with(&["4711", "'$1\n--'"]);
        assert_eq!(text, "select 4711::oid, '$', '$1\n--', $3, ä4711 from t\n");
    }
}
