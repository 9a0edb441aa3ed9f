//! Rows that pass through this program on their way: COPY out of the source at the snapshot, the transformation, COPY into
//! the target or the stage. Both in PostgreSQL's binary form; a column that is not transformed is passed on as it is.
//!
//! Invariants: memory is bounded by two batches and what becomes of one; the source's file is checked in the transaction that has read it,
//! before what was written is committed; and no value is ever a statement's parameter.

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt as _, TryStreamExt};
use tokio::task::spawn_blocking;
use tokio_postgres::{Client, CopyInSink};
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    AS_OPERATOR, ChunkSql, CopyError, Round, Staging, at_snapshot, check_file, list, staged, unstage,
};
use crate::lane::batch;
use crate::lane::coalesce::Key;
use crate::lane::raw::Raw;
use crate::lane::sent_keys::SentKeys;
use crate::lane::{Ciphers, Lane};
use crate::lifecycle::Span;
use crate::pg::copy::{HEADER, TRAILER, begin_row, put};

fn framing(lane: &Lane) -> CopyError {
    CopyError::Framing { table: lane.table.plain() }
}

/// COPY to this program: what the target gets as it is, and what is transformed; then, if it is needed, the key as text.
pub(super) fn copy_out(lane: &Lane, from: &str) -> String {
    format!("COPY (SELECT {} FROM {from}) TO STDOUT (FORMAT binary)", list(taken(lane)))
}

/// COPY from this program.
pub(super) fn copy_in(lane: &Lane, into: &str) -> String {
    format!("COPY {into} ({}) FROM STDIN (FORMAT binary)", lane.target_columns())
}

fn taken(lane: &Lane) -> Vec<String> {
    let written = lane.mapping.iter().map(|mapped| match &mapped.transform {
        Some(transform) => transform.source.taken(&mapped.source.to_string()),
        None => mapped.expression.clone(),
    });
    written.chain(lane.key_as_text(|key| key.name.to_string())).collect()
}

/// As [`super::chunk`].
pub(super) async fn chunk(
    reader: &Client,
    writer: &Client,
    (lane, span): (&Lane, Span),
    round: &Round,
) -> Result<u64, CopyError> {
    let sql = CopyError::of(lane);
    let ChunkSql { staging, read, write } = ChunkSql::of(lane, span, round);
    if let Some(staging) = &staging {
        writer.batch_execute(&staging.make).await.map_err(&sql)?;
    }
    begin(reader, writer, lane, round).await?;
    let mut rows = copied(reader, writer, lane, (&read, write.as_deref().unwrap_or_default())).await?;
    end_of_reading(reader, lane, round).await?;
    if let Some(Staging { take, .. }) = &staging {
        rows = writer.execute(take, &[]).await.map_err(&sql)?;
    }
    writer.batch_execute(AS_OPERATOR).await.map_err(&sql)?;
    Ok(rows)
}

/// Begins both transactions.
async fn begin(reader: &Client, writer: &Client, lane: &Lane, round: &Round) -> Result<(), CopyError> {
    let sql = CopyError::of(lane);
    reader.batch_execute(&at_snapshot(lane, round)).await.map_err(&sql)?;
    writer.batch_execute(&format!("BEGIN; {}", lane.acting)).await.map_err(&sql)
}

async fn end_of_reading(reader: &Client, lane: &Lane, round: &Round) -> Result<(), CopyError> {
    reader.batch_execute(AS_OPERATOR).await.map_err(CopyError::of(lane))?;
    check_file(reader, lane, round).await?;
    reader.batch_execute("COMMIT").await.map_err(CopyError::of(lane))
}

/// Passes rows on: some are read while those before them are transformed, and those before these are written.
async fn copied(
    reader: &Client,
    writer: &Client,
    lane: &Lane,
    (read, write): (&str, &str),
) -> Result<u64, CopyError> {
    let sql = CopyError::of(lane);
    let mut from = std::pin::pin!(reader.copy_out(read).await.map_err(&sql)?.fuse());
    let mut rows = Rows::begin(lane, writer, write).await?;
    let mut transformation = Transformation::of(lane)?;
    let mut next = batch::next(&mut from, Bytes::len).await.map_err(&sql)?;
    while !next.is_empty() {
        let transformed = spawn_blocking(move || {
            let out = transformation.of_copy(&next);
            (transformation, out)
        });
        let (transformed, read) = tokio::join!(transformed, batch::next(&mut from, Bytes::len));
        let out;
        (transformation, out) = transformed.map_err(|_| framing(lane))?;
        rows.put(out).await?;
        next = read.map_err(&sql)?;
    }
    if transformation.is_over { rows.end().await } else { Err(framing(lane)) }
}

/// A row: its fields, each after its length, and where their values are in it; `None` is NULL.
#[derive(Default)]
struct Fields {
    values: Vec<Option<Range<usize>>>,
    length: usize,
}

impl Fields {
    /// Finds the fields of the row that the data begins with. `None` if it is not a row; `Some(false)` at the trailer.
    fn find(&mut self, data: &[u8]) -> Option<bool> {
        let mut rest = data;
        let count = rest.try_get_i16().ok()?;
        self.values.clear();
        for _ in 0..count.max(0) {
            let length = rest.try_get_i32().ok()?;
            let from = data.len() - rest.len();
            let value = match usize::try_from(length) {
                Err(_) => None,
                Ok(length) => {
                    rest = rest.get(length..)?;
                    Some(from..from + length)
                }
            };
            self.values.push(value);
        }
        self.length = data.len() - rest.len();
        Some(count != TRAILER)
    }
}

/// What becomes of rows on the way.
struct Transformation {
    ciphers: Ciphers,
    /// For each column that is written, the number of its transformation.
    transforms: Vec<Option<usize>>,
    found: Fields,
    value: Zeroizing<Vec<u8>>,
    key: Vec<Vec<u8>>,
    has_begun: bool,
    is_over: bool,
}

/// Why a row cannot be passed on.
enum Unfit {
    /// It is not what COPY sends.
    Framing,
    /// A value cannot be transformed; with the row's key, as text.
    Value(super::CipherError, Vec<Vec<u8>>),
}

impl Transformation {
    fn of(lane: &Lane) -> Result<Self, CopyError> {
        let mut count = 0..;
        let transforms =
            lane.mapping.iter().map(|mapped| mapped.transform.as_ref().and_then(|_| count.next())).collect();
        let ciphers = Ciphers::of(lane).ok_or_else(|| CopyError::NoKeys { table: lane.table.plain() })?;
        let (found, value, key) = (Fields::default(), Zeroizing::default(), Vec::new());
        Ok(Self { ciphers, transforms, found, value, key, has_begun: false, is_over: false })
    }

    /// What is written for some of what COPY has sent.
    fn of_copy(&mut self, sent: &[Bytes]) -> Result<Bytes, Unfit> {
        let length = sent.iter().map(Bytes::len).sum::<usize>();
        let mut out = BytesMut::with_capacity(length * 2);
        for data in sent {
            let mut rest: &[u8] = data;
            if !std::mem::replace(&mut self.has_begun, true) {
                rest = rest.strip_prefix(HEADER).ok_or(Unfit::Framing)?;
            }
            while !rest.is_empty() {
                match self.found.find(rest).ok_or(Unfit::Framing)? {
                    true => self.of_row(rest, &mut out)?,
                    false => self.is_over = true,
                }
                rest = &rest[self.found.length..];
            }
        }
        Ok(out.freeze())
    }

    /// What is written for one row.
    fn of_one(&mut self, row: &[u8]) -> Result<Bytes, Unfit> {
        let mut out = BytesMut::with_capacity(row.len() * 2);
        self.found.find(row).ok_or(Unfit::Framing)?;
        self.of_row(row, &mut out)?;
        Ok(out.freeze())
    }

    /// Appends the row that was found. What is not transformed is passed on as it is, as many fields at a time as there are.
    fn of_row(&mut self, row: &[u8], out: &mut BytesMut) -> Result<(), Unfit> {
        let Self { ciphers, transforms, found, value, key, .. } = self;
        let written = transforms.len();
        let of_key = found.values.get(written..).ok_or(Unfit::Framing)?;
        key.clear();
        key.extend(of_key.iter().flatten().map(|value| row[value.clone()].to_vec()));
        begin_row(out, written);
        let mut passed = 2;
        let mut at = 2;
        for (field, transform) in found.values.iter().zip(transforms) {
            let begin = at;
            at += 4 + field.as_ref().map_or(0, Range::len);
            let (Some(field), Some(number)) = (field, transform) else { continue };
            out.put_slice(&row[passed..begin]);
            passed = at;
            value.zeroize();
            let taken = &row[field.clone()];
            if let Err(error) = ciphers.transform(*number, taken, key, value) {
                return Err(Unfit::Value(error, std::mem::take(key)));
            }
            put(out, Some(value));
        }
        out.put_slice(&row[passed..at]);
        Ok(())
    }
}

/// Rows on their way into the target.
struct Rows<'a> {
    lane: &'a Lane,
    writer: &'a Client,
    sink: std::pin::Pin<Box<CopyInSink<Bytes>>>,
}

impl<'a> Rows<'a> {
    async fn begin(lane: &'a Lane, writer: &'a Client, write: &str) -> Result<Self, CopyError> {
        let sink = writer.copy_in(write).await.map_err(CopyError::of(lane))?;
        let mut rows = Self { lane, writer, sink: Box::pin(sink) };
        rows.send(Bytes::from_static(HEADER)).await?;
        Ok(rows)
    }

    async fn put(&mut self, rows: Result<Bytes, Unfit>) -> Result<(), CopyError> {
        match rows {
            Ok(rows) => self.send(rows).await,
            Err(Unfit::Framing) => Err(framing(self.lane)),
            Err(Unfit::Value(error, key)) => Err(self.failed(error, &key).await),
        }
    }

    async fn send(&mut self, bytes: Bytes) -> Result<(), CopyError> {
        self.sink.feed(bytes).await.map_err(CopyError::of(self.lane))
    }

    /// The error with a digest of the row's key.
    async fn failed(&mut self, error: super::CipherError, key: &[Vec<u8>]) -> CopyError {
        // Sends an error in place of what is left of the COPY, so that the connection is free.
        let _ = self.sink.as_mut().close().await;
        let _ = self.writer.batch_execute("ROLLBACK").await;
        let key = self.lane.digest_of_text(self.writer, key).await.ok();
        super::CipherError { key, ..error }.into()
    }

    async fn end(mut self) -> Result<u64, CopyError> {
        self.send(Bytes::copy_from_slice(&TRAILER.to_be_bytes())).await?;
        self.sink.as_mut().finish().await.map_err(CopyError::of(self.lane))
    }
}

/// Reads the rows of these keys at the snapshot, and takes them into the target, in a transaction that is left open on
/// `writer`.
pub(super) async fn keys(
    reader: &Client,
    writer: &Client,
    (lane, keys): (&Lane, &[Key]),
    round: &Round,
) -> Result<(), CopyError> {
    let sql = CopyError::of(lane);
    SentKeys::make(reader, lane).await.map_err(&sql)?;
    begin(reader, writer, lane, round).await?;
    let read = format!("SELECT {} FROM {}", list(taken(lane)), super::rows_of_keys(lane));
    let mut fields = Zeroizing::new(Vec::new());
    let mut transformation = Transformation::of(lane)?;
    let sent = SentKeys::prepare(reader, lane).await.map_err(&sql)?;
    let read = reader.prepare(&read).await.map_err(&sql)?;
    for some in keys.chunks(super::DIRTY_AT_ONCE) {
        let arrays = sent.send(reader, lane, some.iter()).await.map_err(&sql)?;
        let found = reader.query_raw(&read, &arrays).await.map_err(&sql)?;
        let mut found = std::pin::pin!(found);
        let mut rows = Rows::begin(lane, writer, &copy_in(lane, &staged(lane))).await?;
        while let Some(row) = found.try_next().await.map_err(&sql)? {
            fields.zeroize();
            begin_row(&mut *fields, row.len());
            (0..row.len()).for_each(|at| put(&mut *fields, row.get::<_, Raw>(at).0.as_deref()));
            rows.put(transformation.of_one(&fields)).await?;
        }
        rows.end().await?;
    }
    end_of_reading(reader, lane, round).await?;
    writer.execute(&unstage(lane), &[]).await.map_err(&sql)?;
    writer.batch_execute(AS_OPERATOR).await.map_err(&sql)
}
