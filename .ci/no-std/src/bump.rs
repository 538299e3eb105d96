//! An allocator that only ever goes forward, through a fixed block.
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering};

const SIZE: usize = 1 << 20;

struct Bump {
    block: UnsafeCell<[u8; SIZE]>,
    used: AtomicUsize,
}

#[global_allocator]
static BUMP: Bump = Bump { block: UnsafeCell::new([0; SIZE]), used: AtomicUsize::new(0) };

// SAFETY: bytes of the block are handed out once each, by an atomic count, and touched by nobody else.
unsafe impl Sync for Bump {}

// SAFETY: what is handed out lies inside the block, aligned as asked, and overlaps nothing handed out before.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.block.get().cast::<u8>();
        let mut begin = 0;
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            begin = (base.addr() + used).checked_next_multiple_of(layout.align())? - base.addr();
            begin.checked_add(layout.size()).filter(|&end| end <= SIZE)
        });
        match taken {
            // SAFETY: `begin` plus the size asked for is at most the size of the block.
            Ok(_) => unsafe { base.add(begin) },
            Err(_) => null_mut(),
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
