//! Statements of clients that will behave differently, as `pg_stat_statements` has seen them: only their ids are read,
//! never their texts.

use tokio_postgres::Client;

use crate::event::PreviewStatement;
use crate::lifecycle::LaneDesign;
use crate::pg::{Ident, QName};

/// Keys of so many columns are sought in every order.
const ORDERED: usize = 3;

/// A regular expression for the statements that a notice of a table is about. They have the names of today's columns.
pub(super) fn pattern(topic: &str, lane: &LaneDesign) -> Option<String> {
    let table = of_table(&lane.table);
    match topic {
        "copy_to" => Some(format!("^\\s*copy\\s+{table}\\s*(\\([^)]*\\)\\s*)?to\\M")),
        "copy_freeze" => Some(format!("^\\s*copy\\s+{table}\\M.*\\mfreeze\\M")),
        "ctid" => Some(format!("\\m{table}\\M.*\\mctid\\M|\\mctid\\M.*\\m{table}\\M")),
        "system_columns" => Some(format!("\\m{table}\\M.*\\mreturning\\M.*\\m(xmin|xmax|cmin|cmax)\\M")),
        "only" => Some(format!("\\monly\\s+\\(?\\s*{table}(\\W|$)")),
        "maintenance" => Some(format!("^\\s*(reindex|cluster|vacuum[^;]*\\mfull)\\M.*{table}(\\W|$)")),
        "insert_columns" => Some(format!(
            "insert\\s+into\\s+{table}\\s+(overriding\\s+\\w+\\s+value\\s+)?\\(?\\s*(values|select|with|table)\\M"
        )),
        "moved_rows" => {
            let by = lane.green.partition.as_ref()?;
            let column = lane.green.columns.iter().find(|column| column.name == by.column)?.blue()?;
            Some(format!("\\mupdate\\s+{table}\\M.*\\mset\\M.*\\m{}\\s*=", word(column)))
        }
        _ => None,
    }
}

/// Of INSERT ... ON CONFLICT with this key, in any order.
pub(super) fn on_conflict(table: &QName, key: &[Ident]) -> String {
    let keys: Vec<String> = orders(key).iter().map(|key| key.join("\\s*,\\s*")).collect();
    format!("insert\\s+into\\s+{}\\M.*on\\s+conflict\\s*\\(\\s*({})\\s*\\)", of_table(table), keys.join("|"))
}

/// Of SELECT ... GROUP BY this key.
pub(super) fn group_by(table: &QName, key: &[Ident]) -> Option<String> {
    Some(format!("\\m{}\\M.*group\\s+by\\s[^;)]*{}(\\W|$)", of_table(table), word(key.first()?)))
}

/// Of statements that name a column.
pub(super) fn naming(table: &QName, column: &Ident) -> String {
    let (table, column) = (of_table(table), word(column));
    format!("\\m{table}\\M.*\\m{column}\\M|\\m{column}\\M.*\\m{table}\\M")
}

fn of_table(table: &QName) -> String {
    format!("({}\\.)?{}", word(&table.schema), word(&table.name))
}

fn word(name: &Ident) -> String {
    format!("\"?{}\"?", escaped(name.as_str()))
}

fn orders(key: &[Ident]) -> Vec<Vec<String>> {
    if key.len() > ORDERED {
        return vec![key.iter().map(word).collect()];
    }
    let Some(_) = key.first() else { return vec![Vec::new()] };
    let begun = |first: usize| {
        let rest: Vec<Ident> = [&key[..first], &key[first + 1..]].concat();
        orders(&rest).into_iter().map(move |rest| [vec![word(&key[first])], rest].concat())
    };
    (0..key.len()).flat_map(begun).collect()
}

/// Escapes the characters that have a meaning in a regular expression.
fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|c| (!c.is_alphanumeric() && c != '_').then_some('\\').into_iter().chain([c]))
        .collect()
}

/// The name of the view `pg_stat_statements`, if the extension is installed.
pub(super) struct StatementStatistics(Option<QName>);

impl StatementStatistics {
    /// Looks for it.
    pub(super) async fn find(client: &Client) -> Self {
        let sql = "SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace \
                   WHERE e.extname = 'pg_stat_statements'";
        let row = client.query_opt(sql, &[]).await.ok().flatten();
        Self(row.map(|row| QName::new(row.get::<_, String>(0), "pg_stat_statements")))
    }

    /// The most frequent statements that match, without ours; empty if the view cannot be read.
    pub(super) async fn matching(&self, client: &Client, pattern: &str) -> Vec<PreviewStatement> {
        let Self(Some(view)) = self else { return Vec::new() };
        let sql = format!(
            "SELECT queryid::text, sum(calls)::bigint FROM {view} \
             WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND query ~* $1 \
             AND query !~* 'projh_|hash_record_extended|^\\s*lock\\s' AND queryid IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5"
        );
        let rows = client.query(&sql, &[&pattern]).await.unwrap_or_default();
        let statement = |row: &tokio_postgres::Row| PreviewStatement {
            queryid: row.get(0),
            calls: u64::try_from(row.get::<_, i64>(1)).unwrap_or(0),
        };
        rows.iter().map(statement).collect()
    }
}
