//! Control packets on their way out: everything but PUBLISH and the answers to it. Encoded when they arise, sent first.
use crate::limits::Limits;
use crate::outgoing::Written;
use alloc::vec::Vec;
use mqtt_codec::{
    Ack, AckKind, Append, EncodeError, OutBuf, Packet, PacketId, Properties, ReasonCode, Version, frame_len,
};

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

/// The acknowledgement `kind` of `packet_id`, without properties.
pub(crate) fn ack(kind: AckKind, packet_id: PacketId, reason: ReasonCode, version: Version) -> Packet<'static> {
    let reason = if version == Version::V5 { reason } else { ReasonCode::SUCCESS };
    Packet::Ack(Ack { kind, packet_id, reason, properties: Properties::EMPTY })
}

/// Writes an acknowledgement straight to `out`.
pub(crate) fn write_ack(
    kind: AckKind,
    packet_id: PacketId,
    reason: ReasonCode,
    limits: &Limits,
    out: &mut OutBuf,
) -> Written {
    const LARGEST: usize = 5;
    let ack = ack(kind, packet_id, reason, limits.version);
    if !limits.fits(LARGEST) && ack.fit(limits.version, limits.peer_packet_size).is_none() {
        return Written::Never;
    }
    match out.append(&ack, limits.version) {
        Ok(Append::Wrote) => Written::Wrote,
        Ok(Append::Full) => Written::Full,
        Err(_) => Written::Never,
    }
}
