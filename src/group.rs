//! A command of the plan, with everything that it starts: its process group.

use std::io;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStdin, Command};

/// A command that runs. Dropping it kills its process group, unless the command has ended by itself.
pub(crate) struct Group {
    child: Child,
    has_ended: bool,
}

impl Group {
    /// Starts a command, whose output goes nowhere: it may be about rows. `words` are the program and its arguments.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start(words: &[String], stdin: Stdio) -> io::Result<Self> {
        let Some((program, arguments)) = words.split_first() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program"));
        };
        let mut command = Command::new(program);
        command.args(arguments).process_group(0);
        command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::null());
        crate::phi::without_keys(command.as_std_mut());
        Ok(Self { child: command.spawn()?, has_ended: false })
    }

    /// Its standard input, once, if that is a pipe.
    pub(crate) fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If the system does not report it.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.has_ended = true;
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its number is its own until it has been waited for.
        let id = self.child.id().filter(|_| !self.has_ended).and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(Pid::from_raw) {
            // An error means that nobody is left in it.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
