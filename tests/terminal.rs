//! What a person sees: a checklist on a terminal, plain lines elsewhere, a question that waits for its answer.
//! The terminal is a real pseudo-terminal: util-linux's `script` has it.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::oracle::own;
use crate::support::{Bluegreen, Cluster};

const DB: &str = "postgres";
/// Longest wait for something to appear.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program on a terminal.
struct Terminal {
    script: Child,
    output: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    /// A command line of the program, on a terminal of so many columns.
    fn open(program: &Bluegreen, columns: u32, line: &str, env: &[(&str, &str)]) -> Self {
        let executable = env!("CARGO_BIN_EXE_projh-bluegreen");
        let shell = format!("stty cols {columns} rows 40; exec {executable} {line}");
        let mut script = Command::new("script");
        script.args(["-qefc", &shell, "/dev/null"]).env("TERM", "xterm").env("LANG", "C.UTF-8");
        script.env_remove("NO_COLOR").env_remove("LC_ALL");
        program.set_up(&mut script);
        script.envs(env.iter().copied());
        let mut script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut pipe = script.stdout.take().unwrap();
        let (sink, output) = channel();
        std::thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(n @ 1..) = pipe.read(&mut some) {
                if sink.send(some[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { script, output, seen: String::new() }
    }

    fn wait_for(&mut self, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.seen.contains(text) {
            let left = until.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("`{text}` does not appear:\n{}", self.seen),
            }
        }
    }

    fn press(&mut self, keys: &str) {
        self.script.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Its exit code, and all that was seen.
    fn end(mut self) -> (i32, String) {
        while let Ok(bytes) = self.output.recv_timeout(PATIENCE) {
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        (self.script.wait().unwrap().code().unwrap(), std::mem::take(&mut self.seen))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

fn stage(cluster: &Cluster, name: &str) -> Bluegreen {
    Bluegreen::new(cluster, DB).plan(&own::plan(name))
}

/// What is on the lines for good: without what moves the cursor or colours.
fn plain(seen: &str) -> String {
    console::strip_ansi_codes(seen).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_terminal_there_is_a_checklist_with_bars_and_a_question_before_the_swap() {
    let cluster = Cluster::start();
    own::create(&cluster.client(DB).await, 4_000).await.unwrap();
    let program = stage(&cluster, "seen");

    let mut terminal = Terminal::open(&program, 80, "execute plan.yaml", &[]);
    terminal.wait_for("copy");
    terminal.press("y\n");
    terminal.wait_for("Swap now? [y/N] ");
    let above = plain(&terminal.seen);
    for said in [
        "run ",
        "of plan seen",
        "✓ check",
        "✓ copy",
        "12,000 rows",
        "✓ verify",
        "rows are equal at one point",
    ] {
        assert!(above.contains(said), "`{said}` is missing:\n{above}");
    }
    assert!(above.contains("by_uuid") && above.contains('█') && above.contains("100%"), "no bars:\n{above}");
    let asked = terminal.seen.len();
    std::thread::sleep(Duration::from_millis(700));
    terminal.press("y\n");
    let (code, seen) = terminal.end();
    assert_eq!(code, 0, "{seen}");
    let after = &seen[asked..];
    let answer = after.find("y\r\n").unwrap();
    assert!(!after[..answer].contains('\x1b'), "something was drawn over the question: {after:?}");
    let (after, seen) = (plain(after), plain(&seen));
    for said in
        ["✓ swap", "✓ settle", "swapped in attempt 1", "lock wait", "drain", "exchange", "commit", "next: "]
    {
        assert!(after.contains(said), "`{said}` is missing:\n{after}");
    }
    assert!(after.find("✓ settle") < after.find("swapped in attempt"), "the stall is not at the end");
    assert!(seen.contains("swapped: green is live"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_can_be_declined_or_interrupted_and_a_narrow_terminal_is_enough() {
    let cluster = Cluster::start();
    own::create(&cluster.client(DB).await, 500).await.unwrap();
    let program = stage(&cluster, "asked");
    for (answer, is_coloured) in [("n\n", true), ("\x03", false)] {
        let env: &[(&str, &str)] = if is_coloured { &[] } else { &[("NO_COLOR", "1")] };
        let mut terminal = Terminal::open(&program, 50, "execute plan.yaml", env);
        terminal.wait_for("Swap now? [y/N] ");
        terminal.press(answer);
        let (code, seen) = terminal.end();
        assert_eq!(code, 7, "{seen}");
        assert_eq!(seen.contains("\x1b[32m"), is_coloured, "{seen:?}");
        let text = plain(&seen);
        let why = if answer == "n\n" { "error: not swapped, as you answered" } else { "error: interrupted" };
        for said in ["blue is live, and clients notice nothing", "its slot makes the server retain WAL", why]
        {
            assert!(text.contains(said), "`{said}` is missing: {text}");
        }
        // What stands above the question for good.
        let above = &text[..text.find("Everything is verified").unwrap()];
        let above = &above[above.rfind("run ").unwrap()..];
        assert!(above.contains("✓ verify"), "{above}");
        assert!(above.lines().all(|line| line.chars().count() < 50), "{above}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finish_asks_and_changes_nothing_without_a_yes() {
    let cluster = Cluster::start();
    let client = cluster.client(DB).await;
    own::create(&client, 500).await.unwrap();
    let program = stage(&cluster, "finished");
    program.execute(&["--yes"]).expect_code(0);
    let left = "select count(*) from pg_namespace where nspname like 'projh_bg%'";
    for (answer, expected) in [("n\n", 7), ("\x03", 7), ("y\n", 0)] {
        let before: i64 = client.query_one(left, &[]).await.unwrap().get(0);
        let mut terminal = Terminal::open(&program, 100, "finish plan.yaml", &[]);
        terminal.wait_for(
            "Drop blue of `finished`, the tables as they were before the swap? This cannot be undone.",
        );
        terminal.press(answer);
        let (code, seen) = terminal.end();
        assert_eq!(code, expected, "{seen}");
        let after: i64 = client.query_one(left, &[]).await.unwrap().get(0);
        assert_eq!(after, if expected == 0 { 0 } else { before }, "{seen}");
        assert!(before > 0);
    }
}

/// The terminal's own `^C` would move what is drawn there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_leaves_no_trace_on_what_is_drawn() {
    let cluster = Cluster::start();
    own::create(&cluster.client(DB).await, 4_000).await.unwrap();
    let program = stage(&cluster, "stopped");
    let mut terminal = Terminal::open(&program, 80, "execute plan.yaml", &[]);
    terminal.wait_for("copy");
    terminal.press("\x03");
    let (code, seen) = terminal.end();
    assert_eq!(code, 7, "{seen}");
    assert!(seen.contains("stopping after the work in hand") && !seen.contains("^C"), "{seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_does_not_tear_what_lives_on_the_terminal() {
    let cluster = Cluster::start();
    own::create(&cluster.client(DB).await, 500).await.unwrap();
    let program = stage(&cluster, "logged");
    let (code, seen) =
        Terminal::open(&program, 200, "execute plan.yaml -vv --until copy", &[("NO_COLOR", "1")]).end();
    assert_eq!(code, 0, "{seen}");
    // A line of the log begins where a line begins, after what was drawn there is cleared, and has its own end.
    let text = plain(&seen);
    let logged: Vec<&str> =
        text.split("\r\n").filter(|line| line.contains("DEBUG projh_bluegreen")).collect();
    assert!(logged.len() > 5, "{seen}");
    for line in logged {
        let last = line.rsplit('\r').next().unwrap();
        assert!(last.starts_with("20") && last.matches("projh_bluegreen::").count() == 1, "{line:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_there_is_no_terminal_there_are_plain_lines() {
    let cluster = Cluster::start();
    own::create(&cluster.client(DB).await, 500).await.unwrap();
    let program = stage(&cluster, "plain");
    let mut command = Command::new(env!("CARGO_BIN_EXE_projh-bluegreen"));
    command.args(["execute", "plan.yaml", "--yes"]).stdin(Stdio::null());
    program.set_up(&mut command);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    for text in [&stdout, &stderr] {
        assert!(!text.contains(|sign: char| sign.is_control() && sign != '\n'), "{text:?}");
    }
    for said in
        ["check done", "copy ...", "round 1", "rows/s", "copy done in", "verify done in", "settle done in"]
    {
        assert!(stderr.contains(said), "`{said}` is missing:\n{stderr}");
    }
    for said in
        ["verified: 1,500 rows", "swapped in attempt", "lock wait", "swapped: green is live", "next: "]
    {
        assert!(stdout.contains(said), "`{said}` is missing:\n{stdout}");
    }
    assert!(!stdout.contains("copy"), "progress is no result:\n{stdout}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dumb_terminal_gets_plain_lines_and_a_status_that_is_watched_is_drawn_again() {
    let cluster = Cluster::start();
    own::create(&cluster.client(DB).await, 500).await.unwrap();
    let program = stage(&cluster, "dumb");
    let dumb = [("TERM", "dumb")];
    let (code, seen) = Terminal::open(&program, 80, "execute plan.yaml --until copy", &dumb).end();
    assert_eq!(code, 0, "{seen}");
    assert!(seen.contains("copy done in") && !seen.contains('\x1b'), "{seen:?}");

    let mut watched = Terminal::open(&program, 80, "status plan.yaml --watch", &[]);
    watched.wait_for("\x1b[2K");
    watched.press("\x03");
    let (code, seen) = watched.end();
    assert_eq!(code, 7, "{seen}");
    let text = plain(&seen);
    for said in ["of plan dumb", "phase", "catch up", "last by", "not at work", "stream", "next"] {
        assert!(text.contains(said), "`{said}` is missing:\n{text}");
    }
}
