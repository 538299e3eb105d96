//! Those who take their packets out of a buffer that grows at its end: `mqttbytes`, `rumqttc`, `ntex-mqtt`, `rmqtt-codec`, `mqtt5-protocol`
//! and `mqute-codec`.
use crate::{Codec, Row, words};
use bytes::BytesMut;
use mqtt_codec::frame_len;
use mqtt5_protocol::packet::MqttPacket;
use mqute_codec::codec::PacketCodec;
use ntex_codec::{Decoder as _, Encoder as _};
use std::hint::black_box;
use tokio_util::codec::{Decoder as _, Encoder as _};

/// A codec over `BytesMut`: how it takes the next packet, if there is one, and how it writes one.
macro_rules! over_bytes_mut {
    ($(#[$doc:meta])* $codec:ident $(<$level:ident>)?, $name:literal, $packet:ty, $state:ty, |$s:ident, $b:ident| $next:expr, |$p:ident, $o:ident| $encode:expr) => {
        $(#[$doc])*
        pub(crate) struct $codec $(<const $level: u8>)?;

        impl $(<const $level: u8>)? $codec $(<$level>)? {
            #[inline(always)]
            fn each(($b, $s): &mut (BytesMut, $state), mut with: impl FnMut($packet)) -> Result<usize, String> {
                let mut found = 0;
                while let Some(packet) = { let next: Result<Option<$packet>, String> = $next; next? } {
                    with(packet);
                    found += 1;
                }
                Ok(found)
            }
        }

        impl $(<const $level: u8>)? Codec for $codec $(<$level>)? {
            const NAME: &'static str = $name;
            type Packet = $packet;
            type Buffer = (BytesMut, $state);
            type Out = BytesMut;

            fn fill(buffer: &mut Self::Buffer, bytes: &[u8]) {
                buffer.0.extend_from_slice(bytes);
            }

            fn decode(buffer: &mut Self::Buffer, _: Option<usize>) -> Result<usize, String> {
                Self::each(buffer, |packet| {
                    black_box(&packet);
                })
            }

            fn packets(row: &'static Row) -> Result<Vec<$packet>, String> {
                let mut packets = Vec::new();
                Self::each(&mut (BytesMut::from(&row.stream[..]), Default::default()), |packet| packets.push(packet))?;
                Ok(packets)
            }

            fn clear(out: &mut BytesMut) {
                out.clear();
            }

            fn encode(packets: &mut Vec<$packet>, $o: &mut BytesMut) -> Result<(), String> {
                for $p in packets {
                    $encode.map_err(words)?;
                }
                Ok(())
            }

            fn written(out: &mut BytesMut) -> Vec<u8> {
                out.to_vec()
            }
        }
    };
}

/// `None` where the crate says that it needs more.
macro_rules! or_more {
    ($read:expr, $more:pat) => {
        match $read {
            Ok(packet) => Ok(Some(packet)),
            Err($more) => Ok(None),
            Err(error) => Err(words(error)),
        }
    };
}

over_bytes_mut!(
    MqttbytesV4,
    "mqttbytes",
    mqttbytes::v4::Packet,
    (),
    |_state, bytes| or_more!(mqttbytes::v4::read(bytes, usize::MAX), mqttbytes::Error::InsufficientBytes(_)),
    |packet, out| {
        use mqttbytes::v4::{Packet, PingReq};
        match packet {
            Packet::Connect(packet) => packet.write(out),
            Packet::Publish(packet) => packet.write(out),
            Packet::PubAck(packet) => packet.write(out),
            Packet::PubRel(packet) => packet.write(out),
            Packet::Subscribe(packet) => packet.write(out),
            Packet::PingReq => PingReq.write(out),
            _ => return Err("another packet".into()),
        }
    }
);

over_bytes_mut!(
    MqttbytesV5,
    "mqttbytes",
    mqttbytes::v5::Packet,
    (),
    |_state, bytes| or_more!(mqttbytes::v5::read(bytes, usize::MAX), mqttbytes::Error::InsufficientBytes(_)),
    |packet, out| {
        use mqttbytes::v5::{Packet, PingReq};
        match packet {
            Packet::Connect(packet) => packet.write(out),
            Packet::Publish(packet) => packet.write(out),
            Packet::PubAck(packet) => packet.write(out),
            Packet::PubRel(packet) => packet.write(out),
            Packet::Subscribe(packet) => packet.write(out),
            Packet::PingReq => PingReq.write(out),
            _ => return Err("another packet".into()),
        }
    }
);

over_bytes_mut!(
    RumqttcV4,
    "rumqttc",
    rumqttc::mqttbytes::v4::Packet,
    (),
    |_state, bytes| or_more!(
        rumqttc::mqttbytes::v4::Packet::read(bytes, usize::MAX),
        rumqttc::mqttbytes::Error::InsufficientBytes(_)
    ),
    |packet, out| packet.write(out, usize::MAX)
);

over_bytes_mut!(
    RumqttcV5,
    "rumqttc",
    rumqttc::v5::mqttbytes::v5::Packet,
    (),
    |_state, bytes| or_more!(
        rumqttc::v5::mqttbytes::v5::Packet::read(bytes, None),
        rumqttc::v5::mqttbytes::Error::InsufficientBytes(_)
    ),
    |packet, out| packet.write(out, None)
);

over_bytes_mut!(
    MquteV4,
    "mqute-codec",
    mqute_codec::protocol::v4::Packet,
    PacketCodecOf,
    |state, bytes| match state.0.decode(bytes) {
        Ok(Some(raw)) => mqute_codec::protocol::v4::Packet::decode(raw).map(Some).map_err(words),
        Ok(None) => Ok(None),
        Err(error) => Err(words(error)),
    },
    |packet, out| packet.encode(out)
);

over_bytes_mut!(
    MquteV5,
    "mqute-codec",
    mqute_codec::protocol::v5::Packet,
    PacketCodecOf,
    |state, bytes| match state.0.decode(bytes) {
        Ok(Some(raw)) => mqute_codec::protocol::v5::Packet::decode(raw).map(Some).map_err(words),
        Ok(None) => Ok(None),
        Err(error) => Err(words(error)),
    },
    |packet, out| packet.encode(out)
);

/// No limits.
pub(crate) struct PacketCodecOf(PacketCodec);

impl Default for PacketCodecOf {
    fn default() -> Self {
        Self(PacketCodec::new(None, None))
    }
}

over_bytes_mut!(
    Mqtt5<LEVEL>,
    "mqtt5-protocol",
    mqtt5_protocol::Packet,
    (),
    |_state, bytes| match frame_len(bytes, u32::MAX).map_err(words)? {
        // its own transport reads the header byte by byte; it has nothing for a buffer
        Some(len) if len <= bytes.len() => {
            let mut frame = bytes.split_to(len);
            let header = mqtt5_protocol::FixedHeader::decode(&mut frame).map_err(words)?;
            mqtt5_protocol::Packet::decode_from_body_with_version(header.packet_type, &header, &mut frame, LEVEL)
                .map(Some)
                .map_err(words)
        }
        _ => Ok(None),
    },
    |packet, out| {
        use mqtt5_protocol::Packet;
        match packet {
            Packet::Connect(packet) => packet.encode(out),
            // as its own transport does it
            Packet::Publish(packet) => {
                let len = u32::try_from(packet.body_encoded_size()).unwrap_or(u32::MAX);
                mqtt5_protocol::FixedHeader::new(mqtt5_protocol::PacketType::Publish, packet.flags(), len)
                    .encode(out)
                    .and_then(|()| packet.encode_body_direct(out))
            }
            Packet::PubAck(packet) => packet.encode(out),
            Packet::PubRel(packet) => packet.encode(out),
            Packet::Subscribe(packet) => packet.encode(out),
            Packet::PingReq => mqtt5_protocol::packet::pingreq::PingReqPacket::default().encode(out),
            _ => return Err("another packet".into()),
        }
    }
);

/// `rmqtt-codec`, which takes the packets it encodes.
macro_rules! rmqtt {
    ($codec:ident, $version:ident) => {
        pub(crate) struct $codec;

        impl $codec {
            fn each(
                (bytes, codec): &mut (BytesMut, rmqtt_codec::$version::Codec),
                mut with: impl FnMut(rmqtt_codec::$version::Packet),
            ) -> Result<usize, String> {
                let mut found = 0;
                while let Some((packet, _)) = codec.decode(bytes).map_err(words)? {
                    with(packet);
                    found += 1;
                }
                Ok(found)
            }
        }

        impl Codec for $codec {
            const NAME: &'static str = "rmqtt-codec";
            type Packet = rmqtt_codec::$version::Packet;
            type Buffer = (BytesMut, rmqtt_codec::$version::Codec);
            type Out = (BytesMut, rmqtt_codec::$version::Codec);

            fn fill(buffer: &mut Self::Buffer, bytes: &[u8]) {
                buffer.0.extend_from_slice(bytes);
            }

            fn decode(buffer: &mut Self::Buffer, _: Option<usize>) -> Result<usize, String> {
                Self::each(buffer, |packet| {
                    black_box(&packet);
                })
            }

            fn packets(row: &'static Row) -> Result<Vec<Self::Packet>, String> {
                let mut packets = Vec::new();
                Self::each(&mut (BytesMut::from(&row.stream[..]), Default::default()), |packet| packets.push(packet))?;
                Ok(packets)
            }

            fn clear(out: &mut Self::Out) {
                out.0.clear();
            }

            fn encode(packets: &mut Vec<Self::Packet>, (out, codec): &mut Self::Out) -> Result<(), String> {
                packets.drain(..).try_for_each(|packet| codec.encode(packet, out)).map_err(words)
            }

            fn written(out: &mut Self::Out) -> Vec<u8> {
                out.0.to_vec()
            }
        }
    };
}

rmqtt!(RmqttV4, v3);
rmqtt!(RmqttV5, v5);

/// `ntex-mqtt`, which has buffers of its own and keeps a message apart from its payload; it takes the packets it encodes.
macro_rules! ntex {
    ($codec:ident, $packet:ident, $version:ident) => {
        pub(crate) struct $codec;

        #[derive(Clone)]
        pub(crate) enum $packet {
            Packet(ntex_mqtt::$version::codec::Packet),
            Publish(ntex_mqtt::$version::codec::Publish, ntex_bytes::Bytes),
        }

        impl $codec {
            fn each(
                (bytes, codec): &mut (ntex_bytes::BytesMut, ntex_mqtt::$version::codec::Codec),
                mut with: impl FnMut($packet),
            ) -> Result<usize, String> {
                use ntex_mqtt::$version::codec::Decoded;
                let mut found = 0;
                while let Some(decoded) = codec.decode(bytes).map_err(words)? {
                    match decoded {
                        Decoded::Packet(packet, _) => with($packet::Packet(packet)),
                        Decoded::Publish(publish, payload, _) => with($packet::Publish(publish, payload)),
                        // the rest of a payload of which a part came before
                        Decoded::PayloadChunk(payload, _) => {
                            black_box(&payload);
                            continue;
                        }
                    }
                    found += 1;
                }
                Ok(found)
            }
        }

        impl Codec for $codec {
            const NAME: &'static str = "ntex-mqtt";
            type Packet = $packet;
            type Buffer = (ntex_bytes::BytesMut, ntex_mqtt::$version::codec::Codec);
            type Out = (ntex_bytes::BytePages, ntex_mqtt::$version::codec::Codec);

            fn fill(buffer: &mut Self::Buffer, bytes: &[u8]) {
                buffer.0.extend_from_slice(bytes);
            }

            fn decode(buffer: &mut Self::Buffer, _: Option<usize>) -> Result<usize, String> {
                Self::each(buffer, |packet| {
                    black_box(&packet);
                })
            }

            fn packets(row: &'static Row) -> Result<Vec<$packet>, String> {
                let mut packets = Vec::new();
                let bytes = ntex_bytes::BytesMut::copy_from_slice(&row.stream);
                Self::each(&mut (bytes, Default::default()), |packet| packets.push(packet))?;
                Ok(packets)
            }

            fn clear(out: &mut Self::Out) {
                out.0.clear();
            }

            fn encode(packets: &mut Vec<$packet>, (out, codec): &mut Self::Out) -> Result<(), String> {
                use ntex_mqtt::$version::codec::Encoded;
                for packet in packets.drain(..) {
                    let encoded = match packet {
                        $packet::Packet(packet) => Encoded::Packet(packet),
                        $packet::Publish(publish, payload) => Encoded::Publish(publish, Some(payload)),
                    };
                    codec.encodev(encoded, out).map_err(words)?;
                }
                Ok(())
            }

            fn written(out: &mut Self::Out) -> Vec<u8> {
                out.0.iter().flatten().copied().collect()
            }
        }
    };
}

ntex!(NtexV4, NtexPacketV4, v3);
ntex!(NtexV5, NtexPacketV5, v5);
