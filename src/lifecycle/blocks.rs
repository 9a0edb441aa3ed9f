//! Which heap blocks of blue have been copied: a set of spans over `[0, infinity)`.

use serde::{Deserialize, Serialize};

/// Heap blocks from `from` to just before `to`; if `to` is `None`, to the end of the table, however far it grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first block of the span.
    pub from: u32,
    /// The first block after the span; `None` if it is open-ended.
    pub to: Option<u32>,
}

impl Span {
    fn overlaps(self, other: Span) -> bool {
        self.to.is_none_or(|to| other.from < to) && other.to.is_none_or(|to| self.from < to)
    }
}

/// Disjoint spans in ascending order, neighbours merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocks(Vec<Span>);

impl Blocks {
    /// Whether no block of the span is in the set.
    #[must_use]
    pub fn lacks(&self, span: Span) -> bool {
        !self.0.iter().any(|have| have.overlaps(span))
    }

    /// Adds a span that is missing.
    pub fn add(&mut self, span: Span) {
        let at = self.0.partition_point(|have| have.from < span.from);
        self.0.insert(at, span);
        self.0.dedup_by(|right, left| {
            let touches = left.to == Some(right.from);
            if touches {
                left.to = right.to;
            }
            touches
        });
    }

    /// Whether every block that exists, or ever will, is in the set.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0 == [Span { from: 0, to: None }]
    }

    /// How many of a table's `table_blocks` blocks are in the set.
    #[must_use]
    pub fn covered(&self, table_blocks: u32) -> u32 {
        let inside = |span: &Span| {
            let to = span.to.map_or(table_blocks, |to| to.min(table_blocks));
            to.saturating_sub(span.from)
        };
        self.0.iter().map(inside).sum()
    }

    /// What a table of `table_blocks` blocks is missing, in spans of at most `blocks_per_span` blocks. If the set is
    /// not open-ended, the last span is.
    #[must_use]
    pub fn missing(&self, table_blocks: u32, blocks_per_span: u32) -> Vec<Span> {
        let mut missing = Vec::new();
        let mut next = Some(0);
        for have in &self.0 {
            if let Some(from) = next {
                missing.extend(cut(from, have.from, blocks_per_span));
            }
            next = have.to;
        }
        if let Some(from) = next {
            let mut tail: Vec<Span> = cut(from, table_blocks, blocks_per_span).collect();
            match tail.last_mut() {
                Some(last) => last.to = None,
                None => tail.push(Span { from, to: None }),
            }
            missing.extend(tail);
        }
        missing
    }
}

/// `[from, to)` in spans of at most `step` blocks.
fn cut(from: u32, to: u32, step: u32) -> impl Iterator<Item = Span> {
    let step = step.max(1);
    (from..to)
        .step_by(step as usize)
        .map(move |from| Span { from, to: Some(from.saturating_add(step).min(to)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: u32, to: u32) -> Span {
        Span { from, to: Some(to) }
    }

    #[test]
    fn an_empty_set_misses_all_and_the_last_span_is_open_ended() {
        let missing = Blocks::default().missing(25, 10);
        assert_eq!(missing, [span(0, 10), span(10, 20), Span { from: 20, to: None }]);
    }

    #[test]
    fn a_table_without_blocks_is_one_open_ended_span() {
        assert_eq!(Blocks::default().missing(0, 10), [Span { from: 0, to: None }]);
    }

    #[test]
    fn gaps_are_found_again_and_what_was_copied_is_not() {
        let mut blocks = Blocks::default();
        blocks.add(span(10, 20));
        blocks.add(Span { from: 30, to: None });
        assert_eq!(blocks.missing(99, 8), [span(0, 8), span(8, 10), span(20, 28), span(28, 30)]);
    }

    #[test]
    fn what_is_covered_ends_with_the_table() {
        let mut blocks = Blocks::default();
        assert_eq!(blocks.covered(50), 0);
        blocks.add(span(10, 20));
        blocks.add(Span { from: 30, to: None });
        assert_eq!(blocks.covered(50), 30);
        assert_eq!(blocks.covered(15), 5);
    }

    #[test]
    fn a_span_that_is_there_already_is_refused() {
        let mut blocks = Blocks::default();
        blocks.add(Span { from: 10, to: None });
        assert!(!blocks.lacks(span(10, 11)));
        assert!(!blocks.lacks(Span { from: 0, to: None }));
        assert!(blocks.lacks(span(0, 10)));
        blocks.add(span(0, 10));
        assert!(blocks.is_everything());
    }

    #[test]
    fn adding_all_that_is_missing_completes_any_set() {
        for (have, grown) in [(vec![span(3, 9), span(12, 13)], 40), (vec![span(0, 100)], 50), (vec![], 7)] {
            let mut blocks = Blocks::default();
            have.iter().for_each(|span| blocks.add(*span));
            let missing = blocks.missing(grown, 4);
            for span in &missing {
                assert!(blocks.lacks(*span), "{missing:?}");
                blocks.add(*span);
            }
            assert!(blocks.is_everything());
        }
    }
}
