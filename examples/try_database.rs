//! Takes every table of a database through a run: green, back, green again, finished, one at a time in a copy,
//! and compares the whole database after each step. Connects by libpq's variables, PGDATABASE among them.
#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs, unreachable_pub)]

#[path = "../tests/databases/mod.rs"]
mod databases;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;

use databases::{Program, Tried, Verdict, tables, there_and_back};

/// Takes every table of a database through a run, and compares the whole database after each step.
#[derive(Debug, Parser)]
struct Arguments {
    /// The built program.
    #[arg(long)]
    program: PathBuf,
    /// All tables in one plan, instead of one at a time.
    #[arg(long)]
    together: bool,
    /// Only tables whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// One JSON object a table.
    #[arg(long)]
    json: bool,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let program = Program {
        program: arguments.program,
        pg_dump: "pg_dump".into(),
        psql: "psql".into(),
        environment: std::env::vars_os().collect(),
        database: std::env::var("PGDATABASE")?,
        folder: folder.path().to_owned(),
    };
    let mut all = tables(&program)?;
    all.retain(|table| table.contains(&arguments.only));
    let runs: Vec<Vec<String>> =
        if arguments.together { vec![all] } else { all.into_iter().map(|t| vec![t]).collect() };
    let (mut unharmed, mut refused, mut harmed) = (0, 0, 0);
    for tables in runs.iter().filter(|tables| !tables.is_empty()) {
        let tried = there_and_back(&program, tables)?;
        match tried.verdict {
            Verdict::Unharmed => unharmed += tables.len(),
            Verdict::Refused(_) => refused += tables.len(),
            Verdict::Failed { .. } | Verdict::Changed { .. } => harmed += tables.len(),
        }
        println!("{}", if arguments.json { machine(&tried) } else { person(&tried) });
    }
    eprintln!("{unharmed} tables unharmed, {refused} refused, {harmed} not as they must be");
    Ok(if harmed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The verdict in a word, and its reasons.
fn parts(verdict: &Verdict) -> (String, &[String]) {
    match verdict {
        Verdict::Unharmed => ("unharmed".to_owned(), &[]),
        Verdict::Refused(reasons) => ("refused".to_owned(), reasons),
        Verdict::Failed { step, said } => (format!("FAILED in {step}"), std::slice::from_ref(said)),
        Verdict::Changed { step, lines } => (format!("CHANGED by {step}"), lines),
    }
}

fn person(tried: &Tried) -> String {
    let (word, reasons) = parts(&tried.verdict);
    let reasons: String = reasons.iter().map(|reason| format!("\n    {reason}")).collect();
    format!("{:<50} {word} ({:.1} s){reasons}", tried.tables.join(", "), tried.seconds)
}

fn machine(tried: &Tried) -> String {
    let (word, reasons) = parts(&tried.verdict);
    json!({"tables": tried.tables, "verdict": word, "reasons": reasons, "seconds": tried.seconds}).to_string()
}
