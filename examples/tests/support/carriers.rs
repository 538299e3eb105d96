//! What carries MQTT's bytes, as a test makes it: an authority with its certificates, TLS, WebSocket.
#![allow(unreachable_pub, reason = "a module of tests")]
#![allow(dead_code, reason = "each test takes what it needs")]

use crate::program::{Program, stream};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Bytes, Message, WebSocket};

const BROKER: &str = env!("CARGO_BIN_EXE_broker");

pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// An authority, and what it signs, in a folder of its own.
pub struct Authority {
    pub issuer: CertifiedIssuer<'static, KeyPair>,
    pub folder: PathBuf,
}

impl Authority {
    pub fn new(test: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
        fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the test's own authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    /// Signs a certificate for `localhost` that bears `name`; gives the DER of it.
    pub fn sign(&self, name: &str) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        certificate.der().to_vec()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Starts a broker with one listener, whose table also says `more`.
    pub fn broker(&self, more: &str) -> (Program, SocketAddr) {
        let config = self.path("broker.toml");
        let tls = "certificate = \"server.pem\", key = \"server.key\"";
        let text = format!("listen = [{{ address = \"127.0.0.1:0\", {} }}]\n", more.replace("TLS", tls));
        fs::write(&config, text).unwrap();
        Program::serve(BROKER, &["--config", config.to_str().unwrap()])
    }

    /// A client that trusts the authority, and shows a certificate if it is told which.
    pub fn connect(&self, address: SocketAddr, certificate: Option<&str>) -> TlsStream {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let config = match certificate {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let chain = CertificateDer::pem_file_iter(self.path(&format!("{name}.pem"))).unwrap();
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(chain.map(Result::unwrap).collect(), key).unwrap()
            }
        };
        let name = ServerName::try_from("localhost").unwrap();
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream(address))
    }
}

/// A stream of bytes in WebSocket frames, one for each write.
pub struct Frames<S> {
    pub websocket: WebSocket<S>,
    pub pending: Bytes,
}

impl<S: Read + Write> Frames<S> {
    /// v5 [MQTT-6.0.0-3] v4 [MQTT-6.0.0-3]: offers `subprotocol`; v5 [MQTT-6.0.0-4] v4 [MQTT-6.0.0-4]: the server answers with it.
    pub fn open(stream: S, subprotocol: &str) -> Self {
        let (websocket, response) = upgrade(stream, Some(subprotocol)).unwrap();
        assert_eq!(response, subprotocol);
        Self { websocket, pending: Bytes::new() }
    }
}

/// Asks for a WebSocket; what the server chose, or the status of its refusal.
pub fn upgrade<S: Read + Write>(stream: S, subprotocols: Option<&str>) -> Result<(WebSocket<S>, String), u16> {
    let mut request = "ws://localhost/mqtt".into_client_request().unwrap();
    if let Some(names) = subprotocols {
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_str(names).unwrap());
    }
    match tungstenite::client(request, stream) {
        Ok((websocket, response)) => {
            Ok((websocket, response.headers()["Sec-WebSocket-Protocol"].to_str().unwrap().to_owned()))
        }
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
            Err(response.status().as_u16())
        }
        Err(error) => panic!("{error}"),
    }
}

impl<S: Read + Write> Read for Frames<S> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.pending.is_empty() {
            match self.websocket.read() {
                Ok(Message::Binary(bytes)) => self.pending = bytes,
                Ok(Message::Close(_)) | Err(tungstenite::Error::ConnectionClosed) => return Ok(0),
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) => return Err(error),
                Err(error) => return Err(std::io::Error::other(error)),
            }
        }
        let taken = self.pending.split_to(self.pending.len().min(buffer.len()));
        buffer[..taken.len()].copy_from_slice(&taken);
        Ok(taken.len())
    }
}

impl<S: Read + Write> Write for Frames<S> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.websocket.send(Message::Binary(Bytes::copy_from_slice(bytes))).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
