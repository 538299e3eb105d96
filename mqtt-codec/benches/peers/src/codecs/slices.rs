//! Those who read a slice: ours, `mqttrs`, `mqtt-proto` and `mqtt-protocol-core`.
use crate::{Codec, Row, words};
use mqtt_codec::{Packet, Reader, Role, Version, frame_len};
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{PacketBuildResult, PacketBuilder, PacketData, RawPacket};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet as CorePacket, v3_1_1, v5_0};
use std::hint::black_box;

/// Ours.
pub(crate) struct Ours<const LEVEL: u8>;

impl<const LEVEL: u8> Ours<LEVEL> {
    const VERSION: Version = if LEVEL == 5 { Version::V5 } else { Version::V311 };
}

/// A reader, and what came last from the socket.
#[derive(Default)]
pub(crate) struct OurBuffer {
    reader: Option<Reader>,
    bytes: Vec<u8>,
}

/// Filters are judged when they are looked at, so they are.
#[inline(always)]
fn look(packet: &Packet<'_>) {
    if let Packet::Subscribe(subscribe) = packet {
        assert!(subscribe.subscriptions.iter().all(|subscription| black_box(subscription).is_ok()));
    }
    black_box(packet);
}

impl<const LEVEL: u8> Codec for Ours<LEVEL> {
    const NAME: &'static str = "mqttkit-codec";
    type Packet = Packet<'static>;
    type Buffer = OurBuffer;
    type Out = Vec<u8>;

    fn fill(buffer: &mut OurBuffer, bytes: &[u8]) {
        buffer.bytes.clear();
        buffer.bytes.extend_from_slice(bytes);
        // the version was that of a CONNECT
        buffer.reader.get_or_insert_with(|| {
            let mut reader = Reader::of_client(1 << 20, 1 << 20);
            let connect: &[u8] = if LEVEL == 5 {
                b"\x10\x0E\0\x04MQTT\x05\x02\0\x3C\0\0\x01c"
            } else {
                b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01c"
            };
            assert!(matches!(reader.read(connect).next(), Ok(Some(_))));
            reader
        });
    }

    fn decode(buffer: &mut OurBuffer, frame: Option<usize>) -> Result<usize, String> {
        let mut found = 0;
        if let Some(len) = frame {
            for frame in buffer.bytes.chunks_exact(len) {
                match &Packet::decode(frame, Self::VERSION, Role::Client) {
                    Ok(packet) => look(packet),
                    Err(error) => return Err(words(error)),
                }
                found += 1;
            }
            return Ok(found);
        }
        let Some(reader) = &mut buffer.reader else { return Ok(0) };
        let mut packets = reader.read(&buffer.bytes);
        loop {
            match &packets.next() {
                Ok(Some(packet)) => look(packet),
                Ok(None) => return Ok(found),
                Err(error) => return Err(words(error)),
            }
            found += 1;
        }
    }

    /// Built by hand: the properties are typed ones.
    fn packets(row: &'static Row) -> Result<Vec<Packet<'static>>, String> {
        Ok(row.packets.clone())
    }

    fn clear(out: &mut Vec<u8>) {
        out.clear();
    }

    fn encode(packets: &mut Vec<Packet<'static>>, out: &mut Vec<u8>) -> Result<(), String> {
        packets.iter().try_for_each(|packet| packet.encode(Self::VERSION, out)).map_err(words)
    }

    fn written(out: &mut Vec<u8>) -> Vec<u8> {
        out.clone()
    }
}

/// Bytes as they came, behind those that were taken.
#[derive(Default)]
pub(crate) struct Bytes {
    bytes: Vec<u8>,
}

impl Bytes {
    /// Calls `decode` with each whole packet, and lets go of it.
    #[inline(always)]
    fn each(
        &mut self,
        frame: Option<usize>,
        mut decode: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<usize, String> {
        let (mut found, mut taken) = (0, 0);
        while let Some(rest) = self.bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            let len = match frame {
                Some(len) => len,
                // none of them says how long a packet was
                None => match frame_len(rest, u32::MAX).map_err(words)? {
                    Some(len) if len <= rest.len() => len,
                    _ => break,
                },
            };
            decode(&rest[..len])?;
            taken += len;
            found += 1;
        }
        self.bytes.drain(..taken);
        Ok(found)
    }
}

/// `mqttrs`, which knows 3.1.1 only.
pub(crate) struct Mqttrs;

/// What was written into a buffer of a fixed size.
#[derive(Default)]
pub(crate) struct Slice {
    bytes: Vec<u8>,
    len: usize,
}

impl Codec for Mqttrs {
    const NAME: &'static str = "mqttrs";
    type Packet = mqttrs::Packet<'static>;
    type Buffer = Bytes;
    type Out = Slice;

    fn fill(buffer: &mut Bytes, bytes: &[u8]) {
        buffer.bytes.extend_from_slice(bytes);
    }

    fn decode(buffer: &mut Bytes, frame: Option<usize>) -> Result<usize, String> {
        buffer.each(frame, |frame| {
            black_box(&mqttrs::decode_slice(frame).map_err(words)?.ok_or("incomplete")?);
            Ok(())
        })
    }

    fn packets(row: &'static Row) -> Result<Vec<Self::Packet>, String> {
        let (mut packets, mut rest) = (Vec::new(), &row.stream[..]);
        while let Ok(Some(len)) = frame_len(rest, u32::MAX) {
            packets.push(mqttrs::decode_slice(&rest[..len]).map_err(words)?.ok_or("incomplete")?);
            rest = &rest[len..];
        }
        Ok(packets)
    }

    fn clear(out: &mut Slice) {
        out.bytes.resize(1 << 22, 0);
        out.len = 0;
    }

    fn encode(packets: &mut Vec<Self::Packet>, out: &mut Slice) -> Result<(), String> {
        for packet in packets {
            out.len += mqttrs::encode_slice(packet, &mut out.bytes[out.len..]).map_err(words)?;
        }
        Ok(())
    }

    fn written(out: &mut Slice) -> Vec<u8> {
        out.bytes[..out.len].to_vec()
    }
}

/// `mqtt-proto`, which gives each packet bytes of its own.
macro_rules! proto {
    ($codec:ident, $version:ident) => {
        pub(crate) struct $codec;

        impl Codec for $codec {
            const NAME: &'static str = "mqtt-proto";
            type Packet = mqtt_proto::$version::Packet;
            type Buffer = Bytes;
            type Out = Option<mqtt_proto::VarBytes>;

            fn fill(buffer: &mut Bytes, bytes: &[u8]) {
                buffer.bytes.extend_from_slice(bytes);
            }

            fn decode(buffer: &mut Bytes, frame: Option<usize>) -> Result<usize, String> {
                buffer.each(frame, |frame| {
                    black_box(&mqtt_proto::$version::Packet::decode(frame).map_err(words)?.ok_or("incomplete")?);
                    Ok(())
                })
            }

            fn packets(row: &'static Row) -> Result<Vec<Self::Packet>, String> {
                let mut packets = Vec::new();
                Bytes { bytes: row.stream.clone() }.each(None, |frame| {
                    packets.push(mqtt_proto::$version::Packet::decode(frame).map_err(words)?.ok_or("incomplete")?);
                    Ok(())
                })?;
                Ok(packets)
            }

            fn clear(out: &mut Self::Out) {
                *out = None;
            }

            fn encode(packets: &mut Vec<Self::Packet>, out: &mut Self::Out) -> Result<(), String> {
                for packet in packets {
                    *out = black_box(Some(packet.encode().map_err(words)?));
                }
                Ok(())
            }

            fn written(out: &mut Self::Out) -> Vec<u8> {
                out.as_ref().map(|bytes| bytes.as_ref().to_vec()).unwrap_or_default()
            }
        }
    };
}

proto!(ProtoV4, v3);
proto!(ProtoV5, v5);

/// `mqtt-protocol-core`, whose packets are made of the bytes they are sent as.
macro_rules! core {
    ($codec:ident, $version:ident, $($kind:literal $packet:ident),*) => {
        pub(crate) struct $codec;

        impl $codec {
            /// What its connection does with a frame.
            fn packet(raw: &RawPacket) -> Result<CorePacket, String> {
                Ok(match (raw.packet_type(), &raw.data) {
                    (3, PacketData::Publish(bytes)) => {
                        CorePacket::from($version::Publish::parse(raw.flags(), bytes.clone()).map_err(words)?.0)
                    }
                    $(($kind, data) => CorePacket::from($version::$packet::parse(data.as_slice()).map_err(words)?.0),)*
                    _ => return Err("another packet".into()),
                })
            }

            fn each(buffer: &mut CoreBuffer, mut with: impl FnMut(CorePacket)) -> Result<usize, String> {
                let builder = buffer.builder.get_or_insert_with(PacketBuilder::new);
                let mut cursor = Cursor::new(&buffer.bytes[..]);
                let mut found = 0;
                loop {
                    match builder.feed(&mut cursor) {
                        PacketBuildResult::Complete(raw) => {
                            with(Self::packet(&raw)?);
                            found += 1;
                        }
                        PacketBuildResult::Incomplete => break,
                        PacketBuildResult::Error(error) => return Err(words(error)),
                    }
                }
                buffer.bytes.clear();
                Ok(found)
            }
        }

        impl Codec for $codec {
            const NAME: &'static str = "mqtt-protocol-core";
            type Packet = CorePacket;
            type Buffer = CoreBuffer;
            type Out = Vec<u8>;

            fn fill(buffer: &mut CoreBuffer, bytes: &[u8]) {
                buffer.bytes.extend_from_slice(bytes);
            }

            fn decode(buffer: &mut CoreBuffer, _: Option<usize>) -> Result<usize, String> {
                Self::each(buffer, |packet| {
                    black_box(&packet);
                })
            }

            fn packets(row: &'static Row) -> Result<Vec<CorePacket>, String> {
                let mut packets = Vec::new();
                Self::each(&mut CoreBuffer { bytes: row.stream.clone(), builder: None }, |packet| packets.push(packet))?;
                Ok(packets)
            }

            fn clear(out: &mut Vec<u8>) {
                out.clear();
            }

            fn encode(packets: &mut Vec<CorePacket>, out: &mut Vec<u8>) -> Result<(), String> {
                for packet in packets {
                    *out = black_box(packet.to_continuous_buffer());
                }
                Ok(())
            }

            fn written(out: &mut Vec<u8>) -> Vec<u8> {
                out.clone()
            }
        }
    };
}

#[derive(Default)]
pub(crate) struct CoreBuffer {
    bytes: Vec<u8>,
    builder: Option<PacketBuilder>,
}

core!(CoreV4, v3_1_1, 1 Connect, 4 Puback, 6 Pubrel, 8 Subscribe, 12 Pingreq);
core!(CoreV5, v5_0, 1 Connect, 4 Puback, 6 Pubrel, 8 Subscribe, 12 Pingreq);
