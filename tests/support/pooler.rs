//! A PgBouncer in front of a cluster.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::cluster::Cluster;
use super::install::INSTALL;
use super::process::{LastSignal, bound_to_us, spawn};

/// Stopped when it is dropped.
#[derive(Debug)]
pub struct Pooler {
    port: u16,
    child: Child,
    _dir: TempDir,
}

impl Pooler {
    /// Starts one with this `pool_mode`, and lines of its own in the configuration.
    pub fn start(cluster: &Cluster, mode: &str, lines: &str) -> Self {
        let program =
            ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].into_iter().find(|at| Path::new(at).exists());
        let program = program.expect("PgBouncer is not installed; scripts/test installs it");
        let dir = TempDir::new().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let config = dir.path().join("pgbouncer.ini");
        // Free now; the only other clients of this machine's ports are tests like this one.
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\n{lines}\n",
            cluster.port()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = bound_to_us(INSTALL.owner, LastSignal::Kill);
        command.arg(program).arg("-q").arg(&config).current_dir("/").stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let pooler = Self { port, child: spawn(command), _dir: dir };
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "PgBouncer does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        pooler
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
