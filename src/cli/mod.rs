//! The command line. Only this layer prints: results to standard output, progress and logs to
//! standard error, and with `--json` one object a line to standard output.

mod check;
mod execute;
mod finish;
mod json;
mod person;
mod preview;
mod rollback;
mod status;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{CommandFactory, Parser, Subcommand};
use tokio::sync::watch;

use crate::engine::Context;
use crate::error::Error;
use crate::event::{Event, Reporter};
use crate::lifecycle::Phase;
use crate::pg::connect::Target;
use crate::plan::{self, Plan};

/// Exit code of a command line that clap refused; clap's own is the same.
const USAGE: u8 = 2;

/// Blue-green migration of live PostgreSQL tables: copy, verify, swap, and a way back.
#[derive(Parser)]
#[command(name = "projh-bluegreen", version, propagate_version = true)]
struct Cli {
    /// Where the database is; also from the plan, DATABASE_URL, or libpq's own variables.
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// One JSON object a line on standard output.
    #[arg(long, global = true)]
    json: bool,
    /// More log lines on standard error (-vv: even more; RUST_LOG has the last word).
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check a plan: its text alone, then against the database. Changes nothing.
    Check {
        /// The plan's file.
        plan: PathBuf,
    },
    /// Execute a plan, or go on where it stopped.
    #[command(
        after_help = "Example: projh-bluegreen execute plans/project-h/appointments.yaml --until verify"
    )]
    Execute {
        /// The plan's file.
        plan: PathBuf,
        /// Preview the run and change nothing: every step with its SQL, its locks and an estimate (-v:
        /// every statement of every partition).
        #[arg(long)]
        dry_run: bool,
        /// Stop after this phase; execute again goes on.
        #[arg(long, value_name = "PHASE")]
        until: Option<Phase>,
        /// Do not ask before the swap; needed where there is no terminal to ask on.
        #[arg(long)]
        yes: bool,
    },
    /// Where the runs of this database stand.
    Status {
        /// The plan's file, its name, or a run's short id; all runs without it.
        plan_or_run: Option<String>,
    },
    /// Back to blue: drop everything that the run made. Before the swap.
    Rollback {
        /// The plan's file, its name, or a run's short id.
        plan_or_run: String,
    },
    /// The end of the soak: drop blue. There is no way back from it.
    Finish {
        /// The plan's file, its name, or a run's short id.
        plan_or_run: String,
        /// Do not ask; needed where there is no terminal to ask on.
        #[arg(long)]
        yes: bool,
    },
    /// Print the JSON Schema of the plan, for editors.
    Schema,
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Parses the command line, does what it says, and returns the exit code.
#[must_use]
pub fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { USAGE } else { 0 };
            // Where standard error is closed there is nobody to tell.
            let _ = error.print();
            return code;
        }
    };
    log(cli.verbose);
    let reporter: Arc<dyn Reporter> =
        if cli.json { Arc::new(json::Lines) } else { Arc::new(person::Lines::default()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(&cli, &reporter));
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(Error::Usage(format!("the runtime could not be started: {error}"))),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            reporter.failed(&error);
            error.exit_code()
        }
    }
}

async fn run(cli: &Cli, reporter: &Arc<dyn Reporter>) -> Result<u8, Error> {
    let shell = Shell { cli, reporter: Arc::clone(reporter), interrupted: interrupts(Arc::clone(reporter)) };
    match &cli.command {
        Command::Check { plan } => check::run(&shell, plan).await,
        Command::Execute { plan, dry_run: true, until, .. } => execute::preview(&shell, plan, *until).await,
        Command::Execute { plan, until, yes, .. } => execute::run(&shell, plan, *until, *yes).await,
        Command::Status { plan_or_run } => status::run(&shell, plan_or_run.as_deref()).await,
        Command::Rollback { plan_or_run } => rollback::run(&shell, plan_or_run).await,
        Command::Finish { plan_or_run, yes } => finish::run(&shell, plan_or_run, *yes).await,
        Command::Schema => {
            let schema = serde_json::to_string_pretty(&plan::json_schema()).unwrap_or_default();
            print(&schema);
            Ok(0)
        }
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "projh-bluegreen", &mut std::io::stdout());
            Ok(0)
        }
    }
}

/// What every command has at hand.
struct Shell<'a> {
    cli: &'a Cli,
    reporter: Arc<dyn Reporter>,
    interrupted: watch::Receiver<bool>,
}

impl Shell<'_> {
    fn plan(&self, path: &Path) -> Result<Plan, Error> {
        Ok(Plan::load(path, &|name| std::env::var(name).ok())?)
    }

    /// The command line's URL goes before the plan's, and that before the environment's.
    fn target(&self, plan: Option<&Plan>) -> Result<Target, Error> {
        let url = match (self.cli.database_url.as_deref(), plan) {
            (None, Some(plan)) => plan.connection.url()?,
            (given, _) => given,
        };
        Ok(Target::resolve(url, &|name| std::env::var(name).ok())?)
    }

    /// A plan's file stands for the plan's name. What can be no name or id, with a dot or a slash in it,
    /// is a file.
    fn run_and_target(&self, plan_or_run: &str) -> Result<(String, Target), Error> {
        if plan::is_name(plan_or_run) {
            return Ok((plan_or_run.to_owned(), self.target(None)?));
        }
        let plan = self.plan(Path::new(plan_or_run))?;
        let target = self.target(Some(&plan))?;
        Ok((plan.name, target))
    }

    fn context(&self, plan: Plan, until: Option<Phase>, may_swap: fn() -> bool) -> Result<Context, Error> {
        Ok(Context {
            target: self.target(Some(&plan))?,
            plan,
            reporter: Arc::clone(&self.reporter),
            until,
            may_swap,
            interrupted: self.interrupted.clone(),
        })
    }

    fn tell(&self, event: &Event) {
        self.reporter.tell(event);
    }
}

/// Ctrl-C (or SIGTERM) once: stop where it is safe. Twice: at once; the run can be resumed all the same.
fn interrupts(reporter: Arc<dyn Reporter>) -> watch::Receiver<bool> {
    let (told, seen) = watch::channel(false);
    tokio::spawn(async move {
        interrupt().await;
        let text = "stopping after the work in hand; once more stops at once".to_owned();
        reporter.tell(&Event::Notice { text });
        told.send_replace(true);
        interrupt().await;
        std::process::exit(i32::from(Error::Interrupted.exit_code()));
    });
    seen
}

async fn interrupt() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

fn log(verbose: u8) {
    let default = match verbose {
        0 => "off",
        1 => "projh_bluegreen=info",
        2 => "projh_bluegreen=debug",
        _ => "projh_bluegreen=trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| default.into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// A line of the result. Where standard output is closed there is nobody to tell.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A line of progress.
fn eprint(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Asks on the terminal. No terminal, no consent.
fn ask(question: &str) -> bool {
    use std::io::IsTerminal;
    if !std::io::stdin().is_terminal() {
        return false;
    }
    let _ = write!(std::io::stderr(), "{question} [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
