//! Resolves an explicit string, the environment, service and password files to one [`Target`].
//!
//! The order is libpq's: the connection string, its service, the environment, defaults. tokio-postgres reads none
//! of these by itself.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use super::ConnectError;
use super::target::{
    ChannelBinding, Endpoint, Host, Keepalive, Secret, SslMode, Target, TlsSettings, Wanted,
    local_socket_directory,
};
use super::{conninfo, keywords, passfile, service};

type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Used if no timeout is given; `connect_timeout=0` waits forever.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

impl Target {
    /// Finds out where to connect: from `url` (a URL or `key=value` pairs) if given, otherwise from DATABASE_URL;
    /// libpq's variables, service file and password file fill in what that leaves open.
    ///
    /// # Errors
    /// [`ConnectError::Setting`] for a value that cannot be used; it says where the value was read.
    pub fn resolve(url: Option<&str>, env: Env<'_>) -> Result<Self, ConnectError> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let mut settings = Settings::default();
        let from_env = env("DATABASE_URL");
        let given = match (url, &from_env) {
            (Some(url), _) => Some((url, "the connection string")),
            (None, Some(url)) => Some((url.as_str(), "DATABASE_URL")),
            (None, None) => None,
        };
        if let Some((text, place)) = given {
            settings.add(conninfo::parse(text, place)?, place)?;
        }
        settings.add_service(&env)?;
        for (keyword, variable) in keywords::variables() {
            if let Some(value) = env(variable)
                && keywords::is_ours(keyword, &value, variable)?
            {
                settings.add_one(keyword, value, variable);
            }
        }
        settings.into_target(&env)
    }
}

/// A value, and where it was read.
struct Setting {
    value: String,
    place: String,
}

impl Setting {
    fn error(&self, problem: impl Into<String>, hint: impl Into<String>) -> ConnectError {
        ConnectError::setting(&*self.place, problem, hint)
    }
}

/// The settings read so far; the first to set a keyword wins.
#[derive(Default)]
struct Settings(HashMap<String, Setting>);

impl Settings {
    fn add(&mut self, pairs: conninfo::Pairs, place: &str) -> Result<(), ConnectError> {
        // Within one string the last one wins, as in libpq.
        for (keyword, value) in pairs.into_iter().rev() {
            if keywords::is_ours(&keyword, &value, place)? {
                self.add_one(&keyword, value, &format!("{keyword} in {place}"));
            }
        }
        Ok(())
    }

    fn add_one(&mut self, keyword: &str, value: String, place: &str) {
        if !value.is_empty() {
            let setting = Setting { value, place: place.to_owned() };
            self.0.entry(keyword.to_owned()).or_insert(setting);
        }
    }

    fn add_service(&mut self, env: Env<'_>) -> Result<(), ConnectError> {
        let named = self.get("service").map(|setting| setting.value.clone());
        let Some(name) = named.or_else(|| env("PGSERVICE")) else {
            return Ok(());
        };
        let own = self
            .get("servicefile")
            .map(|setting| setting.value.clone())
            .or_else(|| env("PGSERVICEFILE"))
            .map(PathBuf::from)
            .or_else(|| in_home(env, ".pg_service.conf"));
        let system = match env("PGSYSCONFDIR") {
            Some(directory) => vec![directory],
            None => vec!["/etc/postgresql-common".to_owned(), "/etc".to_owned()],
        };
        let system = system.iter().map(|directory| PathBuf::from(directory).join("pg_service.conf"));
        let files: Vec<_> = own.into_iter().chain(system).collect();
        self.add(service::look_up(&name, &files)?, &format!("service `{name}`"))
    }

    fn get(&self, keyword: &str) -> Option<&Setting> {
        self.0.get(keyword)
    }

    fn value(&self, keyword: &str) -> Option<&str> {
        self.get(keyword).map(|setting| setting.value.as_str())
    }

    fn into_target(self, env: Env<'_>) -> Result<Target, ConnectError> {
        let user = match self.value("user") {
            Some(user) => user.to_owned(),
            None => os_user(env).ok_or_else(|| {
                ConnectError::setting("PGUSER", "the operating system has no name for the user", "set PGUSER")
            })?,
        };
        let database = self.value("dbname").unwrap_or(&user).to_owned();
        let tls = self.tls(env)?;
        let keepalive = self.keepalive()?;
        let mut target = Target {
            endpoints: self.endpoints()?,
            channel_binding: self.channel_binding()?,
            connect_timeout: self.connect_timeout()?,
            user_timeout: self.user_timeout(keepalive)?,
            keepalive,
            options: self.value("options").map(str::to_owned),
            wanted: self.wanted()?,
            password_origin: String::new(),
            password_note: String::new(),
            user,
            database,
            tls,
        };
        self.passwords(&mut target, env);
        Ok(target)
    }

    fn endpoints(&self) -> Result<Vec<Endpoint>, ConnectError> {
        let list =
            |keyword| self.value(keyword).map(|text| text.split(',').map(str::trim).collect::<Vec<_>>());
        let (hosts, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
        let count = hosts.as_ref().or(addresses.as_ref()).map_or(1, Vec::len);
        let differs = |keyword: &str, what: &str| {
            let place = self.get(keyword).map_or(keyword, |setting| setting.place.as_str());
            ConnectError::setting(
                place,
                format!("its number of {what} differs from the number of hosts"),
                "give one for each host",
            )
        };
        if addresses.as_ref().is_some_and(|addresses| addresses.len() != count) {
            return Err(differs("hostaddr", "addresses"));
        }
        if ports.as_ref().is_some_and(|ports| ports.len() != 1 && ports.len() != count) {
            return Err(differs("port", "ports"));
        }
        (0..count)
            .map(|at| {
                let pick = |list: &Option<Vec<&str>>| {
                    let text = list.as_ref().and_then(|list| list.get(at).or(list.first()).copied());
                    text.filter(|text| !text.is_empty()).map(str::to_owned)
                };
                let port = self.port(pick(&ports))?;
                let address = pick(&addresses).map(|text| self.address(&text)).transpose()?;
                let host = match (pick(&hosts), address) {
                    (Some(host), _) if host.starts_with(['/', '@']) => Host::Unix(PathBuf::from(host)),
                    (Some(host), _) => Host::Tcp(host),
                    (None, Some(address)) => Host::Tcp(address.to_string()),
                    (None, None) => local_socket_directory(port)
                        .map_or_else(|| Host::Tcp("localhost".to_owned()), Host::Unix),
                };
                Ok(Endpoint { host, address, port, password: None })
            })
            .collect()
    }

    fn port(&self, text: Option<String>) -> Result<u16, ConnectError> {
        let Some(text) = text else { return Ok(5432) };
        text.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
            self.bad("port", &format!("`{text}` is not a port"), "give a number from 1 to 65535")
        })
    }

    fn address(&self, text: &str) -> Result<std::net::IpAddr, ConnectError> {
        text.parse().map_err(|_| {
            self.bad("hostaddr", &format!("`{text}` is not an IP address"), "use host for a name")
        })
    }

    fn bad(&self, keyword: &str, problem: &str, hint: &str) -> ConnectError {
        match self.get(keyword) {
            Some(setting) => setting.error(problem, hint),
            None => ConnectError::setting(keyword, problem, hint),
        }
    }

    /// The value of `keyword`, one of `choices`.
    fn choice<T: Copy>(&self, keyword: &str, choices: &[(&str, T)], default: T) -> Result<T, ConnectError> {
        let Some(setting) = self.get(keyword) else { return Ok(default) };
        choices.iter().find(|(name, _)| *name == setting.value).map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            let problem = format!("`{}` is not a value of {keyword}", setting.value.escape_debug());
            setting.error(problem, format!("use one of {}", names.join(", ")))
        })
    }

    fn number(&self, keyword: &str) -> Result<Option<u64>, ConnectError> {
        let Some(setting) = self.get(keyword) else { return Ok(None) };
        setting.value.trim().parse().map(Some).map_err(|_| {
            let problem = format!("`{}` is not a whole number", setting.value.escape_debug());
            setting.error(problem, "give a whole number, 0 or more")
        })
    }

    fn tls(&self, env: Env<'_>) -> Result<TlsSettings, ConnectError> {
        let modes = [
            SslMode::Disable,
            SslMode::Allow,
            SslMode::Prefer,
            SslMode::Require,
            SslMode::VerifyCa,
            SslMode::VerifyFull,
        ];
        let choices = modes.map(|mode| (mode.as_str(), mode));
        let system = self.value("sslrootcert") == Some("system");
        // As in libpq: the system's roots are only worth something if the host name is checked.
        let default = if system { SslMode::VerifyFull } else { SslMode::Prefer };
        let mode = self.choice("sslmode", &choices, default)?;
        if system && mode != SslMode::VerifyFull {
            let problem = "sslrootcert=system needs sslmode=verify-full";
            return Err(self.bad("sslmode", problem, "set sslmode=verify-full"));
        }
        let existing = |name: &str| in_home(env, name).filter(|path| path.exists());
        let roots = match self.get("sslrootcert") {
            _ if system => None,
            Some(setting) => {
                let path = PathBuf::from(&setting.value);
                let needed = matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull);
                if needed && !path.exists() {
                    let problem = format!("there is no file {}", path.display());
                    return Err(setting.error(problem, "give the path of a PEM file of trusted certificates"));
                }
                Some(path).filter(|path| path.exists())
            }
            None => existing(".postgresql/root.crt"),
        };
        let certificate =
            self.value("sslcert").map(PathBuf::from).or_else(|| existing(".postgresql/postgresql.crt"));
        let key = self.value("sslkey").map(PathBuf::from).or_else(|| existing(".postgresql/postgresql.key"));
        Ok(TlsSettings { mode, roots, identity: certificate.zip(key) })
    }

    fn channel_binding(&self) -> Result<ChannelBinding, ConnectError> {
        let choices = [
            ("disable", ChannelBinding::Disable),
            ("prefer", ChannelBinding::Prefer),
            ("require", ChannelBinding::Require),
        ];
        self.choice("channel_binding", &choices, ChannelBinding::Prefer)
    }

    fn connect_timeout(&self) -> Result<Option<Duration>, ConnectError> {
        Ok(match self.number("connect_timeout")? {
            None => Some(CONNECT_TIMEOUT),
            Some(0) => None,
            // libpq also rounds 1 up: a second may be over in a moment.
            Some(seconds) => Some(Duration::from_secs(seconds.max(2))),
        })
    }

    fn keepalive(&self) -> Result<Option<Keepalive>, ConnectError> {
        if self.value("keepalives") == Some("0") {
            return Ok(None);
        }
        let mut keepalive = Keepalive::default();
        if let Some(seconds) = self.number("keepalives_idle")?.filter(|seconds| *seconds > 0) {
            keepalive.idle = Duration::from_secs(seconds);
        }
        if let Some(seconds) = self.number("keepalives_interval")?.filter(|seconds| *seconds > 0) {
            keepalive.interval = Duration::from_secs(seconds);
        }
        if let Some(count) = self.number("keepalives_count")?.filter(|count| *count > 0) {
            keepalive.count = u32::try_from(count).unwrap_or(u32::MAX);
        }
        Ok(Some(keepalive))
    }

    /// The kernel sends no keepalive probes while something that was sent is not acknowledged, and would wait for that for a
    /// quarter of an hour: by default as long as the probes would take.
    fn user_timeout(&self, keepalive: Option<Keepalive>) -> Result<Option<Duration>, ConnectError> {
        let given = self.number("tcp_user_timeout")?.filter(|milliseconds| *milliseconds > 0);
        Ok(given.map(Duration::from_millis).or(keepalive.map(Keepalive::total)))
    }

    /// A migration needs the primary, so a standby cannot be asked for.
    fn wanted(&self) -> Result<Wanted, ConnectError> {
        let choices = [("any", Wanted::Any), ("read-write", Wanted::ReadWrite), ("primary", Wanted::Primary)];
        self.choice("target_session_attrs", &choices, Wanted::Any)
    }

    fn passwords(&self, target: &mut Target, env: Env<'_>) {
        if let Some(setting) = self.get("password") {
            target.password_origin = setting.place.replace("password in ", "");
            for endpoint in &mut target.endpoints {
                endpoint.password = Some(Secret::new(setting.value.clone()));
            }
            return;
        }
        let file = self.value("passfile").map(PathBuf::from).or_else(|| in_home(env, ".pgpass"));
        let Some(file) = file else { return };
        for endpoint in &mut target.endpoints {
            match passfile::look_up(&file, endpoint, &target.database, &target.user) {
                passfile::Lookup::Found(password) => {
                    target.password_origin = file.display().to_string();
                    endpoint.password = Some(password);
                }
                passfile::Lookup::Ignored(why) => target.password_note = format!(" ({why})"),
                passfile::Lookup::Nothing => {}
            }
        }
    }
}

fn in_home(env: Env<'_>, name: &str) -> Option<PathBuf> {
    env("HOME").map(|home| PathBuf::from(home).join(name))
}

/// The effective user, as in libpq; the environment's USER if it has no account.
fn os_user(env: Env<'_>) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let account = || {
        let uid = std::fs::metadata("/proc/self").ok()?.uid().to_string();
        let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
        accounts.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == uid).then(|| name.to_owned())
        })
    };
    account().or_else(|| env("USER")).or_else(|| env("LOGNAME"))
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
