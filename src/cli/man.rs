//! `man`: the manual, for packagers.

use std::io::Write as _;
use std::path::Path;

use clap::CommandFactory as _;

use super::Cli;
use crate::error::Error;

/// Prints the program's page, or writes it and one a command into a directory.
pub(super) fn run(dir: Option<&Path>) -> Result<u8, Error> {
    let written = match dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
        }
        None => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
            // Where standard output is closed there is nobody to tell.
            rendered.map(|()| drop(std::io::stdout().write_all(&page)))
        }
    };
    written.map_err(|error| Error::Usage(format!("the manual could not be written: {error}")))?;
    Ok(0)
}
