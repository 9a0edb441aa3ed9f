//! The values of the columns of one table, read once.

use std::collections::BTreeMap;
use std::pin::pin;

use futures_util::TryStreamExt as _;
use schemars::JsonSchema;
use serde::Serialize;
use tokio_postgres::Client;
use zeroize::{Zeroize as _, Zeroizing};

use super::columns::{Code, Column, Table};
use crate::error::{Doing, Error};
use crate::lane::raw::Raw;
use crate::pg::list;
use crate::phi::{Format, Identity, Keyring, Opener, Refused, blind_index, label, parameters, tag};

/// A column that the plan encrypts, or that a comment marks as protected health information.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct PhiColumn {
    /// The table, as `schema.table`.
    pub table: String,
    /// The column.
    pub column: String,
    /// Whether the plan encrypts it; otherwise its comment marks it.
    pub in_plan: bool,
    /// The number of rows.
    pub rows: u64,
    /// Rows without a value.
    pub nulls: u64,
    /// Values that are not encrypted.
    pub plaintext: u64,
    /// Values that are encrypted, by key, format and parameters.
    pub encrypted: Vec<Under>,
    /// Values that were opened; `null` without keys.
    pub opened: Option<u64>,
    /// Values that are encrypted and not accepted, or could not be opened, by the reason.
    pub refused: BTreeMap<String, u64>,
    /// The blind index, if the plan gives the column one and there are keys.
    pub blind_index: Option<Coded>,
    /// The tag, if the plan gives the column one and there are keys.
    pub tag: Option<Coded>,
    /// The share of values that are encrypted, accepted, and opened if there are keys: 100 only if all are.
    pub percent: f64,
}

/// Values that are encrypted in the same way.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Under {
    /// The key that they name, or that has opened them; `null` if neither is known.
    pub key: Option<String>,
    /// Their format.
    pub format: Format,
    /// How they are encrypted: cipher, derivation of the key, protection against changes.
    pub parameters: String,
    /// Their number.
    pub values: u64,
}

/// Whether a blind index, or a tag, is that of the values.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Coded {
    /// Its column.
    pub column: String,
    /// Rows where it is that of the value.
    pub equal: u64,
    /// Rows where it is not.
    pub other: u64,
    /// Whether the table has no such column.
    pub missing: bool,
}

impl Coded {
    /// Of which nothing is counted yet.
    fn of(code: &Code) -> Self {
        Self { column: code.name.as_str().to_owned(), missing: !code.exists, ..Self::default() }
    }

    fn count(of: &mut Option<Self>, is_equal: bool) {
        if let Some(counted) = of {
            *(if is_equal { &mut counted.equal } else { &mut counted.other }) += 1;
        }
    }
}

impl PhiColumn {
    /// Whether all values are encrypted, accepted, and opened if there are keys.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let mut codes = self.blind_index.iter().chain(&self.tag);
        self.covered() == self.values() && codes.all(|of| of.other == 0 && !of.missing)
    }

    /// The number of values.
    #[must_use]
    pub fn values(&self) -> u64 {
        self.rows - self.nulls
    }

    fn covered(&self) -> u64 {
        self.opened.unwrap_or_else(|| self.encrypted.iter().map(|under| under.values).sum())
    }

    fn end(mut self, count: BTreeMap<(Option<String>, Format, String), u64>) -> Self {
        let under = |((key, format, parameters), values)| Under { key, format, parameters, values };
        self.encrypted = count.into_iter().map(under).collect();
        self.percent = match (self.covered(), self.values()) {
            (_, 0) => 100.0,
            // 100 is for all of them, not for nearly all.
            (covered, all) if covered < all => {
                ((covered as f64 / all as f64 * 1e4).floor() / 100.0).min(99.99)
            }
            _ => 100.0,
        };
        self
    }
}

/// What is known of a column while its values are read.
struct Counting<'a> {
    column: &'a Column,
    found: PhiColumn,
    under: BTreeMap<(Option<String>, Format, String), u64>,
    identity: Identity,
    opener: Option<Opener>,
}

impl<'a> Counting<'a> {
    fn of(table: &str, column: &'a Column, keyring: Option<&Keyring>) -> Self {
        let code = |of: &Option<Code>| {
            let of = of.as_ref()?;
            keyring?.get(of.key).map(|_| Coded::of(of))
        };
        let found = PhiColumn {
            table: table.to_owned(),
            column: column.name.as_str().to_owned(),
            in_plan: column.planned.is_some(),
            opened: keyring.map(|_| 0),
            blind_index: code(&column.blind_index),
            tag: code(&column.tag),
            ..PhiColumn::default()
        };
        let identity = Identity::of_column(table, column.name.as_str());
        Self { column, found, under: BTreeMap::new(), identity, opener: keyring.map(Opener::new) }
    }

    /// Counts a value, and leaves its text in `text` if it could be opened.
    fn value(&mut self, value: &[u8], key: &[Vec<u8>], text: &mut Vec<u8>) -> bool {
        let labelled = if self.column.is_bytes { label(value) } else { Err(Refused::NotEncrypted) };
        let mut labelled = match labelled {
            Ok(label) => label,
            Err(Refused::NotEncrypted) => {
                self.found.plaintext += 1;
                return false;
            }
            Err(why) => {
                *self.found.refused.entry(why.to_string()).or_default() += 1;
                return false;
            }
        };
        let mut is_open = false;
        if let Some(opener) = &mut self.opener {
            let bound_to = self.column.bound_to.iter().map(|at| key[*at].as_slice());
            match opener.open(value, self.identity.of_row(bound_to), text) {
                Ok(label) => {
                    labelled = label;
                    is_open = true;
                    self.found.opened = self.found.opened.map(|opened| opened + 1);
                }
                Err(why) => *self.found.refused.entry(why.to_string()).or_default() += 1,
            }
        }
        let under = (labelled.key.map(|key| key.to_string()), labelled.format, parameters(value));
        *self.under.entry(under).or_default() += 1;
        is_open
    }

    /// Counts the blind index and the tag of a text, of NULL if there is none.
    fn codes(&mut self, keyring: &Keyring, key: &[Vec<u8>], text: Option<&[u8]>, codes: [Option<&[u8]>; 2]) {
        let is_equal = |expected: Option<Result<[u8; 32], Refused>>, found: Option<&[u8]>| {
            expected.transpose().is_ok_and(|expected| expected.as_ref().map(|it| &it[..]) == found)
        };
        if let Some(code) = &self.column.blind_index
            && let Some(secret) = keyring.get(code.key)
        {
            let expected = text.map(|text| blind_index(secret, text));
            Coded::count(&mut self.found.blind_index, is_equal(expected, codes[0]));
        }
        if let Some(code) = &self.column.tag
            && let Some(secret) = keyring.get(code.key)
        {
            let bound_to = self.column.bound_to.iter().map(|at| key[*at].as_slice());
            let identity = self.identity.of_row(bound_to);
            let expected = text.map(|text| tag(secret, identity, text));
            Coded::count(&mut self.found.tag, is_equal(expected, codes[1]));
        }
    }
}

/// Reads all rows of a table.
pub(super) async fn count(
    client: &Client,
    table: &Table,
    keyring: Option<&Keyring>,
) -> Result<Vec<PhiColumn>, Error> {
    let name = table.name.plain();
    let mut columns: Vec<Counting<'_>> =
        table.columns.iter().map(|column| Counting::of(&name, column, keyring)).collect();
    let doing = || format!("reading encrypted columns of {name}");
    let no_parameters: [&str; 0] = [];
    let rows = client.query_raw(&select(table), no_parameters).await.doing(doing())?;
    let mut rows = pin!(rows);
    let mut text = Zeroizing::new(Vec::new());
    let count = columns.len();
    while let Some(row) = rows.try_next().await.doing(doing())? {
        let field = |at: usize| row.get::<_, Raw>(at).0;
        let key: Vec<Vec<u8>> = (3 * count..row.len())
            .map(|at| field(at).map(|text| text.to_vec()).unwrap_or_default())
            .collect();
        for (at, column) in columns.iter_mut().enumerate() {
            column.found.rows += 1;
            text.zeroize();
            let is_open = match field(at) {
                None => {
                    column.found.nulls += 1;
                    None
                }
                Some(value) => Some(column.value(&value, &key, &mut text)),
            };
            let codes = [field(count + at), field(2 * count + at)];
            if let (Some(keyring), None | Some(true)) = (keyring, is_open) {
                let codes = codes.each_ref().map(Option::as_deref);
                column.codes(keyring, &key, is_open.map(|_| text.as_slice()), codes);
            }
        }
    }
    Ok(columns.into_iter().map(|column| column.found.end(column.under)).collect())
}

/// The values, of plaintext columns only whether there is one; their blind indexes; their tags; and the key as text.
fn select(table: &Table) -> String {
    let value = |column: &Column| match column.is_bytes {
        true => format!("{}::pg_catalog.bytea", column.name),
        false => format!("CASE WHEN {} IS NOT NULL THEN '\\x'::pg_catalog.bytea END", column.name),
    };
    let code = |of: &Option<Code>| match of {
        Some(Code { name, exists: true, .. }) => name.to_string(),
        _ => "NULL::pg_catalog.bytea".to_owned(),
    };
    let indexes = table.columns.iter().map(|column| code(&column.blind_index));
    let tags = table.columns.iter().map(|column| code(&column.tag));
    let key = table.key.iter().map(|name| format!("{name}::pg_catalog.text"));
    let fields = table.columns.iter().map(value).chain(indexes).chain(tags).chain(key);
    format!("SELECT {} FROM {}", list(fields), table.name)
}
