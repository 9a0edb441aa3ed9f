//! Parses a connection string, `postgres://...` or `key=value ...`, as libpq does.
//!
//! Invariant: a message about a bad string never quotes the string, which may hold a password.

use super::ConnectError;

/// Keywords with their values, in the order of the string.
pub(super) type Pairs = Vec<(String, String)>;

/// Parses a connection string. `place` names its origin in errors.
pub(super) fn parse(text: &str, place: &str) -> Result<Pairs, ConnectError> {
    let text = text.trim();
    let url = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
    match url {
        Some(rest) => parse_url(rest),
        None if text.contains("://") => Err("its URL scheme is unknown".to_owned()),
        None => parse_pairs(text),
    }
    .map_err(|problem| {
        ConnectError::setting(
            place,
            problem,
            "write postgres://user@host:5432/database?sslmode=require or host=... dbname=... user=...",
        )
    })
}

fn parse_url(rest: &str) -> Result<Pairs, String> {
    let (main, query) = match rest.split_once('?') {
        Some((main, query)) => (main, Some(query)),
        None => (rest, None),
    };
    let (authority, database) = match main.split_once('/') {
        Some((authority, database)) => (authority, Some(database)),
        None => (main, None),
    };
    let (userinfo, hosts) = match authority.rsplit_once('@') {
        Some((userinfo, hosts)) => (Some(userinfo), hosts),
        // A `/` or `?` in a password ends the authority: what follows must not be shown as a name.
        None if rest.contains('@') && authority.contains(':') => return Err(ENCODE.to_owned()),
        None => (None, authority),
    };
    let mut pairs = Pairs::new();
    if let Some(userinfo) = userinfo {
        let (user, password) = match userinfo.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (userinfo, None),
        };
        push(&mut pairs, "user", decode(user)?);
        if let Some(password) = password {
            push(&mut pairs, "password", decode(password)?);
        }
    }
    let (hosts, ports) = split_hosts(hosts)?;
    push(&mut pairs, "host", hosts);
    push(&mut pairs, "port", ports);
    if let Some(database) = database {
        push(&mut pairs, "dbname", decode(database)?);
    }
    for parameter in query.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
        let (key, value) = parameter.split_once('=').ok_or("a URL parameter has no `=`")?;
        let (key, value) = (decode(key)?, decode(value)?);
        // The one alias that libpq knows, for JDBC URLs.
        if key == "ssl" && value == "true" {
            push(&mut pairs, "sslmode", "require".to_owned());
        } else {
            pairs.push((key, value));
        }
    }
    Ok(pairs)
}

const ENCODE: &str =
    "a user or password contains one of `@ : / ? #`, which must be written %40 %3A %2F %3F %23";

/// `a:1,[::1]:2,c` to `a,::1,c` and `1,2,`.
fn split_hosts(text: &str) -> Result<(String, String), String> {
    let mut hosts = Vec::new();
    let mut ports = Vec::new();
    for part in text.split(',') {
        let (host, port) = if let Some(v6) = part.strip_prefix('[') {
            let (host, rest) = v6.split_once(']').ok_or("an IPv6 address lacks its `]`")?;
            match rest.strip_prefix(':') {
                Some(port) => (host, port),
                None if rest.is_empty() => (host, ""),
                None => return Err("only `:port` may follow the `]` of an IPv6 address".to_owned()),
            }
        } else {
            part.split_once(':').unwrap_or((part, ""))
        };
        if port.contains(':') {
            return Err("an IPv6 address must stand in brackets, as in [::1]:5432".to_owned());
        }
        let port = decode(port)?;
        if !port.chars().all(|c| c.is_ascii_digit()) {
            // Not shown: it may be the rest of a password.
            return Err(format!("a port is not a number; or {ENCODE}"));
        }
        hosts.push(decode(host)?);
        ports.push(port);
    }
    let ports = if ports.iter().all(String::is_empty) { String::new() } else { ports.join(",") };
    Ok((hosts.join(","), ports))
}

fn push(pairs: &mut Pairs, key: &str, value: String) {
    if !value.is_empty() {
        pairs.push((key.to_owned(), value));
    }
}

/// Decodes `%20`. A `+` stays a `+`, as in libpq.
fn decode(text: &str) -> Result<String, String> {
    if !text.contains('%') {
        return Ok(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = tail;
            continue;
        }
        let byte = match tail {
            [high, low, ..] => std::str::from_utf8(&[*high, *low])
                .ok()
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                .filter(|byte| *byte != 0),
            _ => None,
        };
        bytes.push(byte.ok_or("a `%` is not followed by two hexadecimal digits (write %25 for `%`)")?);
        rest = tail.get(2..).unwrap_or_default();
    }
    String::from_utf8(bytes).map_err(|_| "the %-codes do not decode to UTF-8".to_owned())
}

/// Parses `key = value` and `key='a \'quoted\' value'`; a backslash escapes the next character.
fn parse_pairs(text: &str) -> Result<Pairs, String> {
    let mut pairs = Pairs::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(pairs);
        }
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !c.is_whitespace()) {
            key.push(c);
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.next() != Some('=') {
            return Err("a keyword is not followed by `=`".to_owned());
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let quoted = chars.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match chars.next() {
                Some('\\') => value.extend(chars.next()),
                Some('\'') if quoted => break,
                Some(c) if !quoted && c.is_whitespace() => break,
                Some(c) => value.push(c),
                None if quoted => return Err("a quoted value lacks its closing quote".to_owned()),
                None => break,
            }
        }
        pairs.push((key, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<(String, String)> {
        parse(text, "test").unwrap()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_url_is_taken_apart_and_decoded() {
        assert_eq!(
            parsed(
                "postgresql://a%40b:p%3A%2F@db.example:6000/my%20db?sslmode=verify-full&options=-c%20a%3Db"
            ),
            pairs(&[
                ("user", "a@b"),
                ("password", "p:/"),
                ("host", "db.example"),
                ("port", "6000"),
                ("dbname", "my db"),
                ("sslmode", "verify-full"),
                ("options", "-c a=b"),
            ])
        );
    }

    #[test]
    fn a_url_may_leave_out_almost_everything() {
        assert_eq!(parsed("postgres://"), pairs(&[]));
        assert_eq!(parsed("postgres:///db?host=/tmp"), pairs(&[("dbname", "db"), ("host", "/tmp")]));
        assert_eq!(parsed("postgres://h?ssl=true"), pairs(&[("host", "h"), ("sslmode", "require")]));
    }

    #[test]
    fn a_url_takes_ipv6_socket_directories_and_lists() {
        assert_eq!(
            parsed("postgres://u@[::1]:5433,%2Fvar%2Frun,c/d"),
            pairs(&[("user", "u"), ("host", "::1,/var/run,c"), ("port", "5433,,"), ("dbname", "d")])
        );
    }

    #[test]
    fn pairs_know_quotes_and_backslashes() {
        assert_eq!(
            parsed(r"host = h  password='it\'s \\ mine' dbname='' user=a\ b"),
            pairs(&[("host", "h"), ("password", r"it's \ mine"), ("dbname", ""), ("user", "a b")])
        );
    }

    #[test]
    fn a_broken_string_is_refused_without_being_quoted() {
        for text in [
            "postgres://u:sesame@[::1/db",
            "postgres://u:sesame@::1/db",
            "postgres://u:sesame%zz@h/db",
            "postgres://u:sesame@h/db?nothing",
            "postgres://u:sesame%0",
            "postgres://u:x@h:sesame/db",
            "postgres://u:a/sesame@h:5432/db",
            "postgres://u:1/sesame@h/db",
            "postgres://u:a?sesame=@h/db",
            "postgres://u:p@a:sesame/x@h/db",
            "mysql://u:sesame@h/db",
            "password='sesame",
            "sesame",
        ] {
            let error = parse(text, "DATABASE_URL").unwrap_err();
            assert!(error.to_string().starts_with("DATABASE_URL: "), "{error}");
            assert!(!format!("{error} {error:?}").contains("sesame"), "{text}");
        }
    }
}
