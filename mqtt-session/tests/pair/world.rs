//! A client and a server, the bytes between them, and what happens to both.
use crate::end::{End, Number};
use crate::plan::Plan;
use crate::random::Random;
use crate::{QOS, ROLES};
use mqtt_session::codec::{
    Connect, Properties, Property, Qos, ReasonCode, Role, SubscribeOptions, Subscription, Utf8, Version,
};
use mqtt_session::topic::{TopicFilter, TopicName};
use mqtt_session::{
    Accept, ClientConfig, Connection, Delivery, Event, Instant, Message, Publication, QueueLimits, ServerConfig,
    Session, State,
};
use std::collections::VecDeque;

pub(crate) const LIMITS: QueueLimits = QueueLimits { messages: 10_000, bytes: 100_000_000 };
pub(crate) const TOPICS: [&str; 3] = ["a", "b/c", "b/d"];

pub(crate) struct World {
    random: Random,
    plan: Plan,
    config: ServerConfig,
    now: Instant,
    pub(crate) client: End,
    pub(crate) server: End,
    next_number: Number,
    server_has_session: bool,
    /// One for each connection to come: the link breaks when so many bytes of one end have arrived.
    cut_at: VecDeque<(Role, usize)>,
    cuts: usize,
}

/// A client of `plan`, about to say CONNECT.
pub(crate) fn connect(now: Instant, plan: &Plan, session: Session) -> Connection {
    let properties = [
        Property::SessionExpiryInterval(1000),
        Property::ReceiveMaximum(plan.receive_maximum),
        Property::TopicAliasMaximum(plan.aliases),
    ];
    let v5 = plan.version == Version::V5;
    let connect = Connect {
        version: plan.version,
        clean_start: false,
        keep_alive: plan.keep_alive,
        properties: if v5 { Properties::from_slice(&properties) } else { Properties::EMPTY },
        client_id: Utf8::new("client").unwrap(),
        will: None,
        user_name: None,
        password: None,
    };
    let mut config = ClientConfig::default();
    (config.manual_acknowledgement, config.topic_alias_maximum_outgoing) = (plan.manual, plan.aliases);
    Connection::client_with(now, &connect, session, &config).unwrap()
}

impl World {
    pub(crate) fn new(seed: u64, plan: Plan) -> Self {
        let mut config = ServerConfig::default();
        (config.maximum_inflight, config.topic_alias_maximum_outgoing) = (plan.maximum_inflight, plan.aliases);
        if plan.version == Version::V5 {
            config.receive_maximum = plan.receive_maximum;
        }
        let (client, server) = (End::new(Role::Client), End::new(Role::Server));
        Self {
            random: Random::new(seed),
            plan,
            config,
            now: Instant::ZERO,
            client,
            server,
            next_number: 0,
            server_has_session: false,
            cut_at: VecDeque::new(),
            cuts: 0,
        }
    }

    /// The link breaks, on the first connection that has no such order yet, when `bytes` of `role` have arrived.
    pub(crate) fn cut_at(&mut self, role: Role, bytes: usize) {
        self.cut_at.push_back((role, bytes));
    }

    pub(crate) fn cuts(&self) -> usize {
        self.cuts
    }

    pub(crate) fn directions(&self) -> [(&End, &End); 2] {
        [(&self.client, &self.server), (&self.server, &self.client)]
    }

    fn ends(&mut self, from: Role) -> (&mut End, &mut End) {
        match from {
            Role::Client => (&mut self.client, &mut self.server),
            Role::Server => (&mut self.server, &mut self.client),
        }
    }

    // --- what happens ------------------------------------------------------------------------------------------------

    /// One random thing happens.
    pub(crate) fn step(&mut self) {
        let jump = self.plan.faults && self.random.chance(1);
        let most = if jump { 8_000 } else { 50 };
        let passed = self.random.below(most);
        self.pass(passed);
        if self.client.connection.is_none() {
            self.connect();
        }
        match self.random.below(100) {
            0..15 => {
                let qos = self.random_qos();
                self.publish(Role::Client, qos);
            }
            15..30 if !self.plan.only_from_client => {
                let qos = self.random_qos();
                self.publish(Role::Server, qos);
            }
            30..32 if self.plan.faults => self.cut(),
            32 if self.plan.faults => {
                let role = ROLES[self.random.below(2) as usize];
                self.goodbye(role);
            }
            33..36 => self.ask(),
            36..39 => self.answer(),
            39..41 => self.take(),
            41..53 => self.acknowledge(Role::Client, false),
            53..66 => self.acknowledge(Role::Server, false),
            66..83 => self.transfer(Role::Client),
            _ => self.transfer(Role::Server),
        }
    }

    pub(crate) fn connect(&mut self) {
        let session = self.client.session.take().unwrap();
        self.client.join(connect(self.now, &self.plan, session));
        self.server.join(Connection::server(self.now, &self.config));
    }

    /// The link breaks: what is on it is lost, but for what may just have arrived.
    pub(crate) fn cut(&mut self) {
        for role in ROLES {
            if self.random.chance(50) {
                self.transfer(role);
            }
        }
        self.break_link();
    }

    /// The link breaks: what is on it is lost.
    pub(crate) fn break_link(&mut self) {
        self.cuts += usize::from(self.client.connection.is_some());
        for role in ROLES {
            let restarts = self.random.chance(self.plan.restarts);
            let (end, _) = self.ends(role);
            end.cut();
            if restarts {
                end.restart();
            }
        }
    }

    /// One end takes its leave, and is heard to the end or not.
    fn goodbye(&mut self, role: Role) {
        let reason = if role == Role::Server { ReasonCode::SERVER_SHUTTING_DOWN } else { ReasonCode::SUCCESS };
        let now = self.now;
        if let Some(connection) = &mut self.ends(role).0.connection {
            connection.disconnect(now, reason, &[]);
        }
        if self.random.chance(50) {
            self.transfer(role);
        }
        self.break_link();
    }

    pub(crate) fn lose_server_session(&mut self) {
        self.server.session = Some(Session::new());
        self.server_has_session = false;
        // what was sent before is begun anew, or sent again if the client has not heard of the loss
        self.client.may_begin_anew = true;
    }

    pub(crate) fn publish(&mut self, role: Role, qos: Qos) {
        self.next_number += 1;
        let number = self.next_number;
        let mut payload = number.to_be_bytes().to_vec();
        // some are longer than what is copied, and go out as shared chunks
        if !self.plan.small {
            payload.resize(4 + self.random.below(40) as usize * 60, 0x5A);
        }
        let topic = self.random.below(TOPICS.len() as u64) as usize;
        let mut publication = Publication::new(TopicName::new(TOPICS[topic]).unwrap(), &payload);
        publication.qos = qos;
        let now = self.now;
        let (end, _) = self.ends(role);
        let token = match (role, &mut end.session, &mut end.connection) {
            (Role::Client, _, Some(client)) => client.publish(now, &publication, &LIMITS).unwrap(),
            // While CONNECT is on its way the session lies beside the connection.
            (_, Some(session), _) => deliver(session, now, &publication),
            (_, None, Some(connection)) => deliver(connection.session_mut(), now, &publication),
            (_, None, None) => panic!("no session"),
        };
        end.publishes(number, topic, qos, token);
    }

    /// The client subscribes or unsubscribes: from the same identifiers as its messages (pitfall 42).
    fn ask(&mut self) {
        let subscribes = self.random.chance(50);
        let filters = [TopicFilter::new("a").unwrap(), TopicFilter::new("b/+").unwrap()];
        let filters = &filters[..1 + self.random.below(2) as usize];
        let Some(client) = self.client.connection.as_mut().filter(|client| client.state() == State::Connected) else {
            return;
        };
        if subscribes {
            let options = SubscribeOptions::default();
            let list: Vec<_> = filters.iter().map(|&filter| Subscription { filter, options }).collect();
            client.subscribe(self.now, &list, &[]).unwrap();
        } else {
            client.unsubscribe(self.now, filters, &[]).unwrap();
        }
    }

    /// The server's host answers what was asked.
    fn answer(&mut self) {
        let Some(server) = &mut self.server.connection else { return };
        for (token, subscribes, filters) in self.server.requests.drain(..) {
            let codes = vec![ReasonCode::SUCCESS; filters];
            if subscribes {
                server.suback(token, &codes, Properties::EMPTY);
            } else {
                server.unsuback(token, &codes, Properties::EMPTY);
            }
        }
    }

    /// The server's host makes a QoS 2 message its own, and will answer later.
    fn take(&mut self) {
        let Some(server) = &mut self.server.connection else { return };
        let published = &self.client.published;
        let is_qos2 = |number: Number| published.iter().any(|&(n, _, qos)| n == number && qos == Qos::ExactlyOnce);
        if let Some((token, number)) = self.server.waiting.iter_mut().find(|(_, n)| n.is_some_and(is_qos2)) {
            server.take(*token);
            *self.server.accepted.entry(number.take().unwrap()).or_default() += 1;
        }
    }

    /// The host of one end acknowledges one of the messages it was given, any of them; `all`: all of them.
    fn acknowledge(&mut self, role: Role, all: bool) {
        loop {
            let refuse = self.plan.faults && self.random.chance(10);
            let which = self.random.next();
            let (end, _) = self.ends(role);
            if end.waiting.is_empty() {
                return;
            }
            let (token, number) = end.waiting.swap_remove((which % end.waiting.len() as u64) as usize);
            let reason = match number {
                Some(number) if refuse => {
                    end.refused.insert(number);
                    ReasonCode::NOT_AUTHORIZED
                }
                Some(number) => {
                    *end.accepted.entry(number).or_default() += 1;
                    ReasonCode::SUCCESS
                }
                None => ReasonCode::SUCCESS,
            };
            end.connection.as_mut().unwrap().acknowledge(token, reason);
            if !all {
                return;
            }
        }
    }

    // --- time --------------------------------------------------------------------------------------------------------

    /// Time passes, deadline by deadline; an end that has waited too long gives the link up.
    pub(crate) fn pass(&mut self, millis: u64) {
        let until = self.now.plus_millis(millis);
        while let Some((at, role)) = self.next_deadline().filter(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            if self.wake(role) {
                self.break_link();
            }
        }
        self.now = until;
    }

    /// Nothing is carried any more: which end gives up, and after how many milliseconds.
    pub(crate) fn silence(&mut self) -> Vec<(Role, u64)> {
        let begin = self.now;
        let mut lost = Vec::new();
        while let Some((at, role)) = self.next_deadline() {
            self.now = at;
            if self.wake(role) {
                lost.push((role, at.since(begin).as_millis() as u64));
            }
        }
        lost
    }

    fn next_deadline(&self) -> Option<(Instant, Role)> {
        let of = |end: &End| Some((end.connection.as_ref()?.poll_timeout()?, end.role));
        of(&self.client).into_iter().chain(of(&self.server)).min_by_key(|(at, _)| *at)
    }

    /// Wakes an end at its deadline; whether it gives up.
    fn wake(&mut self, role: Role) -> bool {
        let now = self.now;
        let connection = self.ends(role).0.connection.as_mut().unwrap();
        let lost = connection.handle_timeout(now).is_err();
        assert_eq!(lost, connection.state() == State::Closing);
        // no busy loop: what was due is done
        assert!(connection.poll_timeout().is_none_or(|next| next > now), "the {role:?} is due again at once");
        lost
    }

    // --- the wire ----------------------------------------------------------------------------------------------------

    /// Lets one end write, and a part of what it wrote arrive.
    pub(crate) fn transfer(&mut self, from: Role) {
        let now = self.now;
        let (sender, _) = match from {
            Role::Client => (&mut self.client, &mut self.server),
            Role::Server => (&mut self.server, &mut self.client),
        };
        sender.write(now, &self.plan);
        let len = sender.wire.len();
        let mut some = match self.plan.chunk {
            Some(chunk) => len.min(chunk),
            None if self.plan.faults => self.random.below(len as u64 + 1) as usize,
            None => len,
        };
        let order = self.cut_at.front_mut().filter(|(role, left)| *role == from && *left <= some);
        let breaks = order.is_some();
        if let Some((_, left)) = order {
            some = *left;
        } else if let Some((_, left)) = self.cut_at.front_mut().filter(|(role, _)| *role == from) {
            *left -= some;
        }
        let bytes: Vec<u8> = sender.wire.drain(..some).collect();
        let goes_on = self.hear(from, &bytes);
        if breaks {
            self.cut_at.pop_front();
        }
        if breaks || !goes_on {
            self.break_link();
        }
    }

    /// One end hears what the other wrote; `false` if it was the goodbye.
    fn hear(&mut self, from: Role, mut bytes: &[u8]) -> bool {
        let (_, receiver) = match from {
            Role::Client => (&mut self.client, &mut self.server),
            Role::Server => (&mut self.server, &mut self.client),
        };
        let (Some(connection), Some(reader)) = (&mut receiver.connection, &mut receiver.reader) else { return true };
        let mut goes_on = true;
        loop {
            let mut wants_in = None;
            let mut input = connection.read(self.now, reader, bytes);
            while let Some(event) = input.next().expect("neither end breaks a rule") {
                match event {
                    Event::Handled | Event::Connected(_) => {}
                    Event::Connect(connect) => wants_in = Some(connect.clean_start),
                    Event::Publish(received, token) => {
                        let number = Number::from_be_bytes(received.payload[..4].try_into().unwrap());
                        let topic = received.topic.as_name();
                        let topic = TOPICS.iter().position(|text| text.as_bytes() == topic.as_bytes()).unwrap();
                        receiver.arrived.push((number, topic, received.qos));
                        if token.is_awaited() {
                            receiver.waiting.push((token, Some(number)));
                        } else {
                            *receiver.accepted.entry(number).or_default() += 1;
                        }
                    }
                    Event::Released(token) => receiver.waiting.push((token, None)),
                    Event::Completed { token, .. } => {
                        *receiver.completions.get_mut(&token).expect("a token that was given out") += 1;
                        receiver.unfinished.remove(&token);
                    }
                    Event::Subscribe(subscribe, token) => {
                        receiver.requests.push((token, true, subscribe.subscriptions.iter().count()));
                    }
                    Event::Unsubscribe(unsubscribe, token) => {
                        receiver.requests.push((token, false, unsubscribe.filters.iter().count()));
                    }
                    Event::Suback(..) | Event::Unsuback(..) => {}
                    Event::Disconnect(_) => goes_on = false,
                    other => panic!("unexpected {other:?}"),
                }
            }
            drop(input);
            let Some(clean) = wants_in else { return goes_on };
            assert!(!clean);
            let accept = Accept { session_present: self.server_has_session, ..Accept::default() };
            let session = receiver.session.take().unwrap();
            connection.accept(self.now, session, &self.config, &accept);
            self.server_has_session = true;
            bytes = &[];
        }
    }

    /// No more faults but those ordered: all that waits is carried over and acknowledged.
    pub(crate) fn settle(&mut self) {
        for _ in 0..100_000 {
            if self.client.connection.is_none() {
                self.connect();
            }
            let before = self.client.written.len() + self.server.written.len();
            let nothing_on_the_way = self.client.wire.is_empty() && self.server.wire.is_empty();
            for role in ROLES {
                self.transfer(role);
                self.acknowledge(role, true);
                self.answer();
                let now = self.now;
                let plan = self.plan.clone();
                self.ends(role).0.write(now, &plan);
            }
            let quiet = before == self.client.written.len() + self.server.written.len();
            let answered = self.client.waiting.is_empty() && self.server.waiting.is_empty();
            if quiet && nothing_on_the_way && answered && self.client.connection.is_some() {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    // --- what is looked at -------------------------------------------------------------------------------------------

    pub(crate) fn arrivals(&self) -> Vec<(Number, usize, Qos)> {
        self.client.arrived.iter().chain(&self.server.arrived).copied().collect()
    }

    pub(crate) fn wire(&self) -> Vec<u8> {
        [self.client.written.as_slice(), &self.server.written].concat()
    }

    fn random_qos(&mut self) -> Qos {
        QOS[self.random.below(3) as usize]
    }
}

fn deliver(session: &mut Session, now: Instant, publication: &Publication<'_>) -> mqtt_session::PublishToken {
    let delivery = Delivery::new(Message::new(now, publication), publication.qos, publication.retain);
    session.deliver(delivery, &LIMITS).unwrap();
    session.last_token()
}
