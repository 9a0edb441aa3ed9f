//! COPY in PostgreSQL's binary form. The server may log the parameters of a statement, and never logs what COPY transfers.

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt as _;
use tokio_postgres::{Client, Error, ToStatement};

/// What the data begin with: the signature, flags, and the length of an extension.
pub(crate) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What they end with.
pub(crate) const TRAILER: i16 = -1;

/// Appends a field: its length, and its bytes.
pub(crate) fn put(out: &mut impl BufMut, value: Option<&[u8]>) {
    match value {
        Some(bytes) => {
            out.put_i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
            out.put_slice(bytes);
        }
        None => out.put_i32(-1),
    }
}

/// Begins a row of so many fields.
pub(crate) fn begin_row(out: &mut impl BufMut, fields: usize) {
    out.put_i16(i16::try_from(fields).unwrap_or(i16::MAX));
}

/// Rows for a `COPY ... FROM STDIN (FORMAT binary)`.
pub(crate) struct CopyRows(BytesMut);

impl CopyRows {
    /// No rows yet.
    pub(crate) fn new() -> Self {
        Self(BytesMut::from(HEADER))
    }

    /// One row.
    pub(crate) fn of<'a>(fields: impl ExactSizeIterator<Item = Option<&'a [u8]>>) -> Self {
        let mut rows = Self::new();
        rows.begin(fields.len());
        fields.for_each(|value| rows.put(value));
        rows
    }

    /// Begins a row of so many fields.
    pub(crate) fn begin(&mut self, fields: usize) {
        begin_row(&mut self.0, fields);
    }

    /// Adds a field to the row.
    pub(crate) fn put(&mut self, value: Option<&[u8]>) {
        put(&mut self.0, value);
    }

    /// Sends the rows; returns how many the server has taken.
    pub(crate) async fn send<T>(mut self, client: &Client, copy: &T) -> Result<u64, Error>
    where
        T: ?Sized + ToStatement,
    {
        self.0.put_i16(TRAILER);
        let sink = client.copy_in::<_, Bytes>(copy).await?;
        let mut sink = std::pin::pin!(sink);
        sink.feed(self.0.freeze()).await?;
        sink.as_mut().finish().await
    }
}
