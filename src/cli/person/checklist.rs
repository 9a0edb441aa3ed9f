//! The phases as a checklist, with a bar for each table while it is copied or verified, and the lag of the stream.
//!
//! Invariant: pure. Events go in, lines that fit a given width come out; the screen draws them.

use std::time::{Duration, Instant};

use console::{Style, measure_text_width, truncate_str};

use super::units::{bytes, count, left, short, time};
use super::words::{lag, round_end, step, words};
use crate::cli::glyphs::Glyphs;
use crate::event::Event;
use crate::lifecycle::Phase;
use crate::meter::Reached;

/// How long each character of the spinner is shown.
const TURN: Duration = Duration::from_millis(120);

#[derive(Clone, Copy, Debug)]
enum State {
    ToDo,
    /// Completed in an earlier session.
    DoneBefore,
    Runs(Instant),
    Done(Duration),
    Failed(Duration),
}

#[derive(Debug)]
struct Station {
    phase: Phase,
    state: State,
    detail: String,
}

#[derive(Debug)]
struct TableLine {
    name: String,
    rows: u64,
    /// `None` if it is not known.
    rows_total: Option<u64>,
    rows_per_s: f64,
    reached: Reached,
}

/// What a run has done and is doing.
#[derive(Debug)]
pub(super) struct Checklist {
    glyphs: Glyphs,
    begun: Instant,
    title: String,
    stations: Vec<Station>,
    tables: Vec<TableLine>,
    stream: String,
    waits: Option<String>,
    /// The stall and its parts, kept for the end.
    swapped: Option<String>,
    /// How many stations have been printed permanently; `None` if not even the title has.
    printed: Option<usize>,
}

impl Checklist {
    pub(super) fn new(glyphs: Glyphs) -> Self {
        Self {
            glyphs,
            begun: Instant::now(),
            title: String::new(),
            stations: Vec::new(),
            tables: Vec::new(),
            stream: String::new(),
            waits: None,
            swapped: None,
            printed: None,
        }
    }

    /// Takes an event. Returns whether the checklist shows it; if not, it gets a line of its own.
    pub(super) fn take_in(&mut self, event: &Event, now: Instant) -> bool {
        match event {
            Event::Checked { notes } => {
                let notes = match notes {
                    0 => "",
                    1 => ", see the note",
                    _ => ", see the notes",
                };
                self.detail(Phase::Check, format!("nothing stands in the way{notes}"));
            }
            Event::Run { run, plan, resumed, done, phases, .. } => {
                let resumed = if *resumed { ", resumed" } else { "" };
                self.title = format!("run {run} of plan {plan}{resumed}");
                self.lay_out(done, phases);
            }
            Event::PhaseStarted { phase } => {
                self.tables.clear();
                if !Phase::FORWARD.contains(phase) {
                    self.stations.clear();
                }
                if !self.stations.iter().any(|station| station.phase == *phase) {
                    self.stations.push(Station { phase: *phase, state: State::ToDo, detail: String::new() });
                }
                self.set(*phase, State::Runs(now), Some(String::new()));
            }
            Event::PhaseDone { phase, seconds } => {
                let detail = self.summary(*phase);
                self.done(*phase, *seconds, detail);
                self.tables.clear();
                if *phase == Phase::Swap {
                    self.stream.clear();
                }
            }
            Event::Round { round, chunks, .. } => {
                self.detail(Phase::Copy, format!("round {round}: {} chunks", count(*chunks as u64)));
            }
            Event::RoundEnded { round, why } => {
                self.detail(Phase::Copy, format!("round {round} {}", round_end(*why)));
            }
            Event::CopyProgress { table, rows, rows_estimated, rows_per_s, reached } => {
                self.table(table, (*rows, Some(*rows_estimated)), *rows_per_s, *reached);
            }
            Event::VerifyProgress { table, rows, rows_per_s, reached } => {
                self.table(table, (*rows, None), *rows_per_s, *reached);
            }
            Event::DeltaVerified { step, keys } => {
                let text = format!("step {step}: {} keys that changed meanwhile", count(*keys));
                self.detail(Phase::Verify, text);
            }
            Event::Step { phase, .. } => self.step(*phase, step(event)),
            Event::Lag { .. } => self.stream = lag(event),
            Event::Throttled { why } => self.waits.clone_from(why),
            Event::Swapped { stall_ms, .. } => {
                self.detail(Phase::Swap, format!("clients may have waited up to {stall_ms:.1} ms"));
                self.swapped = Some(words(event));
            }
            Event::SwapPostponed { attempt, .. } => {
                self.detail(Phase::Swap, format!("after attempt {attempt}"));
                return false;
            }
            _ => return false,
        }
        true
    }

    /// Marks the phase that was running as done or failed.
    pub(super) fn end(&mut self, is_well: bool, now: Instant) {
        self.tables.clear();
        self.stream.clear();
        self.waits = None;
        for station in &mut self.stations {
            if let State::Runs(since) = station.state {
                let took = now.duration_since(since);
                station.state = if is_well { State::Done(took) } else { State::Failed(took) };
            }
        }
    }

    /// The words of the swap, which are printed below the checklist at the end.
    pub(super) fn take_swapped(&mut self) -> Option<String> {
        self.swapped.take()
    }

    /// The lines of the phases that are done, to be printed permanently above a question; they are not drawn again.
    pub(super) fn print_done(&mut self, now: Instant, width: usize) -> Vec<String> {
        let is_done = |station: &Station| matches!(station.state, State::Done(_) | State::DoneBefore);
        let before = self.printed.unwrap_or(0);
        let done = before + self.stations.iter().skip(before).take_while(|station| is_done(station)).count();
        let mut lines = self.lines(now, width);
        lines.truncate(done - before + usize::from(self.printed.is_none()));
        self.printed = Some(done);
        lines
    }

    fn lay_out(&mut self, done: &[Phase], phases: &[Phase]) {
        self.printed = None;
        let before = std::mem::take(&mut self.stations);
        let station = |phase: &Phase| Station {
            phase: *phase,
            state: if done.contains(phase) { State::DoneBefore } else { State::ToDo },
            detail: String::new(),
        };
        let mut stations: Vec<Station> = phases.iter().map(station).collect();
        let is_check = |station: &&mut Station| station.phase == Phase::Check;
        let checked = before.into_iter().find(|station| station.phase == Phase::Check);
        if let (Some(checked), Some(first)) = (checked, stations.first_mut().filter(is_check)) {
            *first = checked;
        }
        self.stations = stations;
    }

    fn set(&mut self, phase: Phase, state: State, detail: Option<String>) {
        if let Some(station) = self.stations.iter_mut().find(|station| station.phase == phase) {
            station.state = state;
            if let Some(detail) = detail {
                station.detail = detail;
            }
        }
    }

    fn done(&mut self, phase: Phase, seconds: f64, detail: Option<String>) {
        self.set(phase, State::Done(Duration::from_secs_f64(seconds.max(0.0))), detail);
    }

    fn detail(&mut self, phase: Phase, detail: String) {
        if let Some(station) = self.stations.iter_mut().find(|station| station.phase == phase) {
            station.detail = detail;
        }
    }

    /// The index of the key is built during the copy: its steps are shown at the phase that is running.
    fn step(&mut self, phase: Phase, text: String) {
        let runs = self.stations.iter().find(|station| matches!(station.state, State::Runs(_)));
        self.detail(runs.map_or(phase, |station| station.phase), text);
    }

    fn table(&mut self, name: &str, rows: (u64, Option<u64>), rows_per_s: f64, reached: Reached) {
        let name = name.strip_prefix("public.").unwrap_or(name);
        let now = TableLine { name: name.to_owned(), rows: rows.0, rows_total: rows.1, rows_per_s, reached };
        match self.tables.iter_mut().find(|table| table.name == now.name) {
            Some(table) => *table = now,
            None => self.tables.push(now),
        }
    }

    /// The summary of a phase that is done; `None` leaves its detail as it is.
    fn summary(&self, phase: Phase) -> Option<String> {
        let rows: u64 = self.tables.iter().map(|table| table.rows).sum();
        let read: u64 = self.tables.iter().map(|table| table.reached.bytes).sum();
        let (rows, read) = (count(rows), bytes(read));
        match phase {
            Phase::Copy if !self.tables.is_empty() => Some(format!("{rows} rows, {read}")),
            Phase::Index => Some("built and analyzed".to_owned()),
            Phase::Settle if !self.stations.iter().any(|station| station.phase == Phase::Soak) => {
                Some("slot and publication dropped".to_owned())
            }
            Phase::Verify if !self.tables.is_empty() => {
                Some(format!("{rows} rows of both sides compared, {read}"))
            }
            _ => None,
        }
    }

    /// The lines to draw, each narrower than `width`.
    pub(super) fn lines(&self, now: Instant, width: usize) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.title.is_empty() && self.printed.is_none() {
            lines.push(self.title.clone());
        }
        for station in self.stations.iter().skip(self.printed.unwrap_or(0)) {
            lines.push(self.station(station, now));
            if matches!(station.state, State::Runs(_)) {
                let name_width = self.tables.iter().map(|table| measure_text_width(&table.name)).max();
                let name_width = name_width.unwrap_or(0).min(width / 5);
                lines.extend(self.tables.iter().map(|table| self.bar(table, name_width, width)));
                lines.extend((!self.stream.is_empty()).then(|| format!("   stream: {}", self.stream)));
                lines.extend(self.waits.iter().map(|why| format!("   waiting: {why}")));
            }
        }
        // The last column stays free: some terminals wrap as soon as it is written.
        let width = width.saturating_sub(1);
        lines.iter().map(|line| truncate_str(line, width, self.glyphs.cut).into_owned()).collect()
    }

    fn station(&self, station: &Station, now: Instant) -> String {
        let Glyphs { done, failed, to_do, turning, .. } = self.glyphs;
        let of = |style: Style| style.for_stderr();
        let (green, red, bold, dim) = (
            of(Style::new().green()),
            of(Style::new().red()),
            of(Style::new().bold()),
            of(Style::new().dim()),
        );
        let name = format!("{:<8}", station.phase.to_string());
        let (sign, name, took) = match station.state {
            State::ToDo => (dim.apply_to(to_do), dim.apply_to(name), String::new()),
            State::DoneBefore => (green.apply_to(done), dim.apply_to(name), "before".to_owned()),
            State::Done(took) => (green.apply_to(done), Style::new().apply_to(name), time(took)),
            State::Failed(took) => (red.apply_to(failed), red.apply_to(name), time(took)),
            State::Runs(since) => {
                let turn = now.duration_since(self.begun).as_millis() / TURN.as_millis();
                let sign = turning[usize::try_from(turn).unwrap_or(0) % turning.len()];
                (bold.apply_to(sign), bold.apply_to(name), time(now.duration_since(since)))
            }
        };
        format!(" {sign} {name} {took:>8}  {}", station.detail).trim_end().to_owned()
    }

    /// The bar of a table, with as much as fits: first the time left, then the rate, the rows, the bytes.
    fn bar(&self, table: &TableLine, name_width: usize, width: usize) -> String {
        let Reached { bytes: done, bytes_total, eta_s, .. } = table.reached;
        let cells = match width {
            100.. => 24,
            70.. => 10,
            _ => 6,
        };
        let bare = table.name.split_once('.').map_or(table.name.as_str(), |(_, bare)| bare);
        let fits = measure_text_width(&table.name) <= name_width;
        let name =
            truncate_str(if fits { &table.name } else { bare }, name_width, self.glyphs.cut).into_owned();
        let padding = " ".repeat(name_width.saturating_sub(measure_text_width(&name)));
        let total = bytes_total.max(done).max(1);
        let full = usize::try_from(done * cells / total).unwrap_or(0);
        let empty = usize::try_from(cells).unwrap_or(0).saturating_sub(full);
        let (filled, open) = (self.glyphs.bar.0.repeat(full), self.glyphs.bar.1.repeat(empty));
        let percent = done * 100 / total;
        let mut line = format!("   {name}{padding} {filled}{open} {percent:>3}%");
        #[expect(clippy::cast_precision_loss, reason = "a number for people")]
        let rows = match table.rows_total {
            Some(all) => format!("{}/{} rows", short(table.rows as f64), short(all as f64)),
            None => format!("{} rows", short(table.rows as f64)),
        };
        let eta = if done < total { format!("eta {}", left(eta_s)) } else { "done".to_owned() };
        let parts = [rows, bytes(done), format!("{}/s", short(table.rows_per_s)), eta];
        let mut room = width.saturating_sub(1 + measure_text_width(&line));
        let mut is_in = [false; 4];
        for wanted in [3, 2, 0, 1] {
            let needs = measure_text_width(&parts[wanted]) + 2;
            if needs > room {
                break;
            }
            room -= needs;
            is_in[wanted] = true;
        }
        for (part, _) in parts.iter().zip(is_in).filter(|(_, is_in)| *is_in) {
            line.push_str("  ");
            line.push_str(part);
        }
        line
    }
}

#[cfg(test)]
mod tests;
