//! One connection, speaking to the server the way one kind of driver does.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::escape::escape_literal;
use tokio::time::timeout;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Config, NoTls, Row, SimpleQueryMessage, SimpleQueryRow, Statement};

use super::table::{Sql, Table, Value, Verb};

/// A client that waits longer than this for one answer has been forgotten.
const PATIENCE: Duration = Duration::from_secs(60);

/// How statements reach the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Each of the others in turn, client by client.
    #[default]
    Mixed,
    /// The simple protocol, values in the text.
    Simple,
    /// The extended protocol, parsed anew each time.
    Extended,
    /// Named statements, prepared once and kept for the whole load.
    Prepared,
}

impl Mode {
    /// What the client of this number does.
    pub fn of_client(self, number: usize) -> Self {
        match self {
            Self::Mixed => [Self::Prepared, Self::Extended, Self::Simple][number % 3],
            other => other,
        }
    }
}

/// What came back.
#[derive(Debug, Default)]
pub struct Answer {
    /// Rows written, or read.
    pub count: u64,
    /// Columns as text, for statements that return texts.
    pub rows: Vec<Vec<Value>>,
}

/// Why nothing came back.
#[derive(Debug)]
pub enum Trouble {
    /// The server refused: whatever was asked for did not happen.
    Refused(String),
    /// The connection is gone: it may have happened.
    Gone(String),
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(db) => {
                // The code only: a message may hold values.
                let code = db.code().code().to_owned();
                let fatal = ["FATAL", "PANIC"].contains(&db.severity()) || code.starts_with("08");
                if fatal { Self::Gone(code) } else { Self::Refused(code) }
            }
            None => Self::Gone("connection lost".to_owned()),
        }
    }
}

/// A connection with its prepared statements.
pub struct Session {
    client: Client,
    mode: Mode,
    prepared: HashMap<(usize, Verb), Statement>,
    /// The server process, to be sure that it has ended before looking what it did.
    pub pid: i32,
}

impl Session {
    /// Connects and, in prepared mode, prepares everything that the tables offer.
    pub async fn open(
        config: &Config,
        mode: Mode,
        statements: &HashMap<(usize, Verb), Sql>,
    ) -> Result<Self, Trouble> {
        let connect = async {
            let (client, connection) = config.connect(NoTls).await?;
            tokio::spawn(connection);
            let pid = client.query_one("select pg_backend_pid()", &[]).await?.get(0);
            let mut prepared = HashMap::new();
            if mode == Mode::Prepared {
                for (&at, sql) in statements {
                    prepared.insert(at, client.prepare_typed(&sql.text, &sql.types).await?);
                }
            }
            Ok(Self { client, mode, prepared, pid })
        };
        patiently(connect).await
    }

    /// `begin`, `commit`, `rollback`.
    pub async fn control(&self, word: &str) -> Result<(), Trouble> {
        patiently(self.client.batch_execute(word)).await
    }

    /// Runs one of the prepared-for statements.
    pub async fn run(&self, at: (usize, Verb), sql: &Sql, values: &[Value]) -> Result<Answer, Trouble> {
        let texts: Vec<Text<'_>> = values.iter().map(|value| Text(value.as_deref())).collect();
        // Drivers ask for rows only where there are any.
        let returns = matches!(at.1, Verb::Insert | Verb::Read | Verb::ReadStar);
        patiently(async {
            match self.mode {
                Mode::Simple => Ok(simple(self.client.simple_query(&with_literals(sql, values)).await?)),
                Mode::Prepared => {
                    let statement = &self.prepared[&at];
                    let parameters: Vec<_> = texts.iter().map(|text| text as &(dyn ToSql + Sync)).collect();
                    if returns {
                        Ok(typed(at.1, &self.client.query(statement, &parameters).await?))
                    } else {
                        Ok(counted(self.client.execute(statement, &parameters).await?))
                    }
                }
                Mode::Extended | Mode::Mixed => {
                    let types = sql.types.iter().cloned();
                    let parameters: Vec<_> =
                        texts.iter().map(|text| text as &(dyn ToSql + Sync)).zip(types).collect();
                    if returns {
                        Ok(typed(at.1, &self.client.query_typed(&sql.text, &parameters).await?))
                    } else {
                        Ok(counted(self.client.execute_typed(&sql.text, &parameters).await?))
                    }
                }
            }
        })
        .await
    }
}

/// All rows of some owners as the ledger keeps them, sessions set as [`Table::as_texts`] needs them.
pub async fn rows_of(
    client: &Client,
    table: &Table,
    first: u32,
    last: u32,
) -> Result<Vec<Vec<Value>>, Trouble> {
    let sql =
        format!("select {} from {} where {}", table.as_texts(), table.name, (table.rows_of)(first, last));
    Ok(simple(client.simple_query(&sql).await?).rows)
}

/// What makes the server print values the one way that the ledger knows.
pub const FORMATS: &str = "-c timezone=UTC -c datestyle=ISO -c extra_float_digits=1";

async fn patiently<T>(work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Trouble> {
    match timeout(PATIENCE, work).await {
        Ok(done) => done.map_err(Trouble::from),
        Err(_) => Err(Trouble::Gone(format!("no answer in {PATIENCE:?}"))),
    }
}

fn counted(count: u64) -> Answer {
    Answer { count, rows: Vec::new() }
}

fn typed(verb: Verb, rows: &[Row]) -> Answer {
    let texts = |row: &Row| (0..row.len()).map(|i| row.get(i)).collect();
    let are_texts = verb != Verb::ReadStar;
    Answer {
        count: rows.len() as u64,
        rows: if are_texts { rows.iter().map(texts).collect() } else { Vec::new() },
    }
}

fn simple(messages: Vec<SimpleQueryMessage>) -> Answer {
    let mut answer = Answer::default();
    for message in messages {
        match message {
            SimpleQueryMessage::Row(row) => answer.rows.push(texts(&row)),
            SimpleQueryMessage::CommandComplete(count) => answer.count = count,
            _ => {}
        }
    }
    answer
}

fn texts(row: &SimpleQueryRow) -> Vec<Value> {
    (0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()
}

fn with_literals(sql: &Sql, values: &[Value]) -> String {
    let mut pieces = sql.text.split('$');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = piece.find(|c: char| !c.is_ascii_digit()).unwrap_or(piece.len());
        let (number, rest) = piece.split_at(digits);
        let value = number.parse::<usize>().ok().and_then(|n| values[n - 1].as_deref());
        text.push_str(&value.map_or_else(|| "NULL".to_owned(), escape_literal));
        text.push_str(rest);
    }
    text
}

/// A parameter of any type, sent as text.
#[derive(Debug)]
struct Text<'a>(Option<&'a str>);

impl ToSql for Text<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(text) = self.0 else { return Ok(IsNull::Yes) };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}
