//! Owned packets in serde's formats: level, sender, and the bytes of the frame (as hexadecimal text where people read along). What comes
//! in is decoded like anything else.
use crate::{OwnedPacket, Role, Version};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeStruct, Serializer};

const NAME: &str = "OwnedPacket";
const FIELDS: [&str; 3] = ["level", "from", "bytes"];

impl Serialize for OwnedPacket {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let readable = serializer.is_human_readable();
        let mut fields = serializer.serialize_struct(NAME, FIELDS.len())?;
        fields.serialize_field("level", &self.version().level())?;
        fields.serialize_field("from", if self.from() == Role::Client { "client" } else { "server" })?;
        if readable {
            fields.serialize_field("bytes", &format!("{:x}", self.as_bytes()))?;
        } else {
            fields.serialize_field("bytes", &Blob(self.as_bytes().to_vec()))?;
        }
        fields.end()
    }
}

impl<'de> Deserialize<'de> for OwnedPacket {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct(NAME, &FIELDS, PacketVisitor)
    }
}

struct PacketVisitor;

impl<'de> Visitor<'de> for PacketVisitor {
    type Value = OwnedPacket;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the level, the sender and the bytes of an MQTT packet")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut fields: A) -> Result<OwnedPacket, A::Error> {
        let missing = |n| A::Error::invalid_length(n, &"three fields");
        let level = fields.next_element()?.ok_or_else(|| missing(0))?;
        let from = fields.next_element::<String>()?.ok_or_else(|| missing(1))?;
        let bytes = fields.next_element()?.ok_or_else(|| missing(2))?;
        packet(level, &from, &bytes)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<OwnedPacket, A::Error> {
        let (mut level, mut from, mut bytes) = (None, None, None);
        while let Some(field) = fields.next_key::<String>()? {
            match field.as_str() {
                "level" => level = Some(fields.next_value()?),
                "from" => from = Some(fields.next_value::<String>()?),
                "bytes" => bytes = Some(fields.next_value()?),
                other => return Err(A::Error::unknown_field(other, &FIELDS)),
            }
        }
        let level = level.ok_or_else(|| A::Error::missing_field("level"))?;
        let from = from.ok_or_else(|| A::Error::missing_field("from"))?;
        packet(level, &from, &bytes.ok_or_else(|| A::Error::missing_field("bytes"))?)
    }
}

fn packet<E: Error>(level: u8, from: &str, bytes: &Blob) -> Result<OwnedPacket, E> {
    let version = Version::of_level(level).ok_or_else(|| E::custom(format!("level {level} is not one of MQTT")))?;
    let from = match from {
        "client" => Role::Client,
        "server" => Role::Server,
        _ => return Err(E::unknown_variant(from, &["client", "server"])),
    };
    OwnedPacket::decode(&bytes.0, version, from).map_err(E::custom)
}

/// Bytes as such; in a readable format, read from hexadecimal text.
struct Blob(Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(BlobVisitor)
        } else {
            deserializer.deserialize_byte_buf(BlobVisitor)
        }
    }
}

struct BlobVisitor;

impl<'de> Visitor<'de> for BlobVisitor {
    type Value = Blob;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of an MQTT packet")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Blob, E> {
        Ok(Blob(bytes.into()))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
        Ok(Blob(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut bytes: A) -> Result<Blob, A::Error> {
        let mut blob = Vec::new();
        while let Some(byte) = bytes.next_element()? {
            blob.push(byte);
        }
        Ok(Blob(blob))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Blob, E> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let byte = |&[high, low]: &[u8; 2]| u8::try_from(digit(high)? << 4 | digit(low)?).ok();
        match pairs.iter().map(byte).collect::<Option<Vec<u8>>>() {
            Some(bytes) if rest.is_empty() => Ok(Blob(bytes)),
            _ => Err(E::custom("the bytes are not pairs of hexadecimal digits")),
        }
    }
}
