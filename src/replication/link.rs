//! Messages on a wire. Framing is cancel-safe: bytes read so far stay in the inbox if the future that waited for
//! the rest is dropped.

use std::io;

use bytes::{Buf, BytesMut};
use postgres_protocol::message::backend::{ErrorResponseBody, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres::error::SqlState;

use crate::pg::connect::Wire;

/// Bytes per read; a larger message gets a larger buffer.
const READ_BYTES: usize = 64 * 1024;

/// A message of the server.
pub(super) enum Incoming {
    /// A message of the ordinary protocol.
    Message(Message),
    /// `CopyBothResponse`, with which a stream begins; postgres-protocol does not know it.
    CopyBoth,
}

/// A wire, and the bytes that were read from it and not yet parsed.
pub(super) struct Link {
    wire: Wire,
    inbox: BytesMut,
}

impl Link {
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire, inbox: BytesMut::new() }
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// The next message, if it is complete in the inbox.
    pub(super) fn take(&mut self) -> io::Result<Option<Incoming>> {
        if let [b'W', a, b, c, d, ..] = self.inbox[..] {
            let length = u32::from_be_bytes([a, b, c, d]) as usize + 1;
            if self.inbox.len() < length {
                return Ok(None);
            }
            self.inbox.advance(length);
            return Ok(Some(Incoming::CopyBoth));
        }
        Ok(Message::parse(&mut self.inbox)?.map(Incoming::Message))
    }

    /// Waits for more bytes. Cancel-safe.
    pub(super) async fn read(&mut self) -> io::Result<()> {
        if self.inbox.capacity() - self.inbox.len() < READ_BYTES / 8 {
            self.inbox.reserve(READ_BYTES);
        }
        match self.wire.read_buf(&mut self.inbox).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")),
            _ => Ok(()),
        }
    }

    /// The next message other than notices and notifications. Cancel-safe.
    pub(super) async fn next(&mut self) -> io::Result<Incoming> {
        loop {
            match self.take()? {
                // Dropped unread: their texts may hold row values.
                Some(Incoming::Message(Message::NoticeResponse(_) | Message::NotificationResponse(_))) => {}
                Some(incoming) => return Ok(incoming),
                None => self.read().await?,
            }
        }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.write_all(bytes).await?;
        self.wire.flush().await
    }

    pub(super) async fn close(&mut self) -> io::Result<()> {
        let mut out = BytesMut::new();
        postgres_protocol::message::frontend::terminate(&mut out);
        self.send(&out).await?;
        self.wire.shutdown().await
    }
}

/// SQLSTATE and message of an error; detail, hint and context may hold row values and are not read.
pub(super) fn error_fields(body: &ErrorResponseBody) -> (SqlState, String) {
    use fallible_iterator::FallibleIterator;
    let (mut code, mut message) = (String::new(), String::new());
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        match field.type_() {
            b'C' => code = String::from_utf8_lossy(field.value_bytes()).into_owned(),
            b'M' => message = String::from_utf8_lossy(field.value_bytes()).into_owned(),
            _ => {}
        }
    }
    (SqlState::from_code(&code), message)
}
