//! The program: parse, call the library, exit with its code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(projh_bluegreen::cli::main())
}
