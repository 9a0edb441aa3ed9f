//! Sequences that a table's columns own.
//!
//! A serial column's sequence is shared while both tables exist, and changes its owner in the swap; its type only changes
//! if the plan gives the column a wider one, and a swap back undoes that. An identity column's cannot change its owner:
//! green has one of its own, with the same name in the run's schema, which continues from blue's value at the swap. All of
//! them are locked with the tables: a client that calls `nextval` before its INSERT holds the sequence and waits for the
//! table.

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use super::columns::Identity;
use super::grant::Grant;
use super::part::{Compared, Conflict, Part, counted};
use super::shape::Green;
use super::table::comment_on;
use super::{Error, Question};
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Colour, Ident, Literal, QName};
use crate::plan::TablePlan;

pub(super) const SEQUENCES: Question =
    Question { what: "its sequences", sql: include_str!("../../sql/catalog/sequences.sql") };

/// Values that green's identity sequence skips: a client that waits in `nextval` during the swap still gets its value
/// from blue's. At least this many steps, and this many blocks of CACHE, but never more than a part of the values left.
const GAP_STEPS: u32 = 1000;
const GAP_BLOCKS: u32 = 100;
const PART_OF_LEFT: u32 = 10;

/// A sequence that a column owns, as found in the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// The column that owns it.
    pub column: Ident,
    /// Its name, schema-qualified.
    pub name: QName,
    /// Whether it is an identity column's; otherwise a serial column's.
    pub identity: bool,
    /// Its type: smallint, integer or bigint.
    pub data_type: String,
    /// The value of START WITH.
    pub start: i64,
    /// The value of MINVALUE.
    pub min: i64,
    /// The value of MAXVALUE.
    pub max: i64,
    /// The value of INCREMENT BY.
    pub increment: i64,
    /// The number of values that CACHE preallocates.
    pub cache: i64,
    /// Whether it is CYCLE.
    pub cycle: bool,
    /// The text of COMMENT ON SEQUENCE.
    pub comment: Option<String>,
    /// Privileges of roles other than the owner.
    pub grants: Vec<Grant>,
    /// Whether it is UNLOGGED (PostgreSQL 15 and later).
    #[serde(default)]
    pub unlogged: bool,
    /// What is bound to it.
    #[serde(default)]
    pub used_by: Vec<SequenceUse>,
}

/// An object that is bound to a sequence, as found in the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceUse {
    /// As the server describes it.
    pub what: String,
    /// The column, if it is the default of one of the table itself.
    pub column: Option<Ident>,
    /// Whether it is a default.
    pub is_default: bool,
}

/// The [`Part`] of sequences.
pub(super) struct Sequences;

impl Part for Sequences {
    /// A sequence goes with its column. Defaults that use an identity's have conflicts of their own.
    fn conflicts(&self, green: &Green, _plan: &TablePlan) -> Vec<Conflict> {
        let sequences = green.blue.sequences.iter().filter(|of| green.name_of(&of.column).is_none());
        let conflicts = sequences.filter_map(|sequence| {
            let users = sequence.users_left(green);
            let (name, column) = (sequence.name.plain(), &sequence.column);
            let users = (!users.is_empty()).then(|| users.join(", "))?;
            let what = format!(
                "column {column}, which the plan drops, owns sequence {name}, which would go with it, and is used by {users}"
            );
            let hint = match sequence.identity {
                true => format!("let no other object use {name}, or keep column {column}"),
                false => format!("alter sequence {name} owned by none"),
            };
            Some(Conflict::new(what, hint))
        });
        conflicts.collect()
    }

    fn adorn(&self, green: &Green) -> Vec<Statement> {
        let mut statements = Vec::new();
        for (sequence, _) in identities(green) {
            let name = sequence.name.in_schema(&green.homes.green);
            if sequence.has_other_type(green) {
                statements.push(sequence.give_type(&name));
            }
            if sequence.unlogged {
                let sql = format!("ALTER SEQUENCE {name} SET UNLOGGED");
                statements.push(Statement::making(&name, "set the persistence of sequence", sql));
            }
            statements.extend(comment_on(&format!("SEQUENCE {name}"), sequence.comment.as_ref()));
        }
        statements
    }

    fn leave(&self, green: &Green, _who: Colour) -> Vec<Statement> {
        serials(green).map(|(sequence, _)| sequence.disown()).collect()
    }

    /// The table that left takes the values that the other one gives from now on, so its identity is BY DEFAULT.
    fn arrive(&self, green: &Green, who: Colour) -> Vec<Statement> {
        let (live, left) = (green.live(), who.other());
        let mut statements = Vec::new();
        for (sequence, column) in serials(green) {
            let owner = if who == Colour::Blue { &sequence.column } else { column };
            statements.push(sequence.own(live, owner));
            statements.extend(sequence.wider(green).map(|new| match who {
                Colour::Blue => sequence.narrow(),
                Colour::Green => sequence.widen(new),
            }));
        }
        for (sequence, column) in identities(green) {
            statements.push(sequence.advance(&sequence.name.in_schema(green.homes.of(left)), &sequence.name));
            let is_always = green.blue.column(&sequence.column).and_then(|column| column.identity)
                == Some(Identity::Always);
            if is_always {
                let (arrived, left_column) = match who {
                    Colour::Blue => (&sequence.column, column),
                    Colour::Green => (column, &sequence.column),
                };
                statements.push(set_identity(live, arrived, "ALWAYS"));
                statements.push(set_identity(&green.home_of(left), left_column, "BY DEFAULT"));
            }
            let on = format!("SEQUENCE {}", sequence.name);
            statements.extend(sequence.grants.iter().map(|grant| grant.statement(&on)));
        }
        statements
    }

    /// The live table owns the sequence of a serial column: it could not be dropped while blue's default calls it.
    fn archive(&self, green: &Green, _schema: &Ident) -> Vec<Statement> {
        let blue = green.home_of(Colour::Blue);
        let detach = |(sequence, _): (&Sequence, _)| {
            let sql = format!("ALTER TABLE {blue} ALTER COLUMN {} DROP DEFAULT", sequence.column);
            Statement::on(&blue, LockMode::AccessExclusive, "drop a default of", sql)
        };
        serials(green).map(detach).collect()
    }

    fn kept(&self, green: &Green) -> Vec<String> {
        let kept = green.blue.sequences.iter().filter(|sequence| green.name_of(&sequence.column).is_some());
        counted(kept.count(), "sequence", "sequences").into_iter().collect()
    }

    fn compare(&self, compared: &mut Compared<'_>) {
        for was in &compared.was.sequences {
            let Some(column) = compared.green.name_of(&was.column).cloned() else { continue };
            let Some(is) = compared.is.sequence_of(&column) else {
                compared.note(format!("sequence {} no longer belongs to column {column}", was.name.plain()));
                continue;
            };
            let mut expected = was.clone();
            expected.column = column;
            expected.used_by.clone_from(&is.used_by);
            if compared.is_changed(&was.column) && is.data_type != was.data_type {
                expected.data_type.clone_from(&is.data_type);
                (expected.min, expected.max) = (is.min, is.max);
            }
            compared.check(format!("sequence {}", was.name.plain()), &expected, is);
        }
    }
}

impl Green {
    /// Locks all sequences of the live table, so that their values stand still, and so that nothing later in the swap waits
    /// for a client that holds one. PostgreSQL's LOCK TABLE takes no sequences; this statement changes nothing.
    #[must_use]
    pub fn lock_sequences(&self, live: Colour) -> Vec<Statement> {
        let lock = |sequence: &Sequence| {
            let sql = format!("ALTER SEQUENCE {} OWNER TO {}", sequence.name, self.blue.table.owner);
            Statement::on(&sequence.name, LockMode::AccessExclusive, "lock sequence", sql)
        };
        let has = |sequence: &&Sequence| live == Colour::Blue || self.name_of(&sequence.column).is_some();
        self.blue.sequences.iter().filter(has).map(lock).collect()
    }
}

impl Green {
    /// The sequences that move with blue: those of identity columns, and of columns that green does not have.
    pub(crate) fn sequences_of_blue(&self) -> impl Iterator<Item = &QName> {
        let moves = |sequence: &&Sequence| sequence.identity || self.name_of(&sequence.column).is_none();
        self.blue.sequences.iter().filter(moves).map(|sequence| &sequence.name)
    }
}

impl Green {
    /// Serial sequences that get another type in the swap.
    pub(crate) fn widened_sequences(&self) -> impl Iterator<Item = &Sequence> {
        serials(self).map(|(sequence, _)| sequence).filter(|sequence| sequence.wider(self).is_some())
    }
}

/// Serial sequences of columns that green has, with green's name of the column.
fn serials(green: &Green) -> impl Iterator<Item = (&Sequence, &Ident)> {
    let serial = green.blue.sequences.iter().filter(|sequence| !sequence.identity);
    serial.filter_map(|sequence| Some((sequence, green.name_of(&sequence.column)?)))
}

/// Identity sequences of columns that green has, with green's name of the column.
fn identities(green: &Green) -> impl Iterator<Item = (&Sequence, &Ident)> {
    let identity = green.blue.sequences.iter().filter(|sequence| sequence.identity);
    identity.filter_map(|sequence| Some((sequence, green.name_of(&sequence.column)?)))
}

/// What uses the sequence of a column that the plan drops: nothing did when green was designed.
///
/// # Errors
/// If the catalog cannot be read.
pub(crate) async fn users_of_dropped(client: &Client, green: &Green) -> Result<Vec<String>, Error> {
    let is_dropped = |of: &&Sequence| green.name_of(&of.column).is_none();
    if !green.blue.sequences.iter().any(|of| is_dropped(&of)) {
        return Ok(Vec::new());
    }
    let now: Vec<Sequence> = SEQUENCES.ask(client, green.blue.table.oid).await?;
    let users = now.iter().filter(is_dropped).flat_map(|of| {
        let name = of.name.plain();
        of.users_left(green).into_iter().map(move |user| {
            format!("{user} uses sequence {name}, which goes with column {}, and is new", of.column)
        })
    });
    Ok(users.collect())
}

impl Sequence {
    /// What would still use it without the columns that the plan drops.
    fn users_left(&self, green: &Green) -> Vec<&str> {
        let goes_too = |of: &SequenceUse| {
            of.column.as_ref().is_some_and(|column| green.name_of(column).is_none())
                || self.identity && of.is_default
        };
        self.used_by.iter().filter(|of| !goes_too(of)).map(|of| of.what.as_str()).collect()
    }

    /// `GENERATED BY DEFAULT AS IDENTITY (...)` for green: BY DEFAULT until the swap, because rows are written with
    /// the values that blue gave them. If the column's type changes, limits that only came from the old type are left
    /// to the new one. The server gives the sequence the column's type; what is of another one follows.
    pub(super) fn identity_clause(&self, green: &Green) -> String {
        let name = self.name.in_schema(&green.homes.green);
        if self.has_other_type(green) {
            return format!("GENERATED BY DEFAULT AS IDENTITY (SEQUENCE NAME {name})");
        }
        let retyped = green.is_retyped(&self.column);
        let max = (!retyped || self.max != type_max(&self.data_type)).then_some(self.max);
        let min = (!retyped || self.min != -type_max(&self.data_type) - 1).then_some(self.min);
        format!("GENERATED BY DEFAULT AS IDENTITY (SEQUENCE NAME {name} {})", self.options(min, max))
    }

    /// START WITH and what follows.
    fn options(&self, min: Option<i64>, max: Option<i64>) -> String {
        let limit =
            |name, value: Option<i64>| value.map(|value| format!(" {name} {value}")).unwrap_or_default();
        format!(
            "START WITH {} INCREMENT BY {}{}{} CACHE {} {}",
            self.start,
            self.increment,
            limit("MINVALUE", min),
            limit("MAXVALUE", max),
            self.cache,
            if self.cycle { "CYCLE" } else { "NO CYCLE" }
        )
    }

    /// Whether its type is another one than that of its column, which the plan leaves as it is.
    fn has_other_type(&self, green: &Green) -> bool {
        let column = green.blue.column(&self.column).filter(|_| !green.is_retyped(&self.column));
        column.is_some_and(|column| integer_type(&column.data_type) != integer_type(&self.data_type))
    }

    /// Gives green's sequence, which has the column's type and has not been used, blue's type and options.
    fn give_type(&self, name: &QName) -> Statement {
        let options = self.options(Some(self.min), Some(self.max));
        let sql =
            format!("ALTER SEQUENCE {name} AS {} {options} RESTART WITH {}", self.data_type, self.start);
        Statement::making(name, "set the type of sequence", sql)
    }

    /// The type that a serial's sequence gets in the swap, if the plan gives its column a type that holds greater values.
    fn wider(&self, green: &Green) -> Option<&'static str> {
        let name = green.name_of(&self.column).filter(|_| green.is_retyped(&self.column))?;
        let column = green.columns.iter().find(|column| column.name == *name)?;
        integer_type(&column.data_type).filter(|new| type_max(new) > type_max(&self.data_type))
    }

    /// Sets the sequence of the table that is live now to the other's value plus the gap; both are locked. It is not
    /// used while the other table is live, so a value of its own means nothing.
    fn advance(&self, from: &QName, to: &QName) -> Statement {
        let sql = format!(
            "SELECT pg_catalog.setval({}::pg_catalog.regclass, GREATEST(p.seqmin, LEAST(p.seqmax, b.last_value \
             + pg_catalog.sign(p.seqincrement::numeric) * LEAST(n.wanted, pg_catalog.floor(n.left / {PART_OF_LEFT})) \
             * pg_catalog.abs(p.seqincrement::numeric)))::bigint, b.is_called OR n.left >= {PART_OF_LEFT}) \
             FROM {from} b, pg_catalog.pg_sequence p, LATERAL (SELECT \
             GREATEST({GAP_STEPS}, {GAP_BLOCKS} * p.seqcache::numeric) AS wanted, pg_catalog.floor((CASE WHEN p.seqincrement > 0 \
             THEN p.seqmax::numeric - b.last_value ELSE b.last_value - p.seqmin::numeric END) \
             / pg_catalog.abs(p.seqincrement::numeric)) AS left) n WHERE p.seqrelid = {}::pg_catalog.regclass",
            Literal(&to.to_string()),
            Literal(&to.to_string()),
        );
        Statement::making(to, "advance sequence", sql)
    }

    /// `ALTER SEQUENCE ... OWNED BY NONE`, so that the sequence does not move with blue.
    fn disown(&self) -> Statement {
        self.alter(&format!("ALTER SEQUENCE {} OWNED BY NONE", self.name))
    }

    /// Makes the column of the live table the owner of a serial's sequence.
    fn own(&self, table: &QName, column: &Ident) -> Statement {
        let sql = format!("ALTER SEQUENCE {} OWNED BY {table}.{column}", self.name);
        self.alter(&sql).locking(table, LockMode::AccessShare)
    }

    fn widen(&self, data_type: &str) -> Statement {
        self.alter(&format!("ALTER SEQUENCE {} AS {data_type}", self.name)).called(self.type_changes())
    }

    /// Undoes [`Sequence::widen`], unless its value is beyond the limits that it had: then it stays as it is, so that
    /// whoever shares it can go on.
    fn narrow(&self) -> Statement {
        let Self { name, data_type, min, max, .. } = self;
        let body = format!(
            "BEGIN IF (SELECT last_value BETWEEN {min} AND {max} FROM {name}) THEN \
             ALTER SEQUENCE {name} AS {data_type} MINVALUE {min} MAXVALUE {max}; END IF; END"
        );
        self.alter(&format!("DO {}", Literal(&body))).called(self.type_changes())
    }

    fn type_changes(&self) -> String {
        format!("change the type of sequence {}", self.name.name.as_str())
    }

    /// Clients that call `nextval` wait for this lock.
    fn alter(&self, sql: &str) -> Statement {
        let verb = "change the owner of sequence";
        Statement::on(&self.name, LockMode::ShareRowExclusive, verb, sql.to_owned())
    }
}

/// `ALTER TABLE ... SET GENERATED ALWAYS`, or BY DEFAULT.
fn set_identity(table: &QName, column: &Ident, generated: &str) -> Statement {
    let sql = format!("ALTER TABLE {table} ALTER COLUMN {column} SET GENERATED {generated}");
    Statement::on(table, LockMode::AccessExclusive, "set the identity of a column of", sql)
}

/// The greatest value of an integer type, by its SQL name.
pub(crate) fn type_max(data_type: &str) -> i64 {
    match integer_type(data_type) {
        Some("smallint") => i64::from(i16::MAX),
        Some("integer") => i64::from(i32::MAX),
        _ => i64::MAX,
    }
}

/// The standard name of an integer type.
pub(crate) fn integer_type(data_type: &str) -> Option<&'static str> {
    match data_type.trim().to_ascii_lowercase().as_str() {
        "smallint" | "int2" | "pg_catalog.int2" => Some("smallint"),
        "integer" | "int" | "int4" | "pg_catalog.int4" => Some("integer"),
        "bigint" | "int8" | "pg_catalog.int8" => Some("bigint"),
        _ => None,
    }
}
