//! The program: runs the command line of the library, and exits with its code.

use std::process::ExitCode;

/// A run may last for weeks: with the C library's allocator its memory grows for an hour, in arenas that are never given
/// back (docs/performance.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    projh_bluegreen::cli::main().into()
}
