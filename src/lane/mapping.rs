//! Where each column of a target comes from, and the inverse.
//!
//! Invariant: a mapping that has an inverse is the inverse of its inverse, but for what it only compares.

use crate::hangs_on::{BlindIndex, GreenColumn, Source, without_length};
use crate::lifecycle::LaneDesign;
use crate::pg::Ident;
use crate::phi::{Codec, Format, KeyId};

/// How a side of a lane has a value that is encrypted on one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// As itself.
    Plain {
        /// How its binary form becomes text.
        codec: Codec,
        /// The column's type, as SQL text without a length.
        data_type: String,
    },
    /// Encrypted.
    Sealed {
        /// The format.
        format: Format,
        /// The key.
        key: KeyId,
        /// Whether that is so of all values: blue may have some under other keys from before the run.
        is_all: bool,
    },
    /// Encrypted, in any format that can be read, under any key.
    Foreign,
    /// As its blind index or its tag, which only a target has.
    Blind {
        /// The key.
        key: KeyId,
        /// Of a tag, the encrypted column whose values it binds to their rows.
        tag_of: Option<Ident>,
    },
}

/// A value that this program transforms on its way: what it is on either side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transform {
    /// In the source.
    pub source: Form,
    /// In the target.
    pub target: Form,
    /// The columns of the row's key that values are bound to on either side; `None` for all.
    pub bound_to: Option<Vec<Ident>>,
    /// The columns of the target that have the blind index and the tag of its values. They are copied from the source, and
    /// compared with the values.
    pub kept: Vec<(Ident, Form)>,
}

/// One column of the target that the source has a value for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// The column's name in the target.
    pub target: Ident,
    /// SQL over the source's columns that gives its value. Of a column that this program transforms, over what the
    /// transformation gives: [`TRANSFORMED`].
    pub expression: String,
    /// The source's column that it replaces.
    pub source: Ident,
    /// Whether it is an unchanged copy of that.
    pub is_same: bool,
    /// Whether it is a cast that changes no value without an error, there or back.
    pub is_exact: bool,
    /// Whether the server computes it on both sides: it is compared, but not written.
    pub generated: bool,
    /// SQL over the target's columns that gives the source's value; `None` if there is no inverse.
    pub back: Option<String>,
    /// What this program does with its values; `None` if the server computes them.
    pub transform: Option<Transform>,
}

/// In the expression of a column that this program transforms, what the transformation gives.
pub const TRANSFORMED: &str = "projh_transformed";

impl Mapped {
    /// The source's column of which it is an unchanged copy.
    #[must_use]
    pub fn same_as(&self) -> Option<&Ident> {
        self.is_same.then_some(&self.source)
    }

    /// SQL over the source's columns that gives its value; of a column that this program transforms, a value of about its
    /// size, for a sample.
    #[must_use]
    pub fn in_server(&self) -> String {
        match &self.transform {
            Some(Transform { source: source @ Form::Plain { .. }, .. }) => {
                format!("convert_to({}, 'UTF8')", source.taken(&self.source.to_string()))
            }
            Some(_) => self.source.to_string(),
            None => self.expression.clone(),
        }
    }

    /// The inverse, of a value that the server computes and that may not come back; what this program transforms is opened
    /// and compared anyway.
    #[must_use]
    pub fn given_back(&self) -> Option<Self> {
        let is_certain = self.is_same || self.is_exact || self.generated || self.transform.is_some();
        if is_certain { None } else { self.reversed() }
    }

    /// The inverse: the source's column from the target's. `None` if there is none.
    #[must_use]
    pub fn reversed(&self) -> Option<Self> {
        let transform = match &self.transform {
            Some(Transform { source: Form::Foreign, .. } | Transform { target: Form::Blind { .. }, .. }) => {
                return None;
            }
            // On the way back nothing is refused because of what a client forgot: the way there would find it.
            Some(Transform { source, target, bound_to, .. }) => Some(Transform {
                source: target.clone(),
                target: source.clone(),
                bound_to: bound_to.clone(),
                kept: Vec::new(),
            }),
            None => None,
        };
        Some(Self {
            transform,
            target: self.source.clone(),
            source: self.target.clone(),
            expression: self.back.clone()?,
            back: Some(self.expression.clone()),
            is_same: self.is_same,
            is_exact: self.is_exact,
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
            is_exact: false,
            generated: matches!(column.source, Source::Generated(_)),
            back: Some(target.to_string()),
            target,
            transform: None,
        }),
        Source::Expression { blue, sql, back } => {
            let of_blue = design.green.blue.column(blue).map(|column| column.data_type.as_str());
            let is_cast = design.green.cast_of(column).is_some();
            let is_exact = is_cast && of_blue.is_some_and(|of_blue| is_exact(of_blue, &column.data_type));
            let back = back.as_ref().zip(of_blue).map(|(sql, data_type)| match is_cast {
                true => exactly(&target, data_type, &column.data_type),
                false => assigned(sql, data_type),
            });
            let expression = assigned(sql, &column.data_type);
            let source = blue.clone();
            Some(Mapped {
                target,
                expression,
                source,
                is_same: false,
                is_exact,
                generated: false,
                back,
                transform: None,
            })
        }
        Source::Added => None,
        Source::Encrypted(how) => {
            let source = source_form(design, &how.blue, how.previous)?;
            let target_form = Form::Sealed { format: how.format, key: how.key, is_all: true };
            let kept = how.kept.iter().map(|(name, code)| (name.clone(), Form::of_code(code))).collect();
            let transform = Transform { source, target: target_form, bound_to: how.bound_to.clone(), kept };
            Some(transformed(target, how.blue.clone(), transform))
        }
        Source::BlindIndex(index) => {
            let blue = &index.of;
            let encrypted = design.green.columns.iter().find_map(|column| match &column.source {
                Source::Encrypted(how) if how.blue == *blue => Some(how),
                _ => None,
            });
            let source = source_form(design, blue, encrypted.and_then(|how| how.previous))?;
            let bound_to = encrypted.and_then(|how| how.bound_to.clone());
            let transform = Transform { source, target: Form::of_code(index), bound_to, kept: Vec::new() };
            Some(transformed(target, blue.clone(), transform))
        }
    }
}

fn transformed(target: Ident, source: Ident, transform: Transform) -> Mapped {
    let expression = transform.target.of_transformed();
    let back = Some(transform.source.of_transformed());
    Mapped {
        target,
        expression,
        source,
        is_same: false,
        is_exact: false,
        generated: false,
        back,
        transform: Some(transform),
    }
}

/// How blue has the values of a column that green has encrypted.
fn source_form(design: &LaneDesign, blue: &Ident, previous: Option<(Format, KeyId)>) -> Option<Form> {
    let column = design.green.blue.column(blue)?;
    let data_type = without_length(&column.data_type);
    Some(match (Codec::of(&column.base_type), previous) {
        (Some(codec), _) => Form::Plain { codec, data_type },
        (None, Some((format, key))) => Form::Sealed { format, key, is_all: false },
        (None, None) => Form::Foreign,
    })
}

impl Form {
    fn of_code(code: &BlindIndex) -> Self {
        Self::Blind { key: code.key, tag_of: code.tag_of.clone() }
    }

    /// SQL for a column's value of what the transformation gives.
    fn of_transformed(&self) -> String {
        match self {
            Self::Plain { data_type, .. } => format!("({TRANSFORMED})::{data_type}"),
            _ => TRANSFORMED.to_owned(),
        }
    }

    /// Whether it is encrypted with a certain key.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        matches!(self, Self::Sealed { .. })
    }

    /// Of a tag, the encrypted column.
    #[must_use]
    pub fn tag_of(&self) -> Option<&Ident> {
        match self {
            Self::Blind { tag_of, .. } => tag_of.as_ref(),
            _ => None,
        }
    }

    /// The type of what the transformation gives.
    #[must_use]
    pub fn transformed_type(&self) -> &'static str {
        match self {
            Self::Plain { .. } => "text",
            _ => "bytea",
        }
    }

    /// SQL for what this program takes of a column's value: its text, or the encrypted value.
    #[must_use]
    pub fn taken(&self, column: &str) -> String {
        match self {
            Self::Plain { .. } => format!("({column})::text"),
            _ => column.to_owned(),
        }
    }
}

/// A cast without the length: the assignment raises an error for a value that is too long, which a cast would truncate.
fn assigned(sql: &str, data_type: &str) -> String {
    format!("({sql})::{}", without_length(data_type))
}

/// Types whose values no cast among them changes without an error, by all of their names.
const EXACT: [&[&str]; 2] = [
    &["smallint", "int2", "integer", "int", "int4", "bigint", "int8"],
    &["text", "character varying", "varchar"],
];

fn is_exact(one: &str, other: &str) -> bool {
    let base = |data_type: &str| data_type.split('(').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (one, other) = (base(one), base(other));
    EXACT.iter().any(|types| types.contains(&one.as_str()) && types.contains(&other.as_str()))
}

/// A cast back to the type that a column had. A value that this type holds only rounded, or cut, is an error of its own
/// (SQLSTATE 22003): the way there would not give it again.
fn exactly(name: &Ident, had: &str, has: &str) -> String {
    let cast = assigned(&name.to_string(), had);
    if is_exact(had, has) {
        return cast;
    }
    format!(
        "CASE WHEN {name} IS NULL OR record_image_eq(ROW(({cast})::{has}), ROW({name})) THEN {cast} \
         ELSE (2147483647 + greatest(length({name}::text), 1))::text::{} END",
        without_length(had)
    )
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
            is_exact: false,
            generated: false,
            back: back.map(str::to_owned),
            transform: None,
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
