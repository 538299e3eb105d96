//! Writing the data types of section 1.5, to bytes or to a count: one definition serves both.
use bytes::BufMut;

/// The largest value of a Variable Byte Integer.
pub(crate) const VBI_MAX: usize = 268_435_455;

/// Where a packet is written.
pub(crate) trait Sink {
    fn put(&mut self, bytes: &[u8]);

    /// Writes what is known to be `len` bytes.
    fn put_known(&mut self, len: usize, write: impl FnOnce(&mut Self));

    #[inline]
    fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    #[inline]
    fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    /// A Variable Byte Integer; the caller has seen to it that `value` is not over [`VBI_MAX`].
    #[inline]
    fn vbi(&mut self, value: usize) {
        if value < 0x80 { self.u8(value as u8) } else { self.long_vbi(value) }
    }

    /// The same, of two bytes or more.
    fn long_vbi(&mut self, value: usize) {
        let [a, b, c, d] = [value, value >> 7, value >> 14, value >> 21].map(|group| (group & 0x7F) as u8);
        // v5 [MQTT-1.5.5-1]: the fewest bytes possible.
        match vbi_len(value) {
            ..=2 => self.put(&[a | 0x80, b]),
            3 => self.put(&[a | 0x80, b | 0x80, c]),
            _ => self.put(&[a | 0x80, b | 0x80, c | 0x80, d]),
        }
    }

    /// A fixed header.
    #[inline]
    fn header(&mut self, first: u8, len: usize) {
        // most packets are small, most others not very large: one write less
        match len {
            ..0x80 => self.put(&[first, len as u8]),
            0x80..0x4000 => self.put(&[first, len as u8 | 0x80, (len >> 7) as u8]),
            _ => {
                self.u8(first);
                self.long_vbi(len);
            }
        }
    }

    /// A fixed header, and the length of the string behind it; the caller has seen to it that this is not over 65,535 bytes.
    #[inline]
    fn header_and_len(&mut self, first: u8, len: usize, string: &[u8]) {
        let [a, b] = len_bytes(string);
        match len {
            ..0x80 => self.put(&[first, len as u8, a, b]),
            0x80..0x4000 => self.put(&[first, len as u8 | 0x80, (len >> 7) as u8, a, b]),
            _ => {
                self.header(first, len);
                self.put(&[a, b]);
            }
        }
    }

    /// A string or Binary Data; the caller has seen to it that it is not over 65,535 bytes.
    ///
    /// v5 [MQTT-4.7.3-3], v4 [MQTT-4.7.3-3]: topic names and filters are not, by their types.
    #[inline]
    fn binary(&mut self, bytes: &[u8]) {
        self.put(&len_bytes(bytes));
        self.put(bytes);
    }
}

/// The two bytes in front of a string or Binary Data.
#[inline]
pub(crate) fn len_bytes(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()
}

/// How many bytes a Variable Byte Integer takes.
#[inline]
pub(crate) const fn vbi_len(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// Counts bytes instead of writing them.
pub(crate) struct Count(pub(crate) usize);

impl Sink for Count {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.0 = self.0.saturating_add(bytes.len());
    }

    #[inline]
    fn put_known(&mut self, len: usize, _: impl FnOnce(&mut Self)) {
        self.0 = self.0.saturating_add(len);
    }

    #[inline]
    fn vbi(&mut self, value: usize) {
        self.0 = self.0.saturating_add(vbi_len(value));
    }
}

/// Writes into the caller's buffer, which has room.
pub(crate) struct Writer<'b, B>(pub(crate) &'b mut B);

impl<B: BufMut> Sink for Writer<'_, B> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.0.put_slice(bytes);
    }

    #[inline]
    fn put_known(&mut self, _: usize, write: impl FnOnce(&mut Self)) {
        write(self);
    }
}
