//! Where each column of a target comes from, and the inverse.
//!
//! Invariant: a mapping that has an inverse is the inverse of its inverse.

use crate::hangs_on::{GreenColumn, Source, without_length};
use crate::lifecycle::LaneDesign;
use crate::pg::Ident;

/// One column of the target that the source has a value for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// The column's name in the target.
    pub target: Ident,
    /// SQL over the source's columns that gives its value.
    pub expression: String,
    /// The source's column that it replaces.
    pub source: Ident,
    /// Whether it is an unchanged copy of that.
    pub is_same: bool,
    /// Whether the server computes it on both sides: it is compared, but not written.
    pub generated: bool,
    /// SQL over the target's columns that gives the source's value; `None` if there is no inverse.
    pub back: Option<String>,
}

impl Mapped {
    /// The source's column of which it is an unchanged copy.
    #[must_use]
    pub fn same_as(&self) -> Option<&Ident> {
        self.is_same.then_some(&self.source)
    }

    /// The inverse: the source's column from the target's. `None` if there is none.
    #[must_use]
    pub fn reversed(&self) -> Option<Self> {
        Some(Self {
            target: self.source.clone(),
            source: self.target.clone(),
            expression: self.back.clone()?,
            back: Some(self.expression.clone()),
            is_same: self.is_same,
            generated: self.generated,
        })
    }
}

/// From blue to green. Added columns are not in it.
pub(super) fn forward(design: &LaneDesign) -> Vec<Mapped> {
    design.green.columns.iter().filter_map(|column| mapped(design, column)).collect()
}

fn mapped(design: &LaneDesign, column: &GreenColumn) -> Option<Mapped> {
    let target = column.name.clone();
    match &column.source {
        Source::Same(blue) | Source::Generated(blue) => Some(Mapped {
            expression: blue.to_string(),
            source: blue.clone(),
            is_same: true,
            generated: matches!(column.source, Source::Generated(_)),
            back: Some(target.to_string()),
            target,
        }),
        Source::Expression { blue, sql, back } => {
            let of_blue = design.green.blue.column(blue).map(|column| column.data_type.as_str());
            let back = back.as_ref().zip(of_blue).map(|(sql, data_type)| assigned(sql, data_type));
            let expression = assigned(sql, &column.data_type);
            Some(Mapped { target, expression, source: blue.clone(), is_same: false, generated: false, back })
        }
        Source::Added => None,
    }
}

/// A cast without the length: the assignment raises an error for a value that is too long, which a cast would truncate.
fn assigned(sql: &str, data_type: &str) -> String {
    format!("({sql})::{}", without_length(data_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(is_same: bool, back: Option<&str>) -> Mapped {
        Mapped {
            target: "minutes".into(),
            expression: "(hours * 60)::integer".to_owned(),
            source: "hours".into(),
            is_same,
            generated: false,
            back: back.map(str::to_owned),
        }
    }

    #[test]
    fn the_way_back_from_the_way_back_is_the_way_there() {
        let there = column(false, Some("(minutes / 60)::integer"));
        let back = there.reversed().unwrap();
        assert_eq!((back.target.as_str(), back.expression.as_str()), ("hours", "(minutes / 60)::integer"));
        assert_eq!(back.reversed(), Some(there));
        assert_eq!(column(false, None).reversed(), None);
    }
}
