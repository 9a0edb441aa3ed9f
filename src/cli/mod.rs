//! The command line. Only this layer prints: results to standard output, progress and logs to
//! standard error, and with `--json` one object a line to standard output.

mod asking;
mod check;
mod completions;
mod echo;
mod ending;
mod execute;
mod find;
mod finish;
mod glyphs;
mod help;
mod hooks;
mod json;
mod man;
mod person;
mod preview;
mod rollback;
mod screen;
mod signals;
mod status;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tokio::sync::watch;

use crate::context::Context;
use crate::error::{Error, ExitCode};
use crate::event::{self, Event, Reporter};
use crate::journal::requests::{Ask, Finish};
use crate::lifecycle::Phase;
use crate::pg::connect::Target;
use crate::plan::{self, Plan, Settings};

use hooks::Hooked;
use screen::Screen;

/// Blue-green migration of live PostgreSQL tables: copy, verify, swap, or roll back.
#[derive(Parser)]
#[command(name = "projh-bluegreen", version, propagate_version = true, after_help = help::PROGRAM)]
struct Cli {
    /// The database to connect to; otherwise from the plan, DATABASE_URL, or libpq's variables.
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// Print one JSON object a line on standard output.
    #[arg(long, global = true)]
    json: bool,
    /// Log to standard error (-vv: more; RUST_LOG overrides it).
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check a plan: its text, then against the database. Changes nothing.
    #[command(after_help = help::CHECK)]
    Check {
        /// The plan's file.
        plan: PathBuf,
    },
    /// Execute a plan, or resume it where it stopped.
    #[command(after_help = help::EXECUTE)]
    Execute {
        /// The plan's file.
        plan: PathBuf,
        /// Preview the run and change nothing: every step with its SQL, locks and estimated cost (-v: every statement
        /// of every partition).
        #[arg(long)]
        dry_run: bool,
        /// Stop after this phase; execute again to resume.
        #[arg(long, value_name = "PHASE")]
        until: Option<Phase>,
        /// Do not ask before the swap; required without a terminal.
        #[arg(long, conflicts_with = "hold_swap")]
        yes: bool,
        /// Wait before the swap, verified and current, until `swap` releases it.
        #[arg(long)]
        hold_swap: bool,
    },
    /// Release the swap of a run that is executed with --hold-swap.
    #[command(after_help = help::SWAP)]
    Swap {
        /// The plan's file, its name, or a run's short id.
        plan_or_run: String,
    },
    /// Stop the copy and what else can wait, of a run that is executed now or later, until `resume`.
    #[command(after_help = help::PAUSE)]
    Pause {
        /// The plan's file, its name, or a run's short id.
        plan_or_run: String,
    },
    /// Let a paused run go on.
    #[command(after_help = help::RESUME)]
    Resume {
        /// The plan's file, its name, or a run's short id.
        plan_or_run: String,
    },
    /// During the soak: compare all rows of the two tables again.
    #[command(after_help = help::VERIFY)]
    Verify {
        /// The plan's file, its name, or a run's short id.
        plan_or_run: String,
    },
    /// Show the runs of this database: phase, progress, rate, time left, lag, and who holds them.
    #[command(after_help = help::STATUS)]
    Status {
        /// The plan's file, its name, or a run's short id; all runs if not given.
        plan_or_run: Option<String>,
        /// Repeat every two seconds, until nothing is left to do.
        #[arg(long)]
        watch: bool,
    },
    /// Before the swap: drop everything that the run created. During the soak: swap back, with all that was written since.
    #[command(after_help = help::ROLLBACK)]
    Rollback {
        /// The plan's file, its name, or a run's short id.
        plan_or_run: String,
    },
    /// After the swap: drop blue, the old table, or archive it. This cannot be undone.
    #[command(after_help = help::FINISH)]
    Finish {
        /// The plan's file, its name, or a run's short id.
        plan_or_run: String,
        /// Do not ask; required without a terminal.
        #[arg(long)]
        yes: bool,
        /// Finish although the way back does not verify, or some work after the swap could not be done.
        #[arg(long, visible_alias = "as-is")]
        force: bool,
        /// Do not wait for sessions that are older than the swap: functions that use the table's row type fail in them
        /// until they reconnect.
        #[arg(long)]
        now: bool,
    },
    /// Print the statement that reads the row behind a key digest. Prints no value of the row.
    #[command(after_help = help::FIND)]
    Find {
        /// The plan's file, its name, or a run's short id.
        plan_or_run: String,
        /// The table, as named in the message with the digest.
        table: String,
        /// The key digest.
        digest: String,
    },
    /// Print the JSON Schema of the plan, for editors.
    #[command(after_help = help::SCHEMA)]
    Schema {
        /// Print that of the lines of --json instead.
        #[arg(long)]
        events: bool,
    },
    /// Print a completion script for a shell.
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// The shell to complete for.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, for man.
    #[command(after_help = help::MAN)]
    Man {
        /// Write the manual page, and one for each command, into this directory instead.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

/// Parses the command line, executes the command, and returns the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let _scenario = crate::crash::set_up();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // If standard error is closed, there is nothing to do about it.
            let _ = error.print();
            if !error.use_stderr() {
                return ExitCode::Done;
            }
            if std::env::args_os().any(|argument| argument == "--json") {
                json::Lines::new(Screen::new(true)).misused(&error.to_string());
            }
            return ExitCode::Usage;
        }
    };
    let screen = Screen::new(cli.json);
    log(cli.verbose, screen.clone());
    let reporter: Arc<dyn Reporter> = if cli.json {
        Arc::new(json::Lines::new(screen.clone()))
    } else {
        Arc::new(person::Person::new(screen.clone()))
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = runtime.and_then(|runtime| {
        let outcome = runtime.block_on(run(&cli, &reporter, &screen));
        runtime.shutdown_background();
        outcome
    });
    outcome.unwrap_or_else(|error| {
        screen.err(&format!("error: the program could not be started: {error}"));
        ExitCode::Failed
    })
}

async fn run(cli: &Cli, reporter: &Arc<dyn Reporter>, screen: &Screen) -> std::io::Result<ExitCode> {
    let interrupted = signals::watch(&cli.command, Arc::clone(reporter))?;
    let hooked = Arc::new(Hooked::new(Arc::clone(reporter)));
    let shell = Shell {
        cli,
        reporter: Arc::clone(&hooked) as Arc<dyn Reporter>,
        hooked,
        screen: screen.clone(),
        interrupted,
        has_begun: Arc::new(AtomicBool::new(false)),
    };
    Ok(match command(&shell).await {
        Ok(code) => code,
        Err(error) => {
            shell.reporter.failed(&error);
            ending::tell_failure(&shell, &error).await;
            error.exit_code()
        }
    })
}

async fn command(shell: &Shell<'_>) -> Result<ExitCode, Error> {
    match &shell.cli.command {
        Command::Check { plan } => check::run(shell, plan).await,
        Command::Execute { plan, dry_run: true, until, .. } => execute::preview(shell, plan, *until).await,
        Command::Execute { plan, until, yes, hold_swap, .. } => {
            execute::run(shell, plan, *until, *yes, *hold_swap).await
        }
        Command::Swap { plan_or_run } => asking::control(shell, plan_or_run, Ask::Swap).await,
        Command::Verify { plan_or_run } => asking::control(shell, plan_or_run, Ask::Verify).await,
        Command::Pause { plan_or_run } => asking::control(shell, plan_or_run, Ask::Pause).await,
        Command::Resume { plan_or_run } => asking::control(shell, plan_or_run, Ask::Resume).await,
        Command::Status { plan_or_run, watch } => status::run(shell, plan_or_run.as_deref(), *watch).await,
        Command::Rollback { plan_or_run } => rollback::run(shell, plan_or_run).await,
        Command::Finish { plan_or_run, yes, force, now } => {
            finish::run(shell, plan_or_run, *yes, Finish { force: *force, now: *now }).await
        }
        Command::Find { plan_or_run, table, digest } => find::run(shell, plan_or_run, table, digest).await,
        Command::Schema { events } => {
            let schema = if *events { event::schema::json_schema() } else { plan::json_schema() };
            shell.screen.out(&format!("{schema:#}"));
            Ok(ExitCode::Done)
        }
        Command::Completions { shell: of } => {
            completions::run(&shell.screen, *of);
            Ok(ExitCode::Done)
        }
        Command::Man { dir } => man::run(dir.as_deref()),
    }
}

/// What every command is given.
struct Shell<'a> {
    cli: &'a Cli,
    reporter: Arc<dyn Reporter>,
    /// The same, which starts the plan's hooks once it is told of them.
    hooked: Arc<Hooked>,
    screen: Screen,
    interrupted: watch::Receiver<bool>,
    /// Set by the engine once there may be a run.
    has_begun: Arc<AtomicBool>,
}

impl Shell<'_> {
    fn plan(&self, path: &Path) -> Result<Plan, Error> {
        Ok(Plan::load(path, &|name| std::env::var(name).ok())?)
    }

    /// The command line's URL takes precedence over the plan's, and that over the environment's.
    fn target(&self, plan: Option<&Plan>) -> Result<Target, Error> {
        let url = match (self.cli.database_url.as_deref(), plan) {
            (None, Some(plan)) => plan.connection.url()?,
            (given, _) => given,
        };
        Ok(Target::resolve(url, &|name| std::env::var(name).ok())?)
    }

    /// The run's id or the plan's name, and where to connect. An argument that cannot be a name or an id, because it
    /// has a dot or a slash, is the path of a plan, whose name is read.
    fn run_and_target(&self, plan_or_run: &str) -> Result<(String, Target), Error> {
        let (run, cx) = self.run_and_context(plan_or_run)?;
        Ok((run, cx.target))
    }

    /// The same with the context of a command on a run, which works without the plan's file.
    fn run_and_context(&self, plan_or_run: &str) -> Result<(String, Context), Error> {
        if plan::is_name(plan_or_run) {
            let reconnect_for = Settings::default().reconnect_for;
            return Ok((plan_or_run.to_owned(), self.context_of(self.target(None)?, reconnect_for)));
        }
        let plan = self.plan(Path::new(plan_or_run))?;
        let cx = self.context(&plan)?;
        Ok((plan.name, cx))
    }

    fn context(&self, plan: &Plan) -> Result<Context, Error> {
        Ok(self.context_of(self.target(Some(plan))?, plan.settings.reconnect_for))
    }

    fn context_of(&self, target: Target, reconnect_for: Duration) -> Context {
        Context {
            target,
            reporter: Arc::clone(&self.reporter),
            interrupted: self.interrupted.clone(),
            reconnect_for,
            has_begun: Arc::clone(&self.has_begun),
        }
    }

    fn tell(&self, event: &Event) {
        self.reporter.tell(event);
    }

    /// Runs work that may be dropped at any point when somebody asks to stop.
    async fn unless_interrupted<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let mut interrupted = self.interrupted.clone();
        tokio::select! {
            outcome = work => outcome,
            _ = interrupted.wait_for(|asked| *asked) => Err(Error::Interrupted),
        }
    }

    /// Asks a yes-or-no question on the terminal.
    async fn ask(&self, question: String) -> Result<bool, Error> {
        let screen = self.screen.clone();
        let asked = tokio::task::spawn_blocking(move || screen.ask(&question));
        self.unless_interrupted(async { Ok(asked.await.unwrap_or(false)) }).await
    }
}

impl Command {
    /// The plan or run that the command names.
    fn plan_or_run(&self) -> Option<String> {
        match self {
            Self::Check { plan } | Self::Execute { plan, .. } => Some(plan.display().to_string()),
            Self::Rollback { plan_or_run }
            | Self::Swap { plan_or_run }
            | Self::Pause { plan_or_run }
            | Self::Resume { plan_or_run }
            | Self::Verify { plan_or_run }
            | Self::Finish { plan_or_run, .. }
            | Self::Find { plan_or_run, .. } => Some(plan_or_run.clone()),
            Self::Status { plan_or_run, .. } => plan_or_run.clone(),
            Self::Schema { .. } | Self::Completions { .. } | Self::Man { .. } => None,
        }
    }

    /// Whether the command needs a run, which may have ended.
    fn is_about_a_run(&self) -> bool {
        matches!(
            self,
            Self::Rollback { .. }
                | Self::Swap { .. }
                | Self::Pause { .. }
                | Self::Resume { .. }
                | Self::Verify { .. }
                | Self::Finish { .. }
                | Self::Find { .. }
                | Self::Status { .. }
        )
    }

    /// The same command, as one types it again.
    fn again(&self, named: &str) -> String {
        let verb = match self {
            Self::Check { .. } => "check",
            Self::Execute { .. } => "execute",
            _ => "status",
        };
        format!("projh-bluegreen {verb} {named}")
    }
}

fn log(verbose: u8, screen: Screen) {
    let default = match verbose {
        0 => "off",
        1 => "projh_bluegreen=info",
        2 => "projh_bluegreen=debug",
        _ => "projh_bluegreen=trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| default.into());
    let is_coloured = screen.is_live() && console::colors_enabled_stderr();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(is_coloured).with_writer(screen).init();
}
