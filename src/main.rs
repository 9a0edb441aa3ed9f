//! The program: parse, call the library, exit with its code.

use std::process::ExitCode;

fn main() -> ExitCode {
    projh_bluegreen::cli::main().into()
}
