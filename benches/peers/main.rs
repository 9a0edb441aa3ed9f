//! What the program does, measured against what one would use instead, in the same run on the same
//! machine. Prints a table; asserts nothing, for a time depends on who else uses the machine.
//!
//! `cargo bench --bench peers -- --json copy drain`; `scripts/bench` installs what it needs first.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]
#![allow(missing_docs, unreachable_pub)]

mod back;
mod clients;
mod encrypt;
mod figure;
mod hanging;
mod job;
mod live;
mod program;
mod stage;
mod stream;

#[allow(dead_code, unused_imports, reason = "the tests use the rest")]
#[path = "../../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use clap::{Parser, ValueEnum};

use stage::Stage;

/// The program against its peers, side by side.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure; everything unless said otherwise.
    #[arg(value_enum)]
    what: Vec<What>,
    /// One JSON object a row.
    #[arg(long)]
    json: bool,
    /// Rows of the table.
    #[arg(long, default_value_t = 2_000_000)]
    rows: u64,
    /// Pairs of runs; the table has the median of their ratios.
    #[arg(long, default_value_t = 3)]
    pairs: usize,
    /// Swaps whose stall is measured, of each tool.
    #[arg(long, default_value_t = 20)]
    swaps: usize,
    /// Minutes of the soak whose memory is measured.
    #[arg(long, default_value_t = 3)]
    soak: u64,
    /// Milliseconds that each client rests meanwhile between two statements.
    #[arg(long, default_value_t = 0)]
    rest: u64,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Copying into partitions, against insert ... select by hand.
    Copy,
    /// The whole job, against pg_repack.
    Whole,
    /// Draining a backlog, against a subscription.
    Drain,
    /// Verification, against hashing both tables by hand.
    Verify,
    /// What clients feel of the swap, against pg_repack.
    Stall,
    /// What clients get done meanwhile, against no run at all.
    Throughput,
    /// Memory, of ten times as many rows.
    Memory,
    /// What clients get done in the soak, against no run at all.
    Soak,
    /// Memory of a soak, against that of its first minute.
    Soaked,
    /// The stall of rollbacks, against that of swaps.
    Rollback,
    /// Draining a backlog of green, against one of blue.
    Back,
    /// The stall of a swap with 40 dependents, against that of one without.
    Dependents,
    /// How soon a foreign key of 1,000,000 child rows is valid, against by hand.
    Validate,
    /// Copying with a column that is encrypted, against pgcrypto, and against no encryption.
    Encrypt,
}

fn main() {
    let arguments = Arguments::parse();
    let all = What::value_variants();
    let what = if arguments.what.is_empty() { all } else { &arguments.what };
    let stage = Stage::set();
    if !arguments.json {
        println!("{}", figure::head());
    }
    for what in what {
        let figures = match what {
            What::Copy => job::copy(&stage, arguments.rows, arguments.pairs),
            What::Whole => job::whole(&stage, arguments.rows, arguments.pairs),
            What::Verify => job::verify(&stage, arguments.rows, arguments.pairs),
            What::Drain => stream::drain(&stage, arguments.pairs),
            What::Memory => stream::memory(&stage),
            What::Stall => live::stall(&stage, arguments.swaps),
            What::Soak => back::soak(&stage, arguments.rows),
            What::Soaked => back::memory(&stage, arguments.soak, Duration::from_millis(arguments.rest)),
            What::Rollback => back::rollbacks(&stage, arguments.swaps),
            What::Back => back::drain(&stage, arguments.pairs),
            What::Dependents => hanging::stall(&stage, arguments.swaps),
            What::Validate => hanging::validate(&stage, arguments.pairs),
            What::Encrypt => encrypt::copy(&stage, arguments.rows, arguments.pairs),
            What::Throughput => live::throughput(&stage, arguments.rows),
        };
        for figure in figures {
            println!("{}", if arguments.json { figure.json() } else { figure.line() });
        }
    }
}
