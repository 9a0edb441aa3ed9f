//! The byte stream to the server: a socket, with TLS where required. All sockets are opened here, for SQL connections,
//! replication and cancel requests alike.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

use super::target::{Endpoint, Host, Keepalive, SslMode, Target};
use super::{ConnectError, tls};

/// An open connection, ready for the startup message.
pub(crate) enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls { stream: Box<tokio_rustls::client::TlsStream<TcpStream>>, end_point: Option<Vec<u8>> },
}

/// How one attempt uses TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encryption {
    Never,
    IfOffered,
    Always,
}

impl Encryption {
    /// The attempts for `target`'s mode at `endpoint`, in order. A later one is made only if the server
    /// refused the earlier one.
    pub(super) fn attempts(target: &Target, endpoint: &Endpoint) -> &'static [Self] {
        if matches!(endpoint.host, Host::Unix(_)) {
            return &[Self::Never];
        }
        match target.tls.mode {
            SslMode::Disable => &[Self::Never],
            SslMode::Allow => &[Self::Never, Self::Always],
            SslMode::Prefer => &[Self::IfOffered, Self::Never],
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[Self::Always],
        }
    }
}

impl Wire {
    /// Opens a connection to `endpoint`, trying each address of its name in turn.
    pub(crate) async fn open(
        target: &Target,
        endpoint: &Endpoint,
        encryption: Encryption,
    ) -> Result<Self, ConnectError> {
        if let Some(path) = endpoint.socket_path() {
            let address = path.display().to_string();
            // The kernel marks the abstract namespace with a NUL where people write `@`.
            let path = match address.strip_prefix('@') {
                Some(name) => PathBuf::from(format!("\0{name}")),
                None => path,
            };
            let socket = within(target.connect_timeout, &address, UnixStream::connect(&path)).await?;
            return Ok(Self::Unix(socket));
        }
        let (tcp, address) = open_tcp(target, endpoint).await?;
        if encryption == Encryption::Never {
            return Ok(Self::Tcp(tcp));
        }
        let handshake = encrypt(tcp, target, endpoint, encryption, &address);
        match target.connect_timeout {
            None => handshake.await,
            Some(after) => tokio::time::timeout(after, handshake)
                .await
                .unwrap_or(Err(ConnectError::Timeout { address: address.clone(), after })),
        }
    }

    /// The hash that binds a password exchange to this TLS session; `None` without TLS.
    pub(crate) fn end_point(&self) -> Option<&[u8]> {
        match self {
            Self::Tls { end_point, .. } => end_point.as_deref(),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }

    /// Whether the connection is encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls { .. })
    }
}

async fn open_tcp(target: &Target, endpoint: &Endpoint) -> Result<(TcpStream, String), ConnectError> {
    let Host::Tcp(host) = &endpoint.host else {
        return Err(ConnectError::setting("host", "is the directory of a socket", "give a host's name"));
    };
    let lookup = |source| ConnectError::Lookup { host: host.clone(), source };
    let addresses: Vec<_> = match endpoint.address {
        Some(address) => vec![(address, endpoint.port).into()],
        None => tokio::net::lookup_host((host.as_str(), endpoint.port)).await.map_err(lookup)?.collect(),
    };
    let mut last = lookup(io::Error::other("the name has no address"));
    for socket in addresses {
        let address = if socket.ip().to_string() == *host {
            endpoint.to_string()
        } else {
            format!("{endpoint} ({})", socket.ip())
        };
        match within(target.connect_timeout, &address, TcpStream::connect(socket)).await {
            Ok(stream) => {
                prepare(&stream, target)
                    .map_err(|source| ConnectError::Broken { address: address.clone(), source })?;
                return Ok((stream, address));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn prepare(stream: &TcpStream, target: &Target) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    if let Some(Keepalive { idle, interval, count }) = target.keepalive {
        let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(count);
        socket.set_tcp_keepalive(&keepalive)?;
    }
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(target.user_timeout)?;
    Ok(())
}

async fn within<T>(
    limit: Option<Duration>,
    address: &str,
    connect: impl Future<Output = io::Result<T>>,
) -> Result<T, ConnectError> {
    let result = match limit {
        None => connect.await,
        Some(after) => match tokio::time::timeout(after, connect).await {
            Ok(result) => result,
            Err(_) => return Err(ConnectError::Timeout { address: address.to_owned(), after }),
        },
    };
    result.map_err(|source| ConnectError::Unreachable { address: address.to_owned(), source })
}

async fn encrypt(
    mut tcp: TcpStream,
    target: &Target,
    endpoint: &Endpoint,
    encryption: Encryption,
    address: &str,
) -> Result<Wire, ConnectError> {
    let broken = |source| ConnectError::Broken { address: address.to_owned(), source };
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    tcp.write_all(&request).await.map_err(broken)?;
    // Exactly one byte: whatever followed it in plain text would be taken for the server's encrypted answer.
    match tcp.read_u8().await.map_err(broken)? {
        b'S' => {}
        b'N' if encryption == Encryption::IfOffered => return Ok(Wire::Tcp(tcp)),
        b'N' => {
            let mode = target.tls.mode.as_str();
            return Err(ConnectError::TlsRefused { address: address.to_owned(), mode });
        }
        _ => {
            let problem = "no answer to the request for TLS".to_owned();
            return Err(ConnectError::Protocol { address: address.to_owned(), problem });
        }
    }
    let Host::Tcp(host) = &endpoint.host else { return Ok(Wire::Tcp(tcp)) };
    let name = ServerName::try_from(host.clone())
        .map_err(|_| ConnectError::setting("host", format!("`{host}` is not a host name"), "correct it"))?;
    let connector = TlsConnector::from(tls::client_config(&target.tls)?);
    let stream = connector
        .connect(name, tcp)
        .await
        .map_err(|source| tls::handshake_error(address.to_owned(), source))?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let end_point = certificate.and_then(|certificate| tls::server_end_point(certificate));
    Ok(Wire::Tls { stream: Box::new(stream), end_point })
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls { stream, .. } => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls { stream, .. } => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls { stream, .. } => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls { stream, .. } => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl TlsStream for Wire {
    fn channel_binding(&self) -> ChannelBinding {
        self.end_point()
            .map_or_else(ChannelBinding::none, |hash| ChannelBinding::tls_server_end_point(hash.to_vec()))
    }
}

/// Tells tokio-postgres that encryption is settled: it is configured for "direct" TLS and gets back the wire
/// that it handed in.
pub(super) struct Settled;

impl TlsConnect<Wire> for Settled {
    type Stream = Wire;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Wire, Self::Error>>;

    fn connect(self, wire: Wire) -> Self::Future {
        std::future::ready(Ok(wire))
    }
}
