//! A QoS 0 message that goes to many: each form of it is encoded once.
use crate::Publication;
use crate::outgoing::Outgoing;
use alloc::vec::Vec;
use mqtt_codec::Version;

/// Room for [`Copies`], kept from message to message.
#[derive(Debug, Default)]
pub struct CopyBuf {
    /// By version and RETAIN; empty where nobody has asked.
    frames: [Vec<u8>; 4],
}

/// The QoS 0 copies of one message for [`Connection::forward_copy`](crate::Connection::forward_copy): all that take the same bytes get
/// them out of one encoding.
#[derive(Debug)]
pub struct Copies<'a> {
    publication: Publication<'a>,
    frames: &'a mut [Vec<u8>; 4],
}

/// Of a larger message it is the payload that costs, in bytes.
const LARGEST: usize = 4096;

impl CopyBuf {
    /// The copies of `publication`.
    pub fn copies<'a>(&'a mut self, publication: &Publication<'a>) -> Copies<'a> {
        self.frames.iter_mut().for_each(Vec::clear);
        Copies { publication: *publication, frames: &mut self.frames }
    }
}

impl Copies<'_> {
    /// As it is on the wire; `None` for one that is large, expired or cannot be sent.
    #[inline]
    pub(crate) fn frame(&mut self, version: Version, retain: bool) -> Option<&[u8]> {
        let form = usize::from(version == Version::V5) * 2 + usize::from(retain);
        let frame = self.frames.get_mut(form)?;
        if frame.is_empty() {
            Self::encode(&self.publication, retain, version, frame);
        }
        (!frame.is_empty()).then_some(frame)
    }

    #[cold]
    fn encode(publication: &Publication<'_>, retain: bool, version: Version, frame: &mut Vec<u8>) {
        let Publication { topic, payload, properties, .. } = publication;
        let large = topic.as_bytes().len() + payload.len() + properties.wire().map_or(0, <[u8]>::len) > LARGEST;
        if !large && properties.message_expiry_interval() != Some(0) {
            Outgoing::encode(publication, retain, version, frame);
        }
    }
}
