//! `man`: prints or writes the manual pages.

use std::io::Write as _;
use std::path::Path;

use clap::CommandFactory as _;

use super::Cli;
use crate::error::{Error, ExitCode};

/// Prints the program's page, or writes it and a page for each command into a directory.
pub(super) fn run(dir: Option<&Path>) -> Result<ExitCode, Error> {
    let written = match dir {
        Some(dir) => write(dir),
        None => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
            // If standard output is closed, there is nothing to do about it.
            let page = as_written(&String::from_utf8_lossy(&page));
            rendered.map(|()| drop(std::io::stdout().write_all(page.as_bytes())))
        }
    };
    written.map_err(|error| Error::Usage(format!("the manual could not be written: {error}")))?;
    Ok(ExitCode::Done)
}

/// Writes a page for the program, and one for each command.
fn write(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(Cli::command(), dir)?;
    let program = Cli::command();
    let commands =
        program.get_subcommands().map(|command| format!("{}-{}", program.get_name(), command.get_name()));
    for name in std::iter::once(program.get_name().to_owned()).chain(commands) {
        let path = dir.join(format!("{name}.1"));
        let page = as_written(&std::fs::read_to_string(&path)?);
        std::fs::write(path, page)?;
    }
    Ok(())
}

/// The text below the options is formatted with line breaks, which man would fill.
fn as_written(page: &str) -> String {
    let Some((options, extra)) = page.split_once(".SH EXTRA\n") else { return page.to_owned() };
    let (extra, rest) = extra
        .split_once(".SH ")
        .map_or((extra, String::new()), |(extra, rest)| (extra, format!(".SH {rest}")));
    format!("{options}.SH NOTES\n.nf\n{extra}.fi\n{rest}")
}
