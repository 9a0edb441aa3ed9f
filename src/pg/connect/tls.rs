//! TLS as libpq's `sslmode` defines it, on rustls.
//!
//! `require` encrypts without authenticating the server; if root certificates are configured it checks the chain, as
//! `verify-ca` does; `verify-full` also checks the host name. Signatures of the handshake are always checked: channel
//! binding depends on them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::ConnectError;
use super::target::{SslMode, TlsSettings};
use crate::crypto::{self, Hash};

/// The TLS configuration for `settings`.
pub(super) fn client_config(settings: &TlsSettings) -> Result<Arc<ClientConfig>, ConnectError> {
    let provider = Arc::new(crypto::tls());
    let verifier = Verifier { trust: trust(settings)?, provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("TLS", &error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let Some((certificate, key)) = &settings.identity else {
        return Ok(Arc::new(builder.with_no_client_auth()));
    };
    let chain = certificates(certificate)?;
    refuse_open_key(key)?;
    let key =
        PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(&key.display().to_string(), &error))?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| unusable(&certificate.display().to_string(), &error))?;
    // Sent as it is: the server judges our certificate, and openssl's plainest command makes one of version 1, which
    // rustls would not parse.
    let identity = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    Ok(Arc::new(builder.with_client_cert_resolver(Arc::new(identity))))
}

/// libpq's rule: only the owner may read a key; root's may also be readable by its group.
fn refuse_open_key(key: &Path) -> Result<(), ConnectError> {
    let Ok(metadata) = std::fs::metadata(key) else { return Ok(()) };
    let open_to = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.mode() & open_to == 0 {
        return Ok(());
    }
    let place = key.display().to_string();
    Err(ConnectError::setting(&*place, "others may read this private key", format!("chmod 600 {place}")))
}

fn trust(settings: &TlsSettings) -> Result<Trust, ConnectError> {
    let check_name = settings.mode == SslMode::VerifyFull;
    let wanted = matches!(settings.mode, SslMode::VerifyCa | SslMode::VerifyFull);
    let given = match &settings.roots {
        Some(file) => certificates(file)?,
        None if wanted => rustls_native_certs::load_native_certs().certs,
        None => return Ok(Trust::Anyone),
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(given.iter().cloned());
    if added == 0 {
        let place = settings
            .roots
            .as_ref()
            .map_or("the system's certificates".to_owned(), |file| file.display().to_string());
        return Err(ConnectError::setting(
            place,
            "contains no usable certificate",
            "point sslrootcert (PGSSLROOTCERT) at a PEM file of trusted certificates",
        ));
    }
    // A file may contain the server's own self-signed certificate; a system's store never does.
    let pinned = if settings.roots.is_some() { given } else { Vec::new() };
    Ok(Trust::Chain { roots, pinned, check_name })
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(&file.display().to_string(), &error))
}

fn unusable(place: &str, error: &dyn std::fmt::Display) -> ConnectError {
    ConnectError::setting(place, format!("cannot be used: {error}"), "give a readable PEM file")
}

#[derive(Debug)]
enum Trust {
    Anyone,
    Chain { roots: RootCertStore, pinned: Vec<CertificateDer<'static>>, check_name: bool },
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Trust::Chain { roots, pinned, check_name } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let algorithms = self.provider.signature_verification_algorithms.all;
        // webpki never accepts a CA certificate as a server's; OpenSSL accepts one that is itself trusted.
        if !pinned.contains(end_entity) {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
        }
        if *check_name {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The error for a failed handshake with `address`.
pub(super) fn handshake_error(address: String, source: std::io::Error) -> ConnectError {
    let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidCertificate(
            reason @ (CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }),
        )) => ConnectError::WrongHost { address, reason: reason.to_string() },
        Some(Error::InvalidCertificate(reason)) => {
            let reason = match reason {
                CertificateError::UnknownIssuer => "it is not signed by a trusted certificate".to_owned(),
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "it has expired; the server needs a new one".to_owned()
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    "it is not valid yet; is this machine's clock right?".to_owned()
                }
                // What `openssl x509 -req` makes without an -extfile; libpq would accept it.
                _ if format!("{reason:?}").contains("UnsupportedCertVersion") => {
                    "it is of X.509 version 1: sign it again with extensions, -extfile, and a subjectAltName"
                        .to_owned()
                }
                other => other.to_string(),
            };
            ConnectError::Untrusted { address, reason }
        }
        _ => ConnectError::Tls { address, source },
    }
}

/// The `tls-server-end-point` binding (RFC 5929): the certificate hashed by the hash function of its signature, with
/// SHA-256 in place of MD5 and SHA-1. `None` if that is not defined (Ed25519).
pub(super) fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let hash = match signature_algorithm(certificate)? {
        // ecdsa-with-SHA256; sha1, sha256WithRSAEncryption
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2] | [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5 | 11] => {
            Hash::Sha256
        }
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3] | [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12] => {
            Hash::Sha384
        }
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4] | [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13] => {
            Hash::Sha512
        }
        _ => return None,
    };
    Some(hash.of(certificate))
}

/// The object identifier of the certificate's signature:
/// `SEQUENCE { tbsCertificate SEQUENCE, SEQUENCE { OBJECT IDENTIFIER, ... }, ... }`.
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const OBJECT_IDENTIFIER: u8 = 0x06;
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (_, after_body) = element(certificate, SEQUENCE)?;
    let (algorithm, _) = element(after_body, SEQUENCE)?;
    element(algorithm, OBJECT_IDENTIFIER).map(|(identifier, _)| identifier)
}

/// The content of the DER element at the beginning of `bytes`, and the bytes after it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [first, length, rest @ ..] = bytes else { return None };
    if *first != tag {
        return None;
    }
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(*length - 0x80))?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_off_certificate_is_no_algorithm() {
        let whole = [0x30, 9, 0x30, 0, 0x30, 5, 0x06, 3, 1, 2, 3];
        assert_eq!(signature_algorithm(&whole), Some(&[1, 2, 3][..]));
        for end in 0..whole.len() {
            assert_eq!(signature_algorithm(&whole[..end]), None, "{end}");
        }
        assert_eq!(signature_algorithm(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
