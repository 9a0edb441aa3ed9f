//! The program: runs the command line of the library, and exits with its code.

use std::process::ExitCode;

fn main() -> ExitCode {
    projh_bluegreen::cli::main().into()
}
