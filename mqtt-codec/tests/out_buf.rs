//! The output buffer against a plain vector of bytes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]
use mqtt_codec::{Append, OutBuf, Packet, Properties, Publish, Qos, TopicName, Version};
use proptest::prelude::*;
use std::io::IoSlice;
use std::sync::Arc;

#[derive(Clone, Debug)]
enum Step {
    Put(usize),
    Share { len: usize, from: usize, to: usize },
    Publish(usize),
    Advance(usize),
    TakeFrom(Vec<(bool, usize)>),
    Shrink,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![0_usize..20, 1000_usize..3000];
    let step = prop_oneof![
        len.clone().prop_map(Step::Put),
        (0_usize..5000, 0_usize..5000, 0_usize..5000).prop_map(|(len, from, to)| Step::Share { len, from, to }),
        len.clone().prop_map(Step::Publish),
        prop_oneof![0_usize..50, 0_usize..8000].prop_map(Step::Advance),
        prop::collection::vec((any::<bool>(), len), 0..4).prop_map(Step::TakeFrom),
        Just(Step::Shrink),
    ];
    prop::collection::vec(step, 0..40)
}

/// Bytes that tell where they come from.
fn fresh(counter: &mut u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|_| {
            *counter = counter.wrapping_add(1);
            *counter
        })
        .collect()
}

fn gathered(out: &OutBuf) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); 64];
    let filled = out.chunks_vectored(&mut slices);
    slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
}

fn put(out: &mut OutBuf, model: &mut Vec<u8>, shared: bool, bytes: Vec<u8>) {
    model.extend(&bytes);
    if shared {
        let len = bytes.len();
        out.put_shared(&Arc::from(bytes), 0..len);
    } else {
        out.put_slice(&bytes);
    }
}

proptest! {
    #[test]
    fn it_hands_out_what_was_put_in_and_in_order(steps in steps()) {
        let mut counter = 0;
        let mut out = OutBuf::with_limit(4000);
        let mut model: Vec<u8> = Vec::new();
        for step in steps {
            match step {
                Step::Put(len) => put(&mut out, &mut model, false, fresh(&mut counter, len)),
                Step::Share { len, from, to } => {
                    let block: Arc<[u8]> = fresh(&mut counter, len).into();
                    out.put_shared(&block, from..to);
                    model.extend(block.get(from..to).unwrap_or_default());
                    let referenced = to.saturating_sub(from) >= OutBuf::SHARE_FROM && to <= len;
                    prop_assert_eq!(Arc::strong_count(&block) > 1, referenced);
                }
                Step::Publish(len) => {
                    let payload = fresh(&mut counter, len);
                    let packet = publish(&payload);
                    let bytes = packet.encoded_len(Version::V311).unwrap();
                    let room = model.is_empty() || model.len() + bytes <= 4000;
                    prop_assert_eq!(out.has_room(bytes), room);
                    let wanted = if room { Append::Wrote } else { Append::Full };
                    prop_assert_eq!(out.append(&packet, Version::V311), Ok(wanted));
                    if room {
                        packet.encode(Version::V311, &mut model).unwrap();
                    }
                }
                Step::Advance(n) => {
                    out.advance(n);
                    model.drain(..n.min(model.len()));
                }
                Step::TakeFrom(pieces) => {
                    let mut other = OutBuf::with_limit(7);
                    let mut theirs = Vec::new();
                    for (shared, len) in pieces {
                        put(&mut other, &mut theirs, shared, fresh(&mut counter, len));
                    }
                    other.advance(3);
                    theirs.drain(..3.min(theirs.len()));
                    out.take_from(&mut other);
                    model.extend(theirs);
                    prop_assert!(other.is_empty() && other.chunk().is_empty());
                    prop_assert_eq!((other.limit(), out.limit()), (7, 4000));
                }
                Step::Shrink => {
                    out.shrink();
                    prop_assert!(!out.is_empty() || out.memory() == 0);
                }
            }
            prop_assert_eq!(out.len(), model.len());
            prop_assert_eq!(out.is_empty(), model.is_empty());
            prop_assert_eq!(out.chunk(), &model[..out.chunk().len()]);
            prop_assert!(out.chunk().is_empty() == model.is_empty());
            prop_assert_eq!(gathered(&out), &model[..]);
        }
    }
}

fn publish(payload: &[u8]) -> Packet<'_> {
    Packet::Publish(Publish {
        dup: false,
        qos: Qos::AtMostOnce,
        retain: false,
        topic: TopicName::new("t").ok(),
        packet_id: None,
        properties: Properties::EMPTY,
        payload,
    })
}

#[test]
fn a_packet_over_the_limit_goes_alone() {
    let payload = [0; 100];
    let mut out = OutBuf::with_limit(50);
    assert_eq!(out.append(&publish(&payload), Version::V5), Ok(Append::Wrote));
    assert_eq!(out.append(&Packet::Pingreq, Version::V5), Ok(Append::Full));
    let len = out.len();
    out.advance(len - 1);
    assert_eq!(out.append(&publish(&payload), Version::V5), Ok(Append::Full));
    assert_eq!(out.append(&Packet::Pingreq, Version::V5), Ok(Append::Wrote));
    assert_eq!(out.len(), 3);
}

#[test]
fn big_allocations_go_when_all_is_sent() {
    let mut out = OutBuf::with_limit(1 << 20);
    out.put_slice(&[0; 100_000]);
    assert!(out.memory() >= 100_000);
    out.advance(100_000);
    assert_eq!(out.memory(), 0);
    out.put_slice(&[0; 100]);
    out.advance(100);
    assert!(out.memory() <= 16 * 1024);
    out.shrink();
    assert_eq!(out.memory(), 0);
}

#[test]
fn what_is_sent_does_not_pile_up() {
    let mut out = OutBuf::with_limit(1 << 20);
    let block: Arc<[u8]> = vec![7; 2000].into();
    out.put_slice(&[1; 10]);
    for _ in 0..100_000 {
        out.put_slice(&[2; 10]);
        out.put_shared(&block, 0..2000);
        out.advance(2010);
        assert_eq!(out.len(), 10);
    }
    assert!(out.memory() < 1000, "{}", out.memory());
}

#[test]
fn a_packet_that_cannot_be_sent_leaves_it_as_it_was() {
    let mut out = OutBuf::with_limit(100);
    let packet = Packet::Publish(Publish {
        dup: true,
        qos: Qos::AtMostOnce,
        retain: false,
        topic: TopicName::new("t").ok(),
        packet_id: None,
        properties: Properties::EMPTY,
        payload: b"",
    });
    assert!(out.append(&packet, Version::V5).is_err());
    assert!(out.is_empty());
}
