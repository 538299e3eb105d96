//! The grammar of topic filters (section 4.7.1): the fast answer and the exact one.
use crate::name::MAX_LEN;
use crate::text::utf8_prefix;
use crate::{FilterError, FilterErrorKind};

/// Checks the bytes of a filter in one pass.
#[inline]
pub(crate) fn check_filter(bytes: &[u8]) -> Result<(), FilterError> {
    if (bytes.len().wrapping_sub(1) >= MAX_LEN) | looks_odd(bytes) {
        return judge(bytes);
    }
    Ok(())
}

/// Whether `bytes` may break a rule: each byte is judged with its two neighbours, by blocks of 16.
///
/// A byte that is not ASCII is odd here too; whether it breaks a rule is for [`judge`] to say.
#[inline(always)]
fn looks_odd(bytes: &[u8]) -> bool {
    match bytes {
        [] => true,
        [only] => (*only >= 0x80) | (*only == 0),
        [first, second, ..] => {
            let (last, before) = match bytes {
                [.., before, last] => (*last, *before),
                _ => return true,
            };
            // outside of the filter stands, as it were, a slash
            odd(b'/', *first, *second)
                | (last >= 0x80)
                | (last == 0)
                | (((last == b'#') | (last == b'+')) & (before != b'/'))
                | any_inside(bytes)
        }
    }
}

/// `#` that is not last, `+` that is not alone, and what is no plain text.
#[inline(always)]
fn odd(before: u8, byte: u8, behind: u8) -> bool {
    (byte >= 0x80) | (byte == 0) | (byte == b'#') | ((byte == b'+') & ((before != b'/') | (behind != b'/')))
}

/// Whether any byte but the first and the last is odd: three windows over the same bytes, one apart.
#[inline(always)]
fn any_inside(bytes: &[u8]) -> bool {
    let ([before @ .., _, _], [_, inside @ .., _], [_, _, behind @ ..]) = (bytes, bytes, bytes) else {
        return false;
    };
    if let Some(last) = lasts::<16>(before, inside, behind) {
        let windows = before.as_chunks::<16>().0.iter().zip(inside.as_chunks().0).zip(behind.as_chunks().0);
        for ((a, b), c) in windows {
            if any_of(a, b, c) {
                return true;
            }
        }
        return any_of::<16>(last.0, last.1, last.2);
    }
    if let (Some(first), Some(last)) = (firsts::<8>(before, inside, behind), lasts::<8>(before, inside, behind)) {
        return any_of(first.0, first.1, first.2) | any_of(last.0, last.1, last.2);
    }
    if let (Some(first), Some(last)) = (firsts::<4>(before, inside, behind), lasts::<4>(before, inside, behind)) {
        return any_of(first.0, first.1, first.2) | any_of(last.0, last.1, last.2);
    }
    before.iter().zip(inside).zip(behind).fold(false, |found, ((&a, &b), &c)| found | odd(a, b, c))
}

type Blocks<'a, const N: usize> = (&'a [u8; N], &'a [u8; N], &'a [u8; N]);

#[inline(always)]
fn firsts<'a, const N: usize>(a: &'a [u8], b: &'a [u8], c: &'a [u8]) -> Option<Blocks<'a, N>> {
    Some((a.first_chunk()?, b.first_chunk()?, c.first_chunk()?))
}

#[inline(always)]
fn lasts<'a, const N: usize>(a: &'a [u8], b: &'a [u8], c: &'a [u8]) -> Option<Blocks<'a, N>> {
    Some((a.last_chunk()?, b.last_chunk()?, c.last_chunk()?))
}

#[inline(always)]
fn any_of<const N: usize>(before: &[u8; N], inside: &[u8; N], behind: &[u8; N]) -> bool {
    before.iter().zip(inside).zip(behind).fold(false, |found, ((&a, &b), &c)| found | odd(a, b, c))
}

/// The exact answer for a filter that is empty, too long or holds something odd.
#[cold]
fn judge(bytes: &[u8]) -> Result<(), FilterError> {
    // v5 [MQTT-4.7.3-1], v4 [MQTT-4.7.3-1]: at least one character.
    if bytes.is_empty() {
        return Err(FilterError { kind: FilterErrorKind::Empty, offset: 0 });
    }
    if bytes.len() > MAX_LEN {
        return Err(FilterError { kind: FilterErrorKind::TooLong, offset: MAX_LEN });
    }
    let (text, broken) = utf8_prefix(bytes);
    let mut before = b'/';
    let mut rest = text;
    while let Some((&byte, behind)) = rest.split_first() {
        // text that breaks off in the middle is not the end of the filter
        let next = behind.first().copied().or(broken.map(|_| 0));
        let kind = match byte {
            // v5 [MQTT-4.7.3-2], v4 [MQTT-4.7.3-2]: no U+0000.
            0 => Some(FilterErrorKind::Nul),
            // v5 [MQTT-4.7.1-1], v4 [MQTT-4.7.1-2]: `#` is alone or behind a slash, and last.
            b'#' if before != b'/' || next.is_some() => Some(FilterErrorKind::MultiLevel),
            // v5 [MQTT-4.7.1-2], v4 [MQTT-4.7.1-3]: `+` is a whole level.
            b'+' if before != b'/' || next.is_some_and(|next| next != b'/') => Some(FilterErrorKind::SingleLevel),
            _ => None,
        };
        if let Some(kind) = kind {
            return Err(FilterError { kind, offset: text.len() - rest.len() });
        }
        before = byte;
        rest = behind;
    }
    match broken {
        Some(offset) => Err(FilterError { kind: FilterErrorKind::NotUtf8, offset }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    /// The grammar once more, level by level.
    fn obviously_good(bytes: &[u8]) -> bool {
        let levels: Vec<&[u8]> = bytes.split(|&byte| byte == b'/').collect();
        let count = levels.len();
        !bytes.is_empty()
            && core::str::from_utf8(bytes).is_ok()
            && !bytes.contains(&0)
            && levels.iter().enumerate().all(|(place, level)| match *level {
                b"+" => true,
                b"#" => place + 1 == count,
                level => !level.contains(&b'+') && !level.contains(&b'#'),
            })
    }

    #[test]
    fn odd_bytes_at_every_place_of_every_length_are_judged_like_the_grammar_says() {
        for len in 1..40_usize {
            for place in 0..len {
                for byte in [b'+', b'#', 0, 0xFF, b'/'] {
                    for neighbours in [b'a', b'/'] {
                        let mut bytes = vec![b'a'; len];
                        for (near, slot) in bytes.iter_mut().enumerate() {
                            if near.abs_diff(place) == 1 {
                                *slot = neighbours;
                            } else if near == place {
                                *slot = byte;
                            }
                        }
                        let got = check_filter(&bytes);
                        assert_eq!(got.is_ok(), obviously_good(&bytes), "{bytes:?}");
                        if let Err(error) = got {
                            assert_eq!(error.offset, place, "{bytes:?}");
                        }
                    }
                }
            }
        }
    }
}
