//! The PROXY protocol, versions 1 and 2: what a load balancer says about a client before the client's own bytes.

use crate::transport::Socket;
use ppp::{HeaderResult, PartialResult, v1, v2};
use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;

/// The longest header that is taken, in bytes: a proxy's own, not what a client could make it send.
const LONGEST: usize = 2048;

/// What the proxy said.
pub(crate) struct Header {
    /// The client's address, unless the connection is the proxy's own (a health check) or of another kind.
    pub(crate) client: Option<SocketAddr>,
}

/// Takes the header off the socket, and not one byte after it; `None` while it is not all there.
pub(crate) fn read_header(socket: &mut Socket) -> io::Result<Option<Header>> {
    let mut seen = [0; LONGEST];
    let length = socket.peek(&mut seen)?;
    let seen = seen.get(..length).unwrap_or_default();
    if seen.is_empty() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let result = HeaderResult::parse(seen);
    let (client, length) = match &result {
        HeaderResult::V1(Ok(header)) => (client_of_v1(&header.addresses), header.header.len()),
        HeaderResult::V2(Ok(header)) => (client_of_v2(header), header.len()),
        partial if partial.is_incomplete() && seen.len() < LONGEST => return Ok(None),
        _ => {
            return Err(io::Error::new(ErrorKind::InvalidData, "no PROXY header, though this listener is for a proxy"));
        }
    };
    let mut header = vec![0; length];
    socket.read_exact(&mut header)?;
    Ok(Some(Header { client }))
}

fn client_of_v1(addresses: &v1::Addresses) -> Option<SocketAddr> {
    match addresses {
        v1::Addresses::Tcp4(tcp) => Some((tcp.source_address, tcp.source_port).into()),
        v1::Addresses::Tcp6(tcp) => Some((tcp.source_address, tcp.source_port).into()),
        v1::Addresses::Unknown => None,
    }
}

fn client_of_v2(header: &v2::Header<'_>) -> Option<SocketAddr> {
    match (header.command, header.addresses) {
        (v2::Command::Proxy, v2::Addresses::IPv4(ip)) => Some((ip.source_address, ip.source_port).into()),
        (v2::Command::Proxy, v2::Addresses::IPv6(ip)) => Some((ip.source_address, ip.source_port).into()),
        _ => None,
    }
}
