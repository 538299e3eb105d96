//! What can be decoded can be encoded again and comes back the same, from the wire's sections and from lists built by hand.
//!
//! The first byte says which version and which sender; the rest is one frame. From 0x80 on, the rest is what a valid packet is made of.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use mqtt_codec::{
    EncodeError, Filters, OwnedPacket, Packet, Properties, Property, Role, Subscription, Subscriptions, Version,
    frame_len,
};

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

fuzz_target!(|data: &[u8]| {
    let Some((&head, frame)) = data.split_first() else { return };
    let made =
        (head >= 0x80).then(|| OwnedPacket::arbitrary(&mut Unstructured::new(frame)).expect("never an invalid one"));
    let (version, from, frame) = match &made {
        Some(made) => (made.version(), made.from(), &made.as_bytes()[..]),
        None => {
            let from = if head / 3 % 2 == 0 { Role::Client } else { Role::Server };
            (VERSIONS[usize::from(head % 3)], from, frame)
        }
    };
    let Ok(packet) = Packet::decode(frame, version, from) else { return };

    let version = match &packet {
        Packet::Connect(connect) => connect.version, // it brings its own
        _ => version,
    };
    let good_filters = match &packet {
        Packet::Subscribe(subscribe) => subscribe.subscriptions.iter().all(|subscription| subscription.is_ok()),
        Packet::Unsubscribe(unsubscribe) => unsubscribe.filters.iter().all(|filter| filter.is_ok()),
        _ => true,
    };
    let mut out = Vec::new();
    let encoded = packet.encode(version, &mut out);
    if !good_filters {
        assert_eq!(encoded, Err(EncodeError::Invalid), "{packet:?}");
        return;
    }
    encoded.unwrap_or_else(|error| panic!("{packet:?}: {error}"));
    // the shortest form is never longer than what came
    assert!(out.len() <= frame.len());
    assert_eq!(packet.encoded_len(version), Ok(out.len()));
    assert_eq!(frame_len(&out, u32::MAX), Ok(Some(out.len())));
    let again = Packet::decode(&out, version, from).unwrap_or_else(|error| panic!("{packet:?}: {error}"));
    assert_eq!(again, packet);

    with_lists(&packet, |built| {
        assert_eq!(*built, packet);
        let mut bytes = Vec::new();
        built.encode(version, &mut bytes).unwrap_or_else(|error| panic!("{built:?}: {error}"));
        assert_eq!(bytes, out);
    });

    if let Some(small) = packet.fit(version, (out.len() / 2) as u32) {
        assert!(small.encoded_len(version).is_ok_and(|len| len <= out.len() / 2), "{small:?}");
    }
    // what another version lets pass is a packet there too
    for other in VERSIONS {
        let mut bytes = Vec::new();
        if !matches!(packet, Packet::Connect(_)) && packet.encode(other, &mut bytes).is_ok() {
            let either = [Role::Client, Role::Server].map(|from| Packet::decode(&bytes, other, from));
            assert!(either.iter().any(|decoded| decoded.is_ok()), "{packet:?} at {other:?}: {either:?}");
        }
    }
});

/// The packet with its lists taken to pieces and put together by hand.
fn with_lists(packet: &Packet<'_>, check: impl FnOnce(&Packet<'_>)) {
    let mut packet = *packet;
    let (own, will, subscriptions, filters);
    match &mut packet {
        Packet::Connect(connect) => {
            own = list(connect.properties);
            connect.properties = Properties::from_slice(&own);
            if let Some(of_packet) = &mut connect.will {
                will = list(of_packet.properties);
                of_packet.properties = Properties::from_slice(&will);
            }
        }
        Packet::Connack(packet) => {
            own = list(packet.properties);
            packet.properties = Properties::from_slice(&own);
        }
        Packet::Publish(packet) => {
            own = list(packet.properties);
            packet.properties = Properties::from_slice(&own);
        }
        Packet::Ack(packet) => {
            own = list(packet.properties);
            packet.properties = Properties::from_slice(&own);
        }
        Packet::Subscribe(packet) => {
            own = list(packet.properties);
            packet.properties = Properties::from_slice(&own);
            subscriptions = packet.subscriptions.iter().flatten().collect::<Vec<Subscription<'_>>>();
            packet.subscriptions = Subscriptions::from_slice(&subscriptions);
        }
        Packet::Unsubscribe(packet) => {
            own = list(packet.properties);
            packet.properties = Properties::from_slice(&own);
            filters = packet.filters.iter().flatten().collect::<Vec<_>>();
            packet.filters = Filters::from_slice(&filters);
        }
        Packet::Suback(packet) => {
            own = list(packet.properties);
            packet.properties = Properties::from_slice(&own);
        }
        Packet::Unsuback(packet) => {
            own = list(packet.properties);
            packet.properties = Properties::from_slice(&own);
        }
        Packet::Disconnect(packet) => {
            own = list(packet.properties);
            packet.properties = Properties::from_slice(&own);
        }
        Packet::Auth(packet) => {
            own = list(packet.properties);
            packet.properties = Properties::from_slice(&own);
        }
        Packet::Pingreq | Packet::Pingresp => {}
    }
    check(&packet);
}

fn list(properties: Properties<'_>) -> Vec<Property<'_>> {
    properties.iter().collect()
}
