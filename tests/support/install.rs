//! The PostgreSQL that is installed here, and a template of a fresh data directory.
//!
//! Invariant: a template is complete or absent. It is made under a file lock and renamed
//! into place, so that test processes side by side make it once.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use super::process::{as_user, must};

/// Longest base directory under which a cluster's socket path still fits into the kernel's 107 bytes.
const BASE_BYTES_MAX: usize = 70;

/// Found once per process.
pub static INSTALL: LazyLock<Install> = LazyLock::new(Install::find);

/// Binaries, the user to run servers as, and where clusters go.
#[derive(Debug)]
pub struct Install {
    /// Holds `initdb` and `postgres`.
    server_bin: PathBuf,
    /// Holds `psql` and `pg_dump`; packages of bare server binaries lack them.
    client_bin: PathBuf,
    /// `postgres` when we are root, whom PostgreSQL refuses to serve.
    pub owner: Option<&'static str>,
    /// Templates and clusters; `owner` can write here.
    pub base: PathBuf,
}

impl Install {
    fn find() -> Self {
        let server_bin = find_bin("initdb");
        let client_bin =
            if server_bin.join("psql").exists() { server_bin.clone() } else { debian_bin_or_path("psql") };
        let owner = is_root().then_some("postgres");
        let base = find_base(owner);
        remove_what_dead_processes_left(&base);
        Self { server_bin, client_bin, owner, base }
    }

    /// The path of a server program.
    pub fn server(&self, program: &str) -> PathBuf {
        self.server_bin.join(program)
    }

    /// The path of a client program. A `pg_dump` reads no servers that are newer than itself: `PROJH_PG_DUMP` is one that does.
    pub fn client(&self, program: &str) -> PathBuf {
        let given = std::env::var_os("PROJH_PG_DUMP").filter(|_| program == "pg_dump");
        given.map_or_else(|| self.client_bin.join(program), PathBuf::from)
    }

    /// A command that runs as the owner of the servers, in a directory that it can enter.
    pub fn as_owner(&self) -> Command {
        let mut command = as_user(self.owner);
        command.current_dir(&self.base);
        command
    }

    /// A data directory fresh from `initdb`, to be copied; made if this version has none yet.
    pub fn template(&self) -> PathBuf {
        let mut ask = Command::new(self.server("postgres"));
        ask.arg("--version");
        let version: String =
            must(ask).chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' }).collect();
        let template = self.base.join(format!("template-{}", version.trim_matches('_')));
        if template.exists() {
            return template;
        }
        let lock = File::create(self.base.join("template.lock")).unwrap();
        lock.lock().unwrap();
        if !template.exists() {
            let unfinished = self.base.join("template.unfinished");
            let _ = fs::remove_dir_all(&unfinished);
            let mut initdb = self.as_owner();
            initdb
                .arg(self.server("initdb"))
                .args(["--no-sync", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"])
                .arg("--pgdata")
                .arg(&unfinished);
            must(initdb);
            fs::rename(&unfinished, &template).unwrap();
        }
        template
    }
}

fn find_bin(program: &str) -> PathBuf {
    match std::env::var_os("PROJH_PG_BIN") {
        Some(bin) => {
            let bin = PathBuf::from(bin);
            assert!(bin.join(program).exists(), "PROJH_PG_BIN={} holds no {program}", bin.display());
            bin
        }
        None => debian_bin_or_path(program),
    }
}

fn debian_bin_or_path(program: &str) -> PathBuf {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(|entry| {
        let path = entry.ok()?.path();
        let major: u32 = path.file_name()?.to_str()?.parse().ok()?;
        path.join("bin").join(program).exists().then_some((major, path.join("bin")))
    });
    if let Some((_, bin)) = debian.max() {
        return bin;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .find(|dir| dir.join(program).exists())
        .unwrap_or_else(|| panic!("no {program} found: install PostgreSQL or set PROJH_PG_BIN"))
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Where `PROJH_PG_DIR` says; else under cargo's target directory, so that `cargo clean` cleans it; under /tmp where the
/// servers' user cannot get there, or where the path is too long for a socket.
fn find_base(owner: Option<&str>) -> PathBuf {
    if let Some(dir) = std::env::var_os("PROJH_PG_DIR") {
        let dir = PathBuf::from(dir);
        assert!(made_writable(&dir, owner), "PROJH_PG_DIR={} is not writable", dir.display());
        return dir;
    }
    let near = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pg");
    if near.as_os_str().len() <= BASE_BYTES_MAX && made_writable(&near, owner) {
        return near;
    }
    let far = std::env::temp_dir().join("projh-bluegreen-pg");
    assert!(made_writable(&far, owner), "{} is not writable", far.display());
    far
}

fn made_writable(base: &Path, owner: Option<&str>) -> bool {
    if fs::create_dir_all(base).is_err() {
        return false;
    }
    if let Some(owner) = owner {
        let mut chown = Command::new("chown");
        chown.arg(format!("{owner}:")).arg(base);
        must(chown);
    }
    let mut probe = as_user(owner);
    probe.args(["test", "-w"]).arg(base).current_dir("/").stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

/// Clusters are named `c-<pid>-<n>`; those of processes that were killed are still there.
fn remove_what_dead_processes_left(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("c-")?.split_once('-')).map(|(pid, _)| pid);
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            super::cluster::remove(&entry.path());
        }
    }
}
