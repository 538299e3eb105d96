//! A filter as it lies in SUBSCRIBE and UNSUBSCRIBE.
use crate::read::spend;
use crate::{FilterError, TopicFilter};

/// Splits the bytes of one filter off.
#[inline]
pub(super) fn split_filter(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    spend(1);
    let (len, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

/// Parses a filter, once; `shared`: the grammar of `$share/` is part of it, as 5.0 has it.
#[inline]
pub(crate) fn parse(bytes: &[u8], shared: bool) -> Result<TopicFilter<'_>, FilterError> {
    // v5 [MQTT-3.8.3-1], v5 [MQTT-3.10.3-1], v4 [MQTT-3.8.3-1], v4 [MQTT-3.10.3-1]: a UTF-8 string, among the rest of its grammar.
    spend(bytes.len());
    let filter = TopicFilter::from_bytes(bytes)?;
    if shared && bytes.first() == Some(&b'$') {
        filter.shared()?; // v5 [MQTT-4.8.2-1], v5 [MQTT-4.8.2-2]
    }
    Ok(filter)
}
