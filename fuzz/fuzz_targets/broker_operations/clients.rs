//! What clients do.
use crate::*;

impl World {
    /// Where a client is connected and may speak.
    pub(crate) fn at(&self, who: usize) -> Option<usize> {
        let slot = self.whos[who].link?;
        self.links[slot].as_ref().filter(|link| link.connected && link.who == who)?;
        Some(slot)
    }

    pub(crate) fn next_id(&mut self, who: usize) -> u16 {
        let who = &mut self.whos[who];
        loop {
            who.last_id = who.last_id.wrapping_add(1).max(1);
            if !who.pending.contains_key(&who.last_id) {
                return who.last_id;
            }
        }
    }

    pub(crate) fn connect(&mut self, who: usize, how: u8, more: u8) {
        let version = VERSIONS[usize::from(how) % 3];
        let free = self.links.iter().position(Option::is_none).unwrap_or(usize::from(more) % LINKS);
        let Some(slot) = self.open(free, who, version) else { return };
        self.links[slot].as_mut().unwrap().lazy = how & 16 != 0;
        let mut properties = Vec::new();
        let will_properties = [Property::WillDelayInterval(u32::from(more >> 4))];
        if version == Version::V5 {
            properties.push(Property::SessionExpiryInterval([0, 5, 100, 2_000][usize::from(more & 3)]));
            if more & 4 != 0 {
                properties.push(Property::ReceiveMaximum(1));
            }
            if more & 8 != 0 {
                properties.push(Property::TopicAliasMaximum(2));
            }
            if more & 16 != 0 {
                properties.push(Property::MaximumPacketSize(150));
            }
        }
        let will = (how & 32 != 0).then(|| Will {
            topic: TopicName::new(TOPICS[usize::from(more >> 5)]).unwrap(),
            payload: b"gone",
            qos: QOS[usize::from(how >> 6) % 3],
            retain: how & 64 != 0,
            properties: if version == Version::V5 {
                Properties::from_slice(&will_properties)
            } else {
                Properties::EMPTY
            },
        });
        let connect = Connect {
            version,
            clean_start: how & 8 != 0,
            keep_alive: if how & 128 != 0 { 20 } else { 0 },
            properties: Properties::from_slice(&properties),
            client_id: Utf8::new(NAMES[who]).unwrap(),
            will,
            user_name: None,
            password: None,
        };
        self.send(slot, &Packet::Connect(connect));
    }

    pub(crate) fn subscribe(&mut self, who: usize, filter: &'static str, how: u8) {
        let Some(slot) = self.at(who) else { return };
        let id = self.next_id(who);
        let link = self.links[slot].as_mut().unwrap();
        let v5 = link.version == Version::V5;
        let options = SubscribeOptions {
            qos: QOS[usize::from(how & 3) % 3],
            no_local: v5 && how & 4 != 0 && !filter.starts_with("$share"),
            retain_as_published: v5 && how & 8 != 0,
            retain_handling: match how >> 4 & 3 {
                1 if v5 => RetainHandling::IfNew,
                2 if v5 => RetainHandling::Never,
                _ => RetainHandling::Always,
            },
        };
        link.asked.insert(id, Asked::Subscribe(filter, options));
        self.whos[who].sure.remove(filter);
        let identifier = [Property::SubscriptionIdentifier(u32::from(how))];
        let list = [Subscription { filter: TopicFilter::new(filter).unwrap(), options }];
        let packet = Packet::Subscribe(Subscribe {
            packet_id: PacketId::new(id).unwrap(),
            properties: if v5 && how > 127 { Properties::from_slice(&identifier) } else { Properties::EMPTY },
            subscriptions: Subscriptions::from_slice(&list),
        });
        self.send(slot, &packet);
    }

    pub(crate) fn unsubscribe(&mut self, who: usize, filter: &'static str) {
        let Some(slot) = self.at(who) else { return };
        let id = self.next_id(who);
        self.links[slot].as_mut().unwrap().asked.insert(id, Asked::Unsubscribe(filter));
        self.whos[who].sure.remove(filter);
        let list = [TopicFilter::new(filter).unwrap()];
        let packet = Packet::Unsubscribe(Unsubscribe {
            packet_id: PacketId::new(id).unwrap(),
            properties: Properties::EMPTY,
            filters: Filters::from_slice(&list),
        });
        self.send(slot, &packet);
    }

    pub(crate) fn publish(&mut self, who: usize, topic: &'static str, how: u8, more: u8) {
        let Some(slot) = self.at(who) else { return };
        let mut qos = QOS[usize::from(how & 3) % 3];
        if self.whos[who].pending.len() >= WINDOW {
            qos = Qos::AtMostOnce;
        }
        let id = if qos == Qos::AtMostOnce { 0 } else { self.next_id(who) };
        self.number += 1;
        let number = self.number;
        if id != 0 {
            self.whos[who].pending.insert(id, Sent { qos, topic, number, released: false });
        }
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(4 + usize::from(more >> 2) * 8, b'x');
        if how & 192 == 192 {
            payload.clear();
        }
        let link = self.links[slot].as_mut().unwrap();
        let mut properties = Vec::new();
        let mut name = Some(topic);
        if link.version == Version::V5 {
            if how & 8 != 0 {
                properties.push(Property::MessageExpiryInterval(u32::from(more & 3) + 1));
            }
            if how & 16 != 0 {
                let alias = 1 + u16::from(more & 1);
                if link.own_aliases.insert(alias, topic) == Some(topic) {
                    name = None;
                }
                properties.push(Property::TopicAlias(alias));
            }
        }
        let packet =
            Outgoing { name, payload: &payload, qos, id, dup: false, retain: how & 4 != 0, properties: &properties };
        let bytes = packet.encoded(link.version);
        self.broker.handle_input(self.now, link.id, &bytes);
        self.note();
    }

    /// Sends up to `most` of the acknowledgements that a connection owes.
    pub(crate) fn answer(&mut self, slot: usize, most: usize) {
        for _ in 0..most {
            let Some(link) = &mut self.links[slot] else { return };
            let Some((kind, id)) = link.answers.pop_front() else { return };
            if link.connected {
                self.send(slot, &ack(kind, id));
            }
        }
    }

    pub(crate) fn goodbye(&mut self, who: usize, how: u8) {
        let Some(slot) = self.at(who) else { return };
        let link = self.links[slot].as_mut().unwrap();
        link.connected = false;
        let with_will = link.version == Version::V5 && how % 2 == 0;
        let reason = if with_will { ReasonCode::DISCONNECT_WITH_WILL } else { ReasonCode::SUCCESS };
        self.send(slot, &Packet::Disconnect(Disconnect { reason, properties: Properties::EMPTY }));
    }

    pub(crate) fn ping(&mut self, slot: usize) {
        if let Some(link) = self.links[slot].as_mut().filter(|link| link.connected) {
            link.pings += 1;
            self.send(slot, &Packet::Pingreq);
        }
    }
}
