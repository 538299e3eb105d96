//! The delivery protocols as section 4.3 has them, written down as plainly as can be: what the two ends are held against.
use std::collections::{BTreeMap, VecDeque};

/// Names a message, over all connections.
pub(crate) type Number = u8;

/// A packet on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Publish { id: u16, number: Number, qos: u8, dup: bool },
    Puback { id: u16, refused: bool },
    Pubrec { id: u16, refused: bool },
    Pubrel { id: u16 },
    Pubcomp { id: u16 },
}

/// What a host sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Publish(Number),
    Released,
    Completed { number: Number, refused: bool },
}

/// One end.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    // session state: section 4.1
    /// In the order they were sent first.
    sent: Vec<Sent>,
    queue: VecDeque<(Number, u8)>,
    received: BTreeMap<u16, Stage>,

    // of the connection
    quota: usize,
    /// What is sent again, first of all.
    again: Vec<Wire>,
    releases: Vec<u16>,
    /// Answers in the order in which what they answer came.
    owed: VecDeque<Owed>,

    /// The Receive Maximum of the other end.
    maximum: usize,
    /// The host acknowledges by itself.
    pub(crate) manual: bool,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    id: u16,
    number: Number,
    qos: u8,
    /// PUBREC has come: the message is forgotten.
    released: bool,
    /// Has taken of the quota of this connection.
    counted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// With the host.
    Offered,
    /// The host has it, and must not get it again.
    Held,
    /// Given up by its sender.
    Releasing,
}

#[derive(Clone, Copy, Debug)]
struct Owed {
    wire: Wire,
    /// `None`: with the host; the number if it is a message.
    number: Option<Number>,
    answered: bool,
}

impl Reference {
    pub(crate) fn new(maximum: usize, manual: bool) -> Self {
        Self {
            sent: Vec::new(),
            queue: VecDeque::new(),
            received: BTreeMap::new(),
            quota: maximum,
            again: Vec::new(),
            releases: Vec::new(),
            owed: VecDeque::new(),
            maximum,
            manual,
        }
    }

    pub(crate) fn publish(&mut self, number: Number, qos: u8) {
        self.queue.push_back((number, qos));
    }

    /// A packet has come.
    pub(crate) fn receive(&mut self, wire: Wire) -> Option<Seen> {
        match wire {
            Wire::Publish { id, number, qos: 1, .. } => {
                self.owe(Wire::Puback { id, refused: false }, Some(number), !self.manual);
                Some(Seen::Publish(number))
            }
            Wire::Publish { id, number, .. } => {
                let (is_new, wire) = (!self.received.contains_key(&id), Wire::Pubrec { id, refused: false });
                self.owe(wire, is_new.then_some(number), !is_new || !self.manual);
                if is_new {
                    self.received.insert(id, if self.manual { Stage::Offered } else { Stage::Held });
                }
                is_new.then_some(Seen::Publish(number))
            }
            Wire::Pubrel { id } => match self.received.get(&id) {
                Some(Stage::Held) if self.manual => {
                    self.received.insert(id, Stage::Releasing);
                    self.owe(Wire::Pubcomp { id }, None, false);
                    Some(Seen::Released)
                }
                Some(Stage::Held) | None => {
                    self.received.remove(&id);
                    self.owe(Wire::Pubcomp { id }, None, true);
                    None
                }
                Some(Stage::Releasing) => None,
                Some(Stage::Offered) => panic!("{id} released before it was received"),
            },
            Wire::Puback { id, refused } => Some(self.complete(id, 1, refused)),
            Wire::Pubrec { id, refused: true } => Some(self.complete(id, 2, true)),
            Wire::Pubrec { id, refused: false } => {
                let flight = self.sent.iter_mut().find(|sent| sent.id == id && sent.qos == 2);
                flight.expect("a PUBREC of what was sent").released = true;
                self.releases.push(id);
                None
            }
            Wire::Pubcomp { id } => Some(self.complete(id, 2, false)),
        }
    }

    fn complete(&mut self, id: u16, qos: u8, refused: bool) -> Seen {
        let at =
            self.sent.iter().position(|sent| (sent.id, sent.qos) == (id, qos)).expect("an answer to what was sent");
        let sent = self.sent.remove(at);
        self.quota += usize::from(sent.counted);
        Seen::Completed { number: sent.number, refused }
    }

    fn owe(&mut self, wire: Wire, number: Option<Number>, answered: bool) {
        self.owed.push_back(Owed { wire, number, answered });
    }

    /// How many messages and releases are with the host.
    pub(crate) fn waiting(&self) -> usize {
        self.owed.iter().filter(|owed| !owed.answered).count()
    }

    /// The host answers the `which`th of those that wait; the number, if it is a message.
    pub(crate) fn answer(&mut self, which: usize, refuse: bool) -> Option<Number> {
        let owed = self.owed.iter_mut().filter(|owed| !owed.answered).nth(which).expect("something waits");
        owed.answered = true;
        match &mut owed.wire {
            Wire::Puback { refused, .. } => *refused = refuse,
            Wire::Pubrec { id, refused } => {
                *refused = refuse;
                if refuse {
                    self.received.remove(id);
                } else {
                    self.received.insert(*id, Stage::Held);
                }
            }
            Wire::Pubcomp { id } => {
                self.received.remove(id);
            }
            Wire::Publish { .. } | Wire::Pubrel { .. } => {}
        }
        owed.number
    }

    /// The connection is over, and another one goes on with the session.
    pub(crate) fn resume(&mut self) {
        self.owed.clear();
        self.releases.clear();
        self.received.retain(|_, stage| *stage != Stage::Offered);
        self.received.values_mut().for_each(|stage| *stage = Stage::Held);
        self.quota = self.maximum;
        self.again.clear();
        for sent in &mut self.sent {
            let Sent { id, number, qos, released, .. } = *sent;
            sent.counted = !released;
            self.quota -= usize::from(!released);
            self.again.push(if released { Wire::Pubrel { id } } else { Wire::Publish { id, number, qos, dup: true } });
        }
    }

    /// The connection is over, and the other end has forgotten the session.
    pub(crate) fn begin_anew(&mut self) {
        for sent in std::mem::take(&mut self.sent).into_iter().rev().filter(|sent| !sent.released) {
            self.queue.push_front((sent.number, sent.qos));
        }
        self.received.clear();
        self.resume();
    }

    /// Holds what the end has written against what it should write now. Which free identifier a new message gets is its own
    /// choice, and so is whether an answer goes before a message.
    pub(crate) fn check_written(&mut self, written: &[Wire]) {
        let is_answer = |wire: &&Wire| matches!(wire, Wire::Puback { .. } | Wire::Pubrec { .. } | Wire::Pubcomp { .. });
        let mut answers = Vec::new();
        while let Some(owed) = self.owed.front().filter(|owed| owed.answered) {
            answers.push(owed.wire);
            self.owed.pop_front();
        }
        // v5 [MQTT-4.6.0-2], v5 [MQTT-4.6.0-3]: answers leave in the order in which what they answer came
        assert_eq!(written.iter().filter(is_answer).copied().collect::<Vec<_>>(), answers, "answers of {self:?}");

        let mut rest: VecDeque<_> = written.iter().filter(|wire| !is_answer(wire)).copied().collect();
        for wire in std::mem::take(&mut self.again) {
            assert_eq!(rest.pop_front(), Some(wire), "what is sent again by {self:?}");
        }
        let releases: Vec<_> = rest.iter().filter(|wire| matches!(wire, Wire::Pubrel { .. })).copied().collect();
        let due: Vec<_> = self.releases.drain(..).map(|id| Wire::Pubrel { id }).collect();
        assert_eq!(releases, due, "releases of {self:?}");

        for wire in rest.into_iter().filter(|wire| !matches!(wire, Wire::Pubrel { .. })) {
            let Wire::Publish { id, .. } = wire else { panic!("{wire:?} is no message") };
            let (number, qos) = self.queue.pop_front().expect("a message that was queued");
            assert_eq!(wire, Wire::Publish { id, number, qos, dup: false });
            assert!(self.sent.iter().all(|sent| sent.id != id), "{id} is in use: {self:?}");
            assert!(self.quota > 0, "beyond the quota: {self:?}");
            self.quota -= 1;
            self.sent.push(Sent { id, number, qos, released: false, counted: true });
        }
        assert!(self.quota == 0 || self.queue.is_empty(), "held back: {self:?}");
    }

    pub(crate) fn inflight(&self) -> usize {
        self.sent.len()
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.queue.is_empty() && self.received.is_empty() && self.owed.is_empty()
    }
}
