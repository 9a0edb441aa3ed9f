//! The command line. Only this layer prints: results to standard output, progress and logs to
//! standard error, and with `--json` one object a line to standard output.

mod asking;
mod check;
mod command;
mod completions;
mod echo;
mod ending;
mod execute;
mod find;
mod finish;
mod glyphs;
mod going_on;
mod help;
mod hooks;
mod json;
mod kept_soak;
mod man;
mod partitions;
mod person;
mod phi;
mod preview;
mod rollback;
mod screen;
mod set;
mod signals;
mod status;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Parser;
use tokio::sync::watch;

use crate::context::Context;
use crate::crypto;
use crate::error::{Error, ExitCode};
use crate::event::{self, Event, Reporter};
use crate::journal::requests::{Ask, Finish};
use crate::journal::{self, Summary};
use crate::pg::connect::{Session, Target};
use crate::plan::{self, Plan, Settings};

use command::{Cli, Command};
use hooks::Hooked;
use screen::Screen;

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
    if let Err(why) = crypto::is_usable() {
        screen.err(&format!("error: the cryptographic module of this build cannot be used: {why}"));
        return ExitCode::Failed;
    }
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
    let hooked = Arc::new(Hooked::new(Arc::clone(reporter)));
    let interrupted = signals::watch(&cli.command, Arc::clone(reporter), Arc::clone(&hooked))?;
    let shell = Shell {
        cli,
        reporter: Arc::clone(&hooked) as Arc<dyn Reporter>,
        hooked,
        screen: screen.clone(),
        interrupted,
        has_begun: Arc::new(AtomicBool::new(false)),
    };
    let code = match command(&shell).await {
        Ok(code) => code,
        Err(error) => {
            shell.reporter.failed(&error);
            ending::tell_failure(&shell, &error).await;
            error.exit_code()
        }
    };
    for text in shell.hooked.end().await {
        screen.err(&format!("notice: {text}"));
    }
    Ok(code)
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
        Command::Set { plan_or_run, settings } => set::run(shell, plan_or_run, settings).await,
        Command::Status { plan_or_run, watch } => status::run(shell, plan_or_run.as_deref(), *watch).await,
        Command::Rollback { plan_or_run, drop_green } => rollback::run(shell, plan_or_run, *drop_green).await,
        Command::Finish { plan_or_run, yes, force, now } => {
            finish::run(shell, plan_or_run, *yes, Finish { force: *force, now: *now }).await
        }
        Command::Partitions { plan, ahead, dry_run, yes } => {
            partitions::run(shell, plan, *ahead, *dry_run, *yes).await
        }
        Command::Find { plan_or_run, table, digest } => find::run(shell, plan_or_run, table, digest).await,
        Command::Phi(command) => phi::run(shell, command).await,
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

    /// The plan of a run that has begun: of one that is named by its id, the file is not known, and no more than its settings
    /// are needed.
    async fn plan_of(&self, plan_or_run: &str, session: &Session) -> Result<Plan, Error> {
        if plan::is_name(plan_or_run) {
            let settings = journal::settings(session, plan_or_run).await?;
            return Ok(Plan::named(plan_or_run.to_owned(), settings.unwrap_or_default()));
        }
        self.plan(Path::new(plan_or_run))
    }

    /// The run that a command names; all that is reported from then on is about it.
    async fn find(&self, session: &Session, named: &str) -> Result<Option<Summary>, Error> {
        let found = journal::latest(session, named, false).await?;
        if let Some(run) = &found {
            self.reporter.about(&run.found.run);
        }
        Ok(found)
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
