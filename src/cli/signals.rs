//! Ctrl-C and SIGTERM. The first stops after the work in hand, the second at once; the run can be resumed in both
//! cases.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::Command;
use super::hooks::Hooked;
use crate::error::Error;
use crate::event::{Event, Reporter};

/// A receiver that becomes true at the first signal. The handlers are installed when this returns.
///
/// # Errors
/// If the handlers cannot be installed.
pub(super) fn watch(
    command: &Command,
    reporter: Arc<dyn Reporter>,
    hooked: Arc<Hooked>,
) -> io::Result<watch::Receiver<bool>> {
    let (told, seen) = watch::channel(false);
    let mut signals =
        Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? };
    // Without work in hand there is nothing to announce.
    let works = matches!(
        command,
        Command::Execute { dry_run: false, .. }
            | Command::Rollback { .. }
            | Command::Swap { .. }
            | Command::Verify { .. }
            | Command::Finish { .. }
    );
    tokio::spawn(async move {
        signals.next().await;
        if works {
            let text = "stopping after the work in hand; a second signal stops at once".to_owned();
            reporter.tell(&Event::Notice { text });
        }
        told.send_replace(true);
        signals.next().await;
        let code = Error::Interrupted.exit_code();
        let state =
            "stopped at once, perhaps within a step; the journal holds the state of the tables".to_owned();
        let next = Some("projh-bluegreen status, then the same command again".to_owned());
        reporter.tell(&Event::End { code, state, next });
        hooked.kill().await;
        std::process::exit(i32::from(u8::from(code)));
    });
    Ok(seen)
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
