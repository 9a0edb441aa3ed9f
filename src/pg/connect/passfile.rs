//! The password file (`~/.pgpass`): `host:port:database:user:password`, first match wins.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::target::{Endpoint, Secret};

/// The result of a look-up in the password file.
pub(super) enum Lookup {
    /// The password of the first line that matches.
    Found(Secret),
    /// There is no file, or no line that matches.
    Nothing,
    /// There is a file that libpq would not use either; the text says why.
    Ignored(String),
}

/// Looks up the password of `user` for `database` at `endpoint`.
pub(super) fn look_up(path: &Path, endpoint: &Endpoint, database: &str, user: &str) -> Lookup {
    let Ok(metadata) = std::fs::metadata(path) else {
        return Lookup::Nothing;
    };
    if !metadata.is_file() {
        return Lookup::Ignored(format!("{} is not a plain file", path.display()));
    }
    if metadata.mode() & 0o077 != 0 {
        let path = path.display();
        return Lookup::Ignored(format!("{path} was ignored, because others may read it: chmod 600 {path}"));
    }
    match std::fs::read_to_string(path) {
        Ok(text) => find(&text, &endpoint.names_in_passfile(), endpoint.port, database, user)
            .map_or(Lookup::Nothing, |password| Lookup::Found(Secret::new(password))),
        Err(error) => Lookup::Ignored(format!("{} cannot be read: {error}", path.display())),
    }
}

fn find(text: &str, hosts: &[String], port: u16, database: &str, user: &str) -> Option<String> {
    let port = port.to_string();
    let fits = |field: &str, value: &str| field == "*" || unescape(field) == value;
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = split(line);
        let [host, at, name, role, password, ..] = fields.as_slice() else {
            return None;
        };
        let hit = hosts.iter().any(|candidate| fits(host, candidate))
            && fits(at, &port)
            && fits(name, database)
            && fits(role, user);
        (hit && !password.is_empty()).then(|| unescape(password))
    })
}

/// Splits at colons that are not escaped by a backslash; the escapes remain.
fn split(line: &str) -> Vec<&str> {
    let mut fields = Vec::new();
    let (mut start, mut protected) = (0, false);
    for (at, c) in line.char_indices() {
        match c {
            _ if protected => protected = false,
            '\\' => protected = true,
            ':' => {
                fields.push(&line[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    fields.push(&line[start..]);
    fields
}

fn unescape(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        text.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn password(text: &str, host: &str, database: &str) -> Option<String> {
        find(text, &[host.to_owned()], 5432, database, "ann")
    }

    #[test]
    fn the_first_line_that_fits_wins() {
        let text = "# a comment\nother:*:*:*:no\nh:5432:db:ann:first\n*:*:*:*:last";
        assert_eq!(password(text, "h", "db").as_deref(), Some("first"));
        assert_eq!(password(text, "h", "db2").as_deref(), Some("last"));
        assert_eq!(password("h:5432:db:ann:x", "h2", "db"), None);
    }

    #[test]
    fn a_backslash_protects_colons_and_itself() {
        assert_eq!(password(r"\:\:1:*:*:*:a\:b\\c", "::1", "db").as_deref(), Some(r"a:b\c"));
        assert_eq!(password(r"h:*:my\:db:*:x", "h", "my:db").as_deref(), Some("x"));
        assert_eq!(password(r"h:*:\*:*:x", "h", "db"), None, "an escaped star is a star");
    }

    #[test]
    fn short_lines_and_empty_passwords_are_no_match() {
        assert_eq!(password("h:5432:db:ann\nh:5432:db:ann:", "h", "db"), None);
    }

    #[test]
    fn a_file_that_others_can_read_is_ignored_with_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pgpass");
        std::fs::write(&path, "*:*:*:*:sesame\n").unwrap();
        let endpoint = Endpoint::tcp("h", 5432);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        match look_up(&path, &endpoint, "db", "ann") {
            Lookup::Ignored(why) => assert!(why.contains("chmod 600"), "{why}"),
            _ => panic!("a readable password file was used"),
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(look_up(&path, &endpoint, "db", "ann"), Lookup::Found(_)));
    }
}
