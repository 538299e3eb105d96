//! What is removed gives its memory back, what is held is what `memory()` says, and a lookup allocates nothing.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]
use mqtt_topic::{Cursor, HashSeed, Next, RetainedTrie, SubscriptionTrie, TopicFilter, TopicName};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts per thread, so that tests may run side by side.
struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    LIVE.with(|live| live.set(live.get() + bytes));
    CALLS.with(|calls| calls.set(calls.get() + usize::from(bytes > 0)));
}

// SAFETY: every call goes on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn live() -> isize {
    LIVE.get()
}

/// How often `story` allocated.
fn allocations(story: impl FnOnce()) -> usize {
    let before = CALLS.get();
    story();
    CALLS.get() - before
}

fn filters(count: usize) -> Vec<String> {
    (0..count)
        .map(|n| match n % 20 {
            0 => format!("site/{}/#", n / 20),
            1..=3 => format!("site/{}/dev/+/temp{}", n % 100, n / 100),
            _ => format!("site/{}/dev/{}/temperature-of-the-device", n % 100, n / 100),
        })
        .collect()
}

#[test]
fn subscriptions_that_are_gone_hold_nothing() {
    let texts = filters(20_000);
    let mut trie = SubscriptionTrie::new(HashSeed::new(1, 2));
    let empty = (live(), trie.memory());
    for round in 0..2 {
        for (key, text) in texts.iter().enumerate() {
            let filter = TopicFilter::new(text).unwrap();
            for subscriber in 0..1 + key % 3 {
                trie.insert(filter, (key * 10 + subscriber) as u64, [0_u8; 8]).unwrap();
            }
        }
        let held = (live() - empty.0) as usize;
        let said = trie.memory() - empty.1;
        assert!(held.abs_diff(said) <= held / 50, "holds {held} bytes, says {said}");
        for step in 0..texts.len() {
            // once forwards, once from the end
            let key = if round == 0 { step } else { texts.len() - 1 - step };
            let filter = TopicFilter::new(&texts[key]).unwrap();
            for subscriber in 0..1 + key % 3 {
                trie.remove(filter, (key * 10 + subscriber) as u64).unwrap();
            }
        }
        assert_eq!((live(), trie.memory()), empty);
    }
}

#[test]
fn a_filter_of_100000_subscribers_takes_and_loses_each_at_once() {
    let mut trie = SubscriptionTrie::new(HashSeed::new(1, 2));
    let empty = (live(), trie.memory());
    for text in ["a/b", "a/+"] {
        let filter = TopicFilter::new(text).unwrap();
        for key in 0..100_000_u64 {
            trie.insert(filter, key, key).unwrap();
        }
        let mut found = 0;
        trie.lookup(TopicName::new("a/b").unwrap(), |_, _| found += 1);
        assert_eq!(found, 100_000);
        let held = (live() - empty.0) as usize;
        let said = trie.memory() - empty.1;
        assert!(held.abs_diff(said) <= held / 50, "holds {held} bytes, says {said}");
        // in an order that a list would have to search for: 20,000,000,000 looks in all
        for key in (0..100_000).map(|n| (n * 40_503 + 50_000) % 100_000) {
            assert_eq!(trie.remove(filter, key), Some(key));
        }
        assert_eq!((live(), trie.memory()), empty);
    }
}

#[test]
fn a_lookup_allocates_nothing() {
    let mut trie = SubscriptionTrie::new(HashSeed::new(1, 2));
    for (key, text) in filters(2_000).iter().enumerate() {
        trie.insert(TopicFilter::new(text).unwrap(), key, ()).unwrap();
    }
    for shape in 0..4096_usize {
        let levels: Vec<&str> = (0..12).map(|bit| if shape >> bit & 1 == 0 { "+" } else { "a" }).collect();
        trie.insert(TopicFilter::new(&levels.join("/")).unwrap(), shape, ()).unwrap();
    }
    let wide = ["a"; 12].join("/");
    let unknown = "x/".repeat(10_000);
    let mut found = 0;
    for (name, hits) in
        [("site/5/dev/7/temp", 1), (&*wide, 4096), (&unknown, 0), ("site/4/dev/3/temperature-of-the-device", 2)]
    {
        let name = TopicName::new(name).unwrap();
        found = 0;
        let count = allocations(|| trie.lookup(name, |_, ()| found += 1));
        assert_eq!((count, found), (0, hits), "{name:.40}");
    }
    assert!(found > 0);
}

#[test]
fn retained_names_that_are_gone_hold_nothing() {
    let names: Vec<String> =
        (0..20_000).map(|n| format!("site/{}/dev/{}/temp", n * 7 % 100, n * 7919 % 20_011)).collect();
    let mut trie = RetainedTrie::new();
    let empty = (live(), trie.memory());
    for round in 0..2 {
        for name in &names {
            trie.insert(TopicName::new(name).unwrap(), [0_u64; 4]);
        }
        assert_eq!(trie.len(), 20_000);
        let held = (live() - empty.0) as usize - trie.len() * 32;
        let said = trie.memory() - empty.1;
        assert!(held.abs_diff(said) <= held / 50, "holds {held} bytes, says {said}");
        for step in 0..names.len() {
            let place = if round == 0 { step } else { names.len() - 1 - step };
            trie.remove(TopicName::new(&names[place]).unwrap()).unwrap();
        }
        assert_eq!((live(), trie.memory()), empty);
    }
}

#[test]
fn a_walk_allocates_for_its_cursor_only() {
    let mut trie = RetainedTrie::new();
    for n in 0..1_000 {
        trie.insert(TopicName::new(&format!("site/{}/dev/{n}/temp", n % 10)).unwrap(), n);
    }
    let mut cursor = Cursor::new(TopicFilter::new("site/+/dev/#").unwrap());
    let mut found = 0;
    let count = allocations(|| {
        while let Next::Found(..) = trie.next(&mut cursor, &mut 1_000) {
            found += 1;
        }
    });
    assert_eq!(found, 1_000);
    assert!(count <= 4, "{count} allocations");
}
