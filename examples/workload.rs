//! Clients that write for real until told to stop, and then check every row: the oracle of the tests,
//! as a command. Connects by libpq's variables.
//!
//! `workload --schema project-h --clients 8 --stop-file /tmp/stop --report /tmp/report.json`
#![allow(clippy::print_stdout, missing_docs, unreachable_pub)]

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/oracle/mod.rs"]
mod oracle;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_postgres::{Config, NoTls};

use oracle::{Findings, Kind, Load, Mode, Outcome, own, project_h};

/// Clients that write for real, and check every row at the end.
#[derive(Debug, Parser)]
struct Arguments {
    /// Connections that write.
    #[arg(long, default_value_t = 8)]
    clients: usize,
    /// Whose tables.
    #[arg(long, value_enum, default_value_t = Schema::ProjectH)]
    schema: Schema,
    /// Stops when this file appears.
    #[arg(long, required_unless_present = "seconds")]
    stop_file: Option<PathBuf>,
    /// Stops after this many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Where to write the findings, as one JSON object.
    #[arg(long)]
    report: Option<PathBuf>,
    /// How statements reach the server.
    #[arg(long, value_enum, default_value_t = Protocol::Mixed)]
    mode: Protocol,
    /// About how many milliseconds each client rests after each transaction.
    #[arg(long, default_value_t = 0)]
    pause_ms: u64,
    /// No `select *` among the statements: for migrations that change the columns.
    #[arg(long)]
    no_star_reads: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Schema {
    /// Tables that are created for it, if they are not there.
    Own,
    /// Appointments and the audit log.
    ProjectH,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Protocol {
    Mixed,
    Simple,
    Extended,
    Prepared,
}

impl From<Protocol> for Mode {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Mixed => Self::Mixed,
            Protocol::Simple => Self::Simple,
            Protocol::Extended => Self::Extended,
            Protocol::Prepared => Self::Prepared,
        }
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse();
    let config = from_environment()?;
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    let tables = match arguments.schema {
        Schema::ProjectH => project_h::tables(&client).await?,
        Schema::Own => {
            let sql = "select to_regclass('oracle.by_uuid') is not null";
            if !client.query_one(sql, &[]).await?.get::<_, bool>(0) {
                own::create(&client, 10_000).await?;
            }
            own::tables()
        }
    };
    let running = Load::new(&config, tables)
        .clients(arguments.clients)
        .mode(arguments.mode.into())
        .pause(Duration::from_millis(arguments.pause_ms))
        .star_reads(!arguments.no_star_reads)
        .start(&client)
        .await?;
    let begun = Instant::now();
    while !is_over(&arguments, begun) && running.is_alive() {
        sleep(Duration::from_millis(50)).await;
    }
    let outcome = running.stop().await;
    let findings = outcome.check(&client).await?;
    let report = report(&arguments, &outcome, &findings);
    if let Some(path) = &arguments.report {
        write_whole(path, &format!("{report}\n"))?;
    }
    print!("{}", summary(&arguments, &outcome, &findings));
    Ok(if findings.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn is_over(arguments: &Arguments, begun: Instant) -> bool {
    let seconds = arguments.seconds.is_some_and(|seconds| begun.elapsed() >= Duration::from_secs(seconds));
    seconds || arguments.stop_file.as_deref().is_some_and(Path::exists)
}

fn from_environment() -> Result<Config, Box<dyn Error>> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = variable("PGUSER").or_else(|| variable("USER")).unwrap_or_else(|| "postgres".to_owned());
    let mut config = Config::new();
    config.host(variable("PGHOST").as_deref().unwrap_or("127.0.0.1"));
    config.port(variable("PGPORT").as_deref().unwrap_or("5432").parse()?);
    config.dbname(variable("PGDATABASE").as_deref().unwrap_or(&user)).user(&user);
    if let Some(password) = variable("PGPASSWORD") {
        config.password(password);
    }
    Ok(config)
}

fn report(arguments: &Arguments, outcome: &Outcome, findings: &Findings) -> Value {
    let count = |kinds: &[Kind]| kinds.iter().map(|&kind| findings.count(kind)).sum::<usize>();
    json!({
        "clients": arguments.clients,
        "statements": outcome.statements(),
        "transactions": outcome.transactions(),
        "failed": count(&[Kind::Failed]),
        "lost": count(&[Kind::Lost, Kind::Changed, Kind::Returned, Kind::Miscounted]),
        "doubled": count(&[Kind::Doubled]),
        "unexpected": count(&[Kind::Unexpected, Kind::OthersChanged]),
        "misread": count(&[Kind::Misread]),
        "torn": count(&[Kind::Torn]),
        "findings": findings.by_kind(),
        "longest_stall_ms": milliseconds(outcome.longest_stall()),
        "p50_ms": milliseconds(outcome.latency(0.5)),
        "p99_ms": milliseconds(outcome.latency(0.99)),
        "p999_ms": milliseconds(outcome.latency(0.999)),
        "throughput_per_s": outcome.throughput().round(),
        "checked_rows": findings.checked_rows,
        "other_rows": findings.other_rows,
    })
}

fn summary(arguments: &Arguments, outcome: &Outcome, findings: &Findings) -> String {
    let verdict = if findings.is_clean() {
        "every acknowledged write is there exactly once, and no statement failed".to_owned()
    } else {
        format!("NOT AS IT MUST BE: {findings}")
    };
    format!(
        "{} clients: {} statements in {} transactions, {:.0} a second\n\
         latency: p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, longest {:.1} ms\n\
         checked: {} rows one by one, {} that nobody wrote to as a whole\n{verdict}\n",
        arguments.clients,
        outcome.statements(),
        outcome.transactions(),
        outcome.throughput(),
        milliseconds(outcome.latency(0.5)),
        milliseconds(outcome.latency(0.99)),
        milliseconds(outcome.latency(0.999)),
        milliseconds(outcome.longest_stall()),
        findings.checked_rows,
        findings.other_rows,
    )
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

/// A reader sees the whole report or none.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    std::fs::write(&unfinished, text)?;
    std::fs::rename(unfinished, path)
}
