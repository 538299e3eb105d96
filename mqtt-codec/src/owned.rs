//! A packet that owns its bytes: one validated frame, which hands its borrowed view out again.
use crate::{DecodeError, EncodeError, Packet, Profile, Role, Version};
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// A packet that can be kept, sent to another thread or stored: the bytes of one frame, with the version and the sender by which they
/// were validated.
///
/// There is no second set of packet types: [`packet`](Self::packet) lends the one there is. Cloning shares the bytes. Equality is that
/// of the bytes, so two forms of one packet (an acknowledgement with its success spelled out, say) differ.
///
/// With the feature `serde` it can be stored in any of serde's formats and is validated when it comes back; with `arbitrary` a fuzzer
/// makes valid packets of every type and version; with `tokio-util` it is what a `PacketCodec` reads.
///
/// # Examples
///
/// ```
/// use mqtt_codec::{OwnedPacket, Packet, Role, Version};
///
/// let frame = [0x30, 0x06, 0, 1, b'a', b'h', b'i', b'!'];
/// let owned = OwnedPacket::decode(&frame, Version::V311, Role::Client)?;
/// let worker = std::thread::spawn(move || {
///     let Packet::Publish(publish) = owned.packet() else { return 0 };
///     let payload = owned.slice(publish.payload).unwrap(); // `Bytes` of its own, not copied
///     payload.len()
/// });
/// assert_eq!(worker.join().unwrap(), 3);
/// # Ok::<(), mqtt_codec::DecodeError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OwnedPacket {
    frame: Bytes,
    version: Version,
    from: Role,
}

impl OwnedPacket {
    /// Copies one whole packet that `from` sent into a block of its exact size. A CONNECT brings its own version.
    ///
    /// # Errors
    ///
    /// Those of [`Packet::decode`].
    pub fn decode(frame: &[u8], version: Version, from: Role) -> Result<Self, DecodeError> {
        let version = version_in(&Packet::decode(frame, version, from)?, version);
        Ok(Self { frame: Bytes::copy_from_slice(frame), version, from })
    }

    /// The same by `profile`. What only its leniency takes is written anew, in its proper form.
    ///
    /// # Errors
    ///
    /// Those of [`Packet::decode_with`]; and what has no proper form is refused as strict decoding does (at level 3, a password without
    /// a user name, or a failure in SUBACK).
    pub fn decode_with(frame: &[u8], version: Version, from: Role, profile: &Profile) -> Result<Self, DecodeError> {
        let packet = Packet::decode_with(frame, version, from, profile)?;
        Self::decode(frame, version, from).or_else(|error| Self::new(&packet, version, from).map_err(|_| error))
    }

    /// Keeps one whole packet that `from` sent where it lies. Nothing is copied: whatever shares the allocation of `frame` stays with it.
    ///
    /// # Errors
    ///
    /// Those of [`Packet::decode`].
    pub fn from_bytes(frame: Bytes, version: Version, from: Role) -> Result<Self, DecodeError> {
        let version = version_in(&Packet::decode(&frame, version, from)?, version);
        Ok(Self { frame, version, from })
    }

    /// Encodes a packet for `from` to send.
    ///
    /// # Errors
    ///
    /// Those of [`Packet::encode`]; [`EncodeError::Invalid`] also if `from` may not send it.
    pub fn new(packet: &Packet<'_>, version: Version, from: Role) -> Result<Self, EncodeError> {
        let version = version_in(packet, version);
        let mut frame = Vec::with_capacity(packet.encoded_len(version)?);
        packet.encode(version, &mut frame)?;
        Self::from_bytes(frame.into(), version, from).map_err(|_| EncodeError::Invalid)
    }

    /// The packet. Decodes the frame again, which takes time in proportion to its length without the payload.
    pub fn packet(&self) -> Packet<'_> {
        // The frame was decoded before, and cannot have changed since: there is always a packet.
        Packet::decode(&self.frame, self.version, self.from).unwrap_or(Packet::Pingreq)
    }

    /// The version it was validated by; of a CONNECT, the one it asks for.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The end that sent it, or is to.
    pub fn from(&self) -> Role {
        self.from
    }

    /// The packet as it is on the wire.
    pub fn as_bytes(&self) -> &Bytes {
        &self.frame
    }

    /// The packet as it is on the wire.
    pub fn into_bytes(self) -> Bytes {
        self.frame
    }

    /// A part of the packet (a payload, a topic), which shares the bytes; `None` if `part` does not lie in this packet.
    pub fn slice(&self, part: &[u8]) -> Option<Bytes> {
        let start = part.as_ptr().addr().checked_sub(self.frame.as_ptr().addr())?;
        let end = start.checked_add(part.len())?;
        if end > self.frame.len() { None } else { Some(self.frame.slice(start..end)) }
    }
}

/// A CONNECT brings its own version.
fn version_in(packet: &Packet<'_>, version: Version) -> Version {
    match packet {
        Packet::Connect(connect) => connect.version,
        _ => version,
    }
}

impl AsRef<[u8]> for OwnedPacket {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

impl fmt::Display for OwnedPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.packet().fmt(f)
    }
}

impl fmt::Debug for OwnedPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, from, .. } = self;
        f.debug_struct("OwnedPacket")
            .field("version", version)
            .field("from", from)
            .field("packet", &self.packet())
            .finish()
    }
}
