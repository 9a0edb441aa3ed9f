//! What is there, against what must be there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio_postgres::{Client, Error};

use super::client::Record;
use super::findings::{Finding, Findings, Kind, key_digest};
use super::ledger::{Expected, Fate, Ledger, Row};
use super::session::{FORMATS, Trouble, rows_of};
use super::table::{Key, Table};

/// Of each multi-table transaction: which tables hold its last word, and which do not.
type Parts = BTreeMap<u64, (BTreeSet<&'static str>, BTreeSet<&'static str>)>;

/// Compares every client's ledger with the tables.
pub async fn check(client: &Client, tables: &[Table], records: &[Record]) -> Result<Findings, Error> {
    formats(client).await?;
    let mut findings = Findings::default();
    for record in records {
        findings.list.extend(record.findings.iter().cloned());
        let mut found = Vec::new();
        for table in tables {
            match rows_of(client, table, record.owner, record.owner).await {
                Ok(rows) => found.push(rows),
                Err(Trouble::Refused(why) | Trouble::Gone(why)) => {
                    let detail = format!("{why} at the check");
                    let finding = Finding {
                        kind: Kind::Failed,
                        table: table.name.to_owned(),
                        key: String::new(),
                        detail,
                    };
                    findings.list.push(finding);
                    return Ok(findings);
                }
            }
        }
        let ledger = with_the_unknown_resolved(tables, record, &found, &mut findings);
        let mut parts = Parts::new();
        for ((table, expected), rows) in tables.iter().zip(&ledger.tables).zip(found) {
            findings.checked_rows += expected.rows.len() as u64;
            compare(table, expected, rows, &mut parts, &mut findings);
        }
        findings.list.extend(torn(&parts));
    }
    Ok(findings)
}

async fn formats(client: &Client) -> Result<(), Error> {
    let settings = FORMATS.replace("-c ", "set ").replace("=", " = ").replace(" set ", "; set ");
    client.batch_execute(&settings).await
}

fn with_the_unknown_resolved(
    tables: &[Table],
    record: &Record,
    found: &[Vec<Row>],
    findings: &mut Findings,
) -> Ledger {
    let mut ledger = record.ledger.clone();
    for mut changes in std::mem::take(&mut ledger.unknown) {
        match ledger.fate(tables, &mut changes, found) {
            Fate::Committed => ledger.acknowledge(tables, changes),
            Fate::RolledBack => {}
            Fate::Torn => {
                let detail = "its COMMIT had no answer".to_owned();
                let table = changes.iter().map(|c| tables[c.table].name).collect::<Vec<_>>().join(", ");
                findings.list.push(Finding { kind: Kind::Torn, table, key: String::new(), detail });
            }
        }
    }
    ledger
}

fn compare(table: &Table, expected: &Expected, rows: Vec<Row>, parts: &mut Parts, findings: &mut Findings) {
    let mut by_key: HashMap<Key, Vec<Row>> = HashMap::new();
    for row in rows {
        by_key.entry(table.key_of(&row)).or_default().push(row);
    }
    let mut note = |kind, key: &Key, detail: String| {
        let (table, key) = (table.name.to_owned(), key_digest(key));
        findings.list.push(Finding { kind, table, key, detail });
    };
    let mut part = |transaction: Option<u64>, is_right: bool| {
        if let Some(transaction) = transaction {
            let (right, wrong) = parts.entry(transaction).or_default();
            if is_right {
                right.insert(table.name)
            } else {
                wrong.insert(table.name)
            };
        }
    };
    for (key, (row, transaction)) in &expected.rows {
        let here = by_key.remove(key).unwrap_or_default();
        part(*transaction, here.first() == Some(row));
        match here.as_slice() {
            [] => note(Kind::Lost, key, String::new()),
            [one] if one == row => {}
            [one] => note(Kind::Changed, key, different_columns(table, one, row)),
            several => note(Kind::Doubled, key, format!("{} times", several.len())),
        }
    }
    for (key, transaction) in &expected.gone {
        let is_back = by_key.remove(key).is_some();
        part(*transaction, !is_back);
        if is_back {
            note(Kind::Returned, key, String::new());
        }
    }
    for key in by_key.keys() {
        note(Kind::Unexpected, key, String::new());
    }
}

fn different_columns(table: &Table, one: &Row, other: &Row) -> String {
    let differ = |i: &usize| one[*i] != other[*i];
    let names: Vec<_> = (0..table.columns.len()).filter(differ).map(|i| table.columns[i].name).collect();
    names.join(", ")
}

fn torn(parts: &Parts) -> impl Iterator<Item = Finding> {
    let torn = parts.values().filter(|(right, wrong)| !right.is_empty() && !wrong.is_empty());
    torn.map(|(right, wrong)| Finding {
        kind: Kind::Torn,
        table: names(wrong),
        key: String::new(),
        detail: format!("while there in {}", names(right)),
    })
}

fn names(tables: &BTreeSet<&'static str>) -> String {
    tables.iter().copied().collect::<Vec<_>>().join(", ")
}

/// The rows that the load does not own, as a whole.
pub struct Others(Vec<(u64, String)>);

impl Others {
    /// Counts and digests them.
    pub async fn of(client: &Client, tables: &[Table], owners: (u32, u32)) -> Result<Self, Error> {
        formats(client).await?;
        let mut digests = Vec::new();
        for table in tables {
            let columns: Vec<_> = table.columns.iter().map(|column| column.name).collect();
            let sql = format!(
                "select count(*), coalesce(sum(('x' || left(md5(row({})::text), 15))::bit(60)::bigint), 0)::text \
                 from {} where not ({})",
                columns.join(", "),
                table.name,
                (table.rows_of)(owners.0, owners.1)
            );
            let row = client.query_one(&sql, &[]).await?;
            let count: i64 = row.get(0);
            digests.push((count.unsigned_abs(), row.get(1)));
        }
        Ok(Self(digests))
    }

    /// Compares them with what is there now.
    pub async fn compare(
        &self,
        client: &Client,
        tables: &[Table],
        owners: (u32, u32),
        findings: &mut Findings,
    ) -> Result<(), Error> {
        let now = Self::of(client, tables, owners).await?;
        for ((table, before), now) in tables.iter().zip(&self.0).zip(&now.0) {
            findings.other_rows += now.0;
            if before != now {
                let detail = format!("{} rows before, {} now", before.0, now.0);
                let table = table.name.to_owned();
                findings.list.push(Finding { kind: Kind::OthersChanged, table, key: String::new(), detail });
            }
        }
        Ok(())
    }
}
