//! A large PUBLISH in parts: its head once that is whole, then its payload as it arrives, without ever being kept.
use crate::packet::decode_head;
use crate::read::Cursor;
use crate::reader::{Packets, Reader, rare};
use crate::rules::{self, Rule};
use crate::write::vbi_len;
use crate::{DecodeError, Packet, Publish, Qos, Version};

/// What [`Packets::next_part`] hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part<'a> {
    /// A whole packet.
    Packet(Packet<'a>),
    /// All of a large PUBLISH but its payload, which follows in parts.
    Head {
        /// Its `payload` is empty here.
        publish: Publish<'a>,
        /// Bytes of the payload, at least 1.
        payload_len: u32,
    },
    /// The next bytes of that payload, at least 1.
    Payload {
        /// As they came.
        bytes: &'a [u8],
        /// Bytes still to come; 0 in the last part.
        left: u32,
    },
}

/// Of a reader that hands large PUBLISH packets out in parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    /// Up to this many bytes a PUBLISH is handed out whole.
    pub(crate) threshold: u32,
    /// Bytes of the payload under way that were not handed out.
    pub(crate) left: u32,
}

/// What begins with the next byte.
enum Extent {
    /// Cannot be told from less than this many bytes.
    AtLeast(usize),
    /// A packet to be handed out whole.
    Whole,
    /// A PUBLISH to be handed out in parts: the bytes of its head and those of its payload.
    Head(usize, u32),
}

impl Reader {
    /// Bytes still to come of the payload that is being handed out in parts.
    pub fn payload_left(&self) -> u32 {
        self.rare.as_ref().and_then(|rare| rare.stream).map_or(0, |stream| stream.left)
    }

    fn set_payload_left(&mut self, left: u32) {
        if let Some(stream) = rare(&mut self.rare).stream.as_mut() {
            stream.left = left;
        }
    }

    /// What begins `bytes`, for a reader that hands out in parts what is over `threshold` bytes.
    fn extent(&self, bytes: &[u8], threshold: u32) -> Result<Extent, DecodeError> {
        let Some(len) = self.framing.measure(bytes)? else {
            return Ok(Extent::AtLeast(bytes.len() + 1));
        };
        let (Some(version), true) = (self.framing.version, is_publish(bytes)) else {
            return Ok(Extent::Whole);
        };
        if u32::try_from(len).is_ok_and(|len| len <= threshold) {
            return Ok(Extent::Whole);
        }
        // what lies behind the packet is another's
        let bytes = bytes.get(..len).unwrap_or(bytes);
        measure_head(bytes, len, threshold, version)
    }
}

fn is_publish(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first >> 4 == 3)
}

/// How long the head is of a PUBLISH of `len` bytes, judged from its lengths alone; `bytes` are what is here of it.
fn measure_head(bytes: &[u8], len: usize, threshold: u32, version: Version) -> Result<Extent, DecodeError> {
    let threshold = usize::try_from(threshold).unwrap_or(usize::MAX);
    // A field that ends at `end` must lie in the packet, and in what a head may take.
    let check = |end: usize, at: usize, rule: &'static Rule| {
        let rule = if end > len { rule } else { &rules::HEAD_TOO_LARGE };
        if end > len.min(threshold) { Err(rule.error(at, version)) } else { Ok(()) }
    };
    let with_id = bytes.first().and_then(|first| Qos::new(first >> 1 & 3)) != Some(Qos::AtMostOnce);
    let topic_at = 1 + vbi_of_frame(len);
    check(topic_at + 2, topic_at, &rules::LENGTH_SHORT)?;
    let Some(topic_len) = bytes.get(topic_at..topic_at + 2).and_then(|bytes| <[u8; 2]>::try_from(bytes).ok()) else {
        return Ok(Extent::AtLeast(topic_at + 2));
    };
    let id_at = topic_at + 2 + usize::from(u16::from_be_bytes(topic_len));
    check(id_at, topic_at + 2, &rules::LENGTH_SHORT)?;
    let properties_at = if with_id { id_at + 2 } else { id_at };
    check(properties_at, id_at, &rules::LENGTH_SHORT)?;
    let mut head = properties_at;
    if version == Version::V5 {
        check(properties_at + 1, properties_at, &rules::LENGTH_SHORT)?;
        let mut cursor = Cursor::new(bytes.get(properties_at..).unwrap_or_default());
        let there = cursor.rest().len();
        match cursor.vbi() {
            Ok(section) => {
                let section_at = properties_at + there - cursor.rest().len();
                head = section_at.saturating_add(usize::try_from(section).unwrap_or(usize::MAX));
                check(head, section_at, &rules::PROPERTY_LENGTH)?;
            }
            Err(fault) if core::ptr::eq(fault.rule, &raw const rules::LENGTH_SHORT) && bytes.len() < len => {
                return Ok(Extent::AtLeast(bytes.len().max(properties_at) + 1));
            }
            Err(fault) => return Err(fault.in_frame(bytes, version)),
        }
    }
    if head > bytes.len() {
        return Ok(Extent::AtLeast(head));
    }
    Ok(Extent::Head(head, u32::try_from(len - head).unwrap_or(u32::MAX)))
}

/// Bytes of the Remaining Length of a packet of `len` bytes in all.
fn vbi_of_frame(len: usize) -> usize {
    (1..=4).find(|&n| len > n && vbi_len(len - 1 - n) == n).unwrap_or(4)
}

impl Packets<'_> {
    /// The next whole packet, or the next part of a large PUBLISH if the reader was made [`with_streaming`](Reader::with_streaming):
    /// its head, then its payload as it arrives. `None` when there is nothing further yet. After an error every call gives that error
    /// again.
    ///
    /// A part borrows from the bytes that came; memory for the payload is never taken.
    ///
    /// # Errors
    ///
    /// Those of [`next`](Self::next), and a head that does not fit below the threshold.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqtt_codec::{Part, Reader, Version};
    ///
    /// let mut reader = Reader::of_server(Version::V311, u32::MAX).with_streaming(8);
    /// let mut received = Vec::new();
    /// for bytes in [&b"\x30\x0C\0\x04temp21"[..], b".5 ", b"C"] {
    ///     let mut packets = reader.read(bytes);
    ///     while let Some(part) = packets.next_part()? {
    ///         match part {
    ///             Part::Head { publish, payload_len } => {
    ///                 assert_eq!(publish.topic.unwrap().as_bytes(), b"temp");
    ///                 assert_eq!(payload_len, 6);
    ///             }
    ///             Part::Payload { bytes, .. } => received.extend_from_slice(bytes),
    ///             _ => unreachable!("no other packet was sent"),
    ///         }
    ///     }
    /// }
    /// assert_eq!(received, b"21.5 C");
    /// # Ok::<(), mqtt_codec::DecodeError>(())
    /// ```
    pub fn next_part(&mut self) -> Result<Option<Part<'_>>, DecodeError> {
        let Some(stream) = self.reader.rare.as_ref().and_then(|rare| rare.stream) else {
            return Ok(self.next()?.map(Part::Packet));
        };
        if let Some(error) = self.reader.failed() {
            return Err(error);
        }
        if stream.left > 0 {
            return Ok(self.take_payload());
        }
        match self.locate_head(stream.threshold) {
            Ok(Some((head, payload_len))) => self.take_head(head, payload_len).map(Some),
            Ok(None) => Ok(self.next()?.map(Part::Packet)),
            Err(error) => Err(self.reader.fail(error)),
        }
    }

    /// Before a whole packet: whether one may come, what is left of a payload having been passed over.
    #[cold]
    pub(crate) fn go_on(&mut self) -> Result<bool, DecodeError> {
        if let Some(error) = self.reader.failed() {
            return Err(error);
        }
        while self.reader.payload_left() > 0 {
            if self.take_payload().is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Finds the head of a PUBLISH to be handed out in parts: its length and that of the payload. `None`: a whole packet is next, or
    /// not enough is here. What began in the tail is completed there.
    fn locate_head(&mut self, threshold: u32) -> Result<Option<(usize, u32)>, DecodeError> {
        if self.reader.buffered() == 0 {
            return match self.reader.extent(self.bytes, threshold)? {
                Extent::Head(head, payload) => Ok(Some((head, payload))),
                Extent::Whole | Extent::AtLeast(_) => Ok(None),
            };
        }
        loop {
            let kept = self.reader.tail.get(self.reader.head..).unwrap_or_default();
            let wanted = match self.reader.extent(kept, threshold)? {
                Extent::Whole => return Ok(None),
                Extent::Head(head, payload) => return Ok(Some((head, payload))),
                Extent::AtLeast(len) => len.saturating_sub(kept.len()).max(1),
            };
            if self.bytes.is_empty() {
                return Ok(None);
            }
            let (taken, rest) = self.bytes.split_at_checked(wanted).unwrap_or((self.bytes, &[]));
            self.reader.tail.extend_from_slice(taken);
            self.bytes = rest;
        }
    }

    /// Decodes the head that was located.
    fn take_head(&mut self, len: usize, payload_len: u32) -> Result<Part<'_>, DecodeError> {
        let Reader { framing, tail, head, rare: slot } = &mut *self.reader;
        let bytes = if tail.len() > *head {
            let bytes = tail.get(*head..*head + len).unwrap_or_default();
            *head += len;
            bytes
        } else {
            let (bytes, rest) = self.bytes.split_at_checked(len).unwrap_or_default();
            self.bytes = rest;
            bytes
        };
        let rare = rare(slot);
        let version = framing.version.unwrap_or(Version::V5);
        match decode_head(bytes, version, framing.from, rare.profile.as_ref()) {
            Ok(publish) => {
                if let Some(stream) = rare.stream.as_mut() {
                    stream.left = payload_len;
                }
                Ok(Part::Head { publish, payload_len })
            }
            Err(error) => {
                rare.failed = Some(error);
                Err(error)
            }
        }
    }

    /// What is here of the payload under way.
    fn take_payload(&mut self) -> Option<Part<'_>> {
        let left = self.reader.payload_left();
        let wanted = usize::try_from(left).unwrap_or(usize::MAX);
        let kept = self.reader.buffered();
        let len = wanted.min(if kept > 0 { kept } else { self.bytes.len() });
        let left = left.saturating_sub(u32::try_from(len).unwrap_or(u32::MAX));
        self.reader.set_payload_left(left);
        let bytes = if kept > 0 {
            let start = self.reader.head;
            self.reader.head += len;
            self.reader.tail.get(start..start + len).unwrap_or_default()
        } else {
            let (bytes, rest) = self.bytes.split_at_checked(len).unwrap_or_default();
            self.bytes = rest;
            bytes
        };
        if bytes.is_empty() { None } else { Some(Part::Payload { bytes, left }) }
    }
}
