//! What one end once said, said again to another in other pieces.
use crate::plan::Plan;
use crate::random::Random;
use crate::world::{World, connect};
use crate::{QOS, end};
use mqtt_session::codec::{OutBuf, ReasonCode, Role, Version};
use mqtt_session::{Accept, Connection, Event, Instant, ServerConfig, Session, Transmit};

/// All that an end of this role says that publishes and is heard to the end.
pub(crate) fn record(version: Version, from: Role) -> Vec<u8> {
    let mut world = World::new(9, Plan::calm(version));
    world.connect();
    for number in 0..9 {
        world.publish(from, QOS[number % 3]);
    }
    world.settle();
    match from {
        Role::Client => world.client.written,
        Role::Server => world.server.written,
    }
}

/// What came of it.
#[derive(Debug, PartialEq)]
pub(crate) struct Heard {
    pub(crate) events: usize,
    transcript: Vec<String>,
    answers: Vec<u8>,
}

/// The stream in pieces of any length, none included.
pub(crate) fn pieces(mut stream: &[u8], seed: u64) -> Vec<&[u8]> {
    let mut random = Random::new(seed);
    let mut pieces = Vec::new();
    while !stream.is_empty() {
        let (piece, rest) = stream.split_at(random.below(stream.len().min(20) as u64 + 1) as usize);
        pieces.push(piece);
        stream = rest;
    }
    pieces
}

/// Says `pieces` to a fresh end, whose host answers at once.
pub(crate) fn play(version: Version, from: Role, pieces: &[&[u8]]) -> Heard {
    let plan = Plan::calm(version);
    let config = ServerConfig::default();
    let mut end = match from {
        Role::Client => Connection::server(Instant::ZERO, &config),
        Role::Server => connect(Instant::ZERO, &plan, Session::new()),
    };
    let mut reader = end.reader();
    let mut heard = Heard { events: 0, transcript: Vec::new(), answers: Vec::new() };
    let mut out = OutBuf::with_limit(1 << 20);
    // CONNECT, if it is a client, is no answer
    while end.poll_transmit(Instant::ZERO, &mut out) == Transmit::Wrote {}
    for mut piece in pieces.iter().copied() {
        loop {
            let mut wants_in = false;
            let mut input = end.read(Instant::ZERO, &mut reader, piece);
            while let Some(event) = input.next().unwrap() {
                heard.events += 1;
                let (mut answer, text) = (None, format!("{event:?}"));
                match event {
                    Event::Connect(_) => wants_in = true,
                    Event::Publish(received, token) => {
                        let number = end::Number::from_be_bytes(received.payload[..4].try_into().unwrap());
                        heard.transcript.push(format!("{number}: {} bytes", received.payload.len()));
                        answer = Some(token);
                    }
                    Event::Released(token) => answer = Some(token),
                    _ => heard.transcript.push(text),
                }
                if let Some(token) = answer {
                    input.acknowledge(token, ReasonCode::SUCCESS);
                }
            }
            drop(input);
            if !wants_in {
                break;
            }
            end.accept(Instant::ZERO, Session::new(), &config, &Accept::default());
            piece = &[];
        }
    }
    while end.poll_transmit(Instant::ZERO, &mut out) == Transmit::Wrote {}
    while !out.is_empty() {
        heard.answers.extend_from_slice(out.chunk());
        out.advance(out.chunk().len());
    }
    heard
}
