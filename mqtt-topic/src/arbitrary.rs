//! Owned names and filters out of a fuzzer's bytes: always well-formed, often alike enough to match one another.
use crate::{TopicFilter, TopicFilterBuf, TopicName, TopicNameBuf};
use alloc::vec::Vec;
use arbitrary::{Arbitrary, Error, Result, Unstructured};

impl<'a> Arbitrary<'a> for TopicNameBuf {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let levels = levels(u, false)?;
        TopicName::from_bytes(&levels).map(Self::from).map_err(|_| Error::IncorrectFormat)
    }
}

impl<'a> Arbitrary<'a> for TopicFilterBuf {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let levels = levels(u, true)?;
        TopicFilter::from_bytes(&levels).map(Self::from).map_err(|_| Error::IncorrectFormat)
    }
}

/// Up to eight levels. Bytes that have run out give the shortest text there is.
fn levels(u: &mut Unstructured<'_>, wildcards: bool) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for count in 0..8 {
        match u.int_in_range(0..=9_u8)? {
            1 => text.push(b'a'),
            2 => text.push(b'b'),
            3 => text.extend_from_slice(b"$x"),
            4 | 5 if wildcards => text.push(b'+'),
            6 if wildcards => {
                text.push(b'#');
                return Ok(text);
            }
            7 => free(u, &mut text)?,
            0 if count > 0 || u.is_empty() => break,
            _ => {} // an empty level
        }
        text.push(b'/');
    }
    // one slash in two stays: an empty level at the end
    if text.last() == Some(&b'/') && !u.ratio(1, 2)? {
        text.pop();
    }
    if text.is_empty() {
        text.push(b'a');
    }
    Ok(text)
}

/// Any characters a level may have.
fn free(u: &mut Unstructured<'_>, text: &mut Vec<u8>) -> Result<()> {
    for character in u.arbitrary::<&str>()?.chars().take(40) {
        if !matches!(character, '\0' | '+' | '#' | '/') {
            text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    Ok(())
}
