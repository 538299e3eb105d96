//! What clients hear, and what they make of it.
use super::*;

impl World {
    pub(super) fn hear(&mut self, slot: usize, bytes: &[u8]) {
        let Some(mut reader) = self.links[slot].as_mut().and_then(|link| link.reader.take()) else { return };
        let mut packets = reader.read(bytes);
        while let Some(packet) = packets.next().expect("the broker breaks no rule") {
            self.handle(slot, &packet);
        }
        drop(packets);
        if let Some(link) = &mut self.links[slot] {
            link.reader = Some(reader);
        }
    }

    pub(super) fn handle(&mut self, slot: usize, packet: &Packet<'_>) {
        if super::super::tells() {
            println!("{:>9}    to c{} ({slot}): {packet}", self.now - START, self.link(slot).who);
        }
        match packet {
            Packet::Connack(connack) => {
                let ok = !connack.reason.is_error();
                self.link(slot).connected = ok;
                self.link(slot).welcomed = self.now;
                let session = self.link(slot).session.filter(|_| ok);
                self.known.told.extend(session);
                if let Some(session) = session.and_then(|name| self.reference.named(name)) {
                    session.rechecked = false;
                }
                if ok {
                    self.resume(slot, connack.session_present);
                }
            }
            Packet::Publish(publish) => self.hear_publish(slot, publish),
            Packet::Ack(ack) => self.hear_ack(slot, ack.kind, ack.packet_id.get(), ack.reason),
            Packet::Suback(suback) => {
                let codes: Vec<_> = suback.codes.iter().collect();
                self.hear_suback(slot, suback.packet_id.get(), &codes);
            }
            Packet::Unsuback(unsuback) => {
                let link = self.link(slot);
                let Some(Request::Unsubscribe(filter, made)) = link.asked.remove(&unsuback.packet_id.get()) else {
                    panic!("an UNSUBACK that nobody waits for")
                };
                // what the policy may have taken away before the request was read tells nothing
                if link.plan.version == Version::V5 && !super::super::keeper::plain(filter).starts_with(['b', 'd']) {
                    let code = unsuback.codes.iter().next().expect("a code for each filter");
                    assert_eq!(code == ReasonCode::SUCCESS, made, "UNSUBACK {code:?} for {filter}");
                }
                let who = link.who;
                if made {
                    self.known.gone.insert((who, filter));
                }
            }
            Packet::Pingresp => {
                let link = self.link(slot);
                link.pings = link.pings.checked_sub(1).expect("an answer to a ping");
            }
            Packet::Disconnect(_) => self.link(slot).connected = false,
            other => panic!("a server sent {other:?}"),
        }
    }

    /// A client was let in: what is not finished is sent again.
    pub(super) fn resume(&mut self, slot: usize, present: bool) {
        let link = self.link(slot);
        let (who, version) = (link.who, link.plan.version);
        // MQTT 3.1 has no word for it: what the reference knows stands for what the client has kept
        let since = link.since;
        let name = link.session;
        let present = present || (version == Version::V31 && name.is_some_and(|name| name <= since));
        // one that was let in late has taken the other over
        self.clients[who].link = Some(slot);
        let client = &mut self.clients[who];
        // That the session began anew may have been said in a CONNACK that got lost. No client can know that, and what it sends again is
        // then new to the broker; here it does know, so that QoS 2 can be judged.
        let is_new = std::mem::replace(&mut client.session, name) != name;
        if !present || is_new {
            client.pending.clear();
            client.unfinished.clear();
            client.unsure = 0;
            return;
        }
        // QoS 2 that the broker knows of, and whose end it may not know of, is released again
        let mut all = Vec::new();
        for sent in &mut client.pending {
            if sent.released {
                all.push(wire::ack(AckKind::Pubrel, sent.id, version));
            } else {
                sent.times += 1;
                let plain = Publish { alias: None, ..sent.publish.clone() };
                all.push(wire::publish(&plain, sent.id, true, false, version));
            }
        }
        if self.settling {
            // else a full queue would have it disconnected again, for ever
            self.link(slot).later = all.concat();
            return;
        }
        for bytes in all {
            if self.links[slot].is_some() {
                self.send(slot, &bytes);
            }
        }
    }

    pub(super) fn hear_suback(&mut self, slot: usize, id: u16, codes: &[ReasonCode]) {
        let link = self.link(slot);
        let Some(Request::Subscribe(list, _)) = link.asked.remove(&id) else {
            panic!("a SUBACK that nobody waits for")
        };
        assert_eq!(list.len(), codes.len(), "a code for each filter");
        let (who, version) = (link.who, link.plan.version);
        let tight = self.shape.max_subscriptions < FILTERS.len();
        for ((asked, made), code) in list.iter().zip(codes) {
            if version != Version::V31 || *made {
                assert_eq!(!code.is_error(), *made, "SUBACK {code:?} for {}", asked.filter);
            }
            assert!(!made || code.0 == asked.qos as u8, "granted {code:?} for {asked:?}");
            let first = super::super::keeper::plain(asked.filter).as_bytes()[0];
            assert!(!made || first != b'n', "nobody may have {}", asked.filter);
            let may_be_refused = matches!(first, b'n' | b'b' | b'd') || tight;
            assert!(*made || may_be_refused, "c{who} is refused {}", asked.filter);
            if *made {
                self.known.granted.insert((who, asked.filter));
            }
        }
    }

    pub(super) fn hear_ack(&mut self, slot: usize, kind: AckKind, id: u16, reason: ReasonCode) {
        let who = self.link(slot).who;
        let v5 = self.link(slot).plan.version == Version::V5;
        match kind {
            AckKind::Pubrel => {
                self.link(slot).answers.push_back((AckKind::Pubcomp, id));
            }
            AckKind::Pubrec => {
                let sent = self.clients[who].pending.iter_mut().find(|sent| sent.id == id);
                let sent = sent.expect("a PUBREC for what was published");
                assert_eq!(sent.publish.qos, Qos::ExactlyOnce);
                let (number, topic, again) = (sent.publish.number, sent.publish.topic, sent.times > 1);
                if !sent.released {
                    self.is_fair_answer(number, topic, reason, v5, again);
                }
                if reason.is_error() {
                    self.clients[who].pending.retain(|sent| sent.id != id);
                    return;
                }
                if let Some(sent) = self.clients[who].pending.iter_mut().find(|sent| sent.id == id) {
                    sent.released = true;
                }
                self.link(slot).answers.push_back((AckKind::Pubrel, id));
            }
            AckKind::Puback | AckKind::Pubcomp => {
                let pending = &mut self.clients[who].pending;
                let Some(at) = pending.iter().position(|sent| sent.id == id) else {
                    // what was sent again may be answered twice
                    return;
                };
                let Sent { publish, released, times, .. } = pending.remove(at);
                assert_eq!(publish.qos == Qos::ExactlyOnce, kind == AckKind::Pubcomp);
                assert_eq!(released, kind == AckKind::Pubcomp, "PUBCOMP before PUBREL");
                if kind == AckKind::Puback {
                    self.is_fair_answer(publish.number, publish.topic, reason, v5, times > 1);
                }
            }
        }
    }

    /// **An acknowledgement says what is true**: that the message was routed, to somebody or nobody, or that the policy has denied it.
    pub(super) fn is_fair_answer(&mut self, number: u32, topic: &str, reason: ReasonCode, v5: bool, again: bool) {
        if number == 0 {
            return;
        }
        if !reason.is_error() {
            self.known.acknowledged.insert(number);
        }
        let routed = self.reference.routed.get(&number).copied();
        let may_be_denied = topic.starts_with(['n', 'd']) || self.denied.contains(&number);
        match (routed, reason) {
            (Some((_, matched)), ReasonCode::SUCCESS | ReasonCode::NO_MATCHING_SUBSCRIBERS) if v5 && !again => {
                assert_eq!(matched == 0, reason == ReasonCode::NO_MATCHING_SUBSCRIBERS, "message {number}: {matched}");
            }
            (Some(_), reason) if !reason.is_error() || (again && may_be_denied) => {}
            (None, reason) if may_be_denied && (reason.is_error() == v5 || again) => {}
            _ => panic!("message {number} on {topic} is answered {reason:?}, and was routed: {routed:?}"),
        }
    }

    pub(super) fn hear_publish(&mut self, slot: usize, publish: &PublishPacket<'_>) {
        self.played.received += 1;
        let now = self.now;
        let link = self.link(slot);
        let who = link.who;
        let v5 = link.plan.version == Version::V5;
        let mut ids: Vec<u32> = publish.properties.subscription_identifiers().collect();
        ids.sort_unstable();
        let alias = publish.properties.iter().find_map(|property| match property {
            Property::TopicAlias(alias) => Some(alias),
            _ => None,
        });
        if let Some(alias) = alias {
            assert!((1..=link.plan.aliases.unwrap_or(0)).contains(&alias), "an alias that it may not use");
            if let Some(topic) = publish.topic {
                link.aliases.insert(alias, topic.as_str().to_owned());
            }
        }
        let topic = match (publish.topic, alias) {
            (Some(topic), _) => topic.as_str().to_owned(),
            (None, alias) => {
                alias.and_then(|alias| link.aliases.get(&alias)).expect("an alias that stands for something").clone()
            }
        };
        let size = wire::encode(&Packet::Publish(*publish), link.plan.version).len();
        assert!(link.plan.max_packet.is_none_or(|most| size <= most as usize), "it is too large");
        let got = Got {
            number: number_of(publish.payload),
            topic: &topic,
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            ids: v5.then_some(ids),
            expiry: v5.then(|| publish.properties.message_expiry_interval()),
            clear: link.clear,
            since: link.since,
        };
        let session = link.session.expect("whoever was let in has a session");
        let Some(id) = publish.packet_id.map(|id| id.get()) else {
            let found = self.reference.received(now, session, &got);
            return self.in_order(slot, 0, &found.orders);
        };
        self.window(slot, id, &got);
        let known = self.clients[who].unfinished.iter_mut().position(|taken| taken.id == id);
        match known.map(|at| &self.clients[who].unfinished[at]) {
            Some(taken) if got.dup && (taken.number, taken.qos) == (got.number, got.qos) => {
                assert!(!taken.known, "c{who} gets {got:?} again, which it has acknowledged");
                assert!(!taken.revoked, "c{who} gets {got:?} again, though it may not any more");
                let orders = taken.orders.clone();
                if let Some(at) = known {
                    let taken = &mut self.clients[who].unfinished[at];
                    taken.answered = false;
                }
                self.in_order(slot, 1, &orders);
            }
            other => {
                if let Some(taken) = other {
                    assert!(taken.answered, "the identifier {id} of c{who} is in use, by {}: {got:?}", taken.number);
                }
                let found = self.reference.received(now, session, &got);
                self.in_order(slot, 1, &found.orders);
                let client = &mut self.clients[who];
                client.unfinished.retain(|taken| taken.id != id);
                client.unfinished.push(Taken {
                    id,
                    receipt: found.receipt,
                    orders: found.orders,
                    number: got.number,
                    qos: got.qos,
                    answered: false,
                    known: false,
                    topic: topic.clone(),
                    is_large: size > 100,
                    revoked: false,
                });
            }
        }
        let kind = if got.qos == Qos::AtLeastOnce { AckKind::Puback } else { AckKind::Pubrec };
        self.link(slot).answers.push_back((kind, id));
    }

    /// **No more is in flight than the client takes, nor than the broker is to have**, and no identifier twice.
    pub(super) fn window(&mut self, slot: usize, id: u16, got: &Got<'_>) {
        let most = self.shape.inflight;
        let link = self.link(slot);
        assert!(!link.inflight.contains(&id), "the identifier {id} is in use: {got:?}");
        link.inflight.push(id);
        let most = most.min(link.plan.receive_maximum.unwrap_or(u16::MAX));
        assert!(link.inflight.len() <= usize::from(most), "{} of {most} in flight", link.inflight.len());
    }

    /// **What a session gets of one kind comes in the order in which it was published.**
    pub(super) fn in_order(&mut self, slot: usize, lane: usize, orders: &[u64]) {
        if orders.is_empty() {
            return;
        }
        let link = self.link(slot);
        // of places that it may have, the first that is not before the last
        let place = orders.iter().find(|order| **order >= link.orders[lane]);
        let Some(place) = place else { panic!("c{} gets what came before the last", link.who) };
        link.orders[lane] = *place;
    }

    /// Sends up to `most` of the acknowledgements that a client owes.
    pub(super) fn answer(&mut self, slot: usize, most: usize) {
        for _ in 0..most {
            let Some(link) = &mut self.links[slot] else { return };
            let Some((kind, id)) = link.answers.pop_front() else { return };
            let (who, version) = (link.who, link.plan.version);
            if !link.connected || link.goodbye.is_some() || link.broken || self.clients[who].link != Some(slot) {
                continue;
            }
            if kind == AckKind::Pubcomp || kind == AckKind::Puback {
                self.link(slot).inflight.retain(|other| *other != id);
            }
            let session = self.link(slot).session;
            let arrives = self.send(slot, &wire::ack(kind, id, version));
            if kind == AckKind::Pubrel || kind == AckKind::Pubrec {
                continue;
            }
            let client = &mut self.clients[who];
            let Some(at) = client.unfinished.iter().position(|taken| taken.id == id) else { continue };
            if kind == AckKind::Pubcomp {
                client.unsure += usize::from(!arrives);
                client.unfinished.remove(at); // whatever the broker knows: a second one would be a message of its own
                continue;
            }
            client.unfinished[at].answered = true;
            let arrives = arrives && self.links[slot].as_ref().is_some_and(|link| link.session == session);
            let taken = &mut client.unfinished[at];
            // the broker may forget that in a crash
            taken.known = arrives;
            let receipt = taken.receipt;
            if arrives && !self.shape.is_stored() {
                client.unfinished.remove(at);
            }
            self.reference.acknowledged(receipt, arrives);
        }
    }
}
