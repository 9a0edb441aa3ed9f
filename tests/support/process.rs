//! Child processes that cannot outlive the test process, however it ends.
//!
//! The kernel sends the parent-death signal when the *thread* that made the child ends, and
//! threads of tests and of tokio come and go. So one thread that lives as long as the
//! process makes all of them.

use std::io;
use std::process::{Child, Command};
use std::sync::{LazyLock, Mutex, mpsc};
use std::time::{Duration, Instant};

type Request = (Command, mpsc::Sender<io::Result<Child>>);

static MAKER: LazyLock<Mutex<mpsc::Sender<Request>>> = LazyLock::new(|| {
    let (requests, inbox) = mpsc::channel::<Request>();
    std::thread::spawn(move || {
        for (mut command, answer) in inbox {
            // The asker is gone only if its test has panicked; the child then ends with us.
            let _ = answer.send(command.spawn());
        }
    });
    Mutex::new(requests)
});

/// What a child gets when we die.
#[derive(Clone, Copy, Debug)]
pub enum LastSignal {
    /// PostgreSQL's immediate shutdown.
    Quit,
    /// No chance to react.
    Kill,
}

/// A command that replaces itself by `program` (same pid), bound to our life, as user `owner` if any.
pub fn bound_to_us(owner: Option<&str>, last: LastSignal) -> Command {
    let mut command = as_user(owner);
    command.arg("--pdeathsig").arg(match last {
        LastSignal::Quit => "QUIT",
        LastSignal::Kill => "KILL",
    });
    command
}

/// `setpriv`, ready to be given a program: as user `owner`, or as ourselves.
pub fn as_user(owner: Option<&str>) -> Command {
    let mut command = Command::new("setpriv");
    if let Some(owner) = owner {
        command.args(["--reuid", owner, "--regid", owner, "--init-groups"]);
    }
    command
}

/// Starts a command from the thread that never ends.
pub fn spawn(command: Command) -> Child {
    let what = format!("{command:?}");
    let (answer, child) = mpsc::channel();
    MAKER.lock().unwrap().send((command, answer)).unwrap();
    child.recv().unwrap().unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// Sends a signal (`QUIT`, `INT`, ...) to a child that has not been waited for.
pub fn signal(child: &Child, signal: &str) {
    // The shell's own `kill`: no package has to be installed for it. A child that has just ended is fine.
    let _ = Command::new("sh").args(["-c", &format!("kill -{signal} {} 2>/dev/null", child.id())]).status();
}

/// Waits until a child has ended; false if it has not by then.
pub fn ended_within(child: &mut Child, patience: Duration) -> bool {
    let until = Instant::now() + patience;
    loop {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a command to its end; a failure is a panic with all that it said.
pub fn must(mut command: Command) -> String {
    let what = format!("{command:?}");
    let output = command.output().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(
        output.status.success(),
        "{what}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
