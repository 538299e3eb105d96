//! Framing: where a packet ends, judged from its fixed header alone (sections 2.1 and 1.5.5), and the reading half of a connection.
use crate::packet::version_of;
use crate::rules::{self, Rule};
use crate::{DecodeError, Packet, Role, Version};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// The length in bytes of the packet that begins `bytes`, its fixed header included; `None` while the header is not all here.
///
/// # Errors
///
/// A packet over `limit` bytes, a Remaining Length of five bytes or not in its shortest form.
///
/// # Examples
///
/// ```
/// use mqtt_codec::{DecodeErrorKind, frame_len};
///
/// assert_eq!(frame_len(&[0x30, 0x80], 1000), Ok(None)); // the length is not complete
/// assert_eq!(frame_len(&[0x30, 0x80, 0x01], 1000), Ok(Some(131)));
/// assert_eq!(frame_len(&[0x30, 0x80, 0x01], 130).unwrap_err().kind, DecodeErrorKind::TooLarge);
/// ```
#[inline]
pub fn frame_len(bytes: &[u8], limit: u32) -> Result<Option<usize>, DecodeError> {
    measure(bytes, limit, Version::V5)
}

#[inline]
fn measure(bytes: &[u8], limit: u32, version: Version) -> Result<Option<usize>, DecodeError> {
    let Some((_, mut rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let mut body = 0;
    for (header, shift) in [(2, 0), (3, 7), (4, 14), (5, 21)] {
        let Some((&byte, behind)) = rest.split_first() else {
            return Ok(None);
        };
        rest = behind;
        body |= u32::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            // v5 [MQTT-1.5.5-1]: the fewest bytes possible.
            if byte == 0 && shift > 0 {
                return Err(rules::VBI_LONG.error(header - 1, version));
            }
            // v5 [MQTT-3.2.2-15], v5 [X5-CACK-6]: the whole packet counts, and the limit itself is allowed.
            let Ok(header_len) = u32::try_from(header) else {
                return Ok(None);
            };
            if header_len + body > limit {
                return Err(rules::TOO_LARGE.error(1, version));
            }
            return Ok(usize::try_from(header_len + body).ok());
        }
    }
    // v5 [X5-VBI-1]
    Err(rules::VBI_FIVE.error(5, version))
}

/// The reading half of a connection: bytes as they come, packets out.
///
/// Keeps what is incomplete (or was not taken) between calls, nothing else; an idle reader holds no heap memory. Memory follows
/// the bytes that came, never the length that a header claims.
///
/// # Examples
///
/// ```
/// use mqtt_codec::{Packet, Reader, Version};
///
/// let mut reader = Reader::of_server(Version::V311, 1 << 20);
/// let mut seen = 0;
/// for bytes in [&[0xD0][..], &[0x00, 0x40, 0x02, 0x00], &[0x01]] {
///     let mut packets = reader.read(bytes);
///     while let Some(packet) = packets.next()? {
///         seen += 1;
///         assert!(matches!(packet, Packet::Pingresp | Packet::Ack(_)));
///     }
/// }
/// assert_eq!((seen, reader.buffered()), (2, 0));
/// # Ok::<(), mqtt_codec::DecodeError>(())
/// ```
#[derive(Debug)]
pub struct Reader {
    /// The end whose packets are read.
    from: Role,
    /// Known from the start (reading a server) or from CONNECT (reading a client).
    version: Option<Version>,
    /// In force until the version is known.
    connect_limit: u32,
    limit: u32,
    /// What came and was not taken, behind `head` bytes that were.
    tail: Vec<u8>,
    head: usize,
    /// Boxed: a connection that works has no use for the room.
    failed: Option<Box<DecodeError>>,
}

/// A tail of up to this capacity is kept for the next use, in bytes.
const KEEP: usize = 4096;

impl Reader {
    /// Reads what a client sends. Until CONNECT is read, packets are limited to `connect_limit` bytes, and a first byte that cannot begin a CONNECT is refused at that byte; then to `limit`.
    pub fn of_client(connect_limit: u32, limit: u32) -> Self {
        Self::new(Role::Client, None, connect_limit, limit)
    }

    /// Reads what a server sends to a client of `version`.
    pub fn of_server(version: Version, limit: u32) -> Self {
        Self::new(Role::Server, Some(version), limit, limit)
    }

    fn new(from: Role, version: Option<Version>, connect_limit: u32, limit: u32) -> Self {
        Self { from, version, connect_limit, limit, tail: Vec::new(), head: 0, failed: None }
    }

    /// Replaces the limit on the size of packets (bytes, fixed header included).
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// The version in use, once known: of a CONNECT as soon as it was read, even if it was then refused for something else.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// Bytes kept between calls.
    pub fn buffered(&self) -> usize {
        self.tail.len().saturating_sub(self.head)
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.tail.capacity()
    }

    /// Begins to read `bytes`, behind what was kept. What is not taken by the time the result is dropped is kept for the next call.
    ///
    /// An empty slice goes on with what was kept.
    pub fn read<'r>(&'r mut self, bytes: &'r [u8]) -> Packets<'r> {
        Packets { reader: self, bytes }
    }

    /// The length of the packet that begins `bytes`, as far as it can be told.
    #[inline]
    fn measure(&self, bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
        let Some(version) = self.version else {
            return self.measure_connect(bytes);
        };
        measure(bytes, self.limit, version)
    }

    /// The same before the first packet.
    #[cold]
    fn measure_connect(&self, bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
        // v5 [MQTT-3.1.0-1], v4 [MQTT-3.1.0-1]: whatever does not begin with a CONNECT is not MQTT, and one byte tells.
        if bytes.first().is_some_and(|&first| first != 0x10) {
            return Err(Rule::error(&rules::NOT_CONNECT, 0, Version::V5));
        }
        measure(bytes, self.connect_limit, Version::V5)
    }

    fn fail(&mut self, error: DecodeError) -> DecodeError {
        self.failed = Some(Box::new(error));
        error
    }

    /// Makes room at the front, and lets go of what is no longer needed.
    fn settle(&mut self) {
        let kept = self.buffered();
        if self.failed.is_some() || kept == 0 {
            self.tail.clear();
            self.head = 0;
            if self.failed.is_some() || self.tail.capacity() > KEEP {
                self.tail = Vec::new();
            }
        } else if self.head >= kept {
            // Moving no more than was taken keeps the whole linear.
            self.tail.drain(..self.head);
            self.head = 0;
            if self.tail.capacity() > KEEP && self.tail.capacity() / 2 >= kept {
                self.tail.shrink_to(kept);
            }
        }
    }
}

/// The packets of one read; lends each.
#[derive(Debug)]
pub struct Packets<'r> {
    reader: &'r mut Reader,
    /// What of the bytes was not taken.
    bytes: &'r [u8],
}

/// Where the next packet lies, and its length.
enum Place {
    Tail(usize),
    Bytes(usize),
}

impl Packets<'_> {
    /// The next whole packet; `None` when there is no further one yet. After an error every call gives that error again.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Packet<'_>>, DecodeError> {
        if let Some(error) = &self.reader.failed {
            return Err(**error);
        }
        let place = match self.locate() {
            Ok(Some(place)) => place,
            Ok(None) => return Ok(None),
            Err(error) => return Err(self.reader.fail(error)),
        };
        let Reader { from, version, tail, head, failed, .. } = &mut *self.reader;
        let frame = match place {
            Place::Tail(len) => {
                let frame = tail.get(*head..*head + len).unwrap_or_default();
                *head += len;
                frame
            }
            Place::Bytes(len) => {
                let (frame, rest) = self.bytes.split_at_checked(len).unwrap_or_default();
                self.bytes = rest;
                frame
            }
        };
        match Packet::decode(frame, version.unwrap_or(Version::V5), *from) {
            Ok(packet) => {
                if let (None, Packet::Connect(connect)) = (&version, &packet) {
                    *version = Some(connect.version);
                }
                Ok(Some(packet))
            }
            Err(error) => {
                if version.is_none() {
                    *version = version_of(frame);
                }
                *failed = Some(Box::new(error));
                Err(error)
            }
        }
    }

    /// Finds the next whole packet. One that began in the tail is completed there, by as many bytes as it needs.
    #[inline]
    fn locate(&mut self) -> Result<Option<Place>, DecodeError> {
        if self.reader.buffered() == 0 {
            let len = self.reader.measure(self.bytes)?;
            return Ok(len.filter(|&len| len <= self.bytes.len()).map(Place::Bytes));
        }
        loop {
            let kept = self.reader.tail.get(self.reader.head..).unwrap_or_default();
            let wanted = match self.reader.measure(kept)? {
                Some(len) if len <= kept.len() => return Ok(Some(Place::Tail(len))),
                Some(len) => len - kept.len(),
                None => 1,
            };
            if self.bytes.is_empty() {
                return Ok(None);
            }
            let (taken, rest) = self.bytes.split_at_checked(wanted).unwrap_or((self.bytes, &[]));
            self.reader.tail.extend_from_slice(taken);
            self.bytes = rest;
        }
    }
}

impl Drop for Packets<'_> {
    fn drop(&mut self) {
        self.reader.settle();
        if self.reader.failed.is_none() && !self.bytes.is_empty() {
            self.reader.tail.extend_from_slice(self.bytes);
        }
    }
}
