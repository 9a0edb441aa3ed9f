//! A throw-away PostgreSQL per test.
//!
//! Invariant: nothing of it outlives the test. Dropping a [`Cluster`] stops the server and
//! removes its directory; a killed test process takes its servers along.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};

use super::install::INSTALL;
use super::process::{LastSignal, bound_to_us, ended_within, must, signal, spawn};

/// How long a server may take to accept connections, crash recovery included.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// Fit for blue-green runs; a test changes what it is about.
/// `fsync` off loses nothing in a crash of the server, only in one of the machine. The program's sessions have `jit` off; so
/// have the tests' that ask the same of the catalog.
const SETTINGS: [(&str, &str); 9] = [
    ("jit", "off"),
    ("listen_addresses", "127.0.0.1"),
    ("wal_level", "logical"),
    ("max_connections", "200"),
    ("max_replication_slots", "20"),
    ("max_wal_senders", "20"),
    ("fsync", "off"),
    ("timezone", "UTC"),
    ("lc_messages", "C"),
];

/// A running server with a data directory of its own; superuser `postgres`, no password.
#[derive(Debug)]
pub struct Cluster {
    dir: PathBuf,
    port: u16,
    server: Option<Child>,
}

/// Settings of a cluster to be.
#[derive(Debug, Default)]
pub struct Builder {
    settings: Vec<(String, String)>,
    hba: Option<String>,
}

impl Builder {
    /// A setting as in postgresql.conf; the last word on a name counts.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The whole of `pg_hba.conf`; the default trusts everybody on this machine.
    pub fn hba(mut self, text: &str) -> Self {
        self.hba = Some(text.to_owned());
        self
    }

    /// Starts it; returns when it accepts connections.
    pub fn start(self) -> Cluster {
        let dir = new_directory();
        copy(&INSTALL.template(), &dir);
        let data = dir.join("data");
        if let Some(hba) = self.hba {
            fs::write(data.join("pg_hba.conf"), hba).unwrap();
        }
        let defaults = SETTINGS.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let mut conf = OpenOptions::new().append(true).open(data.join("postgresql.conf")).unwrap();
        writeln!(conf, "unix_socket_directories = '{}'", dir.display()).unwrap();
        for (name, value) in defaults.chain(self.settings) {
            writeln!(conf, "{name} = '{}'", value.replace('\'', "''")).unwrap();
        }
        let mut cluster = Cluster { dir, port: 0, server: None };
        cluster.start_on_a_free_port();
        cluster
    }
}

impl Cluster {
    /// A server with the defaults.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A server with settings of its own.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A connection URI.
    pub fn url(&self, db: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{db}", self.port)
    }

    /// A standby that follows this server.
    pub fn standby(&self) -> Self {
        let dir = new_directory();
        let mut mkdir = INSTALL.as_owner();
        mkdir.arg("mkdir").arg(&dir);
        must(mkdir);
        self.back_up(&dir);
        File::create(dir.join("log")).unwrap();
        let mut conf = OpenOptions::new().append(true).open(dir.join("data/postgresql.conf")).unwrap();
        writeln!(conf, "unix_socket_directories = '{}'", dir.display()).unwrap();
        let mut standby = Self { dir, port: 0, server: None };
        standby.start_on_a_free_port();
        standby
    }

    /// Copies the data directory of the running server, as that of a standby, to `dir`. By psql, because pg_basebackup has to
    /// be of the server's version, and the packages of other majors lack it.
    fn back_up(&self, dir: &Path) {
        let (from, to) = (self.data().display().to_string(), dir.join("data").display().to_string());
        let conninfo = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", self.port);
        let script = format!(
            "select current_setting('server_version_num')::int < 150000 as old \\gset
             \\if :old
             select pg_start_backup('standby', true, false) \\g /dev/null
             \\else
             select pg_backup_start('standby', true) \\g /dev/null
             \\endif
             \\! cp -a '{from}' '{to}' && cd '{to}' && rm postmaster.pid && touch standby.signal
             \\! echo \"primary_conninfo = '{conninfo}'\" >> '{to}/postgresql.auto.conf'
             \\o '{to}/backup_label'
             \\if :old
             select labelfile from pg_stop_backup(false);
             \\else
             select labelfile from pg_backup_stop(false);
             \\endif"
        );
        let mut psql = INSTALL.as_owner();
        psql.arg(INSTALL.client("psql")).args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
        let file = dir.join("back_up.sql");
        fs::write(&file, script).unwrap();
        psql.args(["-d", &self.url("postgres"), "-f"]).arg(file);
        must(psql);
    }

    /// Whether it is of an earlier version than this major one.
    pub fn is_before(&self, major: u32) -> bool {
        let version: u32 = self.psql("postgres", "show server_version_num").trim().parse().unwrap();
        version < major * 10_000
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same connection as libpq's environment variables.
    pub fn env(&self, db: &str) -> Vec<(&'static str, String)> {
        vec![
            ("PGHOST", "127.0.0.1".to_owned()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", "postgres".to_owned()),
            ("PGDATABASE", db.to_owned()),
            ("PGSSLMODE", "disable".to_owned()),
        ]
    }

    /// The directory of its socket.
    pub fn socket_directory(&self) -> &Path {
        &self.dir
    }

    /// A connection over TCP; its errors surface in the calls that use it.
    pub async fn client(&self, db: &str) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url(db), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Runs SQL through psql, stopping at the first error; gives the unaligned rows.
    pub fn psql(&self, db: &str, sql: &str) -> String {
        let mut psql = self.client_program("psql", db);
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        must(psql)
    }

    /// Creates a database and gives its name back.
    pub fn create_db<'a>(&self, db: &'a str) -> &'a str {
        self.psql("postgres", &format!("create database \"{db}\""));
        db
    }

    /// A dump without what differs between two dumps of the same state: versions, random tokens.
    pub fn pg_dump(&self, db: &str, args: &[&str]) -> String {
        let mut pg_dump = self.client_program("pg_dump", db);
        pg_dump.args(args);
        let noise =
            ["\\restrict ", "\\unrestrict ", "-- Dumped from ", "-- Dumped by ", "SET transaction_timeout "];
        must(pg_dump)
            .lines()
            .filter(|line| !noise.iter().any(|prefix| line.starts_with(prefix)))
            .map(|line| format!("{line}\n"))
            .collect()
    }

    /// All that the server has logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.join("log")).unwrap()).into_owned()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The server dies as if the kernel had killed all of its processes at once.
    pub fn kill9(&mut self) {
        let mut server = self.server.take().expect("the server runs");
        let children = children_of(server.id());
        server.kill().unwrap();
        for pid in children {
            let kill = format!("kill -KILL {pid} 2>/dev/null");
            let _ = Command::new("sh").args(["-c", &kill]).status();
        }
        server.wait().unwrap();
    }

    /// What `pg_ctl stop -m immediate` does: every process ends at once, and the next start recovers.
    pub fn stop_immediately(&mut self) {
        let mut server = self.server.take().expect("the server runs");
        signal(&server, "QUIT");
        assert!(ended_within(&mut server, START_PATIENCE), "no end:\n{}", self.log());
    }

    /// A directory for a tablespace, on a disk of its own with this many MiB; none where we may not mount.
    pub fn small_disk(&self, mebibytes: u32) -> Option<PathBuf> {
        let disk = self.dir.join(SMALL_DISK);
        let owner = INSTALL.owner?;
        fs::create_dir(&disk).unwrap();
        let options = format!("size={mebibytes}m,mode=700,uid={owner}");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&disk).status();
        mount.is_ok_and(|status| status.success()).then_some(disk)
    }

    /// Lets nobody in any more, and ends when the last one has left.
    pub fn shut_down_smartly(&self) {
        let server = self.server.as_ref().expect("the server runs");
        signal(server, "TERM");
        let until = Instant::now() + START_PATIENCE;
        // Without a client it may be gone before the first look.
        let runs = || self.data().join("postmaster.pid").exists();
        while runs() && !is_in_state(&self.data(), server.id(), "stopping") {
            assert!(Instant::now() < until, "it does not shut down:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts it again on the same port: after a kill, or by a fast shutdown first.
    pub fn restart(&mut self) {
        if let Some(mut server) = self.server.take() {
            signal(&server, "INT");
            assert!(ended_within(&mut server, START_PATIENCE), "no shutdown:\n{}", self.log());
        }
        let until = Instant::now() + START_PATIENCE;
        // Just after a kill, the old processes may still hold shared memory or the port.
        while !self.try_start() {
            assert!(Instant::now() < until, "no start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The path of `psql` or another client program.
    pub fn client_path(&self, program: &str) -> PathBuf {
        INSTALL.client(program)
    }

    fn client_program(&self, program: &str, db: &str) -> Command {
        let mut command = Command::new(INSTALL.client(program));
        command.envs(self.env(db)).stdin(Stdio::null());
        command
    }

    fn start_on_a_free_port(&mut self) {
        for _ in 0..10 {
            // Free now; another process may be faster, hence the attempts.
            self.port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
            if self.try_start() {
                return;
            }
        }
        panic!("no start:\n{}", self.log());
    }

    fn try_start(&mut self) -> bool {
        let log = OpenOptions::new().create(true).append(true).open(self.dir.join("log")).unwrap();
        let mut postgres = bound_to_us(INSTALL.owner, LastSignal::Quit);
        postgres
            .arg(INSTALL.server("postgres"))
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string()])
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        // Kept at once, so that a panic from here on stops it too.
        let server = self.server.insert(spawn(postgres));
        let until = Instant::now() + START_PATIENCE;
        while Instant::now() < until {
            if server.try_wait().unwrap().is_some() {
                self.server = None;
                return false;
            }
            if is_in_state(&self.dir.join("data"), server.id(), "ready") {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("not ready after {START_PATIENCE:?}:\n{}", self.log());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            signal(&server, "QUIT");
            if !ended_within(&mut server, Duration::from_secs(10)) {
                let _ = server.kill();
                let _ = server.wait();
            }
        }
        remove(&self.dir);
    }
}

/// Where [`Cluster::small_disk`] is mounted.
const SMALL_DISK: &str = "small_disk";

/// Removes a cluster's directory and what is mounted in it.
pub(super) fn remove(dir: &Path) {
    let disk = dir.join(SMALL_DISK);
    if disk.exists() {
        let _ = Command::new("umount").arg("--lazy").arg(&disk).stderr(Stdio::null()).status();
    }
    let _ = fs::remove_dir_all(dir);
}

/// What `pg_ctl` looks at too: the eighth line of the pid file that this very server wrote.
fn is_in_state(data: &Path, pid: u32, wanted: &str) -> bool {
    let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let mut lines = text.lines();
    lines.next() == Some(pid.to_string().as_str()) && lines.nth(6).is_some_and(|state| state.trim() == wanted)
}

fn children_of(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn new_directory() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    INSTALL.base.join(format!("c-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
}

fn copy(template: &Path, dir: &Path) {
    let mut mkdir = INSTALL.as_owner();
    mkdir.arg("mkdir").arg(dir);
    must(mkdir);
    let mut cp = INSTALL.as_owner();
    cp.args(["cp", "-a", "--reflink=auto"]).arg(template).arg(dir.join("data"));
    must(cp);
    File::create(dir.join("log")).unwrap();
}
