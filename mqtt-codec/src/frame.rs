//! Framing: where a packet ends, judged from its fixed header alone (sections 2.1 and 1.5.5).
use crate::packet::version_of;
use crate::profile::Strict;
use crate::rules;
use crate::{DecodeError, Packet, Profile, Role, Version};

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

/// What is known of the packets that one end sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Framing {
    /// The end whose packets are read.
    pub(crate) from: Role,
    /// Known from the start (reading a server) or from CONNECT (reading a client).
    pub(crate) version: Option<Version>,
    /// In force until the version is known.
    pub(crate) connect_limit: u32,
    pub(crate) limit: u32,
}

impl Framing {
    pub(crate) const fn of_client(connect_limit: u32, limit: u32) -> Self {
        Self { from: Role::Client, version: None, connect_limit, limit }
    }

    pub(crate) const fn of_server(version: Version, limit: u32) -> Self {
        Self { from: Role::Server, version: Some(version), connect_limit: limit, limit }
    }

    /// The length of the packet that begins `bytes`, as far as it can be told.
    #[inline]
    pub(crate) fn measure(&self, bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
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
            return Err(rules::NOT_CONNECT.error(0, Version::V5));
        }
        measure(bytes, self.connect_limit, Version::V5)
    }

    /// Decodes one whole packet. The version becomes known by a CONNECT, even by one that is refused.
    #[inline]
    pub(crate) fn decode<'a>(&mut self, frame: &'a [u8], profile: Option<&Profile>) -> Result<Packet<'a>, DecodeError> {
        let version = self.version.unwrap_or(Version::V5);
        let decoded = match profile {
            None => Packet::decode(frame, version, self.from),
            Some(profile) => Packet::decode_with(frame, version, self.from, profile),
        };
        if self.version.is_none() {
            self.version = match &decoded {
                Ok(Packet::Connect(connect)) => Some(connect.version),
                Ok(_) => None,
                Err(_) => match profile {
                    None => version_of(frame, Strict),
                    Some(profile) => version_of(frame, profile),
                },
            };
        }
        decoded
    }
}
