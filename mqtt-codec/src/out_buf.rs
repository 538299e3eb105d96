//! Bytes on their way to a socket.
use crate::{EncodeError, Packet, Publish, Version};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

/// A queue of bytes with a limit: small writes are copied together, big shared blocks are referenced.
///
/// # Examples
///
/// ```
/// use mqtt_codec::{Append, OutBuf, Packet, Version};
///
/// let mut out = OutBuf::with_limit(3);
/// assert_eq!(out.append(&Packet::Pingreq, Version::V5), Ok(Append::Wrote));
/// assert_eq!(out.append(&Packet::Pingreq, Version::V5), Ok(Append::Full));
/// assert_eq!(out.chunk(), [0xC0, 0x00]);
/// out.advance(2);
/// assert!(out.is_empty());
/// ```
#[derive(Debug, Default)]
pub struct OutBuf {
    /// What was copied, behind `start` bytes that are sent.
    bytes: Vec<u8>,
    start: usize,
    /// Boxed: most buffers never see a block. Kept for the next one until [`shrink`](Self::shrink).
    blocks: Option<Box<Blocks>>,
    limit: usize,
}

/// The shared blocks among the bytes.
#[derive(Debug, Default)]
struct Blocks {
    /// The blocks, and in front of which of the copied bytes each goes, counted from the first that was ever in `bytes`.
    chunks: VecDeque<Chunk>,
    /// What the first of `bytes` is numbered; wraps around.
    base: usize,
    /// Bytes in `chunks`.
    shared: usize,
}

type Chunk = (usize, Arc<[u8]>, Range<usize>);

/// Whether an append was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Append {
    /// All of it.
    Wrote,
    /// Nothing: there is no room. Flush first.
    Full,
}

/// An allocation of up to this size is kept when everything is sent, in bytes.
const KEEP: usize = 16 * 1024;

impl OutBuf {
    /// A buffer that takes up to `limit` bytes; a single larger packet still goes when it is empty.
    pub fn with_limit(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Bytes not yet taken by [`advance`](Self::advance).
    #[inline]
    pub fn len(&self) -> usize {
        let copied = self.bytes.len().saturating_sub(self.start);
        self.blocks.as_ref().map_or(copied, |blocks| copied.saturating_add(blocks.shared))
    }

    /// Whether there is nothing to send.
    #[inline]
    pub fn is_empty(&self) -> bool {
        // a block that waits is never empty
        self.start >= self.bytes.len() && self.blocks.as_ref().is_none_or(|blocks| blocks.shared == 0)
    }

    /// The limit in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether a packet of `len` bytes would be taken.
    #[inline]
    pub fn has_room(&self, len: usize) -> bool {
        self.is_empty() || self.len().saturating_add(len) <= self.limit
    }

    /// Appends one packet, or nothing.
    ///
    /// # Errors
    ///
    /// The packet cannot be sent in this version, whatever room there is.
    #[inline]
    pub fn append(&mut self, packet: &Packet<'_>, version: Version) -> Result<Append, EncodeError> {
        let plan = packet.plan(version)?;
        let len = plan.total();
        if !self.has_room(len) {
            return Ok(Append::Full);
        }
        self.bytes.reserve(len);
        packet.write(version, plan, &mut self.bytes);
        Ok(Append::Wrote)
    }

    /// Appends one PUBLISH, or nothing, with a part of a shared block as its payload: referenced from [`OutBuf::SHARE_FROM`] bytes, else
    /// copied. [`Publish::payload`] is not looked at; a range that is not inside the block is an empty payload.
    ///
    /// # Errors
    ///
    /// The packet cannot be sent in this version, whatever room there is.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqtt_codec::{Append, OutBuf, Properties, Publish, Qos, TopicName, Version};
    /// use std::sync::Arc;
    ///
    /// let picture: Arc<[u8]> = vec![0; 100_000].into();
    /// let publish = Publish {
    ///     dup: false,
    ///     qos: Qos::AtMostOnce,
    ///     retain: false,
    ///     topic: Some(TopicName::new("camera/7")?),
    ///     packet_id: None,
    ///     properties: Properties::EMPTY,
    ///     payload: &[],
    /// };
    /// let mut out = OutBuf::with_limit(1 << 20);
    /// assert_eq!(out.append_publish(&publish, Version::V5, &picture, 0..picture.len())?, Append::Wrote);
    /// assert_eq!(out.len(), 4 + 10 + 1 + 100_000);
    /// assert!(out.memory() < 1000); // the picture is not in it
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append_publish(
        &mut self,
        publish: &Publish<'_>,
        version: Version,
        block: &Arc<[u8]>,
        payload: Range<usize>,
    ) -> Result<Append, EncodeError> {
        let payload_len = block.get(payload.clone()).map_or(0, <[u8]>::len);
        let head = Packet::Publish(Publish { payload: &[], ..*publish });
        let plan = head.plan(version)?.with_payload(payload_len)?;
        if !self.has_room(plan.total()) {
            return Ok(Append::Full);
        }
        head.write(version, plan, &mut self.bytes);
        self.put_shared(block, payload);
        Ok(Append::Wrote)
    }

    /// Appends bytes whatever the limit says: the caller has asked [`has_room`](Self::has_room) for the whole packet.
    #[inline]
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends a part of a shared block whatever the limit says: referenced from [`OutBuf::SHARE_FROM`] bytes, else copied.
    ///
    /// A range that is not inside the block appends nothing.
    pub fn put_shared(&mut self, block: &Arc<[u8]>, range: Range<usize>) {
        let Some(part) = block.get(range.clone()) else {
            return;
        };
        if part.len() < Self::SHARE_FROM {
            return self.put_slice(part);
        }
        let blocks = self.blocks.get_or_insert_default();
        blocks.shared = blocks.shared.saturating_add(part.len());
        blocks.chunks.push_back((blocks.base.wrapping_add(self.bytes.len()), Arc::clone(block), range));
    }

    /// The part of a block from which it is cheaper to reference than to copy, in bytes.
    pub const SHARE_FROM: usize = 1024;

    /// The first contiguous bytes; empty only if there is nothing to send.
    pub fn chunk(&self) -> &[u8] {
        self.segments().next().unwrap_or_default()
    }

    /// Fills `slices` with the bytes in order; how many were filled.
    #[cfg(feature = "std")]
    pub fn chunks_vectored<'b>(&'b self, slices: &mut [std::io::IoSlice<'b>]) -> usize {
        let filled =
            slices.iter_mut().zip(self.segments()).map(|(slice, segment)| *slice = std::io::IoSlice::new(segment));
        filled.count()
    }

    /// What is to be sent, piece by piece.
    fn segments(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = self.start;
        let blocks = self.blocks.iter().flat_map(|blocks| {
            let chunks = blocks.chunks.iter();
            chunks.map(|(position, block, range)| {
                (position.wrapping_sub(blocks.base), block.get(range.clone()).unwrap_or_default())
            })
        });
        let end = (self.bytes.len(), &[][..]);
        let pairs = blocks.chain(core::iter::once(end)).flat_map(move |(until, block)| {
            let copied = self.bytes.get(from..until).unwrap_or_default();
            from = until;
            [copied, block]
        });
        pairs.filter(|segment| !segment.is_empty())
    }

    /// Forgets the first `n` bytes: they are sent.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        match self.blocks {
            None => self.start = self.start.saturating_add(n).min(self.bytes.len()),
            Some(_) => self.advance_blocks(n),
        }
        self.settle();
    }

    fn advance_blocks(&mut self, mut n: usize) {
        let Some(blocks) = &mut self.blocks else { return };
        while n > 0 {
            let first = blocks.chunks.front();
            let until = first.map_or(self.bytes.len(), |(position, ..)| position.wrapping_sub(blocks.base));
            let copied = until.saturating_sub(self.start).min(n);
            self.start += copied;
            n -= copied;
            if n == 0 {
                break;
            }
            let Some((_, _, range)) = blocks.chunks.front_mut() else {
                break;
            };
            let sent = range.len().min(n);
            range.start += sent;
            blocks.shared -= sent;
            n -= sent;
            if range.start >= range.end {
                blocks.chunks.pop_front();
            }
        }
        if blocks.chunks.is_empty() && blocks.chunks.capacity() > KEEP / size_of::<Chunk>() {
            self.blocks = None;
        }
    }

    /// Lets go of what is sent: an empty buffer holds neither sent bytes nor a big allocation.
    #[inline]
    fn settle(&mut self) {
        if self.is_empty() {
            self.bytes.clear();
            self.start = 0;
            if self.bytes.capacity() > KEEP {
                self.bytes = Vec::new();
            }
        } else if self.start > self.bytes.len() / 2 {
            self.move_down();
        }
    }

    /// Moving no more than was sent keeps the whole linear.
    fn move_down(&mut self) {
        if let Some(blocks) = &mut self.blocks {
            blocks.base = blocks.base.wrapping_add(self.start);
        }
        self.bytes.drain(..self.start);
        self.start = 0;
    }

    /// Frees the memory that is kept for the next packet, if there is nothing to send; for hosts of many idle connections.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            (self.bytes, self.blocks) = (Vec::new(), None);
        }
    }

    /// Moves everything from `other` to the end of this one (a swap when this one is empty); limits are not asked.
    #[inline]
    pub fn take_from(&mut self, other: &mut OutBuf) {
        if other.is_empty() {
            return;
        }
        if self.is_empty() {
            core::mem::swap(&mut self.bytes, &mut other.bytes);
            (self.start, other.start) = (other.start, 0);
            core::mem::swap(&mut self.blocks, &mut other.blocks);
        } else {
            self.join(other);
        }
    }

    fn join(&mut self, other: &mut OutBuf) {
        let mut from = other.start;
        if let Some(theirs) = other.blocks.as_mut().filter(|theirs| theirs.shared > 0) {
            let blocks = self.blocks.get_or_insert_default();
            for (position, block, range) in theirs.chunks.drain(..) {
                let until = position.wrapping_sub(theirs.base);
                self.bytes.extend_from_slice(other.bytes.get(from..until).unwrap_or_default());
                from = until;
                blocks.chunks.push_back((blocks.base.wrapping_add(self.bytes.len()), block, range));
            }
            blocks.shared = blocks.shared.saturating_add(core::mem::take(&mut theirs.shared));
        }
        self.bytes.extend_from_slice(other.bytes.get(from..).unwrap_or_default());
        other.start = other.bytes.len();
        other.settle();
    }

    /// Bytes of memory held, shared blocks not counted.
    pub fn memory(&self) -> usize {
        let chunks = |blocks: &Blocks| size_of::<Blocks>() + blocks.chunks.capacity() * size_of::<Chunk>();
        self.bytes.capacity() + self.blocks.as_deref().map_or(0, chunks)
    }
}

/// For writers that take a [`bytes::Buf`]; the methods are those of the buffer itself.
impl bytes::Buf for OutBuf {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        OutBuf::chunk(self)
    }

    fn advance(&mut self, n: usize) {
        OutBuf::advance(self, n);
    }

    #[cfg(feature = "std")]
    fn chunks_vectored<'b>(&'b self, slices: &mut [std::io::IoSlice<'b>]) -> usize {
        OutBuf::chunks_vectored(self, slices)
    }
}
