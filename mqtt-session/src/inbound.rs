//! The receiving half of QoS 1 and QoS 2 delivery (section 4.3).
//!
//! ```text
//!        PUBLISH             host: < 0x80            PUBREL               host
//! QoS 2 ---------> Offered -------------> Answered ---------> Releasing ---------> forgotten
//!                     |       PUBREC                                     PUBCOMP
//!                     +----- host: >= 0x80 ---------------------------------------> forgotten
//!                             PUBREC
//! QoS 1 ---------> (no state: the same identifier again is a new message) --------> PUBACK
//! ```
//!
//! Answers leave in the order in which what they answer arrived, whichever the host finishes first.
use crate::AckToken;
use crate::error::Broken;
use crate::limits::Limits;
use alloc::collections::VecDeque;
use mqtt_codec::{AckKind, PacketId, Qos, ReasonCode, Version};

/// Answers that are owed on this connection.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    /// In order of arrival.
    answers: VecDeque<Answer>,
    /// The sequence number of the first answer.
    first: u32,
    /// Answers that only wait to be sent.
    ready: u32,
    /// Messages counted against our Receive Maximum.
    unfinished: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) kind: AckKind,
    pub(crate) id: PacketId,
    /// `None` while the host has not answered.
    reason: Option<ReasonCode>,
    /// Once sent, one message less is unfinished.
    finishes: bool,
}

/// Identifiers of QoS 2 messages received and not released: session state (section 4.1).
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Sorted by identifier.
    ids: VecDeque<Entry>,
    /// How many of them are being released.
    releasing: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    id: PacketId,
    stage: Stage,
    /// Counted against our Receive Maximum on this connection.
    counted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// With the host.
    Offered,
    /// The host's own, though it has not answered.
    Taken,
    Answered,
    Releasing,
}

/// What a PUBLISH or PUBREL is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    New(AckToken),
    /// Nothing for the host.
    Repeated,
}

impl Inbound {
    /// A PUBLISH has come.
    pub(crate) fn publish(
        &mut self,
        qos: Qos,
        id: Option<PacketId>,
        received: &mut Received,
        limits: &Limits,
    ) -> Result<Arrival, Broken> {
        // v5 [MQTT-3.3.4-1], v4 [MQTT-3.3.4-1]: no answer, PUBACK or PUBREC.
        let (kind, id) = match (qos, id) {
            (Qos::AtMostOnce, _) | (_, None) => return Ok(Arrival::New(AckToken(None))),
            // v5 [MQTT-4.3.2-5], v4 [MQTT-4.3.2-2]: whatever DUP says, it is a new message.
            (Qos::AtLeastOnce, Some(id)) => (AckKind::Puback, id),
            (Qos::ExactlyOnce, Some(id)) => (AckKind::Pubrec, id),
        };
        if kind == AckKind::Pubrec {
            match received.stage(id) {
                // v5 [MQTT-4.3.3-10], v4 [MQTT-4.3.3-2]: PUBREC again, and the host does not see it again.
                Some(Stage::Answered | Stage::Releasing) => {
                    self.owe(AckKind::Pubrec, id, Some(ReasonCode::SUCCESS));
                    return Ok(Arrival::Repeated);
                }
                // The one answer that is owed will do.
                Some(Stage::Offered | Stage::Taken) => return Ok(Arrival::Repeated),
                None => {}
            }
        }
        // v5 [X5-PUB-6], v5 [MQTT-3.3.4-7]: no more than we said; enforced before 5.0 too, where it only closes. Those of
        // earlier connections count until they are released: a peer that never releases cannot gather identifiers.
        let maximum = limits.receive_maximum;
        if self.unfinished >= u32::from(maximum) || (kind == AckKind::Pubrec && received.held() >= usize::from(maximum))
        {
            return Err(("v5 [MQTT-3.3.4-7]", ReasonCode::RECEIVE_MAXIMUM_EXCEEDED));
        }
        self.unfinished += 1;
        if kind == AckKind::Pubrec {
            received.insert(id);
        }
        Ok(Arrival::New(self.owe(kind, id, None)))
    }

    /// A PUBREL has come.
    pub(crate) fn release(
        &mut self,
        id: PacketId,
        received: &mut Received,
        version: Version,
    ) -> Result<Arrival, Broken> {
        match received.stage(id) {
            Some(Stage::Answered) => {
                received.set_stage(id, Stage::Releasing);
                Ok(Arrival::New(self.owe(AckKind::Pubcomp, id, None)))
            }
            Some(Stage::Releasing) => Ok(Arrival::Repeated),
            Some(Stage::Offered | Stage::Taken) => Err(("v5 [MQTT-4.3.3-4]", ReasonCode::PROTOCOL_ERROR)),
            None => {
                // v5 [X5-ACK-3], v5 [MQTT-4.3.3-11]: 0x92; before 5.0 a plain PUBCOMP.
                let reason =
                    if version == Version::V5 { ReasonCode::PACKET_IDENTIFIER_NOT_FOUND } else { ReasonCode::SUCCESS };
                self.owe(AckKind::Pubcomp, id, Some(reason));
                Ok(Arrival::Repeated)
            }
        }
    }

    /// The host answers.
    pub(crate) fn acknowledge(
        &mut self,
        token: AckToken,
        reason: ReasonCode,
        received: &mut Received,
        version: Version,
    ) {
        let Some(answer) = self.waiting(token) else { return };
        // Before 5.0 an answer has no reason: the exchange goes on, and the host keeps the message to itself.
        let refused = reason.is_error() && version == Version::V5;
        let (kind, id) = (answer.kind, answer.id);
        match kind {
            AckKind::Puback | AckKind::Pubrec => answer.reason = Some(allowed(reason)),
            AckKind::Pubcomp | AckKind::Pubrel => answer.reason = Some(ReasonCode::SUCCESS),
        }
        match kind {
            // Before 5.0 nobody was told of a maximum: there it bounds what the host holds, not what waits for the socket.
            AckKind::Puback => answer.finishes = version == Version::V5,
            // v5 [MQTT-4.3.3-9]: refused, so that the same identifier is a new message.
            AckKind::Pubrec if refused => answer.finishes = received.remove(id).is_some_and(|entry| entry.counted),
            AckKind::Pubrec => received.set_stage(id, Stage::Answered),
            // v5 [MQTT-4.3.3-12], v4 [MQTT-4.3.3-2]: from here on the same identifier is a new message.
            AckKind::Pubcomp | AckKind::Pubrel => {
                answer.finishes = received.remove(id).is_some_and(|entry| entry.counted)
            }
        }
        if kind == AckKind::Puback && version != Version::V5 {
            self.unfinished = self.unfinished.saturating_sub(1);
        }
        self.ready += 1;
    }

    /// The host owns the message, and will answer later.
    pub(crate) fn take(&mut self, token: AckToken, received: &mut Received) {
        if let Some(&mut Answer { kind: AckKind::Pubrec, id, .. }) = self.waiting(token) {
            received.set_stage(id, Stage::Taken);
        }
    }

    /// The answer to be sent next, and its reason.
    pub(crate) fn next_answer(&self) -> Option<(Answer, ReasonCode)> {
        // v5 [MQTT-4.6.0-2], v5 [MQTT-4.6.0-3], v4 [MQTT-4.6.0-2], v4 [MQTT-4.6.0-3]: an answer waits for those before it.
        let answer = self.answers.front()?;
        Some((*answer, answer.reason?))
    }

    /// That answer was sent.
    pub(crate) fn sent(&mut self) {
        if let Some(answer) = self.answers.pop_front() {
            self.first = self.first.wrapping_add(1);
            self.ready = self.ready.saturating_sub(u32::from(answer.reason.is_some()));
            self.unfinished = self.unfinished.saturating_sub(u32::from(answer.finishes));
        }
    }

    /// Answers that only wait to be sent, or for one before them.
    pub(crate) fn ready(&self) -> usize {
        usize::try_from(self.ready).unwrap_or(usize::MAX)
    }

    /// Answers that wait for the host.
    pub(crate) fn waiting_len(&self) -> usize {
        self.answers.len().saturating_sub(self.ready())
    }

    /// Gives the memory back if nothing is in it.
    pub(crate) fn shrink(&mut self) {
        if self.answers.is_empty() {
            self.answers = VecDeque::new();
        }
    }

    pub(crate) fn memory(&self) -> usize {
        self.answers.capacity() * size_of::<Answer>()
    }

    /// The answer that `token` names, if the host has not given it.
    fn waiting(&mut self, token: AckToken) -> Option<&mut Answer> {
        let position = token.0?.wrapping_sub(self.first);
        self.answers.get_mut(usize::try_from(position).ok()?).filter(|answer| answer.reason.is_none())
    }

    fn owe(&mut self, kind: AckKind, id: PacketId, reason: Option<ReasonCode>) -> AckToken {
        let sequence = u32::try_from(self.answers.len()).unwrap_or(u32::MAX);
        self.ready += u32::from(reason.is_some());
        self.answers.push_back(Answer { kind, id, reason, finishes: false });
        AckToken(Some(self.first.wrapping_add(sequence)))
    }
}

/// A reason that PUBACK and PUBREC have: the nearest one.
fn allowed(reason: ReasonCode) -> ReasonCode {
    match reason {
        ReasonCode::NO_MATCHING_SUBSCRIBERS
        | ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR
        | ReasonCode::NOT_AUTHORIZED
        | ReasonCode::TOPIC_NAME_INVALID
        | ReasonCode::PACKET_IDENTIFIER_IN_USE
        | ReasonCode::QUOTA_EXCEEDED
        | ReasonCode::PAYLOAD_FORMAT_INVALID => reason,
        other if other.is_error() => ReasonCode::UNSPECIFIED_ERROR,
        _ => ReasonCode::SUCCESS,
    }
}

impl Received {
    /// The connection is over: what the host did not take will come again.
    pub(crate) fn detach(&mut self) {
        self.ids.retain(|entry| entry.stage != Stage::Offered);
        for entry in &mut self.ids {
            (entry.stage, entry.counted) = (Stage::Answered, false);
        }
        self.releasing = 0;
    }

    /// The peer has lost the session.
    pub(crate) fn restart(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Gives the memory back if nothing is in it.
    pub(crate) fn shrink(&mut self) {
        if self.ids.is_empty() {
            self.ids = VecDeque::new();
        }
    }

    pub(crate) fn memory(&self) -> usize {
        self.ids.capacity() * size_of::<Entry>()
    }

    /// Messages whose release has not come.
    fn held(&self) -> usize {
        self.ids.len().saturating_sub(self.releasing)
    }

    fn position(&self, id: PacketId) -> Result<usize, usize> {
        self.ids.binary_search_by_key(&id, |entry| entry.id)
    }

    fn stage(&self, id: PacketId) -> Option<Stage> {
        self.ids.get(self.position(id).ok()?).map(|entry| entry.stage)
    }

    fn set_stage(&mut self, id: PacketId, stage: Stage) {
        if let Some(entry) = self.position(id).ok().and_then(|at| self.ids.get_mut(at)) {
            self.releasing += usize::from(stage == Stage::Releasing);
            entry.stage = stage; // nothing leads back from `Releasing` but the end
        }
    }

    fn insert(&mut self, id: PacketId) {
        if let Err(at) = self.position(id) {
            self.ids.insert(at, Entry { id, stage: Stage::Offered, counted: true });
        }
    }

    fn remove(&mut self, id: PacketId) -> Option<Entry> {
        let entry = self.ids.remove(self.position(id).ok()?)?;
        self.releasing = self.releasing.saturating_sub(usize::from(entry.stage == Stage::Releasing));
        Some(entry)
    }
}
