//! Messages: borrowed on the way in, one shared block when kept.
use crate::Instant;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::iter::repeat_n;
use core::ops::Range;
use mqtt_codec::{Properties, Property, Qos};
use mqtt_topic::{TopicName, TopicNameBuf};

/// What is published, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    /// Where.
    pub topic: TopicName<'a>,
    /// What.
    pub payload: &'a [u8],
    /// At which QoS.
    pub qos: Qos,
    /// Whether it is to be retained.
    pub retain: bool,
    /// As for PUBLISH (5.0). Topic Alias, Subscription Identifier and Will Delay Interval are never forwarded; Message Expiry Interval counts from now.
    pub properties: Properties<'a>,
}

impl<'a> Publication<'a> {
    /// QoS 0, not retained, no properties.
    pub fn new(topic: TopicName<'a>, payload: &'a [u8]) -> Self {
        Self { topic, payload, qos: Qos::AtMostOnce, retain: false, properties: Properties::EMPTY }
    }
}

/// A topic name, borrowed from the packet or out of the alias table.
#[derive(Clone, Debug)]
pub enum Topic<'p> {
    /// From the packet.
    Borrowed(TopicName<'p>),
    /// What an alias stood for.
    Aliased(TopicNameBuf),
}

impl Topic<'_> {
    /// The name.
    pub fn as_name(&self) -> TopicName<'_> {
        match self {
            Self::Borrowed(name) => *name,
            Self::Aliased(name) => name.as_name(),
        }
    }
}

/// A message that is kept: one exact-size shared block of topic, forwardable properties in wire form and payload. Cloning shares it.
///
/// # Examples
///
/// ```
/// use mqtt_session::{Instant, Message, Publication, topic::TopicName};
///
/// let topic = TopicName::new("home/temp").unwrap();
/// let message = Message::new(Instant::ZERO, &Publication::new(topic, b"21.5"));
/// assert_eq!(message.topic(), topic);
/// assert_eq!(message.payload(), b"21.5");
/// assert_eq!(message.expires(), None);
/// ```
#[derive(Clone)]
pub struct Message(Arc<[u8]>);

/// The head of a block: 8 bytes of expiry, 4 bytes of where the payload begins, 2 bytes of topic length.
const HEAD: usize = 14;
/// The expiry of a message that has none.
const NEVER: u64 = u64::MAX;

/// Where the parts of a block lie.
struct Layout {
    expires: u64,
    properties: usize,
    payload: usize,
}

impl Message {
    /// Copies `publication` once; its expiry counts from `now`.
    ///
    /// Correlation Data over 65,535 bytes, which no packet can hold, is left out.
    pub fn new(now: Instant, publication: &Publication<'_>) -> Self {
        let expires = publication.properties.message_expiry_interval().map(|seconds| now.plus_secs(seconds));
        Self::with_expiry(expires, publication)
    }

    /// As [`new`](Self::new), for a message whose expiry is known already.
    pub(crate) fn with_expiry(expires: Option<Instant>, publication: &Publication<'_>) -> Self {
        let topic = publication.topic.as_bytes();
        let expires = expires.map_or(NEVER, Instant::as_millis);
        let payload_at = HEAD.saturating_add(topic.len()).saturating_add(forwardable_len(publication.properties));
        // A zeroed block that is copied into: the only way to one allocation in safe code.
        let mut block: Arc<[u8]> = repeat_n(0, payload_at.saturating_add(publication.payload.len())).collect();
        if let Some(bytes) = Arc::get_mut(&mut block) {
            let mut fill = Fill(bytes);
            fill.put(&expires.to_le_bytes());
            fill.put(&u32::try_from(payload_at).unwrap_or(u32::MAX).to_le_bytes());
            fill.put(&u16::try_from(topic.len()).unwrap_or(u16::MAX).to_le_bytes());
            fill.put(topic);
            forwardable(publication.properties, |piece| fill.put(piece));
            fill.put(publication.payload);
        }
        Self(block)
    }

    /// The topic.
    pub fn topic(&self) -> TopicName<'_> {
        TopicName::from_checked(self.topic_bytes())
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        self.0.get(self.payload_range()).unwrap_or_default()
    }

    /// The forwardable properties, expiry not among them.
    pub fn properties(&self) -> Properties<'_> {
        Properties::from_wire_unchecked(self.forwardable())
    }

    /// When it expires.
    pub fn expires(&self) -> Option<Instant> {
        match self.layout().expires {
            NEVER => None,
            expires => Some(Instant::from_millis(expires)),
        }
    }

    /// Whether its expiry has come.
    pub fn is_expired(&self, now: Instant) -> bool {
        self.expires().is_some_and(|expires| expires <= now)
    }

    /// Bytes of the block: what it costs to keep.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// The Message Expiry Interval to send now, in seconds.
    pub(crate) fn expiry_interval(&self, now: Instant) -> Option<u32> {
        // v5 [MQTT-3.3.2-6]: what it was less the time it waited; rounded up, so that 0 never says "expired" too early.
        let left = self.expires()?.since(now).as_millis().div_ceil(1000);
        Some(u32::try_from(left).unwrap_or(u32::MAX))
    }

    pub(crate) fn topic_bytes(&self) -> &[u8] {
        self.0.get(HEAD..self.layout().properties).unwrap_or_default()
    }

    /// The forwardable properties in wire form, without their length.
    pub(crate) fn forwardable(&self) -> &[u8] {
        let layout = self.layout();
        self.0.get(layout.properties..layout.payload).unwrap_or_default()
    }

    pub(crate) fn payload_range(&self) -> Range<usize> {
        self.layout().payload..self.0.len()
    }

    pub(crate) fn block(&self) -> &Arc<[u8]> {
        &self.0
    }

    fn layout(&self) -> Layout {
        let Some(&[a, b, c, d, e, f, g, h, i, j, k, l, m, n]) = self.0.first_chunk::<HEAD>() else {
            return Layout { expires: NEVER, properties: HEAD, payload: HEAD };
        };
        Layout {
            expires: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            properties: HEAD + usize::from(u16::from_le_bytes([m, n])),
            payload: usize::try_from(u32::from_le_bytes([i, j, k, l])).unwrap_or(usize::MAX),
        }
    }
}

impl core::fmt::Debug for Message {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Message({:?}, {} bytes)", self.topic(), self.size())
    }
}

/// A message on its way to one client. What differs between subscribers lives here, so that nothing of the publisher's can leak.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What.
    pub message: Message,
    /// What few deliveries have: more than one subscription identifier, or a group they were shared out in.
    pub(crate) aside: Option<Arc<Aside>>,
    /// The only subscription identifier, 0 for none.
    pub(crate) id: u32,
    /// min(published, granted).
    pub qos: Qos,
    /// RETAIN as this subscriber is to see it.
    pub retain: bool,
    /// What another member of its group would be given it with: the publisher's QoS, and RETAIN as the bit above it.
    pub(crate) published: u8,
    /// How many members of its group had it before and lost their session.
    pub(crate) handovers: u8,
}

/// What is kept aside of a delivery.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    /// Subscription identifiers, if there is more than one.
    pub(crate) ids: Vec<u32>,
    /// The group, 0 for none.
    pub(crate) group: u64,
}

impl Delivery {
    /// A delivery without subscription identifiers.
    pub fn new(message: Message, qos: Qos, retain: bool) -> Self {
        Self { message, aside: None, id: 0, qos, retain, published: qos as u8, handovers: 0 }
    }

    /// As it is to be delivered. Of its expiry only the moment is kept, so it is not among the properties.
    pub fn publication(&self) -> Publication<'_> {
        let Self { message, qos, retain, .. } = self;
        let (topic, payload, properties) = (message.topic(), message.payload(), message.properties());
        Publication { topic, payload, qos: *qos, retain: *retain, properties }
    }

    /// What it costs to keep, in bytes: the message's block, shared or not, and the list of identifiers.
    pub fn cost(&self) -> usize {
        let ids = self.aside.as_ref().map_or(0, |aside| aside.ids.len().saturating_mul(size_of::<u32>()));
        self.message.size().saturating_add(ids)
    }

    /// With the identifiers of all matching subscriptions (5.0), repeats and all; they replace those it had.
    pub fn with_ids(mut self, ids: &[u32]) -> Self {
        (self.id, self.aside) = match ids {
            [] => (0, None),
            [id] => (*id, None),
            many => (0, Some(Arc::new(Aside { ids: many.to_vec(), group: 0 }))),
        };
        self
    }

    /// Its subscription identifiers.
    pub fn ids(&self) -> &[u32] {
        match &self.aside {
            Some(aside) if !aside.ids.is_empty() => &aside.ids,
            Some(_) | None if self.id == 0 => &[],
            Some(_) | None => core::slice::from_ref(&self.id),
        }
    }
}

/// Hands the wire form of the properties that are forwarded to `put`, piece by piece and in their order.
pub(crate) fn forwardable(properties: Properties<'_>, mut put: impl FnMut(&[u8])) {
    for property in properties.iter() {
        match property {
            // v5 [MQTT-3.3.2-4]: unaltered.
            Property::PayloadFormatIndicator(text) => put(&[0x01, u8::from(text)]),
            // v5 [MQTT-3.3.2-20].
            Property::ContentType(value) => put_string(0x03, value.as_bytes(), &mut put),
            // v5 [MQTT-3.3.2-15].
            Property::ResponseTopic(value) => put_string(0x08, value.as_bytes(), &mut put),
            // v5 [MQTT-3.3.2-16].
            Property::CorrelationData(value) => put_string(0x09, value, &mut put),
            // v5 [MQTT-3.3.2-17], v5 [MQTT-3.3.2-18]: all of them, in order.
            Property::UserProperty(name, value) => {
                put_string(0x26, name.as_bytes(), &mut put);
                put(&length(value.as_bytes()));
                put(value.as_bytes());
            }
            // Nothing else is forwarded: expiry is kept as a moment, alias and identifiers belong to one connection.
            _ => {}
        }
    }
}

/// Bytes of what [`forwardable`] hands out.
pub(crate) fn forwardable_len(properties: Properties<'_>) -> usize {
    if properties.is_empty() {
        return 0;
    }
    let mut len = 0_usize;
    forwardable(properties, |piece| len = len.saturating_add(piece.len()));
    len
}

fn put_string(id: u8, value: &[u8], put: &mut impl FnMut(&[u8])) {
    if u16::try_from(value.len()).is_ok() {
        let [high, low] = length(value);
        put(&[id, high, low]);
        put(value);
    }
}

fn length(value: &[u8]) -> [u8; 2] {
    u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes()
}

/// What of a new block is still to be written.
struct Fill<'a>(&'a mut [u8]);

impl Fill<'_> {
    fn put(&mut self, bytes: &[u8]) {
        if let Some((head, tail)) = core::mem::take(&mut self.0).split_at_mut_checked(bytes.len()) {
            head.copy_from_slice(bytes);
            self.0 = tail;
        }
    }
}
