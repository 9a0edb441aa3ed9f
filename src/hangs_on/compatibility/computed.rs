//! Expressions of the plan in a view of the old shape. The copy computes them in this program's settings, and whoever uses the view
//! has settings of its own: '05/01/2024' is another day, or none, in another DateStyle. So functions with the program's settings
//! compute them, of the columns that they mention.

use super::Compatibility;
use crate::hangs_on::shape::{Green, GreenColumn, Source, without_length};
use crate::pg::connect::base_settings;
use crate::pg::sql::lexer::mentions;
use crate::pg::{Ident, Literal, QName, TELLING, list};

/// The settings that what is computed may depend on; they have the values of every session of this program.
const SETTINGS: [&str; 8] = [
    "search_path",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "extra_float_digits",
    "bytea_output",
    "xmloption",
    "array_nulls",
];

/// A column that an expression mentions.
struct Parameter {
    name: Ident,
    data_type: String,
    collation: Option<QName>,
}

/// A function that computes an expression.
pub(super) struct Computed {
    function: QName,
    parameters: Vec<Parameter>,
    /// The expression, of the type that it returns.
    sql: String,
    data_type: String,
}

impl Computed {
    fn signature(&self) -> String {
        let types = list(self.parameters.iter().map(|one| &one.data_type));
        format!("{}({types})", self.function)
    }

    pub(super) fn make(&self) -> [String; 2] {
        let Self { function: _, parameters, sql, data_type } = self;
        let is_set = |(name, _): &&(&str, &str)| SETTINGS.contains(name);
        let settings = base_settings().iter().filter(is_set);
        let settings: Vec<String> = settings.map(|(name, value)| format!("SET {name} = '{value}'")).collect();
        let row = list(parameters.iter().enumerate().map(|(at, one)| {
            let collate = one.collation.as_ref().map_or_else(String::new, |name| format!(" COLLATE {name}"));
            format!("${}{collate} AS {}", at + 1, one.name)
        }));
        let signature = self.signature();
        [
            format!(
                "CREATE FUNCTION {signature} RETURNS {data_type} LANGUAGE sql STABLE {} RETURN (SELECT ({sql})::{data_type} FROM (SELECT {row}) r)",
                settings.join(" ")
            ),
            format!("GRANT EXECUTE ON FUNCTION {signature} TO PUBLIC"),
        ]
    }

    /// A version of this program that did without them may have made the view.
    pub(super) fn drop(&self) -> String {
        format!("DROP FUNCTION IF EXISTS {}", self.signature())
    }

    /// SQL for its value over this row.
    pub(super) fn of(&self, row: &str) -> String {
        let arguments = list(self.parameters.iter().map(|one| format!("{row}.{}", one.name)));
        format!("{}({arguments})", self.function)
    }
}

/// A function that decrypts a value of a type whose input may fail. The server would quote the plaintext in its error, and in its
/// log.
pub(super) struct Opened {
    function: QName,
    data_type: String,
}

impl Opened {
    pub(super) fn make(&self) -> [String; 2] {
        let Self { function, data_type } = self;
        let telling = list(TELLING.map(|class| format!("'{class}'")));
        let body = format!(
            "DECLARE projh_text pg_catalog.text := {}; \
             BEGIN RETURN projh_text::{data_type}; \
             EXCEPTION WHEN OTHERS THEN IF left(SQLSTATE, 2) IN ({telling}) THEN RAISE; END IF; \
             RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = 'a value that was decrypted is no value of its old type'; END",
            super::decrypt("$1")
        );
        [
            format!(
                "CREATE FUNCTION {function}(bytea) RETURNS {data_type} LANGUAGE plpgsql VOLATILE \
                 SET search_path = pg_catalog, pg_temp AS {}",
                Literal(&body)
            ),
            format!("GRANT EXECUTE ON FUNCTION {function}(bytea) TO PUBLIC"),
        ]
    }

    /// A version of this program that did without it may have made the view.
    pub(super) fn drop(&self) -> String {
        format!("DROP FUNCTION IF EXISTS {}(bytea)", self.function)
    }

    /// SQL for the value of a column of `t`.
    pub(super) fn of(&self, column: &Ident) -> String {
        format!("{}(t.{column})", self.function)
    }
}

impl Green {
    /// The function that decrypts a column for the view in `schema`, if it was no text: every text is one.
    pub(super) fn opened(&self, schema: &Ident, column: &GreenColumn) -> Option<Opened> {
        let Source::Encrypted(how) = &column.source else { return None };
        let was = self.blue.column(&how.blue).filter(|_| self.is_plain(&how.blue))?;
        let data_type = without_length(&was.data_type);
        if ["text", "character varying", "character", "name"]
            .contains(&data_type.trim_start_matches("pg_catalog."))
        {
            return None;
        }
        let number = self.columns.iter().position(|green| green.name == column.name)?;
        let function =
            QName::new(schema.clone(), format!("open_{number}_{}", self.live().name.as_str()).as_str());
        Some(Opened { function, data_type })
    }

    /// The functions of all columns that are decrypted.
    pub(super) fn all_opened(&self, of: &Compatibility) -> impl Iterator<Item = Opened> {
        self.columns.iter().filter_map(|column| self.opened(&of.schema, column))
    }

    /// The functions of a column, in `schema`: what is read of it, and what is written. `None` if the plan gives no expression,
    /// or one of a column whose type only the server knows. A cast is none: those that read settings are refused.
    pub(super) fn computed(&self, schema: &Ident, column: &GreenColumn) -> Option<[Computed; 2]> {
        let Source::Expression { blue, sql, back: Some(back) } = &column.source else { return None };
        let was = self.blue.column(blue)?;
        if self.cast_of(column).is_some() {
            return None;
        }
        let of_green = self.columns.iter().filter(|green| mentions(back, green.name.as_str()));
        let of_green = of_green.map(|green| self.parameter_of(green)).collect::<Option<_>>()?;
        let of_blue = self.blue.columns.iter().filter(|blue| mentions(sql, blue.name.as_str()));
        let of_blue = of_blue.map(|blue| Parameter {
            name: blue.name.clone(),
            data_type: blue.data_type.clone(),
            collation: blue.collation.clone(),
        });
        let number = self.columns.iter().position(|green| green.name == column.name)?;
        let table = self.live().name.as_str();
        let name = |what: &str| QName::new(schema.clone(), format!("{what}_{number}_{table}").as_str());
        Some([
            Computed {
                function: name("read"),
                parameters: of_green,
                sql: back.clone(),
                data_type: without_length(&was.data_type),
            },
            Computed {
                function: name("written"),
                parameters: of_blue.collect(),
                sql: sql.clone(),
                data_type: without_length(&column.data_type),
            },
        ])
    }

    /// The functions of all columns.
    pub(super) fn all_computed(&self, of: &Compatibility) -> impl Iterator<Item = Computed> {
        self.columns.iter().filter_map(|column| self.computed(&of.schema, column)).flatten()
    }

    fn parameter_of(&self, green: &GreenColumn) -> Option<Parameter> {
        let collation = match &green.source {
            Source::Added => return None,
            Source::Same(blue) | Source::Generated(blue) => {
                self.blue.column(blue).and_then(|blue| blue.collation.clone())
            }
            _ => None,
        };
        Some(Parameter { name: green.name.clone(), data_type: green.data_type.clone(), collation })
    }
}
