//! What clients hear, and what they know then.
use crate::*;

impl World {
    pub(crate) fn hear(&mut self, slot: usize, bytes: &[u8]) {
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

    pub(crate) fn handle(&mut self, slot: usize, packet: &Packet<'_>) {
        let Some(link) = &mut self.links[slot] else { return };
        let who = &mut self.whos[link.who];
        let is_current = who.link == Some(slot);
        match packet {
            Packet::Connack(connack) => {
                link.connected = !connack.reason.is_error();
                if link.connected && is_current {
                    self.send_again(slot);
                }
            }
            Packet::Publish(publish) => {
                let alias = publish.properties.iter().find_map(|property| match property {
                    Property::TopicAlias(alias) => Some(alias),
                    _ => None,
                });
                if let (Some(alias), Some(topic)) = (alias, publish.topic) {
                    link.aliases.insert(alias, topic.as_str().to_owned());
                }
                assert!(
                    publish.topic.is_some() || alias.is_some_and(|alias| link.aliases.contains_key(&alias)),
                    "an alias that stands for nothing"
                );
                if let Some(number) = number(publish.payload).filter(|_| is_current) {
                    who.owed.remove(&number);
                    let is_new = publish.qos != Qos::ExactlyOnce
                        || publish.packet_id.is_some_and(|id| !who.taken.contains(&id.get()));
                    if is_new && number >= PROBES {
                        who.came.push(number);
                    }
                }
                match (publish.qos, publish.packet_id) {
                    (Qos::AtLeastOnce, Some(id)) => link.answers.push_back((AckKind::Puback, id.get())),
                    (Qos::ExactlyOnce, Some(id)) => {
                        link.answers.push_back((AckKind::Pubrec, id.get()));
                        who.taken.insert(id.get());
                    }
                    _ => {}
                }
            }
            Packet::Ack(ack) => {
                let id = ack.packet_id.get();
                match ack.kind {
                    AckKind::Pubrel => {
                        who.taken.remove(&id);
                        link.answers.push_back((AckKind::Pubcomp, id));
                    }
                    AckKind::Pubrec if !ack.reason.is_error() => {
                        if let Some(sent) = who.pending.get_mut(&id) {
                            sent.released = true;
                        }
                        link.answers.push_back((AckKind::Pubrel, id));
                    }
                    _ if is_current => drop(who.pending.remove(&id)),
                    _ => {}
                }
            }
            Packet::Suback(suback) => {
                let code = suback.codes.iter().next().unwrap();
                if let Some(Asked::Subscribe(filter, options)) = link.asked.remove(&suback.packet_id.get())
                    && is_current
                    && (code == ReasonCode::GRANTED_QOS_1 || code == ReasonCode::GRANTED_QOS_2)
                    && !filter.starts_with('$')
                    && !filter.starts_with('r')
                {
                    who.sure.insert(filter, options.no_local);
                }
            }
            Packet::Unsuback(unsuback) => {
                // a SUBACK that was late may have made it sure again
                if let Some(Asked::Unsubscribe(filter)) = link.asked.remove(&unsuback.packet_id.get()) {
                    who.sure.remove(filter);
                }
            }
            Packet::Pingresp => link.pings = link.pings.checked_sub(1).expect("an answer to a ping"),
            Packet::Disconnect(_) => link.connected = false,
            other => panic!("a server sent {other:?}"),
        }
    }

    /// A session goes on: what is not finished is sent again.
    pub(crate) fn send_again(&mut self, slot: usize) {
        let Some(link) = &mut self.links[slot] else { return };
        let who = &self.whos[link.who];
        let mut bytes = Vec::new();
        for (&id, sent) in &who.pending {
            if sent.released {
                ack(AckKind::Pubrel, id).encode(link.version, &mut bytes).unwrap();
            } else {
                let payload = sent.number.to_be_bytes();
                let (name, qos) = (Some(sent.topic), sent.qos);
                let again = Outgoing { name, payload: &payload, qos, id, dup: true, retain: false, properties: &[] };
                bytes.extend(again.encoded(link.version));
            }
        }
        self.broker.handle_input(self.now, link.id, &bytes);
        self.note();
    }

    /// What the policy has allowed is owed to those who asked for it; what the broker says it has dropped or ended no longer.
    pub(crate) fn note(&mut self) {
        for Allowed { from, topic, number } in std::mem::take(&mut self.broker.policy_mut().allowed) {
            let name = TopicName::new(&topic).unwrap();
            for (who, of) in self.whos.iter_mut().zip(NAMES) {
                let matches = |(filter, no_local): (&&str, &bool)| {
                    (!no_local || from != of) && TopicFilter::new(filter).unwrap().matches(name)
                };
                if !topic.starts_with('s') && who.sure.iter().any(matches) {
                    who.owed.insert(number);
                }
            }
        }
        while let Some(event) = self.broker.poll_event() {
            let who = |client: &str| NAMES.iter().position(|name| *name == client).unwrap();
            match event {
                Event::Connected { connection, client, session_present, .. } => {
                    let slot =
                        self.links.iter().position(|link| link.as_ref().is_some_and(|link| link.id == connection));
                    let who = &mut self.whos[who(client.as_str())];
                    who.link = slot;
                    if !session_present {
                        *who = Who { link: slot, last_id: who.last_id, ..Who::default() };
                    }
                }
                Event::Disconnected { connection, client, cause } => {
                    assert!(is_fair(cause), "{client:?} is accused: {cause:?}");
                    let who = &mut self.whos[who(client.as_str())];
                    let is_it = |slot: &usize| self.links[*slot].as_ref().is_some_and(|link| link.id == connection);
                    if who.link.as_ref().is_some_and(is_it) {
                        who.link = None;
                    }
                }
                Event::Refused { cause, .. } => assert!(is_fair(cause), "a CONNECT is accused: {cause:?}"),
                Event::SessionEnded { client } => {
                    let who = &mut self.whos[who(client.as_str())];
                    (who.sure, who.owed) = Default::default();
                }
                Event::Dropped { client: Some(client), .. } if !client.as_str().is_empty() => {
                    self.whos[who(client.as_str())].owed.clear();
                }
                _ => {}
            }
        }
    }
}
