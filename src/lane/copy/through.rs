//! Rows that pass through this program on their way: COPY out of the source at the snapshot, the transformation, COPY into
//! the target or the stage. Both in PostgreSQL's binary form; a column that is not transformed is passed on as it is.
//!
//! Invariants: memory is bounded by a buffer and a row; the source's file is checked in the transaction that has read it,
//! before what was written is committed; and no value is ever a statement's parameter.

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, TryStreamExt};
use tokio_postgres::{Client, CopyInSink};
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    AS_OPERATOR, ChunkSql, CopyError, Round, Staging, at_snapshot, check_file, list, staged, unstage,
};
use crate::lane::coalesce::Key;
use crate::lane::raw::Raw;
use crate::lane::sent_keys::SentKeys;
use crate::lane::{Ciphers, Lane};
use crate::lifecycle::Span;
use crate::pg::copy::{HEADER, TRAILER, begin_row, put};

/// Bytes that are sent at a time.
const BUFFER_BYTES: usize = 128 << 10;

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

async fn copied(
    reader: &Client,
    writer: &Client,
    lane: &Lane,
    (read, write): (&str, &str),
) -> Result<u64, CopyError> {
    let sql = CopyError::of(lane);
    let framing = || CopyError::Framing { table: lane.table.plain() };
    let mut from = std::pin::pin!(reader.copy_out(read).await.map_err(&sql)?);
    let mut rows = Rows::begin(lane, writer, write).await?;
    let (mut is_first, mut is_over, mut found) = (true, false, Fields::default());
    while let Some(mut data) = from.try_next().await.map_err(&sql)? {
        if std::mem::take(&mut is_first) {
            if !data.starts_with(HEADER) {
                return Err(framing());
            }
            data.advance(HEADER.len());
        }
        while !data.is_empty() {
            match found.find(&data).ok_or_else(framing)? {
                true => rows.put(&data, &found).await?,
                false => is_over = true,
            }
            data.advance(found.length);
        }
    }
    if is_over { rows.end().await } else { Err(framing()) }
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

/// Rows on their way into the target.
struct Rows<'a> {
    lane: &'a Lane,
    writer: &'a Client,
    ciphers: Ciphers,
    /// For each column that is written, the number of its transformation.
    transforms: Vec<Option<usize>>,
    sink: std::pin::Pin<Box<CopyInSink<Bytes>>>,
    out: BytesMut,
    value: Zeroizing<Vec<u8>>,
    key: Vec<Vec<u8>>,
}

impl<'a> Rows<'a> {
    async fn begin(lane: &'a Lane, writer: &'a Client, write: &str) -> Result<Self, CopyError> {
        let sink = writer.copy_in(write).await.map_err(CopyError::of(lane))?;
        let mut out = BytesMut::with_capacity(BUFFER_BYTES + 4096);
        out.put_slice(HEADER);
        let mut count = 0..;
        let transforms =
            lane.mapping.iter().map(|mapped| mapped.transform.as_ref().and_then(|_| count.next())).collect();
        let ciphers = Ciphers::of(lane).ok_or_else(|| CopyError::NoKeys { table: lane.table.plain() })?;
        let (value, key) = (Zeroizing::default(), Vec::new());
        Ok(Self { lane, writer, ciphers, transforms, sink: Box::pin(sink), out, value, key })
    }

    /// Writes a row. What is not transformed is passed on as it is, as many fields at a time as there are.
    async fn put(&mut self, row: &[u8], found: &Fields) -> Result<(), CopyError> {
        let written = self.transforms.len();
        let framing = || CopyError::Framing { table: self.lane.table.plain() };
        let of_key = found.values.get(written..).ok_or_else(framing)?;
        self.key.clear();
        self.key.extend(of_key.iter().flatten().map(|value| row[value.clone()].to_vec()));
        begin_row(&mut self.out, written);
        let mut passed = 2;
        let mut at = 2;
        for (value, transform) in found.values.iter().zip(&self.transforms) {
            let begin = at;
            at += 4 + value.as_ref().map_or(0, Range::len);
            let (Some(value), Some(number)) = (value, transform) else { continue };
            self.out.put_slice(&row[passed..begin]);
            passed = at;
            self.value.zeroize();
            let taken = &row[value.clone()];
            if let Err(error) = self.ciphers.transform(*number, taken, &self.key, &mut self.value) {
                return Err(self.failed(error).await);
            }
            put(&mut self.out, Some(&self.value));
        }
        self.out.put_slice(&row[passed..at]);
        if self.out.len() >= BUFFER_BYTES { self.flush().await } else { Ok(()) }
    }

    /// The error with a digest of the row's key.
    async fn failed(&mut self, error: super::CipherError) -> CopyError {
        // Sends an error in place of what is left of the COPY, so that the connection is free.
        let _ = self.sink.as_mut().close().await;
        let _ = self.writer.batch_execute("ROLLBACK").await;
        let key = self.lane.digest_of_text(self.writer, &self.key).await.ok();
        super::CipherError { key, ..error }.into()
    }

    async fn flush(&mut self) -> Result<(), CopyError> {
        let full = std::mem::replace(&mut self.out, BytesMut::with_capacity(BUFFER_BYTES + 4096));
        self.sink.feed(full.freeze()).await.map_err(CopyError::of(self.lane))
    }

    async fn end(mut self) -> Result<u64, CopyError> {
        self.out.put_i16(TRAILER);
        self.flush().await?;
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
    let (mut in_row, mut fields) = (Fields::default(), Zeroizing::new(Vec::new()));
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
            let framing = || CopyError::Framing { table: lane.table.plain() };
            in_row.find(&fields).ok_or_else(framing)?;
            rows.put(&fields, &in_row).await?;
        }
        rows.end().await?;
    }
    end_of_reading(reader, lane, round).await?;
    writer.execute(&unstage(lane), &[]).await.map_err(&sql)?;
    writer.batch_execute(AS_OPERATOR).await.map_err(&sql)
}
