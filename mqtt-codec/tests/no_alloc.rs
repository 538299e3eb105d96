//! Decoding and encoding take no memory, whatever the packet.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]
#![allow(unsafe_code, reason = "a global allocator that counts cannot be written without")]
mod common;

use mqtt_codec::{Packet, Properties};
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
    let mut touched = 0;
    for row in common::rows() {
        let taken = allocations(|| {
            let Ok(packet) = Packet::decode(&row.bytes, row.version, row.from) else {
                return;
            };
            out.clear();
            let _ = packet.encode(row.version, &mut out);
            touched += packet.fit(row.version, 10).is_some() as usize;
            touched += match packet {
                Packet::Subscribe(packet) => packet.subscriptions.iter().count() + touch(packet.properties),
                Packet::Unsubscribe(packet) => packet.filters.iter().count() + touch(packet.properties),
                Packet::Publish(packet) => touch(packet.properties),
                Packet::Connack(packet) => touch(packet.properties),
                _ => 0,
            };
        });
        assert_eq!(taken, 0, "{}", row.place);
    }
    assert!(touched > 0);
}
