//! The filters and names of the benches: 80% exact `site/N/dev/M/temp`, 15% with one `+`, 5% with `#`.
#![allow(dead_code)] // each bench uses its part

/// A small generator, so that runs repeat.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

const SITES: u64 = 50;

pub(crate) fn filters(count: u64) -> Vec<String> {
    let mut random = Random(1);
    let devices = (count / SITES).max(10);
    (0..count)
        .map(|_| {
            let (site, device) = (random.below(SITES), random.below(devices));
            match random.below(100) {
                0..80 => format!("site/{site}/dev/{device}/temp"),
                80..88 => format!("site/+/dev/{device}/temp"),
                88..95 => format!("site/{site}/dev/{device}/+"),
                _ => format!("site/{site}/dev/{device}/#"),
            }
        })
        .collect()
}

/// 10,000 names; with each `count` a name has as many hits on average.
pub(crate) fn names(count: u64) -> Vec<String> {
    let mut random = Random(2);
    let devices = (count / SITES).max(10);
    (0..10_000).map(|_| format!("site/{}/dev/{}/temp", random.below(SITES), random.below(devices))).collect()
}

/// All filters of so many levels that are `+` or `a`, with `last` behind each.
pub(crate) fn plus_or_a(levels: usize, last: &str) -> Vec<String> {
    (0..1_u32 << levels)
        .map(|shape| {
            let levels: Vec<&str> = (0..levels).map(|bit| if shape >> bit & 1 == 0 { "+" } else { "a" }).collect();
            levels.join("/") + last
        })
        .collect()
}

/// A million names, of which `site/+/dev/7/#` matches 5,000.
pub(crate) fn retained() -> Vec<String> {
    (0..1_000_000_u32).map(|n| format!("site/{}/dev/{}/temp{}", n % 1000, n / 1000 % 200, n / 200_000)).collect()
}
