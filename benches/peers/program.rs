//! The built program, and what it told, when.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::stage::Stage;

/// A run of a command that has ended as it was to.
#[derive(Debug)]
pub struct Told {
    pub begun: Instant,
    pub events: Vec<(Instant, Value)>,
    pub ended: Instant,
    /// Most memory that it had held, in bytes, at several instants.
    memory: Vec<(Instant, Memory)>,
}

/// `execute PLAN --yes --json` and some arguments, to its end.
pub fn execute(stage: &Stage, db: &str, plan: &str, arguments: &[&str]) -> Told {
    run(stage, db, plan, &[&["execute", "--yes"], arguments].concat(), 0)
}

/// A command on a plan with `--json` and some arguments, to its end with this exit code.
pub fn run(stage: &Stage, db: &str, plan: &str, command: &[&str], code: i32) -> Told {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plan.yaml");
    std::fs::write(&path, plan).unwrap();
    let begun = Instant::now();
    let mut program = Command::new(env!("CARGO_BIN_EXE_projh-bluegreen"))
        .args(command)
        .arg("--json")
        .arg(&path)
        .envs(stage.cluster.env(db))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = program.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        lines.filter_map(|line| Some((Instant::now(), serde_json::from_str(&line).ok()?))).collect()
    });
    let (memory, ended) = watched(&mut program);
    let told = Told { begun, events: reader.join().unwrap(), ended: Instant::now(), memory };
    assert_eq!(ended, Some(code), "{:#?}", told.events.iter().rev().take(5).collect::<Vec<_>>());
    told
}

/// Resident memory at an instant, in bytes.
#[derive(Clone, Copy, Debug)]
struct Memory {
    now: u64,
    /// The kernel's high-water mark.
    peak: u64,
}

/// Waits for the end, looking at the memory.
fn watched(program: &mut Child) -> (Vec<(Instant, Memory)>, Option<i32>) {
    let status = format!("/proc/{}/status", program.id());
    let mut memory = Vec::new();
    loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let bytes = |of: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(of))?;
            Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1_024)
        };
        if let (Some(now), Some(peak)) = (bytes("VmRSS:"), bytes("VmHWM:")) {
            memory.push((Instant::now(), Memory { now, peak }));
        }
        if let Some(status) = program.try_wait().unwrap() {
            return (memory, status.code());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Told {
    /// When the first event of a type came whose fields are those of `like`.
    pub fn when(&self, like: &Value) -> Instant {
        let like = like.as_object().unwrap();
        let is_like = |event: &Value| like.iter().all(|(name, value)| event[name] == *value);
        let found = self.events.iter().find(|(_, event)| is_like(event));
        found.unwrap_or_else(|| panic!("no {like:?} among {:#?}", self.events)).0
    }

    /// Seconds from one event to another.
    pub fn seconds(&self, from: &Value, to: &Value) -> f64 {
        self.when(to).duration_since(self.when(from)).as_secs_f64()
    }

    /// Most memory that it had held by an instant, in bytes.
    pub fn peak_bytes(&self, by: Instant) -> u64 {
        self.memory.iter().take_while(|(at, _)| *at <= by).last().map_or(0, |(_, memory)| memory.peak)
    }

    /// The median of its memory in between.
    pub fn median_bytes(&self, from: Instant, to: Instant) -> u64 {
        let between = self.memory.iter().filter(|(at, _)| (from..=to).contains(at));
        let mut bytes: Vec<u64> = between.map(|(_, memory)| memory.now).collect();
        bytes.sort_unstable();
        bytes.get(bytes.len() / 2).copied().unwrap_or_default()
    }

    /// Seconds from its start to its end.
    pub fn seconds_in_all(&self) -> f64 {
        self.ended.duration_since(self.begun).as_secs_f64()
    }
}
