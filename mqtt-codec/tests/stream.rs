//! A large PUBLISH in parts: the head first, the payload as it arrives, and never kept.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]
#![allow(unsafe_code, reason = "a global allocator that counts cannot be written without")]
mod common;

use common::{connect, parse, rows, vbi};
use mqtt_codec::{DecodeError, DecodeErrorKind, Packet, Part, Profile, Qos, Reader, Role, Version};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn note(grown: usize, shrunk: usize) {
    let live = LIVE.with(|live| {
        live.set((live.get() + grown).saturating_sub(shrunk));
        live.get()
    });
    PEAK.with(|peak| peak.set(peak.get().max(live)));
}

// SAFETY: every call is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: the caller keeps to the contract of this method, which is that of the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(0, layout.size());
        // SAFETY: as above; the block is one of `alloc`'s.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most bytes that were held at once while `run` ran, beyond those held before.
fn peak(run: impl FnOnce()) -> usize {
    let before = LIVE.with(Cell::get);
    PEAK.with(|peak| peak.set(before));
    run();
    PEAK.with(Cell::get) - before
}

/// What came out of a reader, the parts put together.
#[derive(Debug, Default, PartialEq)]
struct Log {
    packets: Vec<String>,
    error: Option<DecodeError>,
}

/// A payload under way.
#[derive(Debug, Default)]
struct Payload {
    received: Vec<u8>,
    expected: u32,
}

impl Log {
    fn read(&mut self, reader: &mut Reader, bytes: &[u8], payload: &mut Payload) {
        let mut packets = reader.read(bytes);
        loop {
            match packets.next_part() {
                Ok(Some(Part::Packet(packet))) => self.packets.push(format!("{packet:?}")),
                Ok(Some(Part::Head { publish, payload_len })) => {
                    assert!(publish.payload.is_empty() && payload_len > 0);
                    self.packets.push(format!("{publish:?}"));
                    *payload = Payload { received: Vec::new(), expected: payload_len };
                }
                Ok(Some(Part::Payload { bytes, left })) => {
                    assert!(!bytes.is_empty());
                    payload.received.extend_from_slice(bytes);
                    assert_eq!(payload.received.len() + left as usize, payload.expected as usize);
                    if left == 0 {
                        self.packets.push(format!("payload {:?}", payload.received));
                    }
                }
                Ok(Some(other)) => panic!("{other:?}"),
                Ok(None) => return,
                Err(error) => {
                    assert_eq!(packets.next_part(), Err(error), "an error is for good");
                    self.error = Some(error);
                    return;
                }
            }
        }
    }
}

fn publish(topic: &str, payload: usize) -> Vec<u8> {
    let topic = [&u16::try_from(topic.len()).unwrap().to_be_bytes()[..], topic.as_bytes()].concat();
    [&[0x30][..], &vbi(topic.len() + payload), &topic, &vec![b'x'; payload]].concat()
}

#[test]
fn a_payload_of_256_mebibytes_takes_no_memory() {
    let chunk = vec![0xA5; 64 * 1024];
    let fields = parse(r#"s"big/file" 00 07 ()"#);
    let payload = 268_435_455 - fields.len(); // the longest there can be
    let head = [&[0x32][..], &vbi(268_435_455), &fields].concat();
    let mut reader = Reader::of_server(Version::V5, u32::MAX).with_streaming(1024);
    let (mut heads, mut received, mut parts) = (0, 0_usize, 0);
    let taken = peak(|| {
        let mut sent = 0;
        let mut bytes = &head[..];
        while sent < payload || !bytes.is_empty() {
            let mut packets = reader.read(bytes);
            while let Some(part) = packets.next_part().unwrap() {
                match part {
                    Part::Head { publish, payload_len } => {
                        heads += 1;
                        assert_eq!((publish.topic.unwrap().as_str(), publish.qos), ("big/file", Qos::AtLeastOnce));
                        assert_eq!(publish.packet_id.unwrap().get(), 7);
                        assert_eq!(payload_len as usize, payload);
                    }
                    Part::Payload { bytes, left } => {
                        received += bytes.len();
                        parts += 1;
                        assert_eq!(received + left as usize, payload);
                    }
                    other => panic!("{other:?}"),
                }
            }
            bytes = &chunk[..chunk.len().min(payload - sent)];
            sent += bytes.len();
        }
        let _ = reader.read(bytes);
    });
    assert_eq!((heads, received, parts), (1, payload, payload.div_ceil(chunk.len())));
    assert!(taken < 100, "{taken} bytes were held at once");
    assert_eq!((reader.buffered(), reader.memory(), reader.payload_left()), (0, 0, 0));
    // What comes behind it is read as ever.
    assert!(matches!(reader.read(&[0xD0, 0x00]).next_part(), Ok(Some(Part::Packet(Packet::Pingresp)))));
}

#[test]
fn only_what_is_over_the_threshold_comes_in_parts() {
    let frame = publish("a", 100);
    let threshold = u32::try_from(frame.len()).unwrap();
    let mut reader = Reader::of_server(Version::V311, 1 << 20).with_streaming(threshold);
    assert!(
        matches!(reader.read(&frame).next_part(), Ok(Some(Part::Packet(Packet::Publish(publish)))) if publish.payload.len() == 100)
    );
    let mut reader = Reader::of_server(Version::V311, 1 << 20).with_streaming(threshold - 1);
    assert!(matches!(reader.read(&frame).next_part(), Ok(Some(Part::Head { payload_len: 100, .. }))));
    // A reader that was not asked to never does.
    let mut reader = Reader::of_server(Version::V311, 1 << 20);
    assert!(matches!(reader.read(&frame).next_part(), Ok(Some(Part::Packet(_)))));
    // And `next` hands out whole packets only.
    let mut reader = Reader::of_server(Version::V311, 1 << 20).with_streaming(10);
    let mut packets = reader.read(&frame);
    assert!(matches!(packets.next(), Ok(Some(Packet::Publish(publish))) if publish.payload.len() == 100));
}

#[test]
fn next_passes_over_what_is_left_of_a_payload() {
    let stream = [publish("a", 100), parse("D0 00")].concat();
    for given in [10, 50, 103, stream.len()] {
        let mut reader = Reader::of_server(Version::V311, 1 << 20).with_streaming(20);
        {
            let mut packets = reader.read(&stream[..given]);
            assert!(matches!(packets.next_part(), Ok(Some(Part::Head { .. }))));
            if given < stream.len() {
                assert_eq!(packets.next(), Ok(None));
            } else {
                assert_eq!(packets.next(), Ok(Some(Packet::Pingresp)));
            }
        }
        if given < stream.len() {
            assert_eq!(reader.payload_left() as usize, 105 - given);
            assert_eq!(reader.read(&stream[given..]).next(), Ok(Some(Packet::Pingresp)));
        }
        assert_eq!(reader.buffered(), 0);
    }
}

#[test]
fn the_size_limit_holds_for_a_streamed_packet_too() {
    let frame = publish("a", 1000);
    let mut reader = Reader::of_server(Version::V311, 500).with_streaming(100);
    let error = reader.read(&frame[..3]).next_part().unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::TooLarge);
}

#[test]
fn a_head_must_fit_below_the_threshold_and_its_lengths_tell() {
    // S1: judged by the length fields, before what they claim has come.
    let refused = |text: &str, threshold: u32| {
        let mut reader = Reader::of_server(Version::V5, u32::MAX).with_streaming(threshold);
        let error = reader.read(&parse(text)).next_part().unwrap_err();
        assert_eq!(reader.memory(), 0);
        (error.kind, error.offset)
    };
    assert_eq!(refused("30 FF FF FF 7F 40 00", 1000), (DecodeErrorKind::TooLarge, 7)); // a topic of 16,384 bytes
    assert_eq!(refused(r#"30 FF FF FF 7F s"a" FF FF 7F"#, 1000), (DecodeErrorKind::TooLarge, 11)); // properties of two megabytes
    assert_eq!(refused(r#"30 14 00 40"#, 10), (DecodeErrorKind::Malformed, 4)); // a topic beyond the packet
    assert_eq!(refused(r#"30 14 s"a" 7F"#, 10), (DecodeErrorKind::Malformed, 6)); // properties beyond the packet
    assert_eq!(refused(r#"30 14 s"a" FF FF FF FF"#, 20), (DecodeErrorKind::Malformed, 9)); // a length of five bytes
    assert_eq!(refused(r#"30 14 s"a" 80 00"#, 20), (DecodeErrorKind::Malformed, 6)); // a length not in its shortest form
    // What is wrong inside the head is found when it is whole.
    assert_eq!(refused(r#"30 14 s"+" 00"#, 10), (DecodeErrorKind::Malformed, 4));
    assert_eq!(refused(r#"36 14 s"a" 00 01 00"#, 10), (DecodeErrorKind::Malformed, 2));
    assert_eq!(refused(r#"32 14 s"a" 00 00 00"#, 10), (DecodeErrorKind::ProtocolError, 5));
}

#[test]
fn a_profile_judges_a_streamed_head() {
    let mut profile = Profile::STRICT;
    profile.refuse_control_characters = true;
    let reader = || Reader::of_server(Version::V311, u32::MAX).with_streaming(10);
    let frame = parse(r#"30 14 00 02 61 07 "x""#);
    assert!(matches!(reader().read(&frame).next_part(), Ok(Some(Part::Head { payload_len: 16, .. }))));
    let error = reader().with_profile(profile).read(&frame).next_part().unwrap_err();
    assert_eq!((error.offset, error.statement), (5, "v4 [X311-UTF-1]"));
}

/// A stream of packets of every kind, some of them over the threshold of 16.
fn long_stream(version: Version) -> Vec<u8> {
    let properties = if version == Version::V5 { "(03 s\"t\")" } else { "" };
    let none = if version == Version::V5 { "()" } else { "" };
    let big = |head: &str| [parse(&format!("{head} {properties}")), vec![0x30; 60]].concat();
    let with_length = |first: u8, body: Vec<u8>| [&[first][..], &vbi(body.len()), &body].concat();
    [
        connect(version),
        with_length(0x30, big("s\"a\"")),
        parse("C0 00"),
        with_length(0x3B, big("s\"b/c\" 00 07")),
        with_length(0x34, big("s\"d\" 01 00")),
        parse(&format!("30 LL s\"a\" {none} \"small\"")),
        parse("40 02 00 01"),
        with_length(0x31, big("s\"last\"")),
    ]
    .concat()
}

#[test]
fn every_split_gives_the_same_parts_put_together() {
    for version in [Version::V31, Version::V311, Version::V5] {
        let stream = long_stream(version);
        let reader = || Reader::of_client(1000, 1000).with_streaming(16);
        let mut whole = Log::default();
        whole.read(&mut reader(), &stream, &mut Payload::default());
        assert_eq!((whole.packets.len(), whole.error), (12, None), "{whole:?}");
        for first in 0..=stream.len() {
            for second in [first, first + 1, first + 3, stream.len()] {
                let second = second.min(stream.len());
                let (mut log, mut payload, mut reader) = (Log::default(), Payload::default(), reader());
                for part in [&stream[..first], &stream[first..second], &stream[second..]] {
                    log.read(&mut reader, part, &mut payload);
                    assert!(reader.buffered() <= 16, "only a head or a small packet is ever kept");
                }
                assert_eq!(log, whole, "{version:?} {first} {second}");
            }
        }
        for size in 1..20 {
            let (mut log, mut payload, mut reader) = (Log::default(), Payload::default(), reader());
            for part in stream.chunks(size) {
                log.read(&mut reader, part, &mut payload);
            }
            assert_eq!(log, whole, "{version:?} in pieces of {size}");
        }
    }
}

#[test]
fn a_paused_payload_goes_on_where_it_was() {
    let stream = [publish("a", 50), publish("b", 50)].concat();
    let mut reader = Reader::of_server(Version::V311, 1000).with_streaming(20);
    {
        let mut packets = reader.read(&stream);
        assert!(matches!(packets.next_part(), Ok(Some(Part::Head { .. }))));
    }
    assert_eq!((reader.buffered(), reader.payload_left()), (stream.len() - 5, 50));
    let (mut log, mut payload) = (Log::default(), Payload { received: Vec::new(), expected: 50 });
    log.read(&mut reader, &[], &mut payload);
    assert_eq!(log.packets.len(), 3, "{log:?}");
    assert_eq!((reader.buffered(), reader.payload_left()), (0, 0));
}

/// S2: whatever the vectors hold, in parts or whole, the verdict is the same; of several faults another one may be the first.
#[test]
fn streaming_accepts_and_refuses_what_whole_packets_do() {
    let mut in_parts = 0;
    for row in
        rows().iter().filter(|row| row.bytes.len() < 300 && row.bytes.first().is_some_and(|first| first >> 4 == 3))
    {
        for threshold in 2..40 {
            let reader = || match row.from {
                Role::Server => Reader::of_server(row.version, 1000).with_streaming(threshold),
                Role::Client => {
                    let mut reader = Reader::of_client(1000, 1000).with_streaming(threshold);
                    assert!(reader.read(&connect(row.version)).next().is_ok());
                    reader
                }
            };
            let mut log = Log::default();
            log.read(&mut reader(), &row.bytes, &mut Payload::default());
            in_parts += usize::from(log.packets.len() == 2);
            let whole = Packet::decode(&row.bytes, row.version, row.from);
            match (log.error, whole) {
                (None, whole) => assert!(whole.is_ok() && !log.packets.is_empty(), "{} {threshold}", row.place),
                (Some(error), whole) => {
                    assert!(
                        whole.is_err() || error.kind == DecodeErrorKind::TooLarge,
                        "{} {threshold} {error}",
                        row.place
                    );
                }
            }
            // Byte by byte it is the same.
            let (mut bytewise, mut payload, mut reader) = (Log::default(), Payload::default(), reader());
            for byte in &row.bytes {
                bytewise.read(&mut reader, std::slice::from_ref(byte), &mut payload);
            }
            assert_eq!(bytewise, log, "{} {threshold}", row.place);
        }
    }
    assert!(in_parts > 20, "{in_parts}");
}
