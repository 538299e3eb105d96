//! How many bytes of heap a subscription takes in each index.
use mqtt_topic_peers::{Engine, Index, Ours, Quill, Rmqtt};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

#[path = "../../workload/mod.rs"]
mod workload;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn measure<I: Index>(filters: &[String]) {
    let before = LIVE.load(Relaxed);
    let mut index = I::default();
    for (id, filter) in filters.iter().enumerate() {
        index.insert(filter, id as u64);
    }
    let held = LIVE.load(Relaxed) - before;
    println!("{:>9} filters, {}: {} bytes each", filters.len(), I::NAME, held / filters.len());
}

fn main() {
    for count in [1_000, 100_000, 1_000_000] {
        let filters = workload::filters(count);
        measure::<Ours>(&filters);
        measure::<Quill>(&filters);
        measure::<Rmqtt>(&filters);
        measure::<Engine>(&filters);
    }
}
