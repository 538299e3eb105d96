//! Control packets on their way out: everything but PUBLISH and the answers to it. Encoded when they arise, sent first.
use crate::limits::Limits;
use crate::outgoing::Written;
use alloc::vec::Vec;
use mqtt_codec::{AckKind, EncodeError, OutBuf, Packet, PacketId, ReasonCode, Version, frame_len};

/// Whole packets, back to back.
#[derive(Debug, Default)]
pub(crate) struct Control {
    bytes: Vec<u8>,
    /// Where the next packet begins.
    head: usize,
}

/// Above this many bytes the buffer is given back as soon as it is empty.
const KEEP: usize = 1024;

impl Control {
    /// Queues `packet`, shorn of its Reason String and User Properties if it would be too large with them; `false` if it is
    /// too large without them too, or no packet of this version.
    pub(crate) fn push(&mut self, packet: &Packet<'_>, limits: &Limits) -> bool {
        // v5 [MQTT-3.1.2-24]: nothing over the peer's Maximum Packet Size.
        let Some(packet) = packet.fit(limits.version, limits.peer_packet_size) else { return false };
        packet.encode(limits.version, &mut self.bytes).is_ok()
    }

    /// Queues an acknowledgement.
    pub(crate) fn push_ack(&mut self, kind: AckKind, packet_id: PacketId, reason: ReasonCode, limits: &Limits) {
        let ack = AckBytes::new(kind, packet_id, reason, limits.version);
        if limits.fits(ack.len) {
            self.push_raw(ack.as_slice());
        }
    }

    /// Queues `packet` as it is.
    pub(crate) fn try_push(&mut self, packet: &Packet<'_>, version: Version) -> Result<(), EncodeError> {
        packet.encode(version, &mut self.bytes)
    }

    /// Queues bytes that are a whole packet.
    pub(crate) fn push_raw(&mut self, packet: &[u8]) {
        self.bytes.extend_from_slice(packet);
    }

    /// Moves one packet to `out`.
    pub(crate) fn transmit(&mut self, out: &mut OutBuf) -> Written {
        let waiting = self.bytes.get(self.head..).unwrap_or_default();
        let Ok(Some(packet)) = frame_len(waiting, u32::MAX).map(|len| waiting.get(..len?)) else {
            self.clear();
            return Written::Never;
        };
        if !out.has_room(packet.len()) {
            return Written::Full;
        }
        out.put_slice(packet);
        self.head += packet.len();
        if self.is_empty() {
            self.clear();
        }
        Written::Wrote
    }

    pub(crate) fn clear(&mut self) {
        self.head = 0;
        self.bytes.clear();
        if self.bytes.capacity() > KEEP {
            self.bytes = Vec::new();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head >= self.bytes.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.head)
    }

    /// Gives the memory back.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity()
    }
}

/// An acknowledgement without properties, as it goes on the wire. They are half of all packets, so they are not planned and encoded as the others.
struct AckBytes {
    bytes: [u8; 5],
    len: usize,
}

impl AckBytes {
    fn new(kind: AckKind, packet_id: PacketId, reason: ReasonCode, version: Version) -> Self {
        let first = match kind {
            AckKind::Puback => 0x40,
            AckKind::Pubrec => 0x50,
            // v5 [MQTT-3.6.1-1], v4 [MQTT-3.6.1-1]: flags 0010.
            AckKind::Pubrel => 0x62,
            AckKind::Pubcomp => 0x70,
        };
        let [high, low] = packet_id.get().to_be_bytes();
        // a reason before 5.0 there is not, and success may go without saying
        if version == Version::V5 && reason != ReasonCode::SUCCESS {
            Self { bytes: [first, 3, high, low, reason.0], len: 5 }
        } else {
            Self { bytes: [first, 2, high, low, 0], len: 4 }
        }
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Writes an acknowledgement straight to `out`.
pub(crate) fn write_ack(
    kind: AckKind,
    packet_id: PacketId,
    reason: ReasonCode,
    limits: &Limits,
    out: &mut OutBuf,
) -> Written {
    let ack = AckBytes::new(kind, packet_id, reason, limits.version);
    if !limits.fits(ack.len) {
        return Written::Never;
    }
    if !out.has_room(ack.len) {
        return Written::Full;
    }
    out.put_slice(ack.as_slice());
    Written::Wrote
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use mqtt_codec::{Ack, Properties};

    #[test]
    fn an_acknowledgement_is_as_the_codec_has_it() {
        let packet_id = PacketId::new(0x1234).unwrap();
        for kind in [AckKind::Puback, AckKind::Pubrec, AckKind::Pubrel, AckKind::Pubcomp] {
            for version in [Version::V31, Version::V311, Version::V5] {
                let refusal = match kind {
                    AckKind::Puback | AckKind::Pubrec => ReasonCode::NOT_AUTHORIZED,
                    AckKind::Pubrel | AckKind::Pubcomp => ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
                };
                for reason in [ReasonCode::SUCCESS, refusal] {
                    let told = if version == Version::V5 { reason } else { ReasonCode::SUCCESS };
                    let packet = Packet::Ack(Ack { kind, packet_id, reason: told, properties: Properties::EMPTY });
                    let mut bytes = Vec::new();
                    packet.encode(version, &mut bytes).unwrap();
                    assert_eq!(AckBytes::new(kind, packet_id, reason, version).as_slice(), bytes);
                }
            }
        }
    }
}
