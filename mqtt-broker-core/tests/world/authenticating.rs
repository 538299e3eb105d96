//! Enhanced authentication (section 4.12) through the policy, shown with SCRAM-SHA-256, and the terms on which clients are let in.
use crate::harness::*;
use base64ct::{Base64, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use mqtt_broker_core::codec::{
    Auth, Disconnect, Packet, Properties, Property, Publish, Qos, ReasonCode, Role, TopicName, Utf8, Version,
};
use mqtt_broker_core::topic::TopicFilter;
use mqtt_broker_core::{
    AuthRequest, AuthStep, ClientInfo, Config, ConnectRequest, ConnectionId, Decision, Policy, PublishRequest,
    ReceiveRequest, Refusal, SubscribeRequest, Terms, Ticket, UnsubscribeRequest,
};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

const METHOD: &str = "SCRAM-SHA-256";
const ROUNDS: u32 = 4096;
const SALT: &[u8] = b"salt of this test";

// --- SCRAM (RFC 5802 and RFC 7677), as far as both ends need it ------------------------------------------------------

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.iter().zip(b).map(|(a, b)| a ^ b).collect()
}

/// ClientKey and ServerKey of a password.
fn keys(password: &str) -> (Vec<u8>, Vec<u8>) {
    let mut salted = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), SALT, ROUNDS, &mut salted);
    (mac(&salted, b"Client Key"), mac(&salted, b"Server Key"))
}

fn field<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

/// What the server knows of a user: nothing that would let it, or a thief, log in.
struct Stored {
    /// H(ClientKey).
    stored: Vec<u8>,
    server: Vec<u8>,
}

/// An exchange under way.
struct Exchange {
    user: String,
    nonce: String,
    /// client-first-bare and server-first.
    so_far: String,
}

/// A policy that knows users by SCRAM alone.
#[derive(Default)]
struct Scram {
    users: HashMap<String, Stored>,
    exchanges: HashMap<ConnectionId, Exchange>,
    forgotten: usize,
    /// Puts every step off.
    later: bool,
    tickets: Vec<(Ticket, Decision)>,
    asked: Vec<(AuthStep, String)>,
    denies_topics: bool,
    connect: Option<Decision>,
}

impl Scram {
    fn with_users(users: &[(&str, &str)]) -> Self {
        let stored = users.iter().map(|(user, password)| {
            let (client, server) = keys(password);
            (user.to_string(), Stored { stored: Sha256::digest(&client).to_vec(), server })
        });
        Self { users: stored.collect(), ..Self::default() }
    }

    fn first(&mut self, connection: ConnectionId, data: &str) -> Option<Decision> {
        let bare = data.strip_prefix("n,,")?;
        let nonce = format!("{}server{}", field(bare, "r")?, self.exchanges.len());
        let answer = format!("r={nonce},s={},i={ROUNDS}", Base64::encode_string(SALT));
        let so_far = format!("{bare},{answer}");
        self.exchanges.insert(connection, Exchange { user: field(bare, "n")?.to_string(), nonce, so_far });
        Some(Decision::proceed(answer.as_bytes()))
    }

    fn last(&mut self, connection: ConnectionId, data: &str) -> Option<Decision> {
        let exchange = self.exchanges.remove(&connection)?;
        let user = self.users.get(&exchange.user)?;
        let (without_proof, proof) = data.split_once(",p=")?;
        let signed = format!("{},{without_proof}", exchange.so_far);
        let client = xor(&Base64::decode_vec(proof).ok()?, &mac(&user.stored, signed.as_bytes()));
        if field(data, "r") != Some(&exchange.nonce) || Sha256::digest(client).as_slice() != user.stored {
            return None;
        }
        let signature = format!("v={}", Base64::encode_string(&mac(&user.server, signed.as_bytes())));
        let mut terms = Terms::default();
        terms.user_name = Some(exchange.user.into());
        terms.authentication_data = Some(signature.as_bytes().into());
        Some(Decision::allow_with(terms))
    }
}

impl Policy for Scram {
    fn connect(&mut self, _: &ConnectRequest<'_>) -> Decision {
        self.connect.clone().unwrap_or(Decision::Allow)
    }
    fn authenticate(&mut self, request: &AuthRequest<'_>) -> Decision {
        self.asked.push((request.step, request.client.client_id.to_string()));
        if request.method != METHOD {
            return Decision::Deny(ReasonCode::BAD_AUTHENTICATION_METHOD);
        }
        let data = String::from_utf8_lossy(request.data.unwrap_or_default()).into_owned();
        let decision = match request.step {
            AuthStep::Connect | AuthStep::Again => self.first(request.connection, &data),
            _ => self.last(request.connection, &data),
        };
        let decision = decision.unwrap_or(Decision::Deny(ReasonCode::NOT_AUTHORIZED));
        if self.later {
            self.tickets.push((request.ticket, decision));
            return Decision::Defer(request.ticket);
        }
        decision
    }
    fn forget(&mut self, connection: ConnectionId) {
        self.exchanges.remove(&connection);
        self.forgotten += 1;
    }
    fn publish(&mut self, _: &PublishRequest<'_>) -> Decision {
        Decision::Allow
    }
    fn subscribe(&mut self, _: &SubscribeRequest<'_>) -> Decision {
        if self.denies_topics { Decision::Deny(ReasonCode::NOT_AUTHORIZED) } else { Decision::Allow }
    }
    fn unsubscribe(&mut self, _: &UnsubscribeRequest<'_>) -> Decision {
        Decision::Allow
    }
    fn receives_all(&mut self, _: &ClientInfo<'_>, _: TopicFilter<'_>) -> bool {
        true
    }
    fn receive(&mut self, _: &ReceiveRequest<'_>) -> bool {
        true
    }
}

/// The client's end of one exchange.
struct Prover {
    bare: String,
    password: String,
}

impl Prover {
    fn new(user: &str, password: &str) -> Self {
        Self { bare: format!("n={user},r=client"), password: password.to_string() }
    }
    fn first(&self) -> String {
        format!("n,,{}", self.bare)
    }
    /// The answer to the challenge, and what the server has to end with.
    fn last(&self, challenge: &str) -> (String, String) {
        let without_proof = format!("c=biws,r={}", field(challenge, "r").unwrap());
        let signed = format!("{},{challenge},{without_proof}", self.bare);
        let (client, server) = keys(&self.password);
        let proof = xor(&client, &mac(&Sha256::digest(&client), signed.as_bytes()));
        let expected = format!("v={}", Base64::encode_string(&mac(&server, signed.as_bytes())));
        (format!("{without_proof},p={}", Base64::encode_string(&proof)), expected)
    }
}

// --- the stories -----------------------------------------------------------------------------------------------------

fn world() -> World<Scram> {
    World::with(Config::default(), Scram::with_users(&[("ada", "one"), ("bob", "two")]))
}

fn text(value: &str) -> Utf8<'_> {
    Utf8::new(value).unwrap()
}

/// CONNECT with a method and its first data.
fn begin(world: &mut World<Scram>, id: &str, method: &str, data: &str, more: &[Property<'_>]) -> Name {
    let mut list = vec![
        Property::AuthenticationMethod(text(method)),
        Property::AuthenticationData(data.as_bytes()),
        Property::SessionExpiryInterval(1_000),
    ];
    list.extend(more);
    let name = world.open(Version::V5);
    let mut connect = connect(Version::V5, id);
    connect.clean_start = false;
    connect.properties = Properties::from_slice(&list);
    world.send(name, Packet::Connect(connect));
    world.turn();
    name
}

fn answer(world: &mut World<Scram>, name: Name, reason: ReasonCode, data: &str) {
    let list = [Property::AuthenticationMethod(text(METHOD)), Property::AuthenticationData(data.as_bytes())];
    world.send(name, Packet::Auth(Auth { reason, properties: Properties::from_slice(&list) }));
}

/// The one packet that came, its name and reason, and the data in it.
fn said(world: &mut World<Scram>, name: Name) -> (String, String) {
    let bytes = world.received_bytes(name);
    let packet = Packet::decode(&bytes, Version::V5, Role::Server).unwrap();
    let (line, properties) = match packet {
        Packet::Auth(auth) => (format!("AUTH {:?}", auth.reason), auth.properties),
        Packet::Connack(connack) => {
            let present = if connack.session_present { " present" } else { "" };
            (format!("CONNACK {:?}{present}", connack.reason), connack.properties)
        }
        Packet::Disconnect(disconnect) => (format!("DISCONNECT {:?}", disconnect.reason), disconnect.properties),
        other => panic!("{other}"),
    };
    (line, String::from_utf8_lossy(properties.authentication_data().unwrap_or_default()).into_owned())
}

fn decide(world: &mut World<Scram>) {
    let (ticket, decision) = world.broker.policy_mut().tickets.pop().expect("something was put off");
    world.broker.resume(world.now, ticket, decision);
    world.turn();
}

/// The whole exchange; what the CONNACK said.
fn log_in(world: &mut World<Scram>, id: &str, user: &str, password: &str) -> (Name, String) {
    let prover = Prover::new(user, password);
    let client = begin(world, id, METHOD, &prover.first(), &[]);
    let (line, challenge) = said(world, client);
    assert_eq!(line, "AUTH 0x18");
    let (proof, expected) = prover.last(&challenge);
    answer(world, client, ReasonCode::CONTINUE_AUTHENTICATION, &proof);
    let (line, data) = said(world, client);
    assert_eq!(data == expected, line.starts_with("CONNACK 0x00"), "{line} {data}");
    (client, line)
}

#[test]
fn both_ends_prove_who_they_are_and_the_session_is_bound_to_that() {
    // v5 [MQTT-4.12.0-2] [MQTT-4.12.0-5]; S8
    let mut world = world();
    let (ada, line) = log_in(&mut world, "c", "ada", "one");
    assert_eq!(line, "CONNACK 0x00");
    world.subscribe(ada, "t", Qos::AtLeastOnce);
    world.cut(ada);
    // a right password, but of somebody else
    assert_eq!(log_in(&mut world, "c", "bob", "two").1, "CONNACK 0x87");
    assert_eq!(log_in(&mut world, "c", "ada", "one").1, "CONNACK 0x00 present");
    let steps = [AuthStep::Connect, AuthStep::Answer].map(|step| (step, "c".to_string()));
    assert_eq!(world.broker.policy().asked[..2], steps);
    assert!(world.broker.policy().exchanges.is_empty());
}

#[test]
fn a_failed_authentication_changes_nothing() {
    // S6, S8; v5 [MQTT-4.12.0-1] [MQTT-4.12.0-4] [X5-AUTH-4]
    let mut world = world();
    let watcher = world.join(Version::V5, "watcher");
    world.subscribe(watcher, "#", Qos::AtMostOnce);
    let (ada, _) = log_in(&mut world, "c", "ada", "one");
    world.subscribe(ada, "t", Qos::AtLeastOnce);
    for (user, password) in [("ada", "two"), ("eve", "one"), ("bob", "two")] {
        let prover = Prover::new(user, password);
        let thief = world.open(Version::V5);
        let first = prover.first();
        let list = [Property::AuthenticationMethod(text(METHOD)), Property::AuthenticationData(first.as_bytes())];
        let mut connect = connect(Version::V5, "c");
        connect.properties = Properties::from_slice(&list);
        connect.will = Some(will("w", "x"));
        world.send(thief, Packet::Connect(connect)); // a clean start
        let (_, challenge) = said(&mut world, thief);
        assert!(!world.is_closed(ada), "{user}: nothing is taken over before it is proven");
        answer(&mut world, thief, ReasonCode::CONTINUE_AUTHENTICATION, &prover.last(&challenge).0);
        assert_eq!(said(&mut world, thief).0, "CONNACK 0x87", "{user}");
        assert!(world.is_closed(thief) && !world.is_closed(ada));
    }
    // one that goes away in the middle, and one that never answers
    for lost in [true, false] {
        let prover = Prover::new("ada", "one");
        let client = begin(&mut world, "c", METHOD, &prover.first(), &[]);
        assert_eq!(world.broker.policy().exchanges.len(), 1);
        if lost {
            world.cut(client);
        } else {
            world.advance(11 * SECOND);
            assert!(world.is_closed(client));
        }
        assert!(world.broker.policy().exchanges.is_empty(), "its state is forgotten");
    }
    let other = begin(&mut world, "c", "PLAIN", "x", &[]);
    assert_eq!(said(&mut world, other).0, "CONNACK 0x8C");
    assert!(world.messages(watcher).is_empty(), "nobody's will");
    world.publish(watcher, "t", "x", Qos::AtMostOnce);
    assert_eq!(world.messages(ada), ["t x"]);
}

#[test]
fn every_step_may_be_put_off() {
    let mut world = world();
    world.broker.policy_mut().later = true;
    let prover = Prover::new("ada", "one");
    let client = begin(&mut world, "c", METHOD, &prover.first(), &[]);
    assert!(world.received_bytes(client).is_empty() && !world.links[client].reading);
    decide(&mut world);
    let (line, challenge) = said(&mut world, client);
    assert!(line == "AUTH 0x18" && world.links[client].reading);
    answer(&mut world, client, ReasonCode::CONTINUE_AUTHENTICATION, &prover.last(&challenge).0);
    assert!(world.received_bytes(client).is_empty() && !world.links[client].reading);
    decide(&mut world);
    assert_eq!(said(&mut world, client).0, "CONNACK 0x00");
    // one that is never decided is denied
    let client = begin(&mut world, "d", METHOD, &prover.first(), &[]);
    world.advance(11 * SECOND);
    assert_eq!(said(&mut world, client).0, "CONNACK 0x87");
}

#[test]
fn a_connected_client_proves_itself_anew_and_is_judged_anew() {
    // v5 [MQTT-4.12.1-1]; S7
    let mut world = world();
    let (ada, _) = log_in(&mut world, "c", "ada", "one");
    world.subscribe(ada, "t", Qos::AtLeastOnce);
    let prover = Prover::new("ada", "one");
    for later in [false, true] {
        world.broker.policy_mut().later = later;
        answer(&mut world, ada, ReasonCode::REAUTHENTICATE, &prover.first());
        if later {
            decide(&mut world);
        }
        let (line, challenge) = said(&mut world, ada);
        assert_eq!(line, "AUTH 0x18");
        world.send(ada, Packet::Pingreq); // all else goes on
        assert_eq!(world.received(ada), ["PINGRESP"]);
        let (proof, expected) = prover.last(&challenge);
        answer(&mut world, ada, ReasonCode::CONTINUE_AUTHENTICATION, &proof);
        if later {
            decide(&mut world);
        }
        assert_eq!(said(&mut world, ada), ("AUTH 0x00".to_string(), expected));
        assert_eq!(world.broker.stats().subscriptions, usize::from(!later));
        world.broker.policy_mut().denies_topics = true; // what the next time finds
    }
}

#[test]
fn a_connected_client_cannot_become_somebody_else_or_fail_and_stay() {
    // v5 [MQTT-4.12.1-2]; S8
    for (user, password) in [("bob", "two"), ("ada", "wrong")] {
        let mut world = world();
        let (ada, _) = log_in(&mut world, "c", "ada", "one");
        let prover = Prover::new(user, password);
        answer(&mut world, ada, ReasonCode::REAUTHENTICATE, &prover.first());
        let (_, challenge) = said(&mut world, ada);
        answer(&mut world, ada, ReasonCode::CONTINUE_AUTHENTICATION, &prover.last(&challenge).0);
        assert_eq!(said(&mut world, ada).0, "DISCONNECT 0x87", "{user}");
        assert!(world.is_closed(ada));
    }
}

#[test]
fn who_asks_for_nothing_is_not_asked() {
    // v5 [MQTT-4.12.0-6] [MQTT-4.12.0-7]
    let mut world = world();
    let client = world.join(Version::V5, "c");
    assert!(world.broker.policy().asked.is_empty());
    answer(&mut world, client, ReasonCode::REAUTHENTICATE, "x");
    assert!(world.received(client)[0].starts_with("DISCONNECT 0x82") && world.is_closed(client));
}

// --- the terms -------------------------------------------------------------------------------------------------------

fn let_in(world: &mut World<Scram>, terms: Terms, more: &[Property<'_>], id: &str) -> (Name, Vec<String>) {
    world.broker.policy_mut().connect = Some(Decision::allow_with(terms));
    let client = world.try_join(Version::V5, id, |connect| {
        connect.properties = Properties::from_slice(more);
        connect.keep_alive = 60;
    });
    let bytes = world.received_bytes(client);
    (client, connack_properties(Version::V5, &bytes))
}

#[test]
fn a_client_is_let_in_on_the_policys_terms() {
    let mut world = world();
    let mut terms = Terms::default();
    terms.session_expiry = Some(30);
    terms.keep_alive = Some(20);
    terms.response_information = Some("answers/7".into());
    terms.reason_string = Some("welcome".into());
    terms.user_properties = vec![("zone".into(), "b".into())];
    let asks = [Property::SessionExpiryInterval(100), Property::RequestResponseInformation(true)];
    let (client, told) = let_in(&mut world, terms.clone(), &asks, "c");
    for expected in [
        "SessionExpiryInterval(30)",
        "ServerKeepAlive(20)",
        "ResponseInformation(\"answers/7\")",
        "ReasonString(\"welcome\")",
        "UserProperty(\"zone\", \"b\")",
    ] {
        assert!(told.iter().any(|property| property == expected), "{expected} {told:?}");
    }
    world.cut(client);
    world.advance(31 * SECOND);
    assert_eq!(world.broker.stats().sessions, 0);
    // v5 [MQTT-3.1.2-28]: response information only to whom asked; nobody gets more than was asked for
    let (_, told) = let_in(&mut world, terms, &[Property::SessionExpiryInterval(10)], "d");
    assert!(
        !told.iter().any(|property| property.starts_with("Response") || property.starts_with("Session")),
        "{told:?}"
    );
}

#[test]
fn a_client_may_be_given_its_identifier_and_its_name() {
    // S8; v5 [MQTT-3.2.2-16]
    let mut world = world();
    let named = |user: &str, id: &str| {
        let mut terms = Terms::default();
        (terms.user_name, terms.client_id) = (Some(user.into()), Some(id.into()));
        terms
    };
    let (first, told) = let_in(&mut world, named("ada", "of-ada"), &[], "");
    assert!(told.iter().any(|property| property == "AssignedClientIdentifier(\"of-ada\")"), "{told:?}");
    // the same by another name: taken over; one that gave an identifier is not told
    let (second, told) = let_in(&mut world, named("ada", "of-ada"), &[], "anything");
    assert!(world.is_closed(first) && !told.iter().any(|property| property.starts_with("Assigned")));
    // somebody else is not let in by it
    world.broker.policy_mut().connect = Some(Decision::allow_with(named("eve", "of-ada")));
    let eve = world.try_join(Version::V5, "", |_| {});
    assert_eq!(world.received(eve), ["CONNACK 0x87"]);
    assert!(!world.is_closed(second));
    for wrong in ["", &"x".repeat(2_000), "nul\0"] {
        world.broker.policy_mut().connect = Some(Decision::allow_with(named("eve", wrong)));
        let eve = world.try_join(Version::V5, "", |_| {});
        assert_eq!(world.received(eve), ["CONNACK 0x85"]);
    }
}

#[test]
fn a_client_is_sent_to_another_server_when_it_connects() {
    // [X5-CACK-10]
    let mut world = world();
    for (refusal, code, reason) in [
        (Refusal::use_another_server("b.example:1883 c.example"), 0x9C, "b.example:1883 c.example"),
        (Refusal::server_moved("d.example"), 0x9D, "d.example"),
    ] {
        world.broker.policy_mut().connect = Some(Decision::DenyWith(Box::new(refusal.with_words("moving"))));
        let client = world.try_join(Version::V5, "c", |connect| connect.will = Some(will("w", "x")));
        let bytes = world.received_bytes(client);
        assert_eq!(bytes[3], code);
        let told = connack_properties(Version::V5, &bytes);
        assert_eq!(told, [format!("ServerReference({reason:?})"), "ReasonString(\"moving\")".to_string()]);
        // before 5.0 it is the server that is unavailable
        let old = world.try_join(Version::V311, "c", |_| {});
        assert_eq!(world.received_bytes(old), [0x20, 2, 0, 3]);
        assert!(world.is_closed(client) && world.is_closed(old));
    }
    assert_eq!(world.broker.stats().sessions, 0);
}

#[test]
fn connected_clients_are_sent_to_another_server() {
    // [X5-CACK-10]
    let mut world = world();
    let away = Refusal::use_another_server("b.example:1883");
    let client = world.join(Version::V5, "c");
    let (old, other) = (world.join(Version::V311, "old"), world.join(Version::V5, "other"));
    assert!(world.broker.redirect(world.now, "c", &away) && world.broker.redirect(world.now, "old", &away));
    assert!(!world.broker.redirect(world.now, "nobody", &away));
    world.turn();
    let redirected = |world: &mut World<Scram>, name| {
        let bytes = world.received_bytes(name);
        let Ok(Packet::Disconnect(disconnect)) = Packet::decode(&bytes, Version::V5, Role::Server) else { panic!() };
        (disconnect.reason, format!("{:?}", disconnect.properties.server_reference().map(|text| text.as_str())))
    };
    let expected = (ReasonCode::USE_ANOTHER_SERVER, "Some(\"b.example:1883\")".to_string());
    assert_eq!(redirected(&mut world, client), expected);
    assert!(world.received_bytes(old).is_empty() && world.is_closed(old) && !world.is_closed(other));
    // all of them, and nobody comes any more
    world.broker.shutdown_as(world.now, &away);
    world.turn();
    assert_eq!(redirected(&mut world, other), expected);
    assert!(world.broker.handle_open(world.now, mqtt_broker_core::Peer::default()).is_err());
}

#[test]
fn what_the_policy_grants_a_session_bounds_its_goodbye_too() {
    let mut world = world();
    let mut terms = Terms::default();
    terms.session_expiry = Some(30);
    let (client, _) = let_in(&mut world, terms, &[Property::SessionExpiryInterval(20)], "c");
    let more = [Property::SessionExpiryInterval(1_000)];
    let properties = Properties::from_slice(&more);
    world.send(client, Packet::Disconnect(Disconnect { reason: ReasonCode::SUCCESS, properties }));
    world.advance(29 * SECOND);
    assert_eq!(world.broker.stats().sessions, 1);
    world.advance(2 * SECOND);
    assert_eq!(world.broker.stats().sessions, 0);
}

#[test]
fn an_exchange_is_forgotten_too_when_its_client_is_turned_away_at_last() {
    let mut world = world();
    let (_ada, line) = log_in(&mut world, "c", "ada", "one");
    assert_eq!(line, "CONNACK 0x00");
    let forgotten = world.broker.policy().forgotten;
    let prover = Prover::new("bob", "two");
    let bob = begin(&mut world, "c", METHOD, &prover.first(), &[]);
    let (_, challenge) = said(&mut world, bob);
    answer(&mut world, bob, ReasonCode::CONTINUE_AUTHENTICATION, &prover.last(&challenge).0);
    assert_eq!(said(&mut world, bob).0, "CONNACK 0x87", "ada's session");
    assert_eq!(world.broker.policy().forgotten, forgotten + 1);
}

#[test]
fn who_is_not_let_in_yet_may_send_no_more_than_a_connect() {
    // S17
    let big = "x".repeat(10_000);
    let mut config = Config::default();
    config.server.maximum_connect_size = 1_000;
    let mut world = World::with(config, Scram::with_users(&[("ada", "one")]));
    let prover = Prover::new("ada", "one");
    let client = begin(&mut world, "c", METHOD, &prover.first(), &[]);
    said(&mut world, client);
    answer(&mut world, client, ReasonCode::CONTINUE_AUTHENTICATION, &big);
    assert!(world.is_closed(client));
    assert_eq!(world.broker.policy().asked.len(), 1, "nobody looked at it");
    // once it is let in, what came with its last word may be large
    let client = begin(&mut world, "c", METHOD, &prover.first(), &[]);
    let (_, challenge) = said(&mut world, client);
    let (proof, _) = prover.last(&challenge);
    let list = [Property::AuthenticationMethod(text(METHOD)), Property::AuthenticationData(proof.as_bytes())];
    let properties = Properties::from_slice(&list);
    let mut bytes = Vec::new();
    let reason = ReasonCode::CONTINUE_AUTHENTICATION;
    Packet::Auth(Auth { reason, properties }).encode(Version::V5, &mut bytes).unwrap();
    let publish = Publish {
        dup: false,
        qos: Qos::AtLeastOnce,
        retain: false,
        topic: Some(TopicName::new("t").unwrap()),
        packet_id: Some(id(1)),
        properties: Properties::EMPTY,
        payload: big.as_bytes(),
    };
    Packet::Publish(publish).encode(Version::V5, &mut bytes).unwrap();
    world.send_bytes(client, &bytes);
    assert_eq!(world.received(client), ["CONNACK 0x00", "PUBACK id1 0x10"]);
}
