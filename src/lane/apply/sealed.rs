//! Rows with values that this program transforms: they are sent by COPY, into a temporary table that the statements read.

use std::sync::{Mutex, PoisonError};

use tokio_postgres::Client;
use zeroize::{Zeroize as _, Zeroizing};

use super::mask;
use super::sql::batch;
use crate::lane::coalesce::{Key, Row};
use crate::lane::mapping::Form;
use crate::lane::sent_keys::Refilled;
use crate::lane::{CipherError, Ciphers, Lane};
use crate::pg::copy::CopyRows;
use crate::phi::{Codec, Refused};
use crate::replication::pgoutput::Value;

/// Why rows could not be written.
pub(super) enum Failed {
    /// The server rejected a statement, or the connection was lost.
    Postgres(tokio_postgres::Error),
    /// A value of the row with this key cannot be transformed.
    Cipher(Box<CipherError>, Key),
}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

/// Transforms rows of the stream, and sends them.
pub(super) struct Sealed {
    ciphers: Mutex<Ciphers>,
    /// Where each transformation finds its source among the columns that the stream carries, and how that becomes text.
    sources: Vec<(usize, Option<Codec>)>,
    table: Refilled,
}

impl Sealed {
    /// `None` for a lane without transformations, or without keys, as in a rehearsal.
    pub(super) async fn prepare(client: &Client, lane: &Lane) -> Result<Option<Self>, tokio_postgres::Error> {
        let Some(ciphers) = Ciphers::of(lane) else { return Ok(None) };
        let sources = lane.transformed().filter_map(|(mapped, transform)| {
            let at = lane.streamed().position(|column| column.name == mapped.source)?;
            let codec = match &transform.source {
                Form::Plain { codec, .. } => Some(*codec),
                _ => None,
            };
            Some((at, codec))
        });
        Ok(Some(Self {
            sources: sources.collect(),
            ciphers: Mutex::new(ciphers),
            table: Refilled::prepare(client, &batch(lane)).await?,
        }))
    }

    /// Has the temporary table hold these rows, with their keys and those of the rows that they replace.
    pub(super) async fn send<'a>(
        &self,
        client: &Client,
        lane: &Lane,
        rows: impl Iterator<Item = (&'a Key, &'a Row, Option<&'a Key>)>,
    ) -> Result<(), Failed> {
        Ok(self.table.fill(client, self.sealed(lane, rows)?).await?)
    }

    fn sealed<'a>(
        &self,
        lane: &Lane,
        rows: impl Iterator<Item = (&'a Key, &'a Row, Option<&'a Key>)>,
    ) -> Result<CopyRows, Failed> {
        let mut ciphers = self.ciphers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = CopyRows::new();
        let fields = 2 + lane.fields().count() + lane.key.len();
        let mut value = Zeroizing::new(Vec::new());
        for (at, (key, row, base)) in rows.enumerate() {
            out.begin(fields);
            // Ordinals count from 1.
            out.put(Some(&(at as i64 + 1).to_be_bytes()));
            out.put(Some(&mask(row)));
            for (at, sent) in row.values.iter().enumerate() {
                // What is transformed is sent as what it becomes.
                let is_sent = self.sources.iter().all(|(source, _)| *source != at);
                out.put(bytes(sent).filter(|_| is_sent));
            }
            let key_texts = if lane.binds_rows() { texts(lane, key) } else { Vec::new() };
            for (number, (at, codec)) in self.sources.iter().enumerate() {
                let Some(sent) = row.values.get(*at).and_then(bytes) else {
                    out.put(None);
                    continue;
                };
                let text = codec.map(|codec| codec.text(sent).map(Zeroizing::new));
                let taken = match &text {
                    Some(Some(text)) => text.as_slice(),
                    Some(None) => {
                        return Err(Failed::Cipher(
                            Box::new(ciphers.refused(number, Refused::NotText)),
                            key.clone(),
                        ));
                    }
                    None => sent,
                };
                value.zeroize();
                let done = ciphers.transform(number, taken, &key_texts, &mut value);
                done.map_err(|error| Failed::Cipher(Box::new(error), key.clone()))?;
                out.put(Some(&value));
            }
            match base {
                Some(base) => base.values().for_each(|value| out.put(Some(value))),
                None => lane.key.iter().for_each(|_| out.put(None)),
            }
        }
        Ok(out)
    }
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Binary(bytes) => Some(bytes),
        _ => None,
    }
}

/// The values of a key as text.
fn texts(lane: &Lane, key: &Key) -> Vec<Vec<u8>> {
    let of_type = |(column, value): (&crate::lane::LaneKeyColumn, &[u8])| column.codec?.text(value);
    lane.key.iter().zip(key.values()).map(|pair| of_type(pair).unwrap_or_default()).collect()
}
