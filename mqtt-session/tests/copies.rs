//! A message encoded once for many: each copy is, byte for byte, what would have been encoded for that connection alone.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]
mod common;

use common::{End, VERSIONS, connect};
use mqtt_session::codec::{OutBuf, Properties, Property, Utf8, Version};
use mqtt_session::topic::TopicName;
use mqtt_session::{CopyBuf, Forwarded, Publication, ServerConfig, Session};

/// Every combination of two lists.
fn pairs<A: Copy, B: Copy>(these: &[A], those: &[B]) -> Vec<(A, B)> {
    these.iter().flat_map(|&a| those.iter().map(move |&b| (a, b))).collect()
}

#[test]
fn a_copy_is_what_would_have_been_encoded_for_each_alone() {
    let properties = [
        vec![],
        vec![Property::MessageExpiryInterval(0)],
        vec![Property::MessageExpiryInterval(9)],
        vec![Property::ContentType(Utf8::new("text").unwrap()), Property::MessageExpiryInterval(9)],
    ];
    let peers = pairs(&pairs(&VERSIONS, &[false, true]), &pairs(&[20_u32, 60, 5_000], &[0_usize, 50, 5_000]));
    let mut copied_at_all = 0;
    for (list, (topic, payload)) in properties.iter().flat_map(|list| {
        pairs(&[1, 5, 200], &[0, 1, 100, 3_800, 4_090, 4_200]).into_iter().map(move |sizes| (list, sizes))
    }) {
        let (name, bytes) = ("t".repeat(topic), vec![7; payload]);
        let mut publication = Publication::new(TopicName::new(&name).unwrap(), &bytes);
        publication.properties = Properties::from_slice(list);
        let mut buf = CopyBuf::default();
        let mut copies = buf.copies(&publication);
        for &((version, retain), (most, room)) in &peers {
            let limit = [Property::MaximumPacketSize(most)];
            let connect = connect(version, if version == Version::V5 { &limit } else { &[] });
            let end = || End::server_of(&ServerConfig::default(), &connect, Session::new());
            let (mut alone, mut one_of_many) = (end(), end());
            // what lies there already decides whether there is room
            let [mut expected, mut out] = [(); 2].map(|()| OutBuf::with_limit(room));
            expected.put_slice(b"before");
            out.put_slice(b"before");
            let forwarded = alone.connection.forward(alone.now, &publication, retain, &[], &mut expected);
            let case = (list, topic, payload, version, retain, most, room);
            if one_of_many.connection.forward_copy(one_of_many.now, retain, &mut copies, &mut out) {
                assert_eq!(forwarded, Forwarded::Wrote, "{case:?}");
                assert_eq!(out.chunk(), expected.chunk(), "{case:?}");
                copied_at_all += 1;
            } else {
                assert_eq!(out.chunk(), b"before", "it has done nothing: {case:?}");
                let large = topic + payload + 40 > 4_096;
                assert!(forwarded != Forwarded::Wrote || large, "what is small is copied wherever it fits: {case:?}");
            }
        }
    }
    assert!(copied_at_all > 500);
}
