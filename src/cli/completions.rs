//! `completions`: what the Tab key knows.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, screen::Screen};

const NAME: &str = "projh-bluegreen";

/// Prints the script for a shell.
pub(super) fn run(screen: &Screen, shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    let script = String::from_utf8_lossy(&script);
    // In bash's the arms of the commands are called by another name than the state that chooses among
    // them, where the program's has a hyphen (clap-rs/clap#6421).
    screen.out(script.replace("projh__subcmd__bluegreen", "projh__bluegreen").trim_end());
}
