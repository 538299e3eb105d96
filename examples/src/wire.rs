//! What carries a client's bytes: TCP or a unix socket, TLS over it, WebSocket over that; a half to read and a half to write, for two threads.
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Bytes, Error, HandshakeError, Message};

/// Where a broker is, and how it is spoken to.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Where.
    pub place: Place,
    /// TLS, if it is spoken under it.
    pub tls: Option<Tls>,
    /// In WebSocket frames.
    pub websocket: bool,
}

/// Where a broker listens.
#[derive(Clone, Debug)]
pub enum Place {
    /// At a port of a host.
    Host(String, u16),
    /// At a unix socket.
    Unix(PathBuf),
}

/// The files of a TLS client.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The authorities that may have signed the broker's certificate, PEM.
    pub authorities: PathBuf,
    /// Our own certificate with its key, PEM.
    pub own: Option<(PathBuf, PathBuf)>,
    /// The broker's certificate may be for another host.
    pub any_host: bool,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Host(host, port) => write!(f, "{host}:{port}"),
            Place::Unix(path) => path.display().fmt(f),
        }
    }
}

/// The half that reads.
#[derive(Debug)]
pub struct Reading {
    socket: Socket,
    shared: Arc<Shared>,
}

/// The half that writes. When it is dropped, both ends.
#[derive(Debug)]
pub struct Writing(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Between the program's bytes and the socket's; none for bytes as they are.
    layers: Option<Mutex<Layers>>,
    /// Held while bytes go out, so that they do in order.
    socket: Mutex<Socket>,
}

struct Layers {
    tls: Option<ClientConnection>,
    websocket: Option<WebSocketContext>,
    /// Bytes for the socket.
    out: Vec<u8>,
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layers").finish_non_exhaustive()
    }
}

/// Connects, and greets in every layer below MQTT; each step may take `patience`.
///
/// # Errors
/// Nobody listens there, a file is not what it should be, or a layer refuses.
pub fn open(endpoint: &Endpoint, patience: Duration) -> io::Result<(Reading, Writing)> {
    let mut socket = Socket::connect(&endpoint.place, patience)?;
    socket.set_read_timeout(Some(patience))?;
    let mut tls = endpoint.tls.as_ref().map(|tls| tls.greet(&endpoint.place, &mut socket)).transpose()?;
    let websocket = match (endpoint.websocket, &mut tls) {
        (false, _) => None,
        (true, None) => Some(upgrade(endpoint, &mut socket)?),
        (true, Some(tls)) => Some(upgrade(endpoint, &mut rustls::Stream::new(tls, &mut socket))?),
    };
    socket.set_read_timeout(None)?;
    let layers = (tls.is_some() || websocket.is_some()).then(|| Mutex::new(Layers { tls, websocket, out: Vec::new() }));
    let reading = socket.try_clone()?;
    let shared = Arc::new(Shared { layers, socket: Mutex::new(socket) });
    Ok((Reading { socket: reading, shared: Arc::clone(&shared) }, Writing(shared)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reading {
    /// The next bytes of MQTT; none at the end.
    ///
    /// # Errors
    /// The connection is lost, or a layer of it broken.
    pub fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut raw = vec![0; 16 << 10];
        loop {
            let length = self.socket.read(&mut raw)?;
            let Some(layers) = &self.shared.layers else {
                raw.truncate(length);
                return Ok(raw);
            };
            let bytes = lock(layers).take_in(raw.get(..length).unwrap_or_default())?;
            // pongs and the like; if somebody writes now, they go with that
            if let Ok(mut socket) = self.shared.socket.try_lock() {
                self.shared.flush(&mut socket)?;
            }
            if length == 0 || !bytes.is_empty() {
                return Ok(bytes);
            }
        }
    }
}

impl Writing {
    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Shared { layers, socket } = &*self.0;
        let mut socket = lock(socket);
        match layers {
            None => socket.write_all(bytes),
            Some(_) if bytes.is_empty() => Ok(()),
            Some(layers) => {
                lock(layers).put_out(bytes)?;
                self.0.flush(&mut socket)
            }
        }
    }

    /// Says in every layer that nothing more comes.
    pub fn finish(&mut self) {
        let Shared { layers, socket } = &*self.0;
        let mut socket = lock(socket);
        if let Some(layers) = layers {
            lock(layers).finish();
            let _ = self.0.flush(&mut socket);
        }
        let _ = socket.shutdown(Shutdown::Write);
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let _ = lock(&self.0.socket).shutdown(Shutdown::Both);
    }
}

impl Shared {
    /// Writes what the layers have made, until they have nothing more.
    fn flush(&self, socket: &mut Socket) -> io::Result<()> {
        let Some(layers) = &self.layers else { return Ok(()) };
        loop {
            let out = std::mem::take(&mut lock(layers).out);
            if out.is_empty() {
                return Ok(());
            }
            socket.write_all(&out)?;
        }
    }
}

impl Layers {
    /// What the socket's bytes are to the program.
    fn take_in(&mut self, mut raw: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match &mut self.tls {
            None => bytes.extend_from_slice(raw),
            Some(tls) => {
                while !raw.is_empty() {
                    tls.read_tls(&mut raw)?;
                    let state = tls.process_new_packets().map_err(io::Error::other)?;
                    let start = bytes.len();
                    bytes.resize(start + state.plaintext_bytes_to_read(), 0);
                    tls.reader().read_exact(bytes.get_mut(start..).unwrap_or_default())?;
                }
            }
        }
        if let Some(websocket) = &mut self.websocket {
            let mut below = Below { input: &bytes, output: Vec::new() };
            let mut above = Vec::new();
            loop {
                match websocket.read(&mut below) {
                    Ok(Message::Binary(bytes)) => above.extend_from_slice(&bytes),
                    Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                    Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => break,
                    // v5 [MQTT-6.0.0-1] v4 [MQTT-6.0.0-1]: no other frame may carry MQTT.
                    Ok(Message::Text(_)) => return Err(io::Error::other("the broker sent a text frame")),
                    Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(io::Error::other(error)),
                }
            }
            let answers = below.output;
            self.put_below(&answers)?;
            bytes = above;
        }
        self.seal()?;
        Ok(bytes)
    }

    /// Makes the program's bytes the socket's.
    fn put_out(&mut self, bytes: &[u8]) -> io::Result<()> {
        let framed = match &mut self.websocket {
            None => None,
            Some(websocket) => {
                let mut below = Below { input: &[], output: Vec::new() };
                let message = Message::Binary(Bytes::copy_from_slice(bytes));
                websocket
                    .write(&mut below, message)
                    .and_then(|()| websocket.flush(&mut below))
                    .map_err(io::Error::other)?;
                Some(below.output)
            }
        };
        self.put_below(framed.as_deref().unwrap_or(bytes))?;
        self.seal()
    }

    /// Past WebSocket.
    fn put_below(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            None => self.out.extend_from_slice(bytes),
            Some(tls) => {
                // TLS holds a bounded piece at a time
                let mut left = bytes;
                while !left.is_empty() {
                    let taken = tls.writer().write(left)?;
                    left = left.get(taken..).unwrap_or_default();
                    while tls.wants_write() {
                        tls.write_tls(&mut self.out)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// What TLS has to say by itself.
    fn seal(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                tls.write_tls(&mut self.out)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self) {
        // goodbyes: who does not hear them hears the socket close
        if let Some(websocket) = &mut self.websocket {
            let mut below = Below { input: &[], output: Vec::new() };
            let _ = websocket.close(&mut below, None);
            let _ = self.put_below(&below.output);
        }
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        let _ = self.seal();
    }
}

/// Bytes in memory, as WebSocket wants them: a stream that would block when they end.
struct Below<'b> {
    input: &'b [u8],
    output: Vec<u8>,
}

impl Read for Below<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() { Err(ErrorKind::WouldBlock.into()) } else { self.input.read(buffer) }
    }
}

impl Write for Below<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Asks for a WebSocket. v5 [MQTT-6.0.0-3] v4 [MQTT-6.0.0-3]: one that speaks `mqtt`.
fn upgrade(endpoint: &Endpoint, stream: &mut (impl Read + Write)) -> io::Result<WebSocketContext> {
    let host = match &endpoint.place {
        Place::Host(host, port) => format!("{host}:{port}"),
        Place::Unix(_) => "localhost".to_owned(),
    };
    let mut request = format!("ws://{host}/mqtt").into_client_request().map_err(io::Error::other)?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("mqtt"));
    match tungstenite::client(request, Both(stream)) {
        // the broker has nothing to say before CONNECT, so nothing of it can have come already
        Ok(_) => Ok(WebSocketContext::new(Role::Client, Some(WebSocketConfig::default().write_buffer_size(0)))),
        Err(HandshakeError::Failure(Error::Io(error))) => Err(error),
        Err(HandshakeError::Failure(error)) => Err(io::Error::other(format!("no WebSocket: {error}"))),
        Err(HandshakeError::Interrupted(_)) => Err(ErrorKind::TimedOut.into()),
    }
}

/// A borrowed stream, as one of its own.
struct Both<'s, S>(&'s mut S);

impl<S: Read> Read for Both<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<S: Write> Write for Both<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Tls {
    fn greet(&self, place: &Place, socket: &mut Socket) -> io::Result<ClientConnection> {
        let host = match place {
            Place::Host(host, _) => host.clone(),
            Place::Unix(_) => "localhost".to_owned(),
        };
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(Arc::new(self.config()?), name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(socket)?;
        }
        Ok(tls)
    }

    /// What rustls is to do with these files.
    ///
    /// # Errors
    /// A file is not what it should be.
    pub fn config(&self) -> io::Result<ClientConfig> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.authorities)? {
            roots.add(certificate).map_err(|error| of(&self.authorities, &error))?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|error| of(&self.authorities, &error))?;
        let verifier: Arc<dyn ServerCertVerifier> = if self.any_host { Arc::new(AnyHost(verifier)) } else { verifier };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        match &self.own {
            None => Ok(builder.with_no_client_auth()),
            Some((certificate, key)) => {
                let chain = certificates(certificate)?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(|error| of(key, &error))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| of(certificate, &error))
            }
        }
    }
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    let certificates = read().map_err(|error| of(path, &error))?;
    if certificates.is_empty() { Err(of(path, &"there is no certificate in it")) } else { Ok(certificates) }
}

fn of(path: &Path, error: &dyn fmt::Display) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, format!("{}: {error}", path.display()))
}

/// Checks all of a certificate but the name of the host.
#[derive(Debug)]
struct AnyHost(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyHost {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Socket {
    /// v4 [MQTT-7.1.2-1]: over TCP, or what is as ordered and lossless.
    fn connect(place: &Place, patience: Duration) -> io::Result<Self> {
        let (host, port) = match place {
            Place::Host(host, port) => (host.as_str(), *port),
            #[cfg(unix)]
            Place::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_write_timeout(Some(patience))?;
                return Ok(Self::Unix(stream));
            }
            #[cfg(not(unix))]
            Place::Unix(_) => return Err(ErrorKind::Unsupported.into()),
        };
        let mut last = ErrorKind::NotFound.into();
        for address in (host, port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, patience) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_write_timeout(Some(patience))?;
                    return Ok(Self::Tcp(stream));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => stream.try_clone().map(Self::Tcp),
            #[cfg(unix)]
            Self::Unix(stream) => stream.try_clone().map(Self::Unix),
        }
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(timeout),
            #[cfg(unix)]
            Self::Unix(stream) => stream.set_read_timeout(timeout),
        }
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(how),
            #[cfg(unix)]
            Self::Unix(stream) => stream.shutdown(how),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            #[cfg(unix)]
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            #[cfg(unix)]
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
