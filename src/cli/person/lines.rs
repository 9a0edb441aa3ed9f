//! Plain lines: one for each event, but at most one in ten seconds for the progress of one thing.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::words::words;
use crate::event::Event;
use crate::lifecycle::Phase;

/// The least time between two lines about the progress of one thing.
const A_WHILE: Duration = Duration::from_secs(10);

/// What a line of progress is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Teller {
    Table(String),
    Steps(Phase),
    Stream,
}

/// When which line of progress was printed last.
#[derive(Debug)]
pub(super) struct Lines {
    begun: Instant,
    phase: Instant,
    said: HashMap<Teller, Instant>,
}

impl Lines {
    pub(super) fn new(now: Instant) -> Self {
        Self { begun: now, phase: now, said: HashMap::new() }
    }

    /// The lines to print for an event, each with the time since the command began.
    pub(super) fn of(&mut self, event: &Event, now: Instant) -> Vec<String> {
        if let Event::PhaseStarted { .. } = event {
            self.phase = now;
            self.said.clear();
        }
        if !self.is_worth_a_line(event, now) {
            return Vec::new();
        }
        let seconds = now.duration_since(self.begun).as_secs_f64();
        words(event).lines().map(|line| format!("{seconds:8.1}s  {line}")).collect()
    }

    fn is_worth_a_line(&mut self, event: &Event, now: Instant) -> bool {
        let (teller, is_last) = match event {
            Event::CopyProgress { table, reached, .. } | Event::VerifyProgress { table, reached, .. } => {
                (Teller::Table(table.clone()), reached.bytes >= reached.bytes_total)
            }
            Event::Step { phase, done, of, .. } => (Teller::Steps(*phase), done == of),
            Event::Lag { .. } => (Teller::Stream, false),
            _ => return true,
        };
        let last = self.said.get(&teller).copied().unwrap_or(self.phase);
        let says = is_last || now.duration_since(last) >= A_WHILE;
        if says {
            self.said.insert(teller, now);
        }
        says
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Reached;

    fn copied(bytes: u64) -> Event {
        let reached = Reached { bytes, bytes_total: 100, bytes_per_s: 1.0, eta_s: Some(100.0) };
        let (rows, rows_estimated, rows_per_s) = (bytes, 100, 1.0);
        Event::CopyProgress { table: "public.t".to_owned(), rows, rows_estimated, rows_per_s, reached }
    }

    #[test]
    fn a_long_copy_says_a_line_a_while_and_one_at_its_end() {
        let begun = Instant::now();
        let mut lines = Lines::new(begun);
        let mut said = Vec::new();
        for second in 0..=35_u64 {
            let bytes = if second == 35 { 100 } else { second };
            said.extend(lines.of(&copied(bytes), begun + Duration::from_secs(second)));
        }
        assert_eq!(said.len(), 4, "{said:#?}");
        assert!(said[3].contains("100 B of 100 B"), "{said:#?}");
        assert!(said[0].contains("1:40 left"), "{said:#?}");
    }

    #[test]
    fn a_step_is_a_line_at_once() {
        let begun = Instant::now();
        let said = Lines::new(begun).of(&Event::PhaseStarted { phase: Phase::Copy }, begun);
        assert_eq!(said, ["     0.0s  copy ..."]);
    }
}
