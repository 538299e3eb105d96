//! Decoding and encoding take no memory, whatever the packet.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]
#![allow(unsafe_code, reason = "a global allocator that counts cannot be written without")]
mod common;

use mqtt_codec::{Packet, Part, Profile, Properties, Reader, Role};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps to the contract of this method, which is that of the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; the block is one of `alloc`'s.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(run: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    run();
    ALLOCATIONS.with(Cell::get) - before
}

fn touch(properties: Properties<'_>) -> usize {
    properties.iter().count() + properties.user_properties().count() + usize::from(properties.reason_string().is_some())
}

#[test]
fn no_vector_takes_memory_to_decode_or_encode() {
    assert!(allocations(|| drop(vec![1])) > 0, "the counter counts");
    let mut out = Vec::with_capacity(1 << 22);
    let (mut touched, mut seen) = (0, 0_u16);
    let mut profile = Profile::STRICT;
    profile.refuse_control_characters = true;
    profile.refuse_bad_filters = true;
    profile.max_user_properties = 10;
    for row in common::rows() {
        let taken = allocations(|| {
            let Ok(packet) = Packet::decode(&row.bytes, row.version, row.from) else {
                return;
            };
            out.clear();
            let _ = packet.encode(row.version, &mut out);
            touched += packet.fit(row.version, 10).is_some() as usize;
            touched += packet.properties().map_or(0, touch);
            touched += match packet {
                Packet::Connect(packet) => packet.will.map_or(0, |will| touch(will.properties)),
                Packet::Publish(packet) => {
                    out.clear();
                    packet.encode_head(row.version, 1000, &mut out).is_ok().into()
                }
                Packet::Subscribe(packet) => packet.subscriptions.iter().count(),
                Packet::Unsubscribe(packet) => packet.filters.iter().count(),
                Packet::Suback(packet) => packet.codes.iter().count(),
                Packet::Unsuback(packet) => packet.codes.iter().count(),
                Packet::Connack(_) | Packet::Ack(_) | Packet::Disconnect(_) | Packet::Auth(_) => 1,
                Packet::Pingreq | Packet::Pingresp => 1,
            };
            seen |= 1 << (row.bytes[0] >> 4);
            touched += usize::from(Packet::decode_with(&row.bytes, row.version, row.from, &profile).is_ok());
        });
        assert_eq!(taken, 0, "{}", row.place);
    }
    assert!(touched > 0);
    assert_eq!(seen, 0xFFFE, "every type of packet there is");
}

#[test]
fn whole_packets_pass_a_reader_without_memory() {
    for row in common::rows().iter().filter(|row| row.from == Role::Server && row.verdict.starts_with("ok")) {
        let mut whole = Reader::of_server(row.version, 1 << 24);
        let taken = allocations(|| assert!(matches!(whole.read(&row.bytes).next(), Ok(Some(_))), "{}", row.place));
        assert_eq!(taken, 0, "{}", row.place);
        // In parts too, once the reader has been told to.
        let mut streaming = Reader::of_server(row.version, 1 << 24).with_streaming(1 << 10);
        let taken = allocations(|| {
            let mut packets = streaming.read(&row.bytes);
            while let Ok(Some(part)) = packets.next_part() {
                assert!(matches!(part, Part::Packet(_) | Part::Head { .. } | Part::Payload { .. }));
            }
        });
        // A head over the threshold is refused, with an error that is kept in the room that streaming has taken already.
        assert_eq!(taken, 0, "{}", row.place);
    }
}
