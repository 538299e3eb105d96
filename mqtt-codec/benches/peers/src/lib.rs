//! The codecs to be compared, behind one face, and the work they are compared at. Every peer's result is checked before it is counted.
use mqtt_codec::{Packet, Role};
use std::fmt::Debug;
use std::hint::black_box;

mod codecs;
mod rows;

pub use rows::{Row, SMALL, Size, WHOLE, Work, rows};

/// One crate at one version of the protocol.
pub trait Codec {
    /// What its column is called.
    const NAME: &'static str;
    /// A packet as this crate has it.
    type Packet: Clone;
    /// What it reads from: bytes as they came and whatever state it keeps.
    type Buffer: Default;
    /// What it writes to.
    type Out: Default;

    /// Puts bytes where it reads from, as a read of a socket would.
    fn fill(buffer: &mut Self::Buffer, bytes: &[u8]);

    /// Decodes every whole packet there is. `frame`: all packets have this length, for those who want a packet delimited beforehand.
    fn decode(buffer: &mut Self::Buffer, frame: Option<usize>) -> Result<usize, String>;

    /// The row's packets, to be encoded.
    fn packets(row: &'static Row) -> Result<Vec<Self::Packet>, String>;

    /// Empties `out`.
    fn clear(out: &mut Self::Out);

    /// Encodes the packets, one behind the other. May use them up.
    fn encode(packets: &mut Vec<Self::Packet>, out: &mut Self::Out) -> Result<(), String>;

    /// What was written last.
    fn written(out: &mut Self::Out) -> Vec<u8>;
}

/// Some work that can be done again and again.
pub trait Job {
    /// What is not part of the work.
    fn prepare(&mut self);
    /// The work.
    fn run(&mut self);
}

/// Calls `visit` with each row, each codec and the job, or why that codec cannot do it.
pub fn jobs(size: Size, mut visit: impl FnMut(&'static Row, &'static str, Result<Box<dyn Job>, String>)) {
    for row in rows(size) {
        codecs::visit(row, &mut visit);
    }
}

/// Makes the job of one codec, once its result is found to be right.
fn job<C: Codec + 'static>(row: &'static Row) -> Result<Box<dyn Job>, String> {
    check::<C>(row)?;
    Ok(match row.work {
        Work::Encode => {
            let packets = C::packets(row)?;
            Box::new(Encode::<C> { batch: packets.clone(), packets, out: C::Out::default() })
        }
        Work::Decode | Work::Chunks(_) => Box::new(Decode::<C> { row, frame: row.frame, buffer: C::Buffer::default() }),
    })
}

/// Every packet that the codec has decoded must come out of it again as what it was; and it must find as many as there are.
fn check<C: Codec>(row: &'static Row) -> Result<(), String> {
    let version = row.version;
    let packets = C::packets(row)?;
    if packets.len() != row.packets.len() {
        return Err(format!("decodes {} of {} packets", packets.len(), row.packets.len()));
    }
    for (packet, expected) in packets.into_iter().zip(&row.packets).take(10) {
        let mut out = C::Out::default();
        C::clear(&mut out);
        C::encode(&mut vec![packet], &mut out)?;
        let bytes = C::written(&mut out);
        let again =
            Packet::decode(&bytes, version, Role::Client).map_err(|error| format!("writes {bytes:02x?}: {error}"))?;
        let (again, expected) = (meaning(&again), meaning(expected));
        if again != expected {
            return Err(format!("makes {} of {}", again.0, expected.0));
        }
    }
    let mut buffer = C::Buffer::default();
    C::fill(&mut buffer, &row.stream);
    let found = C::decode(&mut buffer, row.frame)?;
    if found == row.packets.len() { Ok(()) } else { Err(format!("finds {found} of {} packets", row.packets.len())) }
}

/// A packet in words and its payload, its properties in alphabetical order: some crates write them in an order of their own.
fn meaning<'a>(packet: &Packet<'a>) -> (String, &'a [u8]) {
    let mut packet = *packet;
    let (mut properties, mut payload) = (Vec::new(), &[][..]);
    if let Packet::Publish(publish) = &mut packet {
        properties.extend(publish.properties.iter().map(|property| format!("{property:?}")));
        properties.sort();
        publish.properties = Default::default();
        payload = std::mem::take(&mut publish.payload);
    }
    (format!("{packet:?} {properties:?}"), payload)
}

/// Words for an error of any crate.
fn words(error: impl Debug) -> String {
    format!("{error:?}")
}

struct Decode<C: Codec> {
    row: &'static Row,
    frame: Option<usize>,
    buffer: C::Buffer,
}

impl<C: Codec> Job for Decode<C> {
    fn prepare(&mut self) {
        self.buffer = C::Buffer::default();
        if self.row.work == Work::Decode {
            C::fill(&mut self.buffer, &self.row.stream);
        }
    }

    fn run(&mut self) {
        let mut found = 0;
        if let Work::Chunks(size) = self.row.work {
            for chunk in self.row.stream.chunks(size) {
                C::fill(&mut self.buffer, chunk);
                found += C::decode(&mut self.buffer, None).expect("was checked");
            }
        } else {
            found = C::decode(&mut self.buffer, self.frame).expect("was checked");
        }
        assert_eq!(black_box(found), self.row.packets.len());
    }
}

struct Encode<C: Codec> {
    packets: Vec<C::Packet>,
    /// What is left to be encoded: some crates take the packets themselves.
    batch: Vec<C::Packet>,
    out: C::Out,
}

impl<C: Codec> Job for Encode<C> {
    fn prepare(&mut self) {
        if self.batch.is_empty() {
            self.batch.extend_from_slice(&self.packets);
        }
        C::clear(&mut self.out);
    }

    fn run(&mut self) {
        C::encode(&mut self.batch, &mut self.out).expect("was checked");
        black_box(&mut self.out);
    }
}
