//! Shared subscriptions as a session sees them (section 4.8.2): the group a delivery came from, and what the end of a session gives back.
use crate::message::Aside;
use crate::{Delivery, Session};
use alloc::sync::Arc;
use alloc::vec::Vec;
use mqtt_codec::Qos;

/// Marks the deliveries of one shared subscription, `$share/{group}/{filter}`. Cloning shares it.
///
/// The number is the host's own and means something to that host alone, as long as it runs. Records have it as it is: a host that gives
/// numbers anew when it starts marks what it has read back anew too ([`Session::mark_shared`]).
///
/// # Examples
///
/// ```
/// use mqtt_session::{Delivery, Instant, Message, Publication, QueueLimits, Session, Share, codec::Qos, topic::TopicName};
///
/// let limits = QueueLimits { messages: 10, bytes: 1_000_000 };
/// let workers = Share::new(7);
/// let message = Message::new(Instant::ZERO, &Publication::new(TopicName::new("jobs").unwrap(), b"1"));
/// let mut session = Session::new();
/// let delivery = Delivery::new(message, Qos::AtLeastOnce, false).shared(&workers, Qos::ExactlyOnce, false, 0);
/// session.deliver(delivery, &limits).unwrap();
///
/// // the session ends: what it had for the group is for another member
/// let back = session.into_shared();
/// assert_eq!(back[0].share(), Some(7));
/// assert_eq!(back[0].published(), (Qos::ExactlyOnce, false));
/// ```
#[derive(Clone, Debug)]
pub struct Share(pub(crate) Arc<Aside>);

/// The bit above the QoS.
const RETAIN: u8 = 4;

impl Share {
    /// The group that the host calls `number`; 0 stands for none.
    pub fn new(number: u64) -> Self {
        Self(Arc::new(Aside { ids: Vec::new(), group: number }))
    }

    /// The host's number of the group.
    pub fn number(&self) -> u64 {
        self.0.group
    }
}

impl Delivery {
    /// Marks it as shared out to a member of a group, with what another member would be given it with: the QoS and RETAIN it was
    /// published with, and how many members had it before. Such a delivery has one subscription identifier at most ([X5-PUB-10]).
    pub fn shared(mut self, share: &Share, qos: Qos, retain: bool, handovers: u8) -> Self {
        self.aside = Some(Arc::clone(&share.0));
        self.published = qos as u8 | if retain { RETAIN } else { 0 };
        self.handovers = handovers;
        self
    }

    /// The number of the group it was shared out in.
    pub fn share(&self) -> Option<u64> {
        self.aside.as_ref().map(|aside| aside.group).filter(|group| *group != 0)
    }

    /// The QoS and RETAIN of the publisher, if it was shared out.
    pub fn published(&self) -> (Qos, bool) {
        let qos = match self.published & !RETAIN {
            0 => Qos::AtMostOnce,
            1 => Qos::AtLeastOnce,
            _ => Qos::ExactlyOnce,
        };
        (qos, self.published & RETAIN != 0)
    }

    /// How many members of its group had it before and lost their session.
    pub fn handovers(&self) -> u8 {
        self.handovers
    }
}

impl Session {
    /// Ends the session; what it had for groups comes back in its order: QoS 1 in flight, and what was never sent.
    ///
    /// QoS 2 that was begun ends with the session (v5 [MQTT-4.8.2-5]); QoS 0 is no part of a session.
    pub fn into_shared(self) -> Vec<Delivery> {
        self.outbound.into_shared()
    }

    /// Marks all that was shared out anew, in flight or waiting: `share` is asked for each with the number it has; without an answer it
    /// is for this member alone. For a session that was restored, before it records changes: the records that follow it know the
    /// new numbers only. Takes time for all that is kept.
    pub fn mark_shared(&mut self, share: impl FnMut(u64) -> Option<Share>) {
        self.outbound.mark_shared(share);
    }

    /// Takes out what waits for the group `number` and was never sent, in its order; what is in flight stays (v5 [MQTT-3.10.4-3]).
    ///
    /// Takes time for the whole queue.
    pub fn take_shared(&mut self, number: u64) -> Vec<Delivery> {
        self.outbound.take_shared(number)
    }
}
