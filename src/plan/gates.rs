//! `gates`: what must hold before the swap and all through the soak.

use std::time::Duration;

use super::problem::Collected;
use super::yaml::Node;
use super::{sql, value};

/// A question whose answer decides whether green stays live.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// Its name, unique in the plan.
    pub name: String,
    /// What is asked.
    pub ask: GateAsk,
    /// How often it is asked during the soak.
    pub interval: Duration,
    /// How many times in a row it must fail there before the run is rolled back.
    pub failures: u32,
    /// How long an answer may take; a gate that gives none has failed.
    pub timeout: Duration,
}

/// What a gate asks.
#[derive(Clone, Debug, PartialEq)]
pub enum GateAsk {
    /// One statement whose first column is true.
    Sql(String),
    /// A program that ends with exit code 0.
    Command(Vec<String>),
    /// How long a statement takes, before the swap and after it.
    Compare(Compare),
}

/// A statement whose times are compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Compare {
    /// The statement, with `$1`, `$2`, ... for what `values` gives.
    pub sql: String,
    /// A query whose rows are the parameters of one execution each.
    pub values: Option<String>,
    /// The number of executions.
    pub samples: u32,
    /// What of the times counts.
    pub measure: Measure,
    /// How many times as long as before the swap it may be.
    pub factor: f64,
}

/// A number that stands for many times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// The time that this percentage of the executions does not exceed.
    Percentile(u8),
    /// The longest.
    Max,
    /// Their mean.
    Mean,
}

impl Measure {
    /// Of these times; 0 if there are none.
    #[must_use]
    pub fn of(self, times: &mut [f64]) -> f64 {
        times.sort_by(f64::total_cmp);
        let Some(last) = times.last().copied() else { return 0.0 };
        match self {
            Self::Max => last,
            Self::Mean => times.iter().sum::<f64>() / times.len() as f64,
            Self::Percentile(percent) => {
                let at = (times.len() * usize::from(percent)).div_ceil(100).max(1) - 1;
                times.get(at).copied().unwrap_or(last)
            }
        }
    }
}

impl std::fmt::Display for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Percentile(percent) => write!(f, "p{percent}"),
            Self::Max => f.write_str("max"),
            Self::Mean => f.write_str("mean"),
        }
    }
}

/// Reads `gates` of a plan whose shape has been checked.
pub(super) fn read_all(plan: &Node, found: &mut Collected) -> Vec<Gate> {
    let mut gates: Vec<Gate> = Vec::new();
    for node in plan.get("gates").map_or(&[][..], Node::items) {
        let Some(gate) = read(node, found) else { continue };
        if gates.iter().any(|other| other.name == gate.name) {
            let hint = "give each gate a name of its own".to_owned();
            found.add_with_hint(node.at, format!("two gates are named `{}`", gate.name), hint);
        }
        gates.push(gate);
    }
    gates
}

fn read(node: &Node, found: &mut Collected) -> Option<Gate> {
    let text = |node: &Node, key: &str| Some(node.get(key)?.scalar()?.text.clone());
    let duration = |key: &str, default: u64| {
        let given = text(node, key).and_then(|text| value::duration(&text));
        given.unwrap_or(Duration::from_secs(default))
    };
    let asked = ["sql", "command", "compare"].into_iter().filter(|key| node.get(key).is_some());
    if asked.count() != 1 {
        let hint = "`sql`, `command` or `compare`".to_owned();
        found.add_with_hint(node.at, "a gate asks one thing", hint);
        return None;
    }
    if let Some(expected) = node.get("expect").filter(|_| node.get("compare").is_none()) {
        let hint = "`sql` is a condition: its first column must be true".to_owned();
        found.add_with_hint(expected.at, "only `compare` has an `expect`", hint);
    }
    let ask = if let Some(sql) = node.get("sql") {
        GateAsk::Sql(statement(sql, "sql", found)?)
    } else if let Some(command) = node.get("command") {
        GateAsk::Command(words(command))
    } else {
        GateAsk::Compare(compare(node, found)?)
    };
    Some(Gate {
        name: text(node, "name")?,
        ask,
        interval: duration("interval", 30),
        failures: text(node, "failures").and_then(|text| text.parse().ok()).unwrap_or(3),
        timeout: duration("timeout", 10),
    })
}

fn compare(node: &Node, found: &mut Collected) -> Option<Compare> {
    let of = node.get("compare")?;
    let sql = statement(of.get("sql")?, "sql", found)?;
    let values = match of.get("values") {
        Some(values) => Some(statement(values, "values", found)?),
        None => None,
    };
    let expected = node.get("expect");
    let understood = expected.and_then(|node| expect(&node.scalar()?.text));
    let Some((measure, factor)) = understood else {
        let hint = "`expect: p95 <= 0.5 * before`; also max and mean".to_owned();
        found.add_with_hint(expected.unwrap_or(node).at, "a gate that compares says what it expects", hint);
        return None;
    };
    let samples = of.get("samples").and_then(|node| node.scalar()?.text.parse().ok()).unwrap_or(100);
    Some(Compare { sql, values, samples, measure, factor })
}

/// A program and its arguments.
pub(super) fn words(command: &Node) -> Vec<String> {
    command.items().iter().filter_map(|word| Some(word.scalar()?.text.clone())).collect()
}

/// `p95 <= 0.5 * before`, or without the factor.
fn expect(text: &str) -> Option<(Measure, f64)> {
    let (measure, limit) = text.split_once("<=")?;
    let measure = match measure.trim() {
        "max" => Measure::Max,
        "mean" => Measure::Mean,
        percentile => {
            let percent = percentile.strip_prefix('p')?.parse().ok()?;
            Measure::Percentile(Some(percent).filter(|percent| (1..=100).contains(percent))?)
        }
    };
    let limit = limit.trim();
    let factor: f64 = match limit.strip_suffix("before")?.trim() {
        "" => 1.0,
        factor => factor.strip_suffix('*')?.trim().parse().ok()?,
    };
    (factor.is_finite() && factor > 0.0).then_some((measure, factor))
}

fn statement(node: &Node, key: &str, found: &mut Collected) -> Option<String> {
    match sql::statement(&node.scalar()?.text) {
        Ok(statement) => Some(statement),
        Err(problem) => {
            found.add_with_hint(node.at, format!("`{key}`: {problem}"), problem.hint);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_is_a_measure_and_a_factor() {
        assert_eq!(expect("p95 <= 0.5 * before"), Some((Measure::Percentile(95), 0.5)));
        assert_eq!(expect("max<=before"), Some((Measure::Max, 1.0)));
        assert_eq!(expect("mean <= 2* before"), Some((Measure::Mean, 2.0)));
        for wrong in
            ["p95 < before", "p0 <= before", "p101 <= before", "p95 <= 5 ms", "p95 <= -1 * before", ""]
        {
            assert_eq!(expect(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let mut times: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(Measure::Percentile(95).of(&mut times), 190.0);
        assert_eq!(Measure::Percentile(100).of(&mut times), 200.0);
        assert_eq!(Measure::Max.of(&mut times), 200.0);
        assert_eq!(Measure::Mean.of(&mut times), 100.5);
        assert_eq!(Measure::Percentile(50).of(&mut [7.0]), 7.0);
        assert_eq!(Measure::Max.of(&mut []), 0.0);
    }
}
