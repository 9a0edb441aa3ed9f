//! Green as the kinds see it: what it will be, as data, and the names of its relations.
//!
//! The journal keeps it: a resumed run needs nothing else.

use serde::{Deserialize, Serialize};

use super::columns::Column;
use super::compatibility::Compatibility;
use super::definition::Definition;
use super::encrypted::{BlindIndex, Encrypted};
use super::inbound::InboundKey;
use super::indexes::GreenIndex;
use super::partitions::Partition;
use super::widened::Widened;
use crate::pg::{Colour, Ident, QName, RunObjects, list};
use crate::plan::partition::Leaf;

/// Two private schemas of a run, for the tables of one schema. Each is in its own while the other one is live.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Homes {
    /// The schema that blue moves to in the swap.
    pub blue: Ident,
    /// The schema that green is created in.
    pub green: Ident,
}

impl Homes {
    /// Those of each of these tables.
    pub(crate) fn of_tables<'a>(ours: &RunObjects, tables: impl Iterator<Item = &'a QName>) -> Vec<Self> {
        let mut schemas: Vec<&Ident> = Vec::new();
        let homes = tables.map(|table| {
            let known = schemas.iter().position(|schema| **schema == table.schema);
            let number = known.unwrap_or(schemas.len());
            if known.is_none() {
                schemas.push(&table.schema);
            }
            let [blue, green] = [Colour::Blue, Colour::Green].map(|whose| ours.schema(whose, number));
            Self { blue, green }
        });
        homes.collect()
    }

    /// The private schema of a table.
    #[must_use]
    pub fn of(&self, colour: Colour) -> &Ident {
        match colour {
            Colour::Blue => &self.blue,
            Colour::Green => &self.green,
        }
    }
}

/// The table to be, complete; the journal keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Green {
    /// Its private schemas.
    pub homes: Homes,
    /// Blue's definition when green was designed.
    pub blue: Definition,
    /// Green's columns, in the order of its CREATE TABLE.
    pub columns: Vec<GreenColumn>,
    /// How it is partitioned; `None` for a plain table.
    pub partition: Option<GreenPartition>,
    /// Its indexes in the order in which to build them, the key first.
    pub indexes: Vec<GreenIndex>,
    /// What differs from blue without the plan saying so, in sentences.
    pub notes: Vec<String>,
    /// What becomes of keys that others reference and that the plan widens.
    #[serde(default)]
    pub widened: Widened,
    /// The view of the old shape, if the plan asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compatibility: Option<Compatibility>,
}

/// One column of green.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GreenColumn {
    /// Green's name of the column.
    pub name: Ident,
    /// Its type as SQL text; for an added column everything after the name.
    pub data_type: String,
    /// Where its values come from.
    pub source: Source,
    /// Its default, if it is not blue's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// Where a column's values come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Blue's column, unchanged.
    Same(Ident),
    /// SQL over blue's columns, in place of one of them.
    Expression {
        /// The column of blue that it replaces.
        blue: Ident,
        /// The SQL for green's value.
        sql: String,
        /// SQL over green's columns that gives blue's value back. `None` if the plan says that there is none, and in
        /// runs of a version that did not keep it.
        #[serde(default)]
        back: Option<String>,
    },
    /// Computed by the server, as blue's column is.
    Generated(Ident),
    /// A new column, which its default fills.
    Added,
    /// Blue's column, encrypted.
    Encrypted(Encrypted),
    /// A new column, computed from one of blue: a blind index, or a tag.
    BlindIndex(BlindIndex),
}

impl Source {
    /// The blind index and the tag that blue has of its values already, by their columns.
    pub(crate) fn kept_codes(&self) -> &[(Ident, BlindIndex)] {
        match self {
            Self::Encrypted(how) => &how.kept,
            _ => &[],
        }
    }

    /// The column of blue whose values become others.
    #[must_use]
    pub fn changed(&self) -> Option<&Ident> {
        match self {
            Self::Expression { blue, .. } | Self::Encrypted(Encrypted { blue, .. }) => Some(blue),
            Self::Same(_) | Self::Generated(_) | Self::Added | Self::BlindIndex(_) => None,
        }
    }

    /// The column of blue of which it is an unchanged copy.
    #[must_use]
    pub fn unchanged(&self) -> Option<&Ident> {
        match self {
            Self::Same(blue) | Self::Generated(blue) => Some(blue),
            _ => None,
        }
    }

    /// Whether blue has no such column.
    #[must_use]
    pub fn is_new(&self) -> bool {
        matches!(self, Self::Added | Self::BlindIndex(_))
    }
}

/// How green is partitioned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GreenPartition {
    /// The partition key, by green's name of the column.
    pub column: Ident,
    /// RANGE, LIST or HASH.
    pub strategy: String,
    /// The schema that the leaves end up in.
    pub schema: Ident,
    /// The names and bounds of the leaves.
    pub leaves: Vec<Leaf>,
}

impl GreenColumn {
    /// The column of blue that it replaces; `None` for an added column.
    #[must_use]
    pub fn blue(&self) -> Option<&Ident> {
        self.source.unchanged().or(self.source.changed())
    }
}

impl Green {
    /// The name that clients use: blue's before the swap, green's after it.
    #[must_use]
    pub fn live(&self) -> &QName {
        &self.blue.table.name
    }

    /// Green's name before the swap.
    #[must_use]
    pub fn at_home(&self) -> QName {
        self.live().in_schema(&self.homes.green)
    }

    /// The name of a table while the other one is live.
    #[must_use]
    pub fn home_of(&self, colour: Colour) -> QName {
        self.live().in_schema(self.homes.of(colour))
    }

    /// The relations that hold green's rows before the swap: its leaves, or itself. Leaves are in their
    /// final schema after [`Green::move_leaves`].
    #[must_use]
    pub fn row_holders(&self) -> Vec<QName> {
        match &self.partition {
            Some(partition) => self.leaves_in(&partition.schema),
            None => vec![self.at_home()],
        }
    }

    /// Whether a relation is one of its leaves, in their final schema.
    #[must_use]
    pub fn has_leaf(&self, relation: &QName) -> bool {
        self.partition.as_ref().is_some_and(|partition| {
            partition.schema == relation.schema
                && partition.leaves.iter().any(|leaf| leaf.name == relation.name)
        })
    }

    /// The relations that hold its rows while it is created.
    pub(crate) fn row_holders_at_home(&self) -> Vec<QName> {
        match &self.partition {
            Some(_) => self.leaves_in(&self.homes.green),
            None => vec![self.at_home()],
        }
    }

    /// The relations that hold green's rows once it is live.
    pub(crate) fn live_row_holders(&self) -> Vec<QName> {
        if self.partition.is_some() { self.row_holders() } else { vec![self.live().clone()] }
    }

    /// The parent of its leaves while it is created; `None` if it is not partitioned.
    pub(crate) fn parent_at_home(&self) -> Option<QName> {
        self.partition.as_ref().map(|_| self.at_home())
    }

    pub(crate) fn leaves_in(&self, schema: &Ident) -> Vec<QName> {
        let leaves = self.partition.iter().flat_map(|partition| &partition.leaves);
        leaves.map(|leaf| QName { schema: schema.clone(), name: leaf.name.clone() }).collect()
    }

    /// Blue's columns that green has, each with green's type.
    pub(crate) fn kept_columns(&self) -> impl Iterator<Item = (&Column, &str)> {
        self.columns.iter().filter_map(|column| {
            let blue = self.blue.column(column.blue()?)?;
            Some((blue, column.data_type.as_str()))
        })
    }

    /// Blue's name of a column of green.
    pub(crate) fn blue_name_of<'a>(&'a self, green: &'a Ident) -> &'a Ident {
        let column = self.columns.iter().find(|column| column.name == *green);
        column.and_then(|column| column.blue()).unwrap_or(green)
    }

    /// The first of these columns of blue that green does not have.
    pub(crate) fn dropped_of<'a>(&self, columns: &'a [Ident]) -> Option<&'a Ident> {
        columns.iter().find(|name| self.blue.column(name).is_some() && self.name_of(name).is_none())
    }

    /// What lets a dependent that uses these columns fit: those that green does not have, or has with other values, stay as they are,
    /// or else the first that is renamed; or `again`. The old names are given back, so that a new one alone seldom prevents it.
    pub(crate) fn keeping(&self, columns: &[Ident], again: String) -> String {
        let is_other = |name: &&Ident| match self.columns.iter().find(|column| column.blue() == Some(*name)) {
            Some(column) => column.source.unchanged().is_none() && self.cast_of(column).is_none(),
            None => self.blue.column(name).is_some(),
        };
        let mut others: Vec<&Ident> = columns.iter().filter(is_other).collect();
        if others.is_empty() {
            others.extend(self.renamed_of(columns));
        }
        match &others[..] {
            [] => again,
            [column] => format!("keep column {column} as it is; or {again}"),
            _ => format!("keep columns {} as they are; or {again}", list(others)),
        }
    }

    /// Whether a column of blue has another name on green.
    pub(crate) fn is_renamed(&self, blue: &Ident) -> bool {
        self.name_of(blue).is_some_and(|new| new != blue)
    }

    /// The first of these columns of blue that has another name on green.
    pub(crate) fn renamed_of<'a>(&self, columns: &'a [Ident]) -> Option<&'a Ident> {
        columns.iter().find(|name| self.is_renamed(name))
    }

    /// Green's name of a column of blue; `None` if it is dropped.
    #[must_use]
    pub fn name_of(&self, blue: &Ident) -> Option<&Ident> {
        self.columns.iter().find(|column| column.blue() == Some(blue)).map(|column| &column.name)
    }

    /// The columns to copy: green's columns, and expressions over blue's. Added and generated columns are not among
    /// them. Identity columns are: write `OVERRIDING SYSTEM VALUE`.
    #[must_use]
    pub fn select_list(&self) -> (Vec<Ident>, Vec<String>) {
        self.columns
            .iter()
            .filter_map(|column| match &column.source {
                Source::Same(blue) => Some((column.name.clone(), blue.to_string())),
                Source::Expression { sql, .. } => Some((column.name.clone(), sql.clone())),
                Source::Encrypted(Encrypted { blue, .. })
                | Source::BlindIndex(BlindIndex { of: blue, .. }) => {
                    // Of the right type, and NULL where it is to be.
                    Some((column.name.clone(), format!("CASE WHEN {blue} IS NOT NULL THEN ''::bytea END")))
                }
                Source::Generated(_) | Source::Added => None,
            })
            .unzip()
    }

    /// Whether a foreign key can reference exactly these columns of green.
    pub(crate) fn has_unique_key(&self, columns: &[Ident]) -> bool {
        let is_whole = |index: &GreenIndex| {
            let blue = self.blue.indexes.iter().find(|blue| blue.name == index.name);
            index.primary || blue.is_some_and(|blue| blue.identifies_rows() || blue.is_without_overlaps())
        };
        let same =
            |keys: &[Ident]| keys.len() == columns.len() && keys.iter().all(|key| columns.contains(key));
        self.indexes
            .iter()
            .any(|index| index.unique && index.keys.as_deref().is_some_and(same) && is_whole(index))
    }

    /// What to write in the plan so that these columns of blue keep a unique key.
    pub(super) fn keep_key(&self, columns: &[Ident]) -> String {
        match (columns.first(), &self.partition) {
            (Some(column), Some(_)) => {
                format!("partition_by: {{hash: {}, partitions: 16}} keeps it", column.in_plan())
            }
            _ => "leave the key as it is in the plan".to_owned(),
        }
    }

    /// The foreign key that binds another table, or a partition of it, to this one.
    pub(crate) fn inbound_of(&self, relation: &QName) -> Option<&InboundKey> {
        let of = |key: &&InboundKey| key.child == *relation || key.leaves.contains(relation);
        self.blue.inbound.iter().find(of)
    }

    /// Whether a valid foreign key on this relation is then merged into that of its parent.
    pub(crate) fn merges_keys_of(&self, relation: &QName) -> bool {
        let is_leaf = |key: &InboundKey| key.leaves.contains(relation);
        let of_blue = |partition: &Partition| partition.name == *relation;
        self.has_leaf(relation)
            || self.blue.partitions.iter().any(of_blue)
            || self.blue.inbound.iter().any(is_leaf)
    }

    /// Whether green's column has another type than this one of blue.
    pub(crate) fn is_retyped(&self, blue: &Ident) -> bool {
        self.columns.iter().any(|column| {
            column.source.changed() == Some(blue)
                && self.blue.column(blue).is_some_and(|old| old.data_type != column.data_type)
        })
    }

    /// Green's names of these columns of blue, without those that green lacks.
    #[must_use]
    pub fn green_names(&self, blue: &[Ident]) -> Vec<Ident> {
        blue.iter().filter_map(|name| self.name_of(name)).cloned().collect()
    }
}

/// `varchar(5)` as `varchar`: a cast to a length truncates silently, where an assignment raises an error. Modifiers of
/// other types stay: they round, as ALTER TYPE does, and determine how a value is stored.
#[must_use]
pub fn without_length(data_type: &str) -> String {
    const CUT: [&str; 6] = ["varchar", "character", "char", "bpchar", "bit", "varbit"];
    let base = data_type.split('(').next().unwrap_or_default().trim().to_ascii_lowercase();
    let first = base.split_whitespace().next().unwrap_or_default();
    match (data_type.find('('), data_type.rfind(')')) {
        (Some(from), Some(to)) if from < to && CUT.contains(&first) => {
            // A bare `char` or `bit` would mean a length of 1.
            match base.as_str() {
                "char" | "character" => format!("bpchar{}", &data_type[to + 1..]),
                "bit" => format!("varbit{}", &data_type[to + 1..]),
                _ => format!("{}{}", data_type[..from].trim_end(), &data_type[to + 1..]),
            }
        }
        _ => data_type.to_owned(),
    }
}
