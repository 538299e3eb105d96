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
use crate::error::Broken;
use crate::journal::{Change, Held};
use crate::limits::Limits;
use crate::{AckToken, Session};
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
    /// Answers that wait until what they rest on is stored.
    held: u32,
    /// Messages counted against our Receive Maximum.
    unfinished: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) kind: AckKind,
    pub(crate) id: PacketId,
    reply: Reply,
    /// Once sent, one message less is unfinished.
    finishes: bool,
}

/// What the host has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    Awaited,
    /// To be sent when what it rests on is stored.
    Held(ReasonCode),
    Given(ReasonCode),
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
        session: &mut Session,
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
            match session.received.stage(id) {
                // v5 [MQTT-4.3.3-10], v4 [MQTT-4.3.3-2]: PUBREC again, and the host does not see it again.
                Some(Stage::Answered | Stage::Releasing) => {
                    let token = self.owe(AckKind::Pubrec, id);
                    self.give(token, ReasonCode::SUCCESS, session);
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
        if self.unfinished >= u32::from(maximum)
            || (kind == AckKind::Pubrec && session.received.held() >= usize::from(maximum))
        {
            return Err(("v5 [MQTT-3.3.4-7]", ReasonCode::RECEIVE_MAXIMUM_EXCEEDED));
        }
        self.unfinished += 1;
        if kind == AckKind::Pubrec {
            session.received.insert(id, Stage::Offered, true);
        }
        Ok(Arrival::New(self.owe(kind, id)))
    }

    /// A PUBREL has come.
    pub(crate) fn release(&mut self, id: PacketId, session: &mut Session, version: Version) -> Result<Arrival, Broken> {
        match session.received.stage(id) {
            Some(Stage::Answered) => {
                session.received.set_stage(id, Stage::Releasing);
                Ok(Arrival::New(self.owe(AckKind::Pubcomp, id)))
            }
            Some(Stage::Releasing) => Ok(Arrival::Repeated),
            Some(Stage::Offered | Stage::Taken) => Err(("v5 [MQTT-4.3.3-4]", ReasonCode::PROTOCOL_ERROR)),
            None => {
                // v5 [X5-ACK-3], v5 [MQTT-4.3.3-11]: 0x92; before 5.0 a plain PUBCOMP.
                let reason =
                    if version == Version::V5 { ReasonCode::PACKET_IDENTIFIER_NOT_FOUND } else { ReasonCode::SUCCESS };
                let token = self.owe(AckKind::Pubcomp, id);
                self.give(token, reason, session);
                Ok(Arrival::Repeated)
            }
        }
    }

    /// The host answers.
    pub(crate) fn acknowledge(&mut self, token: AckToken, reason: ReasonCode, session: &mut Session, version: Version) {
        let Some(answer) = self.answer(token, |reply| reply == Reply::Awaited) else { return };
        // Before 5.0 an answer has no reason: the exchange goes on, and the host keeps the message to itself.
        let refused = reason.is_error() && version == Version::V5;
        let (kind, id) = (answer.kind, answer.id);
        match kind {
            // Before 5.0 nobody was told of a maximum: there it bounds what the host holds, not what waits for the socket.
            AckKind::Puback => answer.finishes = version == Version::V5,
            // v5 [MQTT-4.3.3-9]: refused, so that the same identifier is a new message.
            AckKind::Pubrec if refused => answer.finishes = session.forget_received(id),
            AckKind::Pubrec => session.note_received(id, Stage::Answered),
            // v5 [MQTT-4.3.3-12], v4 [MQTT-4.3.3-2]: from here on the same identifier is a new message.
            AckKind::Pubcomp | AckKind::Pubrel => answer.finishes = session.forget_received(id),
        }
        let reason = match kind {
            AckKind::Puback | AckKind::Pubrec => allowed(reason),
            AckKind::Pubcomp | AckKind::Pubrel => ReasonCode::SUCCESS,
        };
        if must_wait(kind, token, session) {
            answer.reply = Reply::Held(reason);
            self.held += 1;
        } else {
            answer.reply = Reply::Given(reason);
            self.ready += 1;
        }
        if kind == AckKind::Puback && version != Version::V5 {
            self.unfinished = self.unfinished.saturating_sub(1);
        }
    }

    /// An answer that the host need not give.
    fn give(&mut self, token: AckToken, reason: ReasonCode, session: &mut Session) {
        let Some(answer) = self.answer(token, |reply| reply == Reply::Awaited) else { return };
        if must_wait(answer.kind, token, session) {
            answer.reply = Reply::Held(reason);
            self.held += 1;
        } else {
            answer.reply = Reply::Given(reason);
            self.ready += 1;
        }
    }

    /// What an answer rests on is stored.
    pub(crate) fn give_held(&mut self, token: AckToken) {
        let Some(answer) = self.answer(token, |reply| matches!(reply, Reply::Held(_))) else { return };
        if let Reply::Held(reason) = answer.reply {
            answer.reply = Reply::Given(reason);
            self.held = self.held.saturating_sub(1);
            self.ready += 1;
        }
    }

    /// The host owns the message, and will answer later.
    pub(crate) fn take(&mut self, token: AckToken, session: &mut Session) {
        if let Some(&mut Answer { kind: AckKind::Pubrec, id, .. }) = self.answer(token, |reply| reply == Reply::Awaited)
        {
            session.note_received(id, Stage::Taken);
        }
    }

    /// The host does not own the message after all.
    pub(crate) fn give_back(&mut self, token: AckToken, session: &mut Session) {
        if let Some(&mut Answer { kind: AckKind::Pubrec, id, .. }) = self.answer(token, |reply| reply == Reply::Awaited)
        {
            session.unnote_received(id);
        }
    }

    /// The answer to be sent next, and its reason.
    pub(crate) fn next_answer(&self) -> Option<(Answer, ReasonCode)> {
        // v5 [MQTT-4.6.0-2], v5 [MQTT-4.6.0-3], v4 [MQTT-4.6.0-2], v4 [MQTT-4.6.0-3]: an answer waits for those before it.
        let answer = self.answers.front()?;
        match answer.reply {
            Reply::Given(reason) => Some((*answer, reason)),
            Reply::Awaited | Reply::Held(_) => None,
        }
    }

    /// That answer was sent.
    pub(crate) fn sent(&mut self) {
        if let Some(answer) = self.answers.pop_front() {
            self.first = self.first.wrapping_add(1);
            self.ready = self.ready.saturating_sub(u32::from(matches!(answer.reply, Reply::Given(_))));
            self.unfinished = self.unfinished.saturating_sub(u32::from(answer.finishes));
        }
    }

    /// Answers that only wait to be sent, or for one before them.
    pub(crate) fn ready(&self) -> usize {
        usize::try_from(self.ready).unwrap_or(usize::MAX)
    }

    /// Answers that wait for the host.
    pub(crate) fn waiting_len(&self) -> usize {
        self.answers.len().saturating_sub(self.ready() + usize::try_from(self.held).unwrap_or(usize::MAX))
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

    /// The answer that `token` names, if it stands so.
    fn answer(&mut self, token: AckToken, stands: impl FnOnce(Reply) -> bool) -> Option<&mut Answer> {
        let position = token.0?.wrapping_sub(self.first);
        self.answers.get_mut(usize::try_from(position).ok()?).filter(|answer| stands(answer.reply))
    }

    fn owe(&mut self, kind: AckKind, id: PacketId) -> AckToken {
        let sequence = u32::try_from(self.answers.len()).unwrap_or(u32::MAX);
        self.answers.push_back(Answer { kind, id, reply: Reply::Awaited, finishes: false });
        AckToken(Some(self.first.wrapping_add(sequence)))
    }
}

/// While changes are recorded, the answers of QoS 2 wait until all that has changed so far is stored: a session that was restored must
/// know of an identifier what the peer was told of it. (QoS 1 rests on nothing that is kept here.)
fn must_wait(kind: AckKind, token: AckToken, session: &mut Session) -> bool {
    match &mut session.outbound.journal {
        Some(journal) if kind != AckKind::Puback && journal.must_wait() => {
            journal.hold(Held::Answer(token));
            true
        }
        Some(_) | None => false,
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

impl Session {
    /// A QoS 2 message is the host's own.
    fn note_received(&mut self, id: PacketId, stage: Stage) {
        let was = self.received.set_stage(id, stage);
        if let Some(journal) = &mut self.outbound.journal
            && was == Some(Stage::Offered)
        {
            journal.note(Change::Received { id });
        }
    }

    /// A QoS 2 message that was the host's own is not.
    fn unnote_received(&mut self, id: PacketId) {
        let was = self.received.set_stage(id, Stage::Offered);
        if let Some(journal) = &mut self.outbound.journal
            && was.is_some_and(|was| was != Stage::Offered)
        {
            journal.note(Change::Forgotten { id });
        }
    }

    /// Whether it counted against our Receive Maximum.
    fn forget_received(&mut self, id: PacketId) -> bool {
        let Some(entry) = self.received.remove(id) else { return false };
        if let Some(journal) = &mut self.outbound.journal
            && entry.stage != Stage::Offered
        {
            journal.note(Change::Forgotten { id });
        }
        entry.counted
    }
}

impl Received {
    /// Those that are the host's, in their order.
    pub(crate) fn kept(&self) -> impl Iterator<Item = PacketId> {
        self.ids.iter().filter(|entry| entry.stage != Stage::Offered).map(|entry| entry.id)
    }

    /// `false` if it is there already.
    pub(crate) fn restore(&mut self, id: PacketId) -> bool {
        let new = self.stage(id).is_none();
        self.insert(id, Stage::Answered, false);
        new
    }

    /// `false` if it is not there.
    pub(crate) fn forget(&mut self, id: PacketId) -> bool {
        self.remove(id).is_some()
    }

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
        // Senders count up, and release in the order in which they sent: it is mostly one end or the other.
        match (self.ids.front(), self.ids.back()) {
            (Some(first), _) if first.id == id => Ok(0),
            (_, Some(last)) if last.id < id => Err(self.ids.len()),
            (_, Some(last)) if last.id == id => Ok(self.ids.len().saturating_sub(1)),
            _ => self.ids.binary_search_by_key(&id, |entry| entry.id),
        }
    }

    fn stage(&self, id: PacketId) -> Option<Stage> {
        self.ids.get(self.position(id).ok()?).map(|entry| entry.stage)
    }

    /// What the stage was before.
    fn set_stage(&mut self, id: PacketId, stage: Stage) -> Option<Stage> {
        let at = self.position(id).ok()?;
        let entry = self.ids.get_mut(at)?;
        self.releasing += usize::from(stage == Stage::Releasing); // nothing leads back from it but the end
        Some(core::mem::replace(&mut entry.stage, stage))
    }

    fn insert(&mut self, id: PacketId, stage: Stage, counted: bool) {
        if let Err(at) = self.position(id) {
            self.ids.insert(at, Entry { id, stage, counted });
        }
    }

    fn remove(&mut self, id: PacketId) -> Option<Entry> {
        let entry = self.ids.remove(self.position(id).ok()?)?;
        self.releasing = self.releasing.saturating_sub(usize::from(entry.stage == Stage::Releasing));
        Some(entry)
    }
}
