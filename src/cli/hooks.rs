//! The plan's hooks: commands that get what happens at the end of each phase, for chat and paging.
//!
//! Invariant: a hook holds up nothing. It is started and given one line of JSON on its standard input; whether it succeeds
//! does not matter to the run, and is reported once. Only the end of the program waits for it, and no longer than [`LIMIT`].

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::AsyncWriteExt as _;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::error::Error;
use crate::event::{Event, Reporter, line};
use crate::group::Group;

/// How long a hook may take before it is killed, with everything that it started.
const LIMIT: Duration = Duration::from_secs(10);

/// Reports to another reporter, and starts the hooks.
pub(super) struct Hooked {
    reporter: Arc<dyn Reporter>,
    /// The hooks of the plan, once it is read.
    hooks: OnceLock<Vec<Vec<String>>>,
    /// The run's short id, once it is known.
    run: Mutex<Option<String>>,
    /// The hooks that run; each ends with what there is to say about it, if nobody was told.
    running: Mutex<JoinSet<Option<String>>>,
    /// What was reported of hooks that do not do what they are for.
    reported: Arc<Mutex<BTreeSet<String>>>,
    /// Whether the last event was reported.
    has_ended: Arc<AtomicBool>,
}

impl Hooked {
    pub(super) fn new(reporter: Arc<dyn Reporter>) -> Self {
        Self {
            reporter,
            hooks: OnceLock::new(),
            run: Mutex::default(),
            running: Mutex::default(),
            reported: Arc::default(),
            has_ended: Arc::default(),
        }
    }

    /// Starts these from now on.
    pub(super) fn call(&self, hooks: &[Vec<String>]) {
        // The command has one plan.
        let _ = self.hooks.set(hooks.to_vec());
    }

    /// Waits for the hooks that still run; what there is to say about them.
    pub(super) async fn end(&self) -> Vec<String> {
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        running.join_all().await.into_iter().flatten().collect()
    }

    /// Kills the hooks that still run.
    pub(super) async fn kill(&self) {
        let mut running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        running.shutdown().await;
    }

    fn start_all(&self, event: &Event) {
        let known = self.run.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(hooks) = self.hooks.get().filter(|hooks| !hooks.is_empty()) else { return };
        let (Ok(line), Ok(runtime)) =
            (line::json(event, Timestamp::now(), known.as_deref()), Handle::try_current())
        else {
            return;
        };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have ended are forgotten.
        while running.try_join_next().is_some() {}
        for (number, hook) in (1..).zip(hooks) {
            let work = carry_out(number, hook.clone(), format!("{line}\n"));
            let (reporter, has_ended) = (Arc::clone(&self.reporter), Arc::clone(&self.has_ended));
            let reported = Arc::clone(&self.reported);
            let told = async move {
                let text = work.await?;
                if !reported.lock().unwrap_or_else(PoisonError::into_inner).insert(text.clone()) {
                    return None;
                }
                // The state of the tables is the last that is reported.
                if has_ended.load(Ordering::Acquire) {
                    return Some(text);
                }
                reporter.tell(&Event::Notice { text });
                None
            };
            running.spawn_on(told, &runtime);
        }
    }
}

impl Reporter for Hooked {
    fn tell(&self, event: &Event) {
        if let Event::End { .. } = event {
            self.has_ended.store(true, Ordering::Release);
        }
        self.reporter.tell(event);
        match event {
            Event::Run { run, .. } => self.about(run),
            Event::PhaseDone { .. }
            | Event::Swapped { .. }
            | Event::Gate { why: Some(_), .. }
            | Event::End { .. } => self.start_all(event),
            _ => {}
        }
    }

    fn failed(&self, error: &Error) {
        self.reporter.failed(error);
        let (message, hint, code) = (error.to_string(), error.hint(), error.exit_code());
        self.start_all(&Event::Error { message, hint, code });
    }

    fn about(&self, run: &str) {
        self.reporter.about(run);
        *self.run.lock().unwrap_or_else(PoisonError::into_inner) = Some(run.to_owned());
    }
}

/// Carries out one hook, by its number in the plan; what is wrong with it, if anything. Its arguments may be secrets.
async fn carry_out(number: u32, hook: Vec<String>, line: String) -> Option<String> {
    let hook_is = format!("hook {number}, {},", hook.first().map_or("", String::as_str));
    let work = async {
        let mut group = Group::start(&hook, Stdio::piped())?;
        if let Some(mut stdin) = group.stdin() {
            // A hook need not read it.
            let _ = stdin.write_all(line.as_bytes()).await;
        }
        group.wait().await
    };
    match tokio::time::timeout(LIMIT, work).await {
        Ok(Ok(status)) if status.success() => None,
        Ok(Ok(status)) => Some(format!("{hook_is} ended with {status}")),
        Ok(Err(error)) => Some(format!("{hook_is} could not be started: {error}")),
        Err(_) => Some(format!(
            "{hook_is} did not end within {} s, and was killed with all that it started",
            LIMIT.as_secs()
        )),
    }
}
