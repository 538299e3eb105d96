//! What the features `serde` and `arbitrary` add.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

#[cfg(feature = "serde")]
mod strings {
    use mqtt_topic::{TopicFilter, TopicFilterBuf, TopicName, TopicNameBuf};

    #[test]
    fn a_name_and_a_filter_go_out_and_come_back_as_strings() {
        let name = TopicNameBuf::from(TopicName::new("h\u{f6}me/\"a\"/temp").unwrap());
        let filter = TopicFilterBuf::from(TopicFilter::new("home/+/#").unwrap());
        let text = serde_json::to_string(&(&name, &filter)).unwrap();
        assert_eq!(text, r##"["höme/\"a\"/temp","home/+/#"]"##);
        assert_eq!(serde_json::from_str::<(TopicNameBuf, TopicFilterBuf)>(&text).unwrap(), (name, filter));
    }

    #[test]
    fn what_comes_in_is_checked() {
        for (text, fault) in [
            (r#""a/+""#, "wildcard"),
            (r#""""#, "at least one"),
            (r#""a\u0000""#, "U+0000"),
            ("7", "an MQTT topic name"),
        ] {
            let error = serde_json::from_str::<TopicNameBuf>(text).unwrap_err().to_string();
            assert!(error.contains(fault), "{text}: {error}");
        }
        for (text, fault) in [(r#""a+""#, "at byte 1"), (r##""a/#/b""##, "at byte 2"), ("null", "an MQTT topic filter")]
        {
            let error = serde_json::from_str::<TopicFilterBuf>(text).unwrap_err().to_string();
            assert!(error.contains(fault), "{text}: {error}");
        }
        let long = format!("\"{}\"", "a".repeat(65_536));
        assert!(serde_json::from_str::<TopicNameBuf>(&long).is_err());
    }
}

#[cfg(feature = "arbitrary")]
mod fuzzing {
    use arbitrary::{Arbitrary, Unstructured};
    use mqtt_topic::{TopicFilter, TopicFilterBuf, TopicName, TopicNameBuf};
    use std::collections::BTreeSet;

    #[test]
    fn any_bytes_give_good_names_and_filters_and_many_of_them_match() {
        let mut state = 1_u64;
        let (mut names, mut filters, mut matches) = (BTreeSet::new(), BTreeSet::new(), 0);
        for _ in 0..5_000 {
            let bytes: Vec<u8> = (0..64)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 56) as u8
                })
                .collect();
            let mut bytes = Unstructured::new(&bytes);
            let name = TopicNameBuf::arbitrary(&mut bytes).unwrap();
            let filter = TopicFilterBuf::arbitrary(&mut bytes).unwrap();
            assert!(TopicName::from_bytes(name.as_name().as_bytes()).is_ok());
            assert!(TopicFilter::from_bytes(filter.as_filter().as_bytes()).is_ok());
            matches += usize::from(filter.as_filter().matches(name.as_name()));
            names.insert(name);
            filters.insert(filter);
        }
        assert!(
            names.len() > 500 && filters.len() > 500 && matches > 100,
            "{} {} {matches}",
            names.len(),
            filters.len()
        );
        assert_eq!(TopicNameBuf::arbitrary(&mut Unstructured::new(&[])).unwrap().to_string(), "a");
    }
}
