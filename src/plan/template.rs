//! The template of a partition's name: `{table}_p{from:%Y_%m}`.
//!
//! Invariant: a [`Template`] contains only placeholders that its kind of partition has, and at least one
//! that differs between partitions.

use jiff::civil::{Date, Time};
use jiff::fmt::strtime;

use super::{Partitions, Unit};

/// What the names of a table's partitions differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Every(Unit),
    Bounds,
    List,
    Hash,
}

impl Kind {
    pub(super) fn of(into: &Partitions) -> Self {
        match into {
            Partitions::Every { unit, .. } => Self::Every(*unit),
            Partitions::Bounds(_) => Self::Bounds,
            Partitions::List(_) => Self::List,
            Partitions::Hash(_) => Self::Hash,
        }
    }

    /// The template that is used if the plan has none.
    pub(super) fn default_template(self) -> &'static str {
        match self {
            Self::Every(Unit::Day | Unit::Week) => "{table}_p{from:%Y_%m_%d}",
            Self::Every(Unit::Month) => "{table}_p{from:%Y_%m}",
            Self::Every(Unit::Quarter) => "{table}_p{from:%Y}_q{quarter}",
            Self::Every(Unit::Year) => "{table}_p{from:%Y}",
            Self::Bounds => "{table}_p{n}",
            Self::List => "{table}_{name}",
            Self::Hash => "{table}_h{n}",
        }
    }

    fn placeholders(self) -> &'static str {
        match self {
            Self::Every(_) => "{table}, {from:%Y_%m_%d}, {to:%Y_%m_%d}, {quarter}",
            Self::Bounds => "{table}, {n}, {from:%Y_%m_%d}, {to:%Y_%m_%d}",
            Self::List => "{table}, {name}",
            Self::Hash => "{table}, {n}",
        }
    }

    fn has(self, part: &Part) -> bool {
        match part {
            Part::Text(_) | Part::Table => true,
            Part::From(_) | Part::To(_) => matches!(self, Self::Every(_) | Self::Bounds),
            Part::Quarter => matches!(self, Self::Every(_)),
            Part::Name => self == Self::List,
            Part::Number => matches!(self, Self::Bounds | Self::Hash),
        }
    }
}

/// The values for one partition's name.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Values<'a> {
    pub(super) table: &'a str,
    pub(super) from: Option<Date>,
    pub(super) to: Option<Date>,
    pub(super) name: &'a str,
    pub(super) n: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Table,
    /// The lower bound in this strftime format.
    From(String),
    /// The upper bound in this strftime format; it is the first day outside.
    To(String),
    Quarter,
    Name,
    Number,
}

/// A template, parsed into text and placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

impl Template {
    /// Parses a template for partitions of `kind`. The error says what to write instead.
    pub(super) fn parse(text: &str, kind: Kind) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            parts.push(Part::Text(rest[..at].to_owned()));
            let Some((inside, after)) = rest[at..].strip_prefix('{').and_then(|tail| tail.split_once('}'))
            else {
                return Err(format!("each `{{` needs a `}}`; the placeholders are {}", kind.placeholders()));
            };
            let part = placeholder(inside)?.filter(|part| kind.has(part));
            let unknown = || format!("`{{{inside}}}` is not one of {}", kind.placeholders());
            parts.push(part.ok_or_else(unknown)?);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        if parts.iter().all(|part| matches!(part, Part::Text(_) | Part::Table)) {
            return Err(format!("all would get the same name; tell them apart by {}", kind.placeholders()));
        }
        Ok(Self(parts))
    }

    /// The name of the default partition: `default` takes the place of what differs between partitions, with one letter
    /// before it, as in `{table}_p{n}`.
    pub(super) fn of_default(&self, table: &str) -> String {
        let is_fixed = |part: &Part| matches!(part, Part::Text(_) | Part::Table);
        let text = |parts: &[Part]| {
            parts
                .iter()
                .map(|part| if let Part::Text(text) = part { text } else { table })
                .collect::<String>()
        };
        let first = self.0.iter().position(|part| !is_fixed(part)).unwrap_or(self.0.len());
        let last = self.0.iter().rposition(|part| !is_fixed(part)).map_or(first, |last| last + 1);
        let mut before = text(&self.0[..first]);
        if before.strip_suffix(|c: char| c.is_ascii_alphabetic()).is_some_and(|rest| rest.ends_with('_')) {
            before.pop();
        }
        format!("{before}default{}", text(&self.0[last..]))
    }

    /// One partition's name; `None` if it needs a date and the bound is not one.
    pub(super) fn render(&self, values: Values<'_>) -> Option<String> {
        let mut name = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Table => name.push_str(values.table),
                Part::From(format) => name.push_str(&show(format, values.from?)?),
                Part::To(format) => name.push_str(&show(format, values.to?)?),
                Part::Quarter => name.push_str(&((values.from?.month() - 1) / 3 + 1).to_string()),
                Part::Name => name.push_str(values.name),
                Part::Number => name.push_str(&values.n.to_string()),
            }
        }
        Some(name)
    }
}

/// Parses what stands between the braces; `None` if it is no known placeholder.
fn placeholder(text: &str) -> Result<Option<Part>, String> {
    const DAY: &str = "%Y_%m_%d";
    let (word, format) = text.split_once(':').unwrap_or((text, DAY));
    if show(format, Date::constant(2024, 1, 31)).is_none() {
        return Err(format!("`{format}` is not a strftime format of a date, such as `%Y_%m_%d`"));
    }
    Ok(match word {
        "from" => Some(Part::From(format.to_owned())),
        "to" => Some(Part::To(format.to_owned())),
        _ if text != word => None,
        "table" => Some(Part::Table),
        "quarter" => Some(Part::Quarter),
        "name" => Some(Part::Name),
        "n" => Some(Part::Number),
        _ => None,
    })
}

fn show(format: &str, date: Date) -> Option<String> {
    strtime::format(format, date.to_datetime(Time::midnight())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONTHS: Kind = Kind::Every(Unit::Month);

    #[test]
    fn a_name_is_made_from_its_values() {
        let values = Values {
            table: "t",
            from: Some(Date::constant(2024, 11, 1)),
            to: Some(Date::constant(2025, 1, 1)),
            name: "open",
            n: 7,
        };
        let render = |text: &str, kind| Template::parse(text, kind).unwrap().render(values);
        assert_eq!(render("{table}_{from:%Y_%m}_{to:%y}q{quarter}", MONTHS).unwrap(), "t_2024_11_25q4");
        assert_eq!(render("{from}", MONTHS).unwrap(), "2024_11_01");
        assert_eq!(render("p{n}", Kind::Hash).unwrap(), "p7");
        let default = |text: &str, kind| Template::parse(text, kind).unwrap().of_default("t");
        assert_eq!(default("{table}_new_p{from:%Y}_q{quarter}", MONTHS), "t_new_default");
        assert_eq!(default("{name}_of_{table}", Kind::List), "default_of_t");
        assert_eq!(default("{table}_part{n}", Kind::Bounds), "t_partdefault");
        for kind in [MONTHS, Kind::Every(Unit::Quarter), Kind::Bounds, Kind::List] {
            assert_eq!(default(kind.default_template(), kind), "t_default");
        }
        assert_eq!(render("{name}", Kind::List).unwrap(), "open");
        let dated = Template::parse("{from}", Kind::Bounds).unwrap();
        assert_eq!(dated.render(Values { from: None, ..values }), None);
    }

    #[test]
    fn every_default_is_a_template_of_its_kind() {
        let units = [Unit::Day, Unit::Week, Unit::Month, Unit::Quarter, Unit::Year];
        for kind in units.map(Kind::Every).into_iter().chain([Kind::Bounds, Kind::List, Kind::Hash]) {
            assert!(Template::parse(kind.default_template(), kind).is_ok(), "{kind:?}");
        }
    }

    #[test]
    fn a_placeholder_of_another_kind_is_refused() {
        for (text, kind, expected) in [
            ("{table}_{name}", MONTHS, "`{name}` is not one of"),
            ("{table}_{from}", Kind::List, "`{from}` is not one of"),
            ("{table:%Y}_{from}", MONTHS, "`{table:%Y}` is not one of"),
            ("{table}_{from:%Z}", MONTHS, "strftime"),
            ("{table}_{from", MONTHS, "needs a `}`"),
            ("{table}_}", MONTHS, "needs a `}`"),
            ("{table}", Kind::Hash, "the same name"),
            ("", Kind::Hash, "the same name"),
        ] {
            let hint = Template::parse(text, kind).unwrap_err();
            assert!(hint.contains(expected), "{text}: {hint}");
        }
    }
}
