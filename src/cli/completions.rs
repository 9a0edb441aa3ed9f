//! `completions`: prints the completion script of a shell.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, screen::Screen};

const NAME: &str = "projh-bluegreen";

/// Prints the completion script of a shell.
pub(super) fn run(screen: &Screen, shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    let script = String::from_utf8_lossy(&script);
    // With a hyphen in the program's name, bash's script names the cases of the commands otherwise than the state that
    // selects them (clap-rs/clap#6421).
    screen.out(script.replace("projh__subcmd__bluegreen", "projh__bluegreen").trim_end());
}
