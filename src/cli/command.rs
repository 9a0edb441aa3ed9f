//! The commands and their arguments.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::help;
use crate::crypto;
use crate::error::Error;
use crate::lifecycle::Phase;

/// Blue-green migration of live PostgreSQL tables: copy, verify, swap, or roll back.
#[derive(Parser)]
#[command(name = "projh-bluegreen", version = crypto::version(), propagate_version = true, after_help = help::PROGRAM)]
pub(super) struct Cli {
    /// The database to connect to; otherwise from the plan, DATABASE_URL, or libpq's variables.
    #[arg(long, global = true, value_name = "URL")]
    pub(super) database_url: Option<String>,
    /// Print one JSON object a line on standard output.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Log to standard error (-vv: more; RUST_LOG overrides it).
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
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
    /// Release the swap of a run that is executed with --hold-swap; swap a verified run that nobody executes.
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
    /// Change settings of a run that is executed now or later, without stopping it.
    #[command(after_help = help::SET)]
    Set {
        /// The plan's file, its name, or a run's short id.
        plan_or_run: String,
        /// A setting as in the plan, and its value; `plan` goes back to the plan's.
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<String>,
    },
    /// Compare all rows of the two tables again: before the swap once green is complete, and during the soak.
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
        /// Drop green even after a swap, so that the run ends.
        #[arg(long)]
        drop_green: bool,
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
    /// Create partitions ahead of time, move rows out of the default one, and archive or drop old ones.
    #[command(after_help = help::PARTITIONS)]
    Partitions {
        /// The plan's file.
        plan: PathBuf,
        /// Create partitions for so many periods past the present one; by default the plan's `ahead`.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1000))]
        ahead: Option<u32>,
        /// Show what would be done, with its SQL, and change nothing.
        #[arg(long)]
        dry_run: bool,
        /// Do not ask before partitions are dropped; required without a terminal.
        #[arg(long)]
        yes: bool,
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
    /// Tools for encrypted columns.
    #[command(subcommand, after_help = help::PHI)]
    Phi(PhiCommand),
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

#[derive(Subcommand)]
pub(super) enum PhiCommand {
    /// Print a new key with its id, in the form in which a plan's key provider gives keys.
    #[command(after_help = help::KEYGEN)]
    Keygen,
    /// Report how many values of protected columns are encrypted, and how; and where plaintext remains. Exit code 4 unless
    /// all are encrypted. Changes nothing.
    #[command(after_help = help::COVERAGE)]
    Coverage {
        /// The plan's file.
        plan: PathBuf,
        /// Do not ask the key provider: report what values say of themselves, and open none.
        #[arg(long)]
        without_keys: bool,
    },
    /// Print the plan of a rotation: the same tables, from their key to another one.
    #[command(after_help = help::ROTATE)]
    Rotate {
        /// The plan's file.
        plan: PathBuf,
        /// The id of the new key; otherwise the new plan takes it from the variable PHI_NEW_KEY.
        #[arg(long, value_name = "KEY_ID")]
        to: Option<uuid::Uuid>,
    },
    /// Encrypt values again that are not under their column's key, in place and in batches, without a swap. Interrupted,
    /// it is executed again.
    #[command(after_help = help::REKEY)]
    Rekey {
        /// The plan's file.
        plan: PathBuf,
        /// Count the values and estimate the duration by a sample that is rolled back, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

impl Command {
    /// The plan or run that the command names.
    pub(super) fn plan_or_run(&self) -> Option<String> {
        match self {
            Self::Check { plan } | Self::Execute { plan, .. } | Self::Partitions { plan, .. } => {
                Some(plan.display().to_string())
            }
            Self::Rollback { plan_or_run, .. }
            | Self::Swap { plan_or_run }
            | Self::Pause { plan_or_run }
            | Self::Resume { plan_or_run }
            | Self::Verify { plan_or_run }
            | Self::Set { plan_or_run, .. }
            | Self::Finish { plan_or_run, .. }
            | Self::Find { plan_or_run, .. } => Some(plan_or_run.clone()),
            Self::Phi(PhiCommand::Rekey { plan, .. }) => Some(plan.display().to_string()),
            Self::Status { plan_or_run, .. } => plan_or_run.clone(),
            Self::Phi(_) | Self::Schema { .. } | Self::Completions { .. } | Self::Man { .. } => None,
        }
    }

    /// Whether the command needs a run, which may have ended.
    pub(super) fn is_about_a_run(&self) -> bool {
        matches!(
            self,
            Self::Rollback { .. }
                | Self::Swap { .. }
                | Self::Pause { .. }
                | Self::Resume { .. }
                | Self::Verify { .. }
                | Self::Set { .. }
                | Self::Finish { .. }
                | Self::Find { .. }
                | Self::Status { .. }
        )
    }

    /// Whether a run goes on although the command ended with this error.
    pub(super) fn leaves_the_run(&self, error: &Error) -> bool {
        let ends = matches!(self, Self::Rollback { .. } | Self::Finish { .. });
        matches!(error, Error::Usage(_)) || (!ends && matches!(error, Error::Answered { .. }))
    }

    /// The same command, as one types it again.
    pub(super) fn again(&self, named: &str) -> String {
        let verb = match self {
            Self::Check { .. } => "check",
            Self::Execute { .. } => "execute",
            Self::Partitions { .. } => "partitions",
            Self::Phi(_) => "phi rekey",
            _ => "status",
        };
        format!("projh-bluegreen {verb} {named}")
    }
}
