//! What this program does with values on their way: opens them, and seals them, or computes their blind index or their tag.
//!
//! Invariant: whatever cannot be opened stops the work, and is named without its value; NULL stays NULL, and is never
//! encrypted.

use std::sync::Arc;

use bytes::Bytes;
use zeroize::{Zeroize as _, Zeroizing};

use super::mapping::{Form, Transform};
use super::{Lane, LaneKeyColumn, Mapped};
use crate::pg::Ident;
use crate::phi::{Format, Identity, Key, Keyring, Label, Opener, Refused, Sealer, blind_index, tag};

/// A value that cannot be transformed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a value of {table}, column {column}{}, cannot be read: {why}", key.as_ref().map_or_else(String::new, |key| format!(", in the row with key digest {key}")))]
pub struct CipherError {
    /// The table, as `schema.table`.
    pub table: String,
    /// The column of the source.
    pub column: String,
    /// A digest of the row's key, if it is known.
    pub key: Option<String>,
    /// Why.
    pub why: Refused,
}

/// The transformations of one lane, for one task.
pub struct Ciphers {
    table: String,
    columns: Vec<CipherColumn>,
    opener: Opener,
    plain: Zeroizing<Vec<u8>>,
}

struct CipherColumn {
    /// The names in the source and in the target.
    names: [String; 2],
    transform: Transform,
    sealer: Option<Sealer>,
    /// What computes the target's value, if that is a blind index or a tag.
    code: Option<Code>,
    /// The target's columns with the blind index and the tag of its value, and what computes them.
    kept: Vec<(String, Code)>,
    /// What values are bound to in the source and in the target.
    identities: [Identity; 2],
    /// Which of the key's columns that is; `None` for all.
    bound_to: Option<Vec<usize>>,
}

/// What computes a blind index or a tag.
struct Code {
    key: Option<Arc<Key>>,
    /// Of a tag, what values are bound to.
    tag_of: Option<Identity>,
}

impl Ciphers {
    /// Of a lane; `None` if it has no transformation.
    #[must_use]
    pub fn of(lane: &Lane) -> Option<Self> {
        let keyring = lane.keyring.as_ref()?;
        let table = lane.table.plain();
        let column = |(mapped, transform): (&Mapped, &Transform)| {
            let sealer = match &transform.target {
                Form::Sealed { format, key, .. } => keyring.get(*key).map(|key| Sealer::new(*format, key)),
                _ => None,
            };
            let code = |form: &Form| Code::of(form, &table, keyring);
            let kept = transform.kept.iter();
            let kept = kept.filter_map(|(name, form)| Some((name.as_str().to_owned(), code(form)?)));
            let names = [&mapped.source, &mapped.target].map(|name| name.as_str().to_owned());
            let identities = [&names[0], &names[1]].map(|name| Identity::of_column(&table, name));
            let of_key = |name: &Ident| lane.key.iter().position(|key| key.name == *name);
            let bound_to = transform.bound_to.as_ref();
            let bound_to = bound_to.map(|names| names.iter().filter_map(of_key).collect());
            CipherColumn {
                names,
                transform: transform.clone(),
                sealer,
                code: code(&transform.target),
                kept: kept.collect(),
                identities,
                bound_to,
            }
        };
        let columns: Vec<CipherColumn> = lane.transformed().map(column).collect();
        let opener = Opener::new(keyring);
        (!columns.is_empty()).then_some(Self { table, columns, opener, plain: Zeroizing::default() })
    }

    /// What the source's value becomes, appended; `key` is the row's, as text.
    ///
    /// # Errors
    /// If the value cannot be opened or sealed.
    pub fn transform(
        &mut self,
        number: usize,
        taken: &[u8],
        key: &[Vec<u8>],
        out: &mut Vec<u8>,
    ) -> Result<(), CipherError> {
        let Self { columns, opener, plain, .. } = self;
        let column = &mut columns[number];
        let outcome = column.plain(opener, taken, key, plain).and_then(|text| {
            let row = bound(&column.bound_to, key);
            match (&column.transform.target, &mut column.sealer, &mut column.code) {
                (Form::Sealed { .. }, Some(sealer), _) => {
                    sealer.seal(text, column.identities[1].of_row(row), out)
                }
                (Form::Blind { .. }, _, Some(code)) => {
                    out.extend_from_slice(&code.of_text(text, row)?);
                    Ok(())
                }
                (Form::Plain { .. }, ..) => {
                    out.extend_from_slice(text);
                    Ok(())
                }
                _ => Err(Refused::Malformed("its key is missing")),
            }
        });
        outcome.map_err(|why| self.refused(number, why))
    }

    /// The error for a value of the source.
    pub(super) fn refused(&self, number: usize, why: Refused) -> CipherError {
        let column = self.columns[number].names[0].clone();
        CipherError { table: self.table.clone(), column, key: None, why }
    }

    /// What is compared of the source's value, appended.
    pub(super) fn of_source(
        &mut self,
        number: usize,
        taken: &[u8],
        key: &[Vec<u8>],
        out: &mut Vec<u8>,
    ) -> Result<Option<Label>, Refused> {
        let Self { columns, opener, plain, .. } = self;
        let column = &mut columns[number];
        let text = column.plain(opener, taken, key, plain)?;
        match &mut column.code {
            Some(code) => out.extend_from_slice(&code.of_text(text, bound(&column.bound_to, key))?),
            None => out.extend_from_slice(text),
        }
        Ok(None)
    }

    /// What is compared of the target's value, appended; and its label, if it is encrypted.
    pub(super) fn of_target(
        &mut self,
        number: usize,
        taken: &[u8],
        key: &[Vec<u8>],
        out: &mut Vec<u8>,
    ) -> Result<Option<Label>, Refused> {
        let column = &mut self.columns[number];
        let Form::Sealed { format, key: wanted, is_all } = column.transform.target else {
            out.extend_from_slice(taken);
            return Ok(None);
        };
        let identity = column.identities[1].of_row(bound(&column.bound_to, key));
        let begin = out.len();
        let label = self.opener.open(taken, identity, out)?;
        let why = match label.key {
            _ if !is_all => return Ok(Some(label)),
            Some(key) if key != wanted => Refused::OtherKey(key),
            _ if label.format != format => Refused::OtherFormat,
            _ => return Ok(Some(label)),
        };
        out.truncate(begin);
        Err(why)
    }

    /// What is wrong with the blind index and the tag that the target has of a text, if anything.
    pub(super) fn wrong_codes(
        &mut self,
        number: usize,
        text: Option<&[u8]>,
        key: &[Vec<u8>],
        found: &[Option<Bytes>],
    ) -> Vec<Option<String>> {
        // None on this side and some on the other would be a difference.
        let Some(CipherColumn { kept, bound_to, .. }) = self.columns.get_mut(number) else {
            return Vec::new();
        };
        let wrong = |((name, code), found): (&mut (String, Code), &Option<Bytes>)| {
            let expected = text.map(|text| code.of_text(text, bound(bound_to, key))).transpose();
            let is_right =
                expected.is_ok_and(|expected| expected.as_ref().map(|it| &it[..]) == found.as_deref());
            (!is_right).then(|| match code.tag_of {
                Some(_) => format!("its tag, in column {name}, is that of another value, row or column"),
                None => format!("its blind index, in column {name}, is that of another value"),
            })
        };
        kept.iter_mut().zip(found).map(wrong).collect()
    }
}

/// What a row's values are bound to.
fn bound<'k>(columns: &Option<Vec<usize>>, key: &'k [Vec<u8>]) -> Vec<&'k [u8]> {
    match columns {
        None => key.iter().map(Vec::as_slice).collect(),
        Some(columns) => columns.iter().filter_map(|at| key.get(*at).map(Vec::as_slice)).collect(),
    }
}

impl Code {
    fn of(form: &Form, table: &str, keyring: &Keyring) -> Option<Self> {
        let Form::Blind { key, tag_of } = form else { return None };
        let tag_of = tag_of.as_ref().map(|column| Identity::of_column(table, column.as_str()));
        Some(Self { key: keyring.get(*key).cloned(), tag_of })
    }

    /// The blind index of a text, or its tag in the row with this key.
    fn of_text(&mut self, text: &[u8], row: Vec<&[u8]>) -> Result<[u8; 32], Refused> {
        let key = self.key.as_ref().ok_or(Refused::Malformed("its key is missing"))?;
        match &mut self.tag_of {
            Some(identity) => tag(key, identity.of_row(row), text),
            None => blind_index(key, text),
        }
    }
}

impl CipherColumn {
    /// The text of the source's value: the value itself, or `opened`, in which it is opened.
    fn plain<'t>(
        &mut self,
        opener: &mut Opener,
        taken: &'t [u8],
        key: &[Vec<u8>],
        opened: &'t mut Vec<u8>,
    ) -> Result<&'t [u8], Refused> {
        if let Form::Plain { .. } = self.transform.source {
            return Ok(taken);
        }
        opened.zeroize();
        let identity = self.identities[0].of_row(bound(&self.bound_to, key));
        opener.open(taken, identity, opened)?;
        Ok(opened)
    }
}

impl Lane {
    /// Whether values are bound to their rows, so that a row's key is needed as text.
    #[must_use]
    pub fn binds_rows(&self) -> bool {
        let is_bound = |form: &Form| {
            matches!(form, Form::Sealed { format: Format::AesGcm, .. } | Form::Foreign)
                || form.tag_of().is_some()
        };
        self.transformed().any(|(_, transform)| is_bound(&transform.source) || is_bound(&transform.target))
    }

    /// The columns of the key as text, in SQL, if values are bound to it, or may be impossible to open, so that it has to
    /// be named.
    pub(super) fn key_as_text(&self, column: impl Fn(&LaneKeyColumn) -> String) -> Vec<String> {
        let opens = self.transformed().any(|(_, transform)| !matches!(transform.source, Form::Plain { .. }));
        let asked = self.key.iter().filter(|_| opens || self.binds_rows());
        asked.map(|key| format!("({})::text", column(key))).collect()
    }
}
