//! The one place that writes: results to standard output, everything else to standard error; above the lines that
//! are redrawn on the terminal, if there are any, so that nothing is written into them.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use rustix::termios::{QueueSelector, tcflush};
use tracing_subscriber::fmt::MakeWriter;

use super::echo::Echo;
use super::glyphs::{ASCII, Glyphs, UNICODE};

/// How often the live lines are redrawn.
const DRAWN_EVERY: Duration = Duration::from_millis(120);
/// The width if that of the terminal is not known.
const WIDTH: usize = 80;

/// Where to write. Clones share the same screen.
#[derive(Clone)]
pub(super) struct Screen {
    live: Option<ProgressBar>,
    has_ended: Arc<AtomicBool>,
    /// Makes the lines to print permanently above a question.
    printed: Arc<OnceLock<Printed>>,
    echo: Echo,
}

/// Makes lines for a width, to be printed permanently.
type Printed = Box<dyn Fn(usize) -> Vec<String> + Send + Sync>;

impl Screen {
    /// A screen; with live lines if standard error is a terminal that can redraw them, and JSON was not asked for.
    pub(super) fn new(json: bool) -> Self {
        let is_dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let is_live = !json && !is_dumb && io::stderr().is_terminal();
        let live = || ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        Self {
            live: is_live.then(live),
            has_ended: Arc::default(),
            printed: Arc::default(),
            echo: Echo::default(),
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.live.is_some()
    }

    /// The characters that the locale allows.
    pub(super) fn glyphs(&self) -> Glyphs {
        let set = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        if locale.contains("utf-8") || locale.contains("utf8") { UNICODE } else { ASCII }
    }

    /// The width of the terminal, in columns.
    pub(super) fn width(&self) -> usize {
        console::Term::stderr().size_checked().map_or(WIDTH, |(_, columns)| usize::from(columns).max(1))
    }

    /// Redraws `lines` from now on, made for the terminal's width; before a question, prints those of `printed`
    /// permanently.
    pub(super) fn show(
        &self,
        lines: impl Fn(usize) -> Vec<String> + Clone + Send + Sync + 'static,
        printed: impl Fn(usize) -> Vec<String> + Send + Sync + 'static,
    ) {
        let Some(live) = &self.live else { return };
        // `show` is called once.
        let _ = self.printed.set(Box::new(printed));
        let screen = self.clone().without_life();
        let drawn = move |_: &ProgressState, text: &mut dyn std::fmt::Write| {
            // Writing to a string does not fail.
            let _ = text.write_str(&lines(screen.width()).join("\n"));
        };
        // The template is valid; if it were not, nothing would be drawn.
        let Ok(style) = ProgressStyle::with_template("{lines}") else { return };
        live.set_style(style.with_key("lines", drawn));
        self.wake();
    }

    fn without_life(self) -> Self {
        Self { live: None, ..self }
    }

    fn wake(&self) {
        let Some(live) = &self.live else { return };
        self.echo.mute();
        live.reset();
        live.enable_steady_tick(DRAWN_EVERY);
    }

    fn sleep(&self) {
        let Some(live) = &self.live else { return };
        live.disable_steady_tick();
        live.finish_and_clear();
        self.echo.restore();
    }

    /// Ends the redrawing, and prints `lines` permanently. A second call does nothing.
    pub(super) fn end(&self, lines: &[String]) {
        if self.live.is_none() || self.has_ended.swap(true, Ordering::AcqRel) {
            return;
        }
        self.sleep();
        for line in lines {
            self.err(line);
        }
    }

    /// Asks on the terminal, and waits for the answer; without a terminal it is no.
    pub(super) fn ask(&self, question: &str) -> bool {
        if !io::stdin().is_terminal() {
            return false;
        }
        self.sleep();
        for line in self.printed.get().map(|printed| printed(self.width())).unwrap_or_default() {
            self.err(&line);
        }
        // Discard what was typed before the question.
        let _ = tcflush(io::stdin(), QueueSelector::IFlush);
        let _ = write!(io::stderr(), "{question} [y/N] ");
        let _ = io::stderr().flush();
        let mut answer = String::new();
        let is_yes = io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes");
        if !self.has_ended.load(Ordering::Acquire) {
            self.wake();
        }
        is_yes
    }

    /// Prints a line of the result. Here and below, errors are ignored: a closed output is no reason to stop.
    pub(super) fn out(&self, text: &str) {
        self.above(|| drop(writeln!(io::stdout(), "{text}")));
    }

    /// Prints a line to standard error.
    pub(super) fn err(&self, text: &str) {
        self.above(|| drop(writeln!(io::stderr(), "{text}")));
    }

    fn above(&self, write: impl FnOnce()) {
        match &self.live {
            Some(live) => live.suspend(write),
            None => write(),
        }
    }
}

/// Log lines are printed above the live lines, too.
impl MakeWriter<'_> for Screen {
    type Writer = Log;

    fn make_writer(&self) -> Log {
        Log(self.clone())
    }
}

/// Writes whole lines of the log to the screen.
pub(super) struct Log(Screen);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = Ok(());
        self.0.above(|| written = io::stderr().write_all(bytes));
        written.map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
