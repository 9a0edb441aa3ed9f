//! Login on a replication connection: trust, password, MD5 and SCRAM-SHA-256, the last one bound to the TLS channel if
//! both server and certificate support it.

use std::collections::HashMap;
use std::io;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;

use super::link::{Incoming, Link, error_fields};
use crate::pg::connect::{ChannelBinding, ConnectError, Endpoint, Target, Wire, check_role};

/// A connection that is ready for commands.
pub(super) struct LoggedIn {
    pub(super) link: Link,
    pub(super) process_id: i32,
    pub(super) secret_key: i32,
    pub(super) server_version: Option<String>,
}

/// Logs in on `wire` with `options` (see [`crate::pg::connect::options`]).
pub(super) async fn log_in(
    target: &Target,
    endpoint: &Endpoint,
    wire: Wire,
    application_name: &str,
    options: &str,
) -> Result<LoggedIn, ConnectError> {
    let mut login = Login {
        target,
        endpoint,
        address: endpoint.to_string(),
        link: Link::new(wire),
        out: BytesMut::new(),
    };
    let parameters = [
        ("user", target.user()),
        ("database", target.database()),
        ("replication", "database"),
        ("client_encoding", "UTF8"),
        ("application_name", application_name),
        ("options", options),
    ];
    frontend::startup_message(parameters, &mut login.out).map_err(|source| login.broken(source))?;
    login.send().await?;
    login.authenticate().await?;
    login.greeting().await
}

struct Login<'a> {
    target: &'a Target,
    endpoint: &'a Endpoint,
    address: String,
    link: Link,
    out: BytesMut,
}

impl Login<'_> {
    fn broken(&self, source: io::Error) -> ConnectError {
        ConnectError::Broken { address: self.address.clone(), source }
    }

    fn unexpected(&self, problem: &str) -> ConnectError {
        ConnectError::Protocol { address: self.address.clone(), problem: problem.to_owned() }
    }

    async fn send(&mut self) -> Result<(), ConnectError> {
        let out = self.out.split();
        self.link.send(&out).await.map_err(|source| self.broken(source))
    }

    async fn receive(&mut self) -> Result<Message, ConnectError> {
        match self.link.next().await.map_err(|source| self.broken(source))? {
            Incoming::Message(Message::ErrorResponse(body)) => {
                let (sqlstate, message) = error_fields(&body);
                Err(self.target.refused(&self.address, &sqlstate, &message))
            }
            Incoming::Message(message) => Ok(message),
            Incoming::CopyBoth => Err(self.unexpected("a stream during the login")),
        }
    }

    async fn authenticate(&mut self) -> Result<(), ConnectError> {
        match self.receive().await? {
            Message::AuthenticationOk => return self.without_binding(),
            Message::AuthenticationCleartextPassword => {
                self.without_binding()?;
                let password = self.password()?.to_vec();
                self.send_password(&password).await?;
            }
            Message::AuthenticationMd5Password(body) => {
                self.without_binding()?;
                let hash = md5_hash(self.target.user().as_bytes(), self.password()?, body.salt());
                self.send_password(hash.as_bytes()).await?;
            }
            Message::AuthenticationSasl(body) => self.scram(&body).await?,
            _ => return Err(self.unexpected("it asks for an authentication method that is not supported")),
        }
        match self.receive().await? {
            Message::AuthenticationOk => Ok(()),
            _ => Err(self.unexpected("no end of the authentication")),
        }
    }

    fn password(&self) -> Result<&[u8], ConnectError> {
        let password = self.endpoint.password.as_ref().map(|password| password.expose().as_bytes());
        password.ok_or_else(|| self.target.password_missing(&self.address))
    }

    fn without_binding(&self) -> Result<(), ConnectError> {
        match self.target.channel_binding {
            ChannelBinding::Require => Err(ConnectError::NotBound { address: self.address.clone() }),
            ChannelBinding::Disable | ChannelBinding::Prefer => Ok(()),
        }
    }

    async fn send_password(&mut self, password: &[u8]) -> Result<(), ConnectError> {
        frontend::password_message(password, &mut self.out).map_err(|source| self.broken(source))?;
        self.send().await
    }

    async fn scram(&mut self, body: &AuthenticationSaslBody) -> Result<(), ConnectError> {
        let offered: Vec<_> = body.mechanisms().collect().map_err(|source| self.broken(source))?;
        let hash = match self.target.channel_binding {
            ChannelBinding::Disable => None,
            ChannelBinding::Prefer | ChannelBinding::Require => {
                self.link.wire().end_point().map(<[u8]>::to_vec)
            }
        };
        let (mechanism, binding) = match hash {
            Some(hash) if offered.contains(&SCRAM_SHA_256_PLUS) => {
                (SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(hash))
            }
            // "y": the client supports binding and believes that the server does not. This exposes a man in the middle
            // who removed PLUS from the offer.
            Some(_) => (SCRAM_SHA_256, sasl::ChannelBinding::unrequested()),
            None => (SCRAM_SHA_256, sasl::ChannelBinding::unsupported()),
        };
        if !offered.contains(&mechanism) {
            return Err(self.unexpected("it offers no SCRAM-SHA-256"));
        }
        if mechanism != SCRAM_SHA_256_PLUS {
            self.without_binding()?;
        }
        let mut scram = ScramSha256::new(self.password()?, binding);
        frontend::sasl_initial_response(mechanism, scram.message(), &mut self.out)
            .map_err(|source| self.broken(source))?;
        self.send().await?;
        let Message::AuthenticationSaslContinue(body) = self.receive().await? else {
            return Err(self.unexpected("no SCRAM challenge"));
        };
        scram.update(body.data()).map_err(|source| self.broken(source))?;
        frontend::sasl_response(scram.message(), &mut self.out).map_err(|source| self.broken(source))?;
        self.send().await?;
        let Message::AuthenticationSaslFinal(body) = self.receive().await? else {
            return Err(self.unexpected("no SCRAM proof"));
        };
        scram.finish(body.data()).map_err(|source| self.broken(source))
    }

    async fn greeting(mut self) -> Result<LoggedIn, ConnectError> {
        let (mut process_id, mut secret_key) = (0, 0);
        let mut parameters: HashMap<String, String> = HashMap::new();
        loop {
            match self.receive().await? {
                Message::BackendKeyData(body) => {
                    (process_id, secret_key) = (body.process_id(), body.secret_key());
                }
                Message::ParameterStatus(body) => {
                    if let (Ok(name), Ok(value)) = (body.name(), body.value()) {
                        parameters.insert(name.to_owned(), value.to_owned());
                    }
                }
                Message::ReadyForQuery(_) => break,
                _ => return Err(self.unexpected("something else than its greeting")),
            }
        }
        check_role(self.target, &self.address, |name| parameters.get(name).map(String::as_str))?;
        let server_version = parameters.remove("server_version");
        Ok(LoggedIn { link: self.link, process_id, secret_key, server_version })
    }
}
