//! Grammar, `matches`, `covers` and `overlaps` agree with the plain words of section 4.7.
//!
//! The input is lines: two filters, then names.
#![no_main]
use libfuzzer_sys::fuzz_target;
use mqtt_topic::{SharedFilter, TopicFilter, TopicLimits, TopicName, check_text};

mod naive;

/// No filter of the input has a level like this: line ends end the line.
const FRESH: &str = "\n";

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|&byte| byte == b'\n');
    let mut filters = Vec::new();
    for line in lines.by_ref().take(2) {
        let filter = TopicFilter::from_bytes(line);
        assert_eq!(filter.is_ok(), naive::is_filter(line));
        match filter {
            Ok(filter) => {
                look_at(filter);
                filters.push(filter);
            }
            Err(error) => assert!(error.offset <= line.len()),
        }
    }
    if let [a, b] = filters[..] {
        relate(a, b);
        relate(b, a);
        relate(a, a);
    }
    for line in lines.take(20) {
        let name = TopicName::from_bytes(line);
        assert_eq!(name.is_ok(), naive::is_name(line));
        assert_eq!(check_text(line).is_ok(), std::str::from_utf8(line).is_ok_and(|text| !text.contains('\0')));
        let Ok(name) = name else { continue };
        assert_eq!(name.levels().count(), name.as_str().split('/').count());
        for filter in &filters {
            assert_eq!(filter.matches(name), naive::matches(filter.as_str(), name.as_str()), "{filter} {name}");
        }
        assert!(TopicFilter::from(name).matches(name));
    }
});

fn look_at(filter: TopicFilter<'_>) {
    assert_eq!(filter.levels().count(), filter.as_str().split('/').count());
    let levels = filter.levels().count();
    assert!(filter.within(TopicLimits::new(filter.as_bytes().len(), levels)).is_ok());
    assert!(filter.within(TopicLimits::new(usize::MAX, levels - 1)).is_err());
    match filter.shared() {
        Ok(None) => assert!(!filter.as_str().starts_with("$share/")),
        Ok(Some(shared)) => whole(shared),
        Err(error) => assert!(error.offset <= filter.as_bytes().len()),
    }
}

fn whole(shared: SharedFilter<'_>) {
    let group = std::str::from_utf8(shared.group()).unwrap();
    assert!(!group.is_empty() && !group.contains(['/', '+', '#']));
    assert_eq!(format!("$share/{group}/{}", shared.filter()), shared.text().as_str());
    assert!(naive::is_filter(shared.filter().as_bytes()));
}

fn relate(a: TopicFilter<'_>, b: TopicFilter<'_>) {
    // the plain way is quadratic
    if a.levels().count() + b.levels().count() > 64 {
        return;
    }
    let (a_text, b_text) = (a.as_str(), b.as_str());
    assert_eq!(a.covers(b), naive::covers(a_text, b_text, FRESH), "{a} covers {b}");
    assert_eq!(a.overlaps(b), naive::overlap(a_text, b_text, FRESH), "{a} overlaps {b}");
    assert!(!a.covers(b) || a.overlaps(b));
}
