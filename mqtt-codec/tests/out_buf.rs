//! The output buffer against a plain vector of bytes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]
use mqtt_codec::{Append, EncodeError, OutBuf, Packet, PacketId, Properties, Publish, Qos, TopicName, Version};
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

/// The bytes of `out`, and how many there are in each piece.
fn pieces(out: &OutBuf) -> (Vec<u8>, Vec<usize>) {
    let mut slices = [IoSlice::new(&[]); 8];
    let filled = out.chunks_vectored(&mut slices);
    (
        slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect(),
        slices[..filled].iter().map(|slice| slice.len()).collect(),
    )
}

#[test]
fn the_payload_of_a_publish_is_shared_and_never_copied() {
    let block: Arc<[u8]> = (0..=255).cycle().take(5000).collect();
    let publish = Publish {
        dup: false,
        qos: Qos::AtLeastOnce,
        retain: true,
        topic: Some(TopicName::new("a/b").unwrap()),
        packet_id: PacketId::new(9),
        properties: Properties::EMPTY,
        payload: b"is not looked at",
    };
    for version in [Version::V31, Version::V311, Version::V5] {
        for range in [0..5000, 10..4000, 0..1024, 0..1023, 7..7, 4000..6000] {
            let payload = block.get(range.clone()).unwrap_or_default();
            let mut whole = Vec::new();
            Packet::Publish(Publish { payload, ..publish }).encode(version, &mut whole).unwrap();
            let mut head = Vec::new();
            publish.encode_head(version, payload.len(), &mut head).unwrap();
            assert_eq!([&head[..], payload].concat(), whole, "{range:?}");

            let mut out = OutBuf::with_limit(10_000);
            assert_eq!(out.append_publish(&publish, version, &block, range.clone()), Ok(Append::Wrote));
            assert_eq!(out.append(&Packet::Pingreq, version), Ok(Append::Wrote));
            let (bytes, lengths) = pieces(&out);
            assert_eq!(bytes, [&whole[..], &[0xC0, 0x00]].concat(), "{range:?}");
            if payload.len() >= OutBuf::SHARE_FROM {
                assert_eq!(lengths, [head.len(), payload.len(), 2]);
                assert_eq!(Arc::strong_count(&block), 2);
                assert!(out.memory() < 500);
            } else {
                assert_eq!(lengths, [whole.len() + 2]);
                assert_eq!(Arc::strong_count(&block), 1);
            }
        }
    }
    // The limit counts the payload; what cannot be sent is not.
    let mut out = OutBuf::with_limit(100);
    assert_eq!(out.append(&Packet::Pingreq, Version::V5), Ok(Append::Wrote));
    assert_eq!(out.append_publish(&publish, Version::V5, &block, 0..2000), Ok(Append::Full));
    let wrong = Publish { packet_id: None, ..publish };
    assert_eq!(out.append_publish(&wrong, Version::V5, &block, 0..1), Err(EncodeError::Invalid));
    assert_eq!(wrong.encode_head(Version::V5, 1, &mut Vec::new()), Err(EncodeError::Invalid));
    assert_eq!(publish.encode_head(Version::V5, 1 << 28, &mut Vec::new()), Err(EncodeError::PacketTooLarge));
    let mut small = [0; 9];
    assert_eq!(publish.encode_head(Version::V5, 10, &mut &mut small[..]), Err(EncodeError::NoRoom));
    assert_eq!((out.len(), small), (2, [0; 9]));
    // Room for the head is enough.
    let mut exact = [0; 10];
    assert_eq!(publish.encode_head(Version::V5, 10, &mut &mut exact[..]), Ok(()));
    assert_eq!(exact[..2], [0x33, 18]);
}
