//! A row of the table.

use serde_json::json;

/// One measurement and its peer.
#[derive(Debug)]
pub struct Figure {
    pub what: String,
    pub unit: &'static str,
    pub ours: f64,
    pub peer: f64,
    /// Above 1 is better than the peer.
    pub ratio: f64,
    pub goal: &'static str,
}

impl Figure {
    /// The median pair where more is better (rates), or where less is (times).
    pub fn of(what: &str, unit: &'static str, goal: &'static str, pairs: &[(f64, f64)]) -> Self {
        let more_is_better = unit.ends_with("/s");
        let ratio = |(ours, peer): (f64, f64)| if more_is_better { ours / peer } else { peer / ours };
        let mut pairs = pairs.to_vec();
        pairs.sort_by(|a, b| ratio(*a).total_cmp(&ratio(*b)));
        let (ours, peer) = pairs[pairs.len() / 2];
        Self { what: what.to_owned(), unit, ours, peer, ratio: ratio((ours, peer)), goal }
    }

    /// For machines.
    pub fn json(&self) -> String {
        let Self { what, unit, ours, peer, ratio, goal } = self;
        let round = |number: f64| (number * 1_000.0).round() / 1_000.0;
        json!({
            "what": what, "ours": round(*ours), "peer": round(*peer), "unit": unit,
            "ratio": round(*ratio), "goal": goal,
        })
        .to_string()
    }

    /// For people.
    pub fn line(&self) -> String {
        let Self { what, unit, ours, peer, ratio, goal } = self;
        format!("{what:<66} {:>10} {:>10}  {unit:<10} {ratio:>5.2}x  {goal}", short(*ours), short(*peer))
    }
}

/// Above [`Figure::line`]s.
pub fn head() -> String {
    format!("{:<66} {:>10} {:>10}  {:<10} {:>6}  {}", "what", "ours", "peer", "unit", "ratio", "goal")
}

fn short(number: f64) -> String {
    if number >= 1_000.0 { format!("{number:.0}") } else { format!("{number:.2}") }
}
