//! A whole database as text that can be compared.

use std::collections::{BTreeMap, HashSet};

use super::{Outcome, Program};

/// A dump: its statements, the rows of each table, which have no order, and the value of each sequence.
#[derive(Debug, Default)]
pub struct Dump {
    statements: String,
    rows: BTreeMap<String, Vec<String>>,
    sequences: BTreeMap<String, i64>,
}

/// The sequence and its value: `SELECT pg_catalog.setval('public.t_id_seq', 12, true);`. A swap may leave out values.
fn sequence_value(line: &str) -> Option<(String, i64)> {
    let arguments = line.strip_prefix("SELECT pg_catalog.setval(")?.strip_suffix(");")?;
    let (rest, is_called) = arguments.rsplit_once(", ")?;
    let (sequence, value) = rest.rsplit_once(", ")?;
    let value: i64 = value.parse().ok()?;
    Some((sequence.to_owned(), if is_called == "true" { value } else { value - 1 }))
}

impl Dump {
    /// Without what a run itself has.
    pub fn of(program: &Program) -> Outcome<Self> {
        Ok(Self::read(&program.pg_dump(&["--exclude-schema=projh_*"])?))
    }

    fn read(text: &str) -> Self {
        let mut dump = Self::default();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let is_noise = line.is_empty() || line.starts_with("--") || line.starts_with('\\');
            if line.starts_with("COPY ") && line.ends_with(" FROM stdin;") {
                let mut rows: Vec<String> =
                    lines.by_ref().take_while(|row| *row != "\\.").map(str::to_owned).collect();
                rows.sort_unstable();
                dump.rows.insert(line.to_owned(), rows);
            } else if let Some((sequence, value)) = sequence_value(line) {
                dump.sequences.insert(sequence, value);
            } else if !is_noise && !line.contains("projh_bg_") {
                dump.statements.push_str(line);
                dump.statements.push('\n');
            }
        }
        dump
    }

    /// Statements that one of both lacks, and tables whose rows differ; no value of a row.
    pub fn differences(&self, after: &Self) -> Vec<String> {
        let (was, is): (Vec<&str>, Vec<&str>) =
            (self.statements.lines().collect(), after.statements.lines().collect());
        let missing = |these: &[&str], those: &[&str], sign: char| {
            let of_those: HashSet<&str> = those.iter().copied().collect();
            let missing = these.iter().filter(|line| !of_those.contains(**line));
            missing.map(|line| format!("{sign} {line}")).collect::<Vec<_>>()
        };
        let mut all = missing(&was, &is, '-');
        all.extend(missing(&is, &was, '+'));
        if all.is_empty() && was != is {
            all.push("the statements of the dump have another order".to_owned());
        }
        let value = |dump: &Self, sequence: &str| dump.sequences.get(sequence).copied().unwrap_or(i64::MIN);
        let back = self.sequences.keys().filter(|sequence| value(self, sequence) > value(after, sequence));
        all.extend(back.map(|sequence| format!("{sequence} would give values again")));
        let tables =
            self.rows.keys().chain(after.rows.keys().filter(|table| !self.rows.contains_key(*table)));
        let rows = |dump: &Self, table: &str| dump.rows.get(table).cloned().unwrap_or_default();
        all.extend(tables.filter(|table| rows(self, table) != rows(after, table)).map(|table| {
            let (was, is) = (rows(self, table), rows(after, table));
            format!("rows differ ({}, then {}): {table}", was.len(), is.len())
        }));
        all
    }
}
