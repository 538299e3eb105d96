//! The reading half of a connection: bytes in any split, packets out.
use crate::frame::Framing;
use crate::stream::Stream;
use crate::{DecodeError, Packet, Profile, Version};
use alloc::boxed::Box;
use alloc::vec::Vec;

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
    pub(crate) framing: Framing,
    /// What came and was not taken, behind `head` bytes that were.
    pub(crate) tail: Vec<u8>,
    pub(crate) head: usize,
    /// Boxed: most connections have no use for the room.
    pub(crate) rare: Option<Box<Rare>>,
}

/// What only some readers have.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    pub(crate) failed: Option<DecodeError>,
    pub(crate) profile: Option<Profile>,
    pub(crate) stream: Option<Stream>,
}

/// A tail of up to this capacity is kept for the next use, in bytes.
const KEEP: usize = 4096;

impl Reader {
    /// Reads what a client sends. Until CONNECT is read, packets are limited to `connect_limit` bytes, and a first byte that cannot begin a CONNECT is refused at that byte; then to `limit`.
    pub fn of_client(connect_limit: u32, limit: u32) -> Self {
        Self::new(Framing::of_client(connect_limit, limit))
    }

    /// Reads what a server sends to a client of `version`.
    pub fn of_server(version: Version, limit: u32) -> Self {
        Self::new(Framing::of_server(version, limit))
    }

    fn new(framing: Framing) -> Self {
        Self { framing, tail: Vec::new(), head: 0, rare: None }
    }

    /// The same reader, which judges packets by `profile`.
    #[must_use]
    pub fn with_profile(mut self, profile: Profile) -> Self {
        rare(&mut self.rare).profile = Some(profile);
        self
    }

    /// The same reader, for [`Packets::next_part`]: a PUBLISH of more than `threshold` bytes (fixed header included) is handed out in
    /// parts. What is in front of its payload must fit into `threshold` bytes itself.
    ///
    /// The limit on the size of packets holds for these too.
    #[must_use]
    pub fn with_streaming(mut self, threshold: u32) -> Self {
        rare(&mut self.rare).stream = Some(Stream { threshold, left: 0 });
        self
    }

    /// Replaces the limit on the size of packets (bytes, fixed header included).
    pub fn set_limit(&mut self, limit: u32) {
        self.framing.limit = limit;
    }

    /// The version in use, once known: of a CONNECT as soon as it was read, even if it was then refused for something else.
    pub fn version(&self) -> Option<Version> {
        self.framing.version
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

    pub(crate) fn failed(&self) -> Option<DecodeError> {
        self.rare.as_ref()?.failed
    }

    pub(crate) fn fail(&mut self, error: DecodeError) -> DecodeError {
        rare(&mut self.rare).failed = Some(error);
        error
    }

    /// Makes room at the front, and lets go of what is no longer needed.
    fn settle(&mut self) {
        let kept = self.buffered();
        let failed = self.failed().is_some();
        if failed || kept == 0 {
            self.tail.clear();
            self.head = 0;
            if failed || self.tail.capacity() > KEEP {
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

/// Makes room for what only some readers have.
pub(crate) fn rare(slot: &mut Option<Box<Rare>>) -> &mut Rare {
    slot.get_or_insert_default()
}

/// The packets of one read; lends each.
#[derive(Debug)]
pub struct Packets<'r> {
    pub(crate) reader: &'r mut Reader,
    /// What of the bytes was not taken.
    pub(crate) bytes: &'r [u8],
}

/// Where the next packet lies, and its length.
enum Place {
    Tail(usize),
    Bytes(usize),
}

impl Packets<'_> {
    /// The next whole packet; `None` when there is no further one yet. After an error every call gives that error again.
    ///
    /// What is left of a PUBLISH that [`next_part`](Self::next_part) began is passed over.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Packet<'_>>, DecodeError> {
        if self.reader.rare.is_some() && !self.go_on()? {
            return Ok(None);
        }
        let place = match self.locate() {
            Ok(Some(place)) => place,
            Ok(None) => return Ok(None),
            Err(error) => return Err(self.reader.fail(error)),
        };
        let Reader { framing, tail, head, rare: slot } = &mut *self.reader;
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
        let profile = slot.as_ref().and_then(|rare| rare.profile.as_ref());
        match framing.decode(frame, profile) {
            Ok(packet) => Ok(Some(packet)),
            Err(error) => {
                rare(slot).failed = Some(error);
                Err(error)
            }
        }
    }

    /// Finds the next whole packet. One that began in the tail is completed there, by as many bytes as it needs.
    #[inline]
    fn locate(&mut self) -> Result<Option<Place>, DecodeError> {
        if self.reader.buffered() == 0 {
            let len = self.reader.framing.measure(self.bytes)?;
            return Ok(len.filter(|&len| len <= self.bytes.len()).map(Place::Bytes));
        }
        loop {
            let kept = self.reader.tail.get(self.reader.head..).unwrap_or_default();
            let wanted = match self.reader.framing.measure(kept)? {
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
        if !self.bytes.is_empty() && self.reader.failed().is_none() {
            self.reader.tail.extend_from_slice(self.bytes);
        }
    }
}
