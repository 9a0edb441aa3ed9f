//! Named services (`PGSERVICE`): sections of `~/.pg_service.conf` or of the system-wide file.

use std::path::{Path, PathBuf};

use super::ConnectError;
use super::conninfo::Pairs;

/// The settings of service `name`, from the first of `files` that has it.
///
/// # Errors
/// If no file has the service, or its section cannot be parsed.
pub(super) fn look_up(name: &str, files: &[PathBuf]) -> Result<Pairs, ConnectError> {
    for file in files {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                let problem = format!("cannot be read: {error}");
                return Err(ConnectError::setting(
                    file.display().to_string(),
                    problem,
                    "check its permissions, or unset PGSERVICE",
                ));
            }
        };
        if let Some(pairs) = section(&text, name, file)? {
            return Ok(pairs);
        }
    }
    let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    Err(ConnectError::setting(
        "PGSERVICE",
        format!("there is no service `{name}` in {}", files.join(" or ")),
        format!("add a section [{name}], or name the file in PGSERVICEFILE"),
    ))
}

fn section(text: &str, name: &str, file: &Path) -> Result<Option<Pairs>, ConnectError> {
    let mut found: Option<Pairs> = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if found.is_some() {
                break;
            }
            found = (header == name).then(Pairs::new);
            continue;
        }
        let Some(pairs) = &mut found else { continue };
        let Some((key, value)) = line.split_once('=') else {
            let place = format!("{}:{}", file.display(), number + 1);
            return Err(ConnectError::setting(place, "a line has no `=`", "write keyword=value"));
        };
        pairs.push((key.trim().to_owned(), value.trim().to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# ours\n[one]\nhost=a\n\n[two]\nhost = b\nport=6000\n[three]\nbroken\n";

    #[test]
    fn only_the_named_section_counts() {
        let pairs = section(TEXT, "two", Path::new("f")).unwrap().unwrap();
        assert_eq!(pairs, [("host".to_owned(), "b".to_owned()), ("port".to_owned(), "6000".to_owned())]);
    }

    #[test]
    fn a_broken_line_is_told_with_its_number() {
        let error = section(TEXT, "three", Path::new("f")).unwrap_err();
        assert!(error.to_string().starts_with("f:9: "), "{error}");
    }

    #[test]
    fn an_unknown_service_names_the_files() {
        let error = look_up("nine", &[PathBuf::from("/nowhere/pg_service.conf")]).unwrap_err();
        assert!(error.to_string().contains("/nowhere/pg_service.conf"), "{error}");
    }
}
