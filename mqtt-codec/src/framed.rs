//! The codec of `tokio_util::codec::Framed`: packets from and to anything that reads and writes bytes.
use crate::frame::Framing;
use crate::{DecodeError, EncodeError, OwnedPacket, Packet, Profile, Role, Version};
use bytes::{Buf, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

/// Reads and writes the packets of one connection, for `tokio_util::codec::Framed`.
///
/// Each packet that comes is copied into a block of its exact size, so that what is kept never holds a read buffer. Memory for a packet
/// follows the bytes that came, never the length that its header claims.
///
/// # Examples
///
/// ```
/// use futures_util::{SinkExt, StreamExt};
/// use mqtt_codec::{Packet, PacketCodec, Version};
/// use tokio_util::codec::Framed;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (near, far) = tokio::io::duplex(1024); // a socket, usually
/// let mut client = Framed::new(near, PacketCodec::of_client(Version::V311, 64 * 1024));
/// let mut broker = Framed::new(far, PacketCodec::of_server(4096, 64 * 1024));
///
/// # let connect = b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01c";
/// # let Ok(connect) = Packet::decode(connect, Version::V311, mqtt_codec::Role::Client) else { panic!() };
/// client.send(connect).await?; // any `Packet`, or an `OwnedPacket`
/// let packet = broker.next().await.unwrap()?;
/// assert!(matches!(packet.packet(), Packet::Connect(_)));
/// # Ok::<(), mqtt_codec::CodecError>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct PacketCodec {
    framing: Framing,
    profile: Option<Profile>,
}

/// Why a [`PacketCodec`] stops, or does not write a packet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The peer sent what is not a packet it may send: close the connection.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The packet cannot be sent; nothing of it was written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The transport failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl PacketCodec {
    /// The client's end of a connection of `version`: packets of up to `limit` bytes (fixed header included) are read.
    pub fn of_client(version: Version, limit: u32) -> Self {
        Self { framing: Framing::of_server(version, limit), profile: None }
    }

    /// The server's end: packets of up to `limit` bytes (fixed header included) are read, of up to `connect_limit` until there was a
    /// CONNECT. The version is that of the CONNECT; until then packets are written as those of 5.0.
    pub fn of_server(connect_limit: u32, limit: u32) -> Self {
        Self { framing: Framing::of_client(connect_limit, limit), profile: None }
    }

    /// The same codec, which judges what it reads by `profile`, as [`OwnedPacket::decode_with`] does.
    #[must_use]
    pub fn with_profile(mut self, profile: Profile) -> Self {
        self.profile = Some(profile);
        self
    }

    /// The version in use, once known.
    pub fn version(&self) -> Option<Version> {
        self.framing.version
    }

    /// Replaces the limit on the size of packets that are read (bytes, fixed header included).
    pub fn set_limit(&mut self, limit: u32) {
        self.framing.limit = limit;
    }

    fn own(&mut self, frame: &[u8]) -> Result<OwnedPacket, DecodeError> {
        let version = self.framing.version.unwrap_or(Version::V5);
        let owned = match &self.profile {
            None => OwnedPacket::decode(frame, version, self.framing.from)?,
            Some(profile) => OwnedPacket::decode_with(frame, version, self.framing.from, profile)?,
        };
        if self.framing.version.is_none() {
            self.framing.version = Some(owned.version()); // only a CONNECT comes here
        }
        Ok(owned)
    }

    fn write(&mut self, packet: &Packet<'_>, out: &mut BytesMut) -> Result<(), CodecError> {
        let version = match packet {
            Packet::Connect(connect) => connect.version,
            _ => self.framing.version.unwrap_or(Version::V5),
        };
        out.reserve(packet.encoded_len(version)?);
        Ok(packet.encode(version, out)?)
    }
}

impl Decoder for PacketCodec {
    type Item = OwnedPacket;
    type Error = CodecError;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<OwnedPacket>, CodecError> {
        let Some(len) = self.framing.measure(bytes)? else { return Ok(None) };
        let Some(frame) = bytes.get(..len) else { return Ok(None) };
        let owned = self.own(frame)?;
        bytes.advance(len);
        Ok(Some(owned))
    }
}

impl Encoder<Packet<'_>> for PacketCodec {
    type Error = CodecError;

    fn encode(&mut self, packet: Packet<'_>, out: &mut BytesMut) -> Result<(), CodecError> {
        self.write(&packet, out)
    }
}

impl Encoder<&Packet<'_>> for PacketCodec {
    type Error = CodecError;

    fn encode(&mut self, packet: &Packet<'_>, out: &mut BytesMut) -> Result<(), CodecError> {
        self.write(packet, out)
    }
}

/// Written as it is if it is of the version in use and this end may send it; [`EncodeError::Invalid`] if it is not.
impl Encoder<OwnedPacket> for PacketCodec {
    type Error = CodecError;

    fn encode(&mut self, packet: OwnedPacket, out: &mut BytesMut) -> Result<(), CodecError> {
        let ours = match self.framing.from {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        };
        if packet.from() != ours || self.framing.version.is_some_and(|version| version != packet.version()) {
            return Err(EncodeError::Invalid.into());
        }
        out.extend_from_slice(packet.as_bytes());
        Ok(())
    }
}
