//! TLS: certificates from PEM files, client certificates, and the name in them.

use super::Socket;
use crate::Failure;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// TLS over a socket.
pub(crate) type Tls = StreamOwned<ServerConnection, Socket>;

/// Bytes of ours that may wait encrypted for the socket: what does not fit waits in the broker, where it is counted.
const UNSENT: usize = 64 << 10;

/// The files of one listener.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsFiles {
    /// The server's certificate and those that lead to its authority, PEM.
    pub(crate) certificate: PathBuf,
    /// Its private key, PEM.
    pub(crate) key: PathBuf,
    /// The authorities whose client certificates are taken, PEM.
    pub(crate) client_ca: Option<PathBuf>,
    /// Whether clients must show one.
    #[serde(default)]
    pub(crate) client_certificate: ClientCertificates,
    /// Whether the name in it (its common name) is the client's user name, and needs no password.
    #[serde(default)]
    pub(crate) user_name_from_certificate: bool,
}

/// Whether clients must show a certificate.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ClientCertificates {
    /// Who has none is refused.
    #[default]
    Required,
    /// Who has one is known by it.
    Optional,
}

impl TlsFiles {
    /// Paths are relative to the folder of the file that names them.
    pub(crate) fn relative_to(&mut self, folder: &Path) {
        for path in [Some(&mut self.certificate), Some(&mut self.key), self.client_ca.as_mut()].into_iter().flatten() {
            *path = folder.join(&*path);
        }
    }

    /// Reads the files.
    pub(crate) fn load(&self) -> Result<Arc<ServerConfig>, Failure> {
        let certificates = certificates(&self.certificate)?;
        let key =
            PrivateKeyDer::from_pem_file(&self.key).map_err(|error| unreadable(&self.key, "a private key", &error))?;
        let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::Runtime(format!("TLS cannot be served: {error}")))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => builder.with_client_cert_verifier(self.verifier(path)?),
        };
        let mut config = builder.with_single_cert(certificates, key).map_err(|error| {
            let (certificate, key) = (self.certificate.display(), self.key.display());
            Failure::Usage(format!("certificate {certificate} with key {key}: {error}"))
        })?;
        config.alpn_protocols = vec![b"mqtt".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn verifier(&self, path: &Path) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, Failure> {
        let refused = |error: &dyn std::fmt::Display| Failure::Usage(format!("{}: {error}", path.display()));
        let mut roots = RootCertStore::empty();
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| refused(&error))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = match self.client_certificate {
            ClientCertificates::Required => builder,
            ClientCertificates::Optional => builder.allow_unauthenticated(),
        };
        builder.build().map_err(|error| refused(&error))
    }
}

/// The certificates in a PEM file; at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    let certificates = read().map_err(|error| unreadable(path, "a certificate", &error))?;
    if certificates.is_empty() {
        return Err(Failure::Usage(format!("{}: there is no certificate in it", path.display())));
    }
    Ok(certificates)
}

fn unreadable(path: &Path, what: &str, error: &pem::Error) -> Failure {
    Failure::Usage(format!("cannot read {what} from {}: {error}", path.display()))
}

/// The server's end over a socket that was just opened.
pub(super) fn accept(config: &Arc<ServerConfig>, socket: Socket) -> io::Result<Tls> {
    let mut connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    connection.set_buffer_limit(Some(UNSENT));
    Ok(StreamOwned::new(connection, socket))
}

/// The common name of the certificate the client has shown, once it was checked.
pub(super) fn certificate_name(connection: &ServerConnection) -> Option<String> {
    let shown = connection.peer_certificates()?.first()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(shown).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_owned())
}
