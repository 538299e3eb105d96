//! The rules every string of the protocol obeys (section 1.5.4, v4 1.5.3): well-formed UTF-8, no U+0000.
use core::fmt;

/// What is wrong with a string, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} (at byte {offset})")]
pub struct TextError {
    /// What is wrong.
    pub kind: TextErrorKind,
    /// The offset in bytes of the first byte that is wrong.
    pub offset: usize,
}

/// The ways a string can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextErrorKind {
    /// Not well-formed UTF-8 (surrogates and over-long forms included).
    NotUtf8,
    /// Holds U+0000.
    Nul,
}

impl fmt::Display for TextErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotUtf8 => "the string is not well-formed UTF-8",
            Self::Nul => "the string holds the forbidden character U+0000",
        })
    }
}

/// Checks one string of the wire in one pass: well-formed UTF-8 without U+0000 (section 1.5.4).
///
/// The length is not judged: the two bytes in front of a string on the wire cannot say more than 65,535.
///
/// # Examples
///
/// ```
/// use mqtt_topic::{check_text, TextErrorKind};
///
/// assert!(check_text("Grüße".as_bytes()).is_ok());
/// let error = check_text(b"ab\0").unwrap_err();
/// assert_eq!((error.kind, error.offset), (TextErrorKind::Nul, 2));
/// ```
#[inline]
pub fn check_text(bytes: &[u8]) -> Result<(), TextError> {
    if any(bytes, |byte| (byte == 0) | (byte >= 0x80)) {
        return judge(bytes);
    }
    Ok(())
}

/// The exact answer for a string with a byte that is not plain text.
#[cold]
fn judge(bytes: &[u8]) -> Result<(), TextError> {
    let (text, broken) = utf8_prefix(bytes);
    match (text.iter().position(|&byte| byte == 0), broken) {
        (Some(offset), _) => Err(TextError { kind: TextErrorKind::Nul, offset }),
        (None, Some(offset)) => Err(TextError { kind: TextErrorKind::NotUtf8, offset }),
        (None, None) => Ok(()),
    }
}

/// The well-formed beginning of `bytes`, and the offset where it breaks off.
pub(crate) fn utf8_prefix(bytes: &[u8]) -> (&[u8], Option<usize>) {
    match core::str::from_utf8(bytes) {
        Ok(_) => (bytes, None),
        Err(error) => {
            let end = error.valid_up_to();
            (bytes.get(..end).unwrap_or(bytes), Some(end))
        }
    }
}

/// Whether any byte is `odd`, by blocks of 16 that compile to vector code.
///
/// `odd` must combine its tests with `|`: a short-circuit would keep the block from being vectorised.
/// The last block overlaps the one before, which is cheaper than a loop over what is left.
#[inline(always)]
pub(crate) fn any(bytes: &[u8], odd: impl Fn(u8) -> bool + Copy) -> bool {
    if let Some(last) = bytes.last_chunk::<16>() {
        let (blocks, _) = bytes.as_chunks::<16>();
        for block in blocks {
            if any_of(block, odd) {
                return true;
            }
        }
        return any_of(last, odd);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        return any_of(first, odd) | any_of(last, odd);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return any_of(first, odd) | any_of(last, odd);
    }
    bytes.iter().fold(false, |found, &byte| found | odd(byte))
}

#[inline(always)]
fn any_of<const N: usize>(block: &[u8; N], odd: impl Fn(u8) -> bool + Copy) -> bool {
    block.iter().fold(false, |found, &byte| found | odd(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn an_odd_byte_is_found_at_every_place_of_every_length() {
        for len in 0..70 {
            assert_eq!(check_text(&vec![b'a'; len]), Ok(()));
            for place in 0..len {
                let mut bytes = vec![b'a'; len];
                *bytes.get_mut(place).unwrap() = 0;
                assert_eq!(check_text(&bytes), Err(TextError { kind: TextErrorKind::Nul, offset: place }));
                *bytes.get_mut(place).unwrap() = 0xFF;
                assert_eq!(check_text(&bytes), Err(TextError { kind: TextErrorKind::NotUtf8, offset: place }));
            }
        }
    }

    #[test]
    fn the_first_fault_is_the_one_reported() {
        let kind_at = |bytes| check_text(bytes).map_err(|error| (error.kind, error.offset));
        assert_eq!(kind_at(b"\xC3\xA9\0\xFF"), Err((TextErrorKind::Nul, 2)));
        assert_eq!(kind_at(b"\xC3\xA9\xFF\0"), Err((TextErrorKind::NotUtf8, 2)));
        assert_eq!(kind_at(b"\xED\xA0\x80"), Err((TextErrorKind::NotUtf8, 0)));
        assert_eq!(kind_at(b"\xEF\xBB\xBFa"), Ok(()));
    }
}
