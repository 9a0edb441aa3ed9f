//! The built program, run as a user would: a plan in a file, libpq's variables, `--json`.
//!
//! Invariant: no program outlives its test; a dropped [`Running`] is killed.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::cluster::Cluster;
use super::contract::expect_documented;
use super::process::{LastSignal, bound_to_us, signal, spawn};
use super::waiting::notice;

/// Longest run of the program in any test.
const PATIENCE: Duration = Duration::from_secs(300);

/// A plan and where to run it.
#[derive(Debug)]
pub struct Bluegreen {
    dir: TempDir,
    env: Vec<(String, String)>,
}

/// How a run of the program ended.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output, whole.
    pub stdout: String,
    /// Standard error, whole.
    pub stderr: String,
    /// Standard output's lines that are JSON.
    pub events: Vec<Value>,
}

impl Finished {
    /// Panics with everything the program said unless it ended with this code.
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Panics unless what it told a person has each of these words.
    pub fn expect_words(self, words: &[&str]) -> Self {
        let told = format!("{}\n{}", self.stdout, self.stderr);
        for word in words {
            assert!(told.contains(word), "`{word}` is not in:\n{told}");
        }
        self
    }

    /// The events of one type, in order.
    pub fn events_of(&self, event_type: &str) -> Vec<&Value> {
        self.events.iter().filter(|event| event["type"] == event_type).collect()
    }

    /// The findings that stand in the way.
    pub fn refusals(&self) -> Vec<&Value> {
        let findings = self.events_of("finding").into_iter();
        findings.filter(|finding| finding["severity"] == "refusal").collect()
    }

    /// The first finding of one check; panics if it has none.
    pub fn finding(&self, check: &str) -> &Value {
        let found = self.events_of("finding").into_iter().find(|finding| finding["check"] == check);
        found.unwrap_or_else(|| panic!("no finding of `{check}`:\n{}", self.stdout))
    }

    /// The message of the error that it ended with; panics if there is none.
    pub fn error(&self) -> &str {
        let error = self.events_of("error").first().and_then(|error| error["message"].as_str());
        error.unwrap_or_else(|| panic!("no error:\n{}", self.stdout))
    }
}

/// Whether a finding says what is wrong in these words, and in these what to do.
pub fn tells(finding: &Value, what: &str, hint: &str) -> bool {
    let holds = |part: &str, text: &str| finding[part].as_str().unwrap().contains(text);
    holds("what", what) && holds("hint", hint)
}

impl Bluegreen {
    /// The program against a database; it has no plan yet.
    pub fn new(cluster: &Cluster, db: &str) -> Self {
        let env = cluster.env(db).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { dir: TempDir::new().unwrap(), env }
    }

    /// The program where no server is.
    pub fn alone() -> Self {
        let env = vec![("PGHOST".to_owned(), "/nowhere".to_owned()), ("PGUSER".to_owned(), "me".to_owned())];
        Self { dir: TempDir::new().unwrap(), env }
    }

    /// The directory that it runs in.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Writes (or overwrites) the plan.
    pub fn plan(self, yaml: &str) -> Self {
        self.write_plan(yaml);
        self
    }

    /// Overwrites the plan between two runs.
    pub fn write_plan(&self, yaml: &str) {
        std::fs::write(self.dir.path().join("plan.yaml"), yaml).unwrap();
    }

    /// A variable for the program's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// `execute PLAN --json` and `args`, to its end.
    pub fn execute(&self, args: &[&str]) -> Finished {
        self.run("execute", args)
    }

    /// Any command that takes a plan, with `--json` and `args`, to its end.
    pub fn run(&self, command: &str, args: &[&str]) -> Finished {
        self.spawn(command, args).finish()
    }

    /// Any command that takes a plan, without `--json`, to its end.
    pub fn run_for_people(&self, command: &str, args: &[&str]) -> Finished {
        self.say(&[&[command, "plan.yaml"], args].concat())
    }

    /// Any command that takes a plan, with `--json` and `args`, left running.
    pub fn spawn(&self, command: &str, args: &[&str]) -> Running {
        Running::start(self.command(&[&[command, "plan.yaml", "--json"], args].concat()))
    }

    /// The program with these arguments and no others, as a person runs it, to its end.
    pub fn say(&self, args: &[&str]) -> Finished {
        self.spawn_plain(args).finish()
    }

    /// The same, left running.
    pub fn spawn_plain(&self, args: &[&str]) -> Running {
        Running::start(self.command(args))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut program = bound_to_us(None, LastSignal::Kill);
        program.arg(env!("CARGO_BIN_EXE_projh-bluegreen")).args(args);
        self.set_up(&mut program);
        program
    }

    /// Its directory and environment, for a command of the caller's own.
    pub fn set_up(&self, program: &mut Command) {
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("PG") || name == "DATABASE_URL") {
                program.env_remove(name);
            }
        }
        program.envs(self.env.iter().cloned()).current_dir(self.dir.path());
    }
}

/// What has come from standard output so far.
#[derive(Debug, Default)]
struct Output {
    text: String,
    events: Vec<Value>,
    closed: bool,
}

/// The program while it runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    output: Arc<(Mutex<Output>, Condvar)>,
    /// It was asked for events.
    is_json: bool,
    stdout: Option<JoinHandle<()>>,
    stderr: Option<JoinHandle<String>>,
}

impl Running {
    fn start(mut program: Command) -> Self {
        program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let is_json = program.get_args().any(|arg| arg == "--json");
        let mut child = spawn(program);
        let output = Arc::new((Mutex::new(Output::default()), Condvar::new()));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let sink = Arc::clone(&output);
        let stdout = std::thread::spawn(move || {
            let (state, changed) = &*sink;
            for line in lines.map_while(Result::ok) {
                let mut state = state.lock().unwrap();
                state.events.extend(serde_json::from_str(&line).ok().filter(Value::is_object));
                state.text.push_str(&line);
                state.text.push('\n');
                changed.notify_all();
            }
            state.lock().unwrap().closed = true;
            changed.notify_all();
        });
        let mut pipe = child.stderr.take().unwrap();
        let stderr = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Self { child, output, is_json, stdout: Some(stdout), stderr: Some(stderr) }
    }

    /// Waits for the first event of a type, past ones included.
    pub fn wait_for(&self, event_type: &str) -> Value {
        self.wait_until(|event| event["type"] == event_type)
            .unwrap_or_else(|| panic!("it ended without `{event_type}`:\n{}", self.said()))
    }

    /// Waits for the first notice with a word in it, past ones included.
    pub fn wait_for_notice(&self, word: &str) -> Value {
        self.wait_until(notice(word)).unwrap_or_else(|| panic!("it ended without `{word}`:\n{}", self.said()))
    }

    /// Waits for the first event that `wanted` accepts, past ones included; `None` if it ended without.
    pub fn wait_until(&self, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        let until = Instant::now() + PATIENCE;
        let (state, changed) = &*self.output;
        let mut state = state.lock().unwrap();
        loop {
            if let Some(event) = state.events.iter().find(|event| wanted(event)) {
                return Some(event.clone());
            }
            if state.closed {
                return None;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no such event in {PATIENCE:?}:\n{}", state.text);
            state = changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// All of standard output so far.
    pub fn said(&self) -> String {
        self.output.0.lock().unwrap().text.clone()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        signal(&self.child, "INT");
    }

    /// What a service manager sends.
    pub fn terminate(&self) {
        signal(&self.child, "TERM");
    }

    /// Freezes it (`STOP`) or lets it go on (`CONT`).
    pub fn freeze(&self, frozen: bool) {
        signal(&self.child, if frozen { "STOP" } else { "CONT" });
    }

    /// `kill -9`, and what it had said until then.
    pub fn kill9(mut self) -> Finished {
        let _ = self.child.kill();
        self.finish()
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Finished {
        let until = Instant::now() + PATIENCE;
        while self.is_running() {
            assert!(Instant::now() < until, "not at its end after {PATIENCE:?}:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
        let code = self.child.wait().unwrap().code();
        self.stdout.take().unwrap().join().unwrap();
        let stderr = self.stderr.take().unwrap().join().unwrap();
        let output = std::mem::take(&mut *self.output.0.lock().unwrap());
        // One that was killed may not have come to the end of its last line.
        if self.is_json && code.is_some() {
            expect_documented(output.text.lines());
        }
        Finished { code, stdout: output.text, stderr, events: output.events }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
