//! What the broker says that it does, told to the reference and judged.
use super::*;

impl World {
    pub(super) fn note(&mut self) {
        self.note_of(None);
    }

    /// Tells the reference what has happened, in order. `closed`: the connection that was just closed.
    pub(super) fn note_of(&mut self, closed: Option<&Link>) {
        while let Some(event) = self.broker.poll_event() {
            if super::super::tells() {
                println!("{:>9} broker: {event:?}", self.now - START);
            }
            match event {
                Event::Connected { connection, client, session_present, .. } => {
                    self.is_connected(connection, client.as_str(), session_present);
                }
                Event::Disconnected { connection, client, cause } => {
                    let who = self.who(client.as_str());
                    let slot =
                        self.links.iter().position(|link| link.as_ref().is_some_and(|link| link.id == connection));
                    let link = match slot {
                        Some(slot) => self.links[slot].as_ref(),
                        None => closed.filter(|link| link.id == connection),
                    };
                    // what was put off for it is decided by nobody any more
                    for (_, about) in &mut self.broker.policy_mut().waiting {
                        if matches!(about, About::Message(message) if !message.is_will && message.from.as_deref() == Some(client.as_str()))
                        {
                            *about = About::Gone;
                        }
                    }
                    let link = link.expect("a connection that was there");
                    let goodbye = self.is_fair_end(link, cause);
                    let expiry = goodbye.and_then(|(_, expiry)| expiry);
                    let plainly = goodbye.is_some_and(|(with_will, _)| !with_will);
                    self.reference.disconnected(self.now, who, plainly, expiry);
                }
                Event::Refused { cause, .. } => {
                    assert!(!matches!(cause, Cause::Protocol(_)), "a CONNECT is accused: {cause:?}");
                }
                Event::SessionEnded { client } => {
                    let who = self.who(client.as_str());
                    let starts = |link: &Link| link.who == who && !link.connected && link.plan.clean_start;
                    let cleared = self.purged == Some(who) || self.links.iter().flatten().any(starts);
                    self.reference.session_ended(self.now, who, cleared);
                }
                Event::Subscribed { client, filter } => {
                    self.is_subscribed(client.as_str(), filter.as_filter().as_str())
                }
                Event::Unsubscribed { client, filter } => {
                    let who = self.who(client.as_str());
                    let filter = filter.as_filter().as_str().to_owned();
                    let mut asked = false;
                    for request in self
                        .links
                        .iter_mut()
                        .flatten()
                        .filter(|link| link.who == who)
                        .flat_map(|link| link.asked.values_mut())
                    {
                        if let Request::Unsubscribe(other, made) = request
                            && *other == filter
                        {
                            (*made, asked) = (true, true);
                        }
                    }
                    let policy = super::super::keeper::plain(&filter).starts_with(['b', 'd']);
                    assert!(asked || policy, "{client} did not ask to lose {filter}");
                    // it may have been judged anew at the same time
                    self.reference.unsubscribed(who, &filter, asked && !policy);
                }
                Event::Published { client, topic, qos, retain, size } => {
                    let client = client.map(|client| client.as_str().to_owned());
                    self.is_published(client, topic.as_name().as_str(), qos, retain, size);
                }
                Event::Dropped { client, why } => {
                    let who = client.map(|client| self.who(client.as_str()));
                    self.is_dropped(who, why);
                }
                Event::Limited { limit, .. } => {
                    let may = matches!(
                        limit,
                        Limit::Subscriptions | Limit::Retained | Limit::MessageRate | Limit::ConnectTimeout
                    );
                    assert!(may, "{limit:?} was met");
                }
                _ => {}
            }
        }
        for message in std::mem::take(&mut self.broker.policy_mut().denied) {
            if message.is_will {
                self.reference.will_denied(self.now, message.number);
            } else {
                self.denied.insert(as_sent(message.number));
            }
        }
        // of wills it is asked when they are left, too
        let lost = self.broker.policy().allowed.iter().find(|message| !message.is_will);
        assert!(lost.is_none(), "it was allowed, and is not routed: {lost:?}");
    }

    pub(super) fn who(&self, name: &str) -> usize {
        self.names.iter().position(|other| other == name).expect("a client of this world")
    }

    pub(super) fn is_connected(&mut self, connection: ConnectionId, name: &str, present: bool) {
        let who = self.who(name);
        let slot = self.links.iter().position(|link| link.as_ref().is_some_and(|link| link.id == connection));
        let slot = slot.expect("a connection that was there");
        let plan = self.link(slot).plan.clone();
        let asked = match plan.version {
            Version::V5 => plan.expiry,
            _ if plan.clean_start => 0,
            _ => self.shape.session_expiry_v3,
        };
        let expiry = asked.min(self.shape.max_session_expiry);
        let since = self.reference.next;
        if !present {
            self.known.granted.retain(|(client, _)| *client != who);
            self.known.gone.retain(|(client, _)| *client != who);
        }
        let session = self.reference.connected(self.now, who, &plan, expiry, present);
        let link = self.link(slot);
        (link.session, link.since) = (Some(session), since);
        let clear = link.clear;
        if let Some(session) = self.reference.named(session) {
            session.clear = clear;
        }
    }

    /// **Nobody is accused who keeps to the rules, nor too early**; the goodbye, if that was it.
    pub(super) fn is_fair_end(&self, link: &Link, cause: Cause) -> Option<(bool, Option<u32>)> {
        match cause {
            Cause::Goodbye(_) => Some(link.goodbye.expect("it has said goodbye")),
            Cause::Protocol(error) => {
                let silent = (self.now - link.spoke) * 2 >= u64::from(link.plan.keep_alive) * 3 * SECOND;
                let overdue = error.kind == ProtocolErrorKind::KeepAlive && link.plan.keep_alive > 0 && silent;
                assert!(link.broken || overdue, "c{} is accused: {error:?}", link.who);
                None
            }
            Cause::Ended(ReasonCode::QUOTA_EXCEEDED) => {
                let Shape { overflow, queue_messages, .. } = self.shape;
                assert!(
                    overflow == Overflow::Disconnect && queue_messages < 1_000,
                    "c{} has no queue to fill",
                    link.who
                );
                None
            }
            Cause::Ended(ReasonCode::SESSION_TAKEN_OVER) => {
                let links = self.links.iter().flatten().filter(|other| other.who == link.who && other.id != link.id);
                assert!(links.count() > 0, "c{} is taken over by nobody", link.who);
                None
            }
            Cause::Ended(ReasonCode::ADMINISTRATIVE_ACTION) | Cause::Lost => None,
            cause => panic!("c{} is closed: {cause:?}", link.who),
        }
    }

    pub(super) fn is_subscribed(&mut self, name: &str, filter: &str) {
        let who = self.who(name);
        let mut found = None;
        for link in self.links.iter_mut().flatten().filter(|link| link.who == who) {
            for request in link.asked.values_mut() {
                if let Request::Subscribe(list, id) = request
                    && let Some((asked, made)) = list.iter_mut().find(|(asked, made)| asked.filter == filter && !made)
                {
                    *made = true;
                    found = Some((*asked, *id));
                }
            }
        }
        let Some((asked, id)) = found else { panic!("{name} did not ask for {filter}") };
        self.reference.subscribed(self.now, who, &asked, id);
    }

    /// **What is routed is what was published, as the policy allowed it, and as often as it was sent.**
    pub(super) fn is_published(&mut self, client: Option<String>, topic: &str, qos: Qos, retain: bool, size: usize) {
        let allowed = &mut self.broker.policy_mut().allowed;
        let of_will = size % 2 == 1;
        let is_it = |message: &Message| {
            (message.topic.as_str(), message.qos, message.retain, message.size) == (topic, qos, retain, size)
                && message.is_will == of_will
                // of a session that has ended nobody says whose it was
                && (message.from == client || of_will && client.is_none())
        };
        // of a will the last: it was asked about when it was left, too
        let at = if of_will { allowed.iter().rposition(is_it) } else { allowed.iter().position(is_it) };
        let Some(at) = at else { panic!("nobody has allowed what is published on {topic}, {size} bytes") };
        let message = allowed.remove(at);
        self.played.published += 1;
        let from = if of_will {
            Some(self.reference.will_fired(self.now, &message))
        } else {
            message.from.as_deref().map(|name| self.who(name))
        };
        if let Some(most) = self.shape.max_message_expiry.filter(|_| from.is_some()) {
            assert!(message.expiry.is_some_and(|expiry| expiry <= most), "it may live for {most} s: {message:?}");
        }
        self.reference.routed(self.now, &message, from);
        if let Some(who) = from.filter(|_| !of_will && message.number != 0) {
            self.in_order_of_sending(who, message.number);
            let number = as_sent(message.number);
            let (times, _) = self.reference.routed[&number];
            let sent = self.clients[who].pending.iter().find(|sent| sent.publish.number == number);
            let most = match message.qos {
                Qos::AtLeastOnce => sent.map_or(1, |sent| sent.times),
                _ => 1,
            };
            assert!(times <= most, "message {number} was published {most} times, and routed {times} times");
        }
    }

    /// **What one client publishes is routed in the order in which it was sent**, but for what comes again.
    pub(super) fn in_order_of_sending(&mut self, who: usize, number: u32) {
        if number == as_sent(number) {
            let last = std::mem::replace(&mut self.clients[who].routed, number);
            assert!(last < number, "message {number} of c{who} comes behind {last}");
        }
    }

    pub(super) fn is_dropped(&mut self, who: Option<usize>, why: Drop) {
        match (why, who) {
            (Drop::QueueFull, Some(who)) => {
                let unfinished = self.clients[who].unfinished.iter().filter(|taken| !taken.known).count();
                self.reference.dropped_full(who, unfinished + self.clients[who].unsure);
            }
            (Drop::TooLarge, Some(who)) => {
                let again = self.clients[who].unfinished.iter().any(|taken| taken.is_large);
                self.reference.dropped_too_large(who, again);
            }
            (Drop::Expired, who) => self.reference.dropped_expired(self.now, who),
            (Drop::RetainedFull, _) => {
                let left = self.reference.unkept.checked_sub(1);
                self.reference.unkept = left.expect("there is room for a retained message");
            }
            (Drop::NoMember | Drop::HandedOver, _) => self.reference.dropped_of_group(),
            (Drop::Denied(_), Some(who)) => self.reference.will_undecided(self.now, who),
            (Drop::Denied(_), None) => {}
            (why, who) => panic!("{why:?} of {who:?}"),
        }
    }
}
