//! What is done: the steps of a plan, one after the other.
use super::*;

impl World {
    pub(in super::super) fn step(&mut self, step: &Step) {
        if super::super::tells() {
            println!("{:>9} {step:?}", self.now - START);
        }
        match step {
            Step::Connect(plan) => self.connect(plan.clone()),
            Step::Subscribe { who, filters, id } => self.subscribe(*who, filters, *id),
            Step::Unsubscribe { who, filter } => self.unsubscribe(*who, filter),
            Step::Publish(plan) => self.publish(plan),
            Step::HostPublish(plan) => self.host_publishes(plan),
            Step::Answer { who, most } => {
                if let Some(slot) = self.clients[*who].link {
                    self.answer(slot, *most);
                }
            }
            Step::Ping { who } => self.ping(*who),
            Step::Goodbye { who, with_will, expiry } => self.goodbye(*who, *with_will, *expiry),
            Step::Cut { who } => {
                if let Some(slot) = self.clients[*who].link {
                    self.cut(slot);
                }
            }
            Step::Takes { who, bytes } => self.takes(*who, *bytes),
            Step::Breaks { who, how } => self.breaks(*who, *how),
            Step::Kick { who } => {
                self.broker.kick(self.at(), &self.names[*who], ReasonCode::ADMINISTRATIVE_ACTION);
            }
            Step::Purge { who } => {
                self.purged = Some(*who);
                self.broker.purge_session(self.at(), &self.names[*who]);
            }
            Step::Defers { connect, publish, subscribe } => {
                let keeper = self.broker.policy_mut();
                (keeper.defers_connect, keeper.defers_publish, keeper.defers_subscribe) =
                    (*connect, *publish, *subscribe);
            }
            Step::Decide { which, allow } => self.decide(*which, *allow),
            Step::Revoke { revoked } => self.revoke(*revoked),
            Step::Advance { millis } => self.advance(*millis),
            Step::Holds { holds } => self.host.holds = *holds,
            Step::Sync => self.sync(),
            Step::Crash { how, at } => self.crash(*how, *at),
        }
        self.turn();
        self.advance(0);
        self.purged = None;
        self.check();
    }

    pub(super) fn connect(&mut self, plan: Connect) {
        let who = plan.who;
        let Ok(id) = self.broker.handle_open(self.at(), Peer::new(None, 0)) else { panic!("there is room") };
        let slot = self.links.iter().position(Option::is_none).unwrap_or(self.links.len());
        if slot == self.links.len() {
            self.links.push(None);
        }
        let bytes = wire::connect(&plan, &self.names[who]);
        self.links[slot] = Some(Link {
            id,
            who,
            reader: Some(Reader::of_server(plan.version, plan.max_packet.unwrap_or(u32::MAX))),
            plan,
            out: OutBuf::default(),
            takes: None,
            clear: true,
            reading: true,
            was_paused: false,
            wire: Vec::new(),
            connected: false,
            broken: false,
            goodbye: None,
            session: None,
            since: 0,
            answers: VecDeque::new(),
            aliases: BTreeMap::new(),
            own_aliases: BTreeMap::new(),
            asked: BTreeMap::new(),
            inflight: Vec::new(),
            orders: [0; 2],
            pings: 0,
            spoke: self.now,
            welcomed: self.now,
            later: Vec::new(),
        });
        self.clients[who].link = Some(slot);
        self.send(slot, &bytes);
    }

    /// Where a client is connected and may speak.
    pub(super) fn live(&self, who: usize) -> Option<usize> {
        let slot = self.clients[who].link?;
        self.links[slot].as_ref().filter(|link| link.connected && !link.broken && link.goodbye.is_none())?;
        Some(slot)
    }

    pub(super) fn link(&mut self, slot: usize) -> &mut Link {
        self.links[slot].as_mut().expect("a connection that is there")
    }

    /// The lowest identifier that is free: whoever lets one go too early is told.
    pub(super) fn next_id(&mut self, slot: usize) -> u16 {
        let who = self.link(slot).who;
        let is_free = |id: &u16| {
            let pending = self.clients[who].pending.iter().any(|sent| sent.id == *id);
            !pending && self.links[slot].as_ref().is_some_and(|link| !link.asked.contains_key(id))
        };
        (1..=u16::MAX).find(is_free).expect("a client asks for less")
    }

    pub(super) fn subscribe(&mut self, who: usize, filters: &[Asked], identifier: Option<u32>) {
        let Some(slot) = self.live(who) else { return };
        let v5 = self.link(slot).plan.version == Version::V5;
        let asked: Vec<_> = filters
            .iter()
            .filter(|asked| !self.waits_for(slot, asked.filter))
            .map(|asked| {
                if v5 {
                    return *asked;
                }
                let handling = Default::default();
                Asked { no_local: false, retain_as_published: false, handling, ..*asked }
            })
            .collect();
        if asked.is_empty() {
            return;
        }
        let identifier = identifier.filter(|_| v5);
        let list: Vec<_> = asked
            .iter()
            .map(|asked| {
                let options = SubscribeOptions {
                    qos: asked.qos,
                    no_local: asked.no_local,
                    retain_as_published: asked.retain_as_published,
                    retain_handling: asked.handling,
                };
                (asked.filter, options)
            })
            .collect();
        let id = self.next_id(slot);
        let version = self.link(slot).plan.version;
        let request = Request::Subscribe(asked.into_iter().map(|asked| (asked, false)).collect(), identifier);
        for (filter, _) in &list {
            self.known.granted.remove(&(who, *filter));
            self.known.gone.remove(&(who, *filter));
        }
        self.link(slot).asked.insert(id, request);
        self.send(slot, &wire::subscribe(&list, identifier, id, version));
    }

    /// Whether a client has asked something about a filter and has no answer yet.
    pub(super) fn waits_for(&mut self, slot: usize, filter: &str) -> bool {
        self.link(slot).asked.values().any(|request| match request {
            Request::Subscribe(list, _) => list.iter().any(|(asked, _)| asked.filter == filter),
            Request::Unsubscribe(other, _) => *other == filter,
        })
    }

    pub(super) fn unsubscribe(&mut self, who: usize, filter: &'static str) {
        let Some(slot) = self.live(who) else { return };
        if self.waits_for(slot, filter) {
            return;
        }
        let id = self.next_id(slot);
        let version = self.link(slot).plan.version;
        self.known.granted.remove(&(who, filter));
        self.link(slot).asked.insert(id, Request::Unsubscribe(filter, false));
        self.send(slot, &wire::unsubscribe(filter, id, version));
    }

    pub(super) fn publish(&mut self, plan: &Publish) {
        let who = plan.who;
        let Some(slot) = self.live(who) else { return };
        let mut plan = plan.clone();
        let full = self.clients[who].pending.len() >= usize::from(self.shape.receive_maximum);
        if full {
            plan.qos = Qos::AtMostOnce;
        }
        let link = self.link(slot);
        let version = link.plan.version;
        let mut known = false;
        if version != Version::V5 {
            (plan.expiry, plan.alias) = (None, None);
        } else if let Some(alias) = plan.alias {
            known = link.own_aliases.insert(alias, plan.topic) == Some(plan.topic);
        }
        let id = if plan.qos == Qos::AtMostOnce { 0 } else { self.next_id(slot) };
        let bytes = wire::publish(&plan, id, false, known, version);
        if id != 0 {
            self.clients[who].pending.push(Sent { id, publish: plan.clone(), released: false, times: 1 });
        }
        let arrives = self.send(slot, &bytes) && plan.number != 0;
        assert!(!arrives || self.broker.policy().asked.contains_key(&plan.number), "it is not read: {plan:?}");
    }

    pub(super) fn host_publishes(&mut self, plan: &Publish) {
        let payload = plan.payload();
        let mut publication = Publication::new(TopicName::new(plan.topic).unwrap(), &payload);
        (publication.retain, publication.qos) = (plan.retain, plan.qos);
        let _ = self.broker.publish(self.at(), &publication);
        self.note();
    }

    pub(super) fn ping(&mut self, who: usize) {
        if let Some(slot) = self.live(who) {
            self.link(slot).pings += 1;
            let version = self.link(slot).plan.version;
            self.send(slot, &wire::encode(&Packet::Pingreq, version));
        }
    }

    pub(super) fn goodbye(&mut self, who: usize, with_will: bool, expiry: Option<u32>) {
        let Some(slot) = self.live(who).filter(|slot| self.links[*slot].as_ref().is_some_and(|link| link.reading))
        else {
            return;
        };
        let link = self.link(slot);
        let v5 = link.plan.version == Version::V5;
        // v5 [MQTT-3.14.2-2]: a session that was to end with its connection cannot be kept any more
        let expiry = expiry.filter(|_| v5 && link.plan.expiry > 0);
        let with_will = with_will && v5;
        link.goodbye = Some((with_will, expiry));
        let reason = if with_will { ReasonCode::DISCONNECT_WITH_WILL } else { ReasonCode::SUCCESS };
        let properties: Vec<_> = expiry.into_iter().map(Property::SessionExpiryInterval).collect();
        let packet = Packet::Disconnect(Disconnect { reason, properties: Properties::from_slice(&properties) });
        let version = link.plan.version;
        self.send(slot, &wire::encode(&packet, version));
    }

    pub(super) fn takes(&mut self, who: usize, bytes: Option<usize>) {
        let Some(slot) = self.clients[who].link else { return };
        let link = self.link(slot);
        link.takes = bytes;
        link.clear &= bytes.is_none();
        if let Some(name) = link.session.filter(|_| bytes.is_some())
            && let Some(session) = self.reference.named(name)
        {
            session.clear = false;
        }
        self.flush(slot);
    }

    pub(super) fn breaks(&mut self, who: usize, how: Fault) {
        let Some(slot) = self.live(who) else { return };
        let pending = self.clients[who].pending.len();
        let receive_maximum = usize::from(self.shape.receive_maximum);
        let v5 = self.link(slot).plan.version == Version::V5;
        let mut bytes = match how {
            Fault::ReservedFlags => vec![0xC1, 0],
            Fault::EmptyTopic => vec![0x30, 2, 0, 0],
            Fault::UnknownAlias if v5 => vec![0x30, 6, 0, 0, 3, 35, 0, 9],
            Fault::UnknownAlias => vec![0xF0, 0],
            Fault::SecondConnect => wire::connect(&self.link(slot).plan.clone(), "other"),
            Fault::TooManyUnreleased => Vec::new(),
        };
        if how == Fault::TooManyUnreleased {
            // one more than it may: the last is not taken
            if pending > 0 || self.clients[who].unfinished.len() > 1_000 || receive_maximum > 10 {
                return;
            }
            let version = self.link(slot).plan.version;
            for _ in 0..=receive_maximum {
                let id = self.next_id(slot);
                let publish = Publish {
                    who,
                    number: 0,
                    topic: "t",
                    qos: Qos::ExactlyOnce,
                    retain: false,
                    expiry: None,
                    alias: None,
                    more: 0,
                };
                bytes.extend(wire::publish(&publish, id, false, false, version));
                if self.clients[who].pending.len() < receive_maximum {
                    self.clients[who].pending.push(Sent { id, publish, released: false, times: 1 });
                }
            }
        }
        self.link(slot).broken = true;
        self.send(slot, &bytes);
    }

    pub(super) fn decide(&mut self, which: usize, allow: bool) {
        let waiting = &mut self.broker.policy_mut().waiting;
        if waiting.is_empty() {
            return;
        }
        let at = which % waiting.len();
        let (ticket, about) = waiting.remove(at);
        if let About::Message(message) = about
            && self.now < message.at + 10 * SECOND
        {
            let keeper = self.broker.policy_mut();
            if allow { &mut keeper.allowed } else { &mut keeper.denied }.push(message);
        }
        let decision = if allow { Decision::Allow } else { Decision::Deny(ReasonCode::NOT_AUTHORIZED) };
        self.broker.resume(self.at(), ticket, decision);
        self.note();
    }

    pub(super) fn revoke(&mut self, revoked: bool) {
        self.broker.policy_mut().revoked = revoked;
        self.reference.revoked = revoked;
        self.broker.reauthorize_all(self.at());
        self.reference.judged_anew(None, None);
        for (who, client) in self.clients.iter_mut().enumerate() {
            if self.reference.of(who).is_some_and(|session| !session.connected && !session.unread) {
                for taken in &mut client.unfinished {
                    taken.revoked |= !super::super::keeper::may_receive(&taken.topic, revoked);
                }
            }
        }
    }

    /// Lets time pass, deadline by deadline.
    pub(in super::super) fn advance(&mut self, millis: u64) {
        let end = self.now + millis;
        let (mut wakes, zero) = (0, self.zero);
        while let Some(at) = self.broker.poll_timeout().map(|at| zero + at.as_millis()).filter(|at| *at <= end) {
            wakes += 1;
            assert!(wakes < FOREVER, "time stands still");
            self.now = self.now.max(at);
            self.broker.handle_timeout(self.at());
            self.turn();
            self.reference.nothing_is_overdue(self.now);
        }
        self.now = end;
        self.broker.handle_timeout(self.at());
        self.turn();
        self.reference.nothing_is_overdue(self.now);
    }
}
