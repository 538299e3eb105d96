//! SUBSCRIBE and UNSUBSCRIBE and their answers (sections 3.8 to 3.11).
use crate::control::Control;
use crate::error::{Broken, RequestError};
use crate::limits::Limits;
use crate::outbound::{Outbound, Request};
use crate::{Answered, RequestToken};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use mqtt_codec::{
    Filters as FilterSection, Packet, PacketId, Properties, Property, ReasonCode, ReasonCodes, Suback, Subscribe,
    Subscription, Subscriptions, TopicFilter, Unsuback, Unsubscribe, Version,
};

// --- the server's end ------------------------------------------------------------------------------------------------

/// Judges a SUBSCRIBE as a whole, before the host sees any of it.
pub(crate) fn judge_subscribe(subscribe: &Subscribe<'_>, limits: &Limits) -> Result<(), Broken> {
    let v5 = limits.version == Version::V5;
    // v5 [X5-CACK-8].
    if v5 && !limits.offer.subscription_ids && has_subscription_id(subscribe.properties.iter()) {
        return Err(("v5 [X5-CACK-8]", ReasonCode::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED));
    }
    for subscription in subscribe.subscriptions.iter() {
        let subscription = subscription.map_err(|_| BAD_FILTER)?;
        if v5 {
            judge_filter(&subscription, limits)?;
        }
    }
    Ok(())
}

/// Judges an UNSUBSCRIBE in the same way.
pub(crate) fn judge_unsubscribe(unsubscribe: &Unsubscribe<'_>) -> Result<(), Broken> {
    unsubscribe.filters.iter().try_for_each(|filter| filter.map(|_| ()).map_err(|_| BAD_FILTER))
}

/// v5 [MQTT-4.7.1-1], v5 [MQTT-4.7.1-2], v4 [MQTT-4.7.1-2], v4 [MQTT-4.7.1-3].
const BAD_FILTER: Broken = ("v5 [MQTT-4.7.1-1]", ReasonCode::MALFORMED_PACKET);

fn judge_filter(subscription: &Subscription<'_>, limits: &Limits) -> Result<(), Broken> {
    let shared = is_shared(subscription.filter);
    if shared && !limits.offer.shared {
        return Err(("v5 [X5-CACK-9]", ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED));
    }
    if shared && subscription.options.no_local {
        return Err(("v5 [MQTT-3.8.3-4]", ReasonCode::PROTOCOL_ERROR));
    }
    if !limits.offer.wildcards && subscription.filter.has_wildcard() {
        return Err(("v5 [X5-CACK-7]", ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED));
    }
    Ok(())
}

fn is_shared(filter: TopicFilter<'_>) -> bool {
    filter.as_bytes().starts_with(b"$share/")
}

fn has_subscription_id<'a>(mut properties: impl Iterator<Item = Property<'a>>) -> bool {
    properties.any(|property| matches!(property, Property::SubscriptionIdentifier(_)))
}

/// Queues a SUBACK; `false` if the client cannot take it.
///
/// v5 [MQTT-3.8.4-1], v5 [MQTT-3.8.4-5], v4 [MQTT-3.8.4-1], v4 [MQTT-3.8.4-4]: one for the whole SUBSCRIBE, whatever came of its filters.
/// v5 [MQTT-3.2.2-10]: any QoS is granted, though less may be published.
/// v5 [MQTT-3.8.4-2], v5 [MQTT-2.2.1-6], v4 [MQTT-3.8.4-2], v4 [MQTT-2.3.1-7]: with the identifier of the SUBSCRIBE.
/// v5 [MQTT-3.8.4-6], v5 [MQTT-3.9.3-1], v4 [MQTT-3.8.4-5], v4 [MQTT-3.9.3-1]: one code for each filter, in their order.
pub(crate) fn suback(
    control: &mut Control,
    limits: &Limits,
    packet_id: PacketId,
    codes: &[ReasonCode],
    properties: Properties<'_>,
) -> bool {
    let codes: Vec<u8> = codes.iter().map(|code| map_code(code.0, limits.version)).collect();
    let properties = diagnosed(properties, limits);
    control.push(&Packet::Suback(Suback { packet_id, properties, codes: ReasonCodes::new(&codes) }), limits)
}

/// A code as the version knows it.
fn map_code(code: u8, version: Version) -> u8 {
    match (version, code) {
        (_, 0..=2) => code,
        // v5 [MQTT-3.8.4-7].
        (Version::V5, 0x80 | 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2) => code,
        // v4 [MQTT-3.8.4-5]: one code for every failure.
        (Version::V5 | Version::V311, _) => 0x80,
        // 3.1 has no word for a failure (v3 [X31-SUB-1]): QoS 0 is granted, and nothing will come.
        (Version::V31, _) => 0,
    }
}

/// Queues an UNSUBACK; `false` if the client cannot take it.
///
/// v5 [MQTT-3.10.4-4], v5 [MQTT-3.10.4-6], v4 [MQTT-3.10.4-5], v4 [MQTT-3.10.4-6]: one for the whole UNSUBSCRIBE, whatever was there.
/// v5 [MQTT-3.10.4-5], v4 [MQTT-3.10.4-4]: with the identifier of the UNSUBSCRIBE.
/// v5 [MQTT-3.11.3-1]: one code for each filter, in their order; none before 5.0.
pub(crate) fn unsuback(
    control: &mut Control,
    limits: &Limits,
    packet_id: PacketId,
    codes: &[ReasonCode],
    properties: Properties<'_>,
) -> bool {
    let codes: Vec<u8> = match limits.version {
        Version::V31 | Version::V311 => Vec::new(),
        Version::V5 => codes
            .iter()
            .map(|code| match code.0 {
                0 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91 => code.0,
                1.. => 0x80,
            })
            .collect(),
    };
    let properties = diagnosed(properties, limits);
    control.push(&Packet::Unsuback(Unsuback { packet_id, properties, codes: ReasonCodes::new(&codes) }), limits)
}

/// v5 [MQTT-3.1.2-29]: no Reason String and no User Property for a client that wants none.
fn diagnosed<'a>(properties: Properties<'a>, limits: &Limits) -> Properties<'a> {
    match limits.version {
        Version::V5 if limits.asked.problem_information => properties,
        Version::V5 => properties.without_diagnostics(),
        Version::V31 | Version::V311 => Properties::EMPTY,
    }
}

// --- the client's end ------------------------------------------------------------------------------------------------

/// Queues a SUBSCRIBE and gives its identifier.
pub(crate) fn subscribe(
    control: &mut Control,
    outbound: &mut Outbound,
    limits: &mut Limits,
    subscriptions: &[Subscription<'_>],
    properties: &[Property<'_>],
) -> Result<PacketId, RequestError> {
    let offered = subscriptions.iter().all(|subscription| {
        limits.version != Version::V5
            || (judge_filter(subscription, limits).is_ok() && subscription.filter.shared().is_ok())
    });
    if !offered || (!limits.offer.subscription_ids && has_subscription_id(properties.iter().copied())) {
        return Err(RequestError::Invalid);
    }
    let packet_id = outbound.next_id().ok_or(RequestError::Full)?;
    let packet = Subscribe {
        packet_id,
        properties: Properties::from_slice(properties),
        subscriptions: Subscriptions::from_slice(subscriptions),
    };
    let filters = FilterList::new(subscriptions.iter().map(|subscription| subscription.filter));
    request(control, outbound, limits, &Packet::Subscribe(packet), Request::Subscribe, filters)
}

/// Queues an UNSUBSCRIBE and gives its identifier.
pub(crate) fn unsubscribe(
    control: &mut Control,
    outbound: &mut Outbound,
    limits: &mut Limits,
    filters: &[TopicFilter<'_>],
    properties: &[Property<'_>],
) -> Result<PacketId, RequestError> {
    let packet_id = outbound.next_id().ok_or(RequestError::Full)?;
    let packet = Unsubscribe {
        packet_id,
        properties: Properties::from_slice(properties),
        filters: FilterSection::from_slice(filters),
    };
    let list = FilterList::new(filters.iter().copied());
    request(control, outbound, limits, &Packet::Unsubscribe(packet), Request::Unsubscribe, list)
}

fn request(
    control: &mut Control,
    outbound: &mut Outbound,
    limits: &mut Limits,
    packet: &Packet<'_>,
    request: Request,
    filters: FilterList,
) -> Result<PacketId, RequestError> {
    let size = packet.encoded_len(limits.version).map_err(|_| RequestError::Invalid)?;
    if !limits.fits(size) {
        return Err(RequestError::TooLarge);
    }
    if !limits.rare_mut().requested.has_room(&filters) {
        return Err(RequestError::Full);
    }
    let id = outbound.begin_request(request).ok_or(RequestError::Full)?;
    limits.rare_mut().requested.insert(id, filters);
    control.push(packet, limits);
    Ok(id)
}

/// Takes the answer: as many codes as there were filters (none in an UNSUBACK before 5.0).
pub(crate) fn answered<'p>(
    outbound: &mut Outbound,
    limits: &mut Limits,
    request: Request,
    packet_id: PacketId,
    codes: ReasonCodes<'p>,
    properties: Properties<'p>,
) -> Result<Answered<'p>, Broken> {
    if !outbound.end_request(packet_id, request) {
        return Err(("v5 [MQTT-2.2.1-6]", ReasonCode::PROTOCOL_ERROR));
    }
    let filters = limits.rare_mut().requested.remove(packet_id);
    match request {
        // v5 [MQTT-3.8.4-6], v5 [MQTT-3.9.3-1], v4 [MQTT-3.8.4-5], v4 [MQTT-3.9.3-1].
        Request::Subscribe if codes.len() != filters.len() => Err(("v5 [MQTT-3.9.3-1]", ReasonCode::PROTOCOL_ERROR)),
        // v5 [MQTT-3.11.3-1].
        Request::Unsubscribe if limits.version == Version::V5 && codes.len() != filters.len() => {
            Err(("v5 [MQTT-3.11.3-1]", ReasonCode::PROTOCOL_ERROR))
        }
        Request::Subscribe | Request::Unsubscribe => {
            Ok(Answered { token: RequestToken(packet_id), codes, properties, filters })
        }
    }
}

/// Filters of requests that were not answered yet: of the connection, as the requests are.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    of: BTreeMap<PacketId, FilterList>,
    bytes: usize,
}

/// Filters, back to back, each behind its length.
#[derive(Clone, Debug, Default)]
pub(crate) struct FilterList(Box<[u8]>);

/// How many bytes of filters may be unanswered; a single request may have more.
const UNANSWERED: usize = 1 << 18;

impl Filters {
    fn has_room(&self, filters: &FilterList) -> bool {
        self.bytes == 0 || self.bytes.saturating_add(filters.0.len()) <= UNANSWERED
    }

    fn insert(&mut self, id: PacketId, filters: FilterList) {
        self.bytes += filters.0.len();
        self.of.insert(id, filters);
    }

    fn remove(&mut self, id: PacketId) -> FilterList {
        let filters = self.of.remove(&id).unwrap_or_default();
        self.bytes = self.bytes.saturating_sub(filters.0.len());
        filters
    }

    pub(crate) fn memory(&self) -> usize {
        self.bytes + self.of.len() * (size_of::<PacketId>() + size_of::<FilterList>())
    }
}

impl FilterList {
    fn new<'f>(filters: impl Iterator<Item = TopicFilter<'f>>) -> Self {
        let mut bytes = Vec::new();
        for filter in filters {
            let filter = filter.as_bytes();
            bytes.extend_from_slice(&u16::try_from(filter.len()).unwrap_or(u16::MAX).to_be_bytes());
            bytes.extend_from_slice(filter);
        }
        Self(bytes.into())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = TopicFilter<'_>> {
        let mut rest = &*self.0;
        core::iter::from_fn(move || {
            let (&len, behind) = rest.split_first_chunk::<2>()?;
            let (filter, behind) = behind.split_at_checked(u16::from_be_bytes(len).into())?;
            rest = behind;
            TopicFilter::from_bytes(filter).ok()
        })
    }

    fn len(&self) -> usize {
        self.iter().count()
    }
}
