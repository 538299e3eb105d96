//! Clients that come and go: CONNECT, SUBSCRIBE, DISCONNECT.

use crate::load::{Load, Scenario, Target};
use crate::net::Net;
use crate::progress::Progress;
use crate::wire;
use mqtt_codec::{Packet, Property, Role, Version, frame_len};
use std::time::{Duration, Instant};

/// How many may be on their way in at once: fewer than the shortest accept queue.
const AT_ONCE: usize = 50;
/// What a turn waits for at most.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// A client that is to be.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// Its identifier, unique within the run.
    pub(crate) name: String,
    pub(crate) filters: Vec<String>,
    /// What it says to `bench forward`: its channel, and whether it subscribes.
    pub(crate) channel: (u32, bool),
}

impl Client {
    /// A client with a name and filters.
    pub(crate) fn new(name: String, filters: Vec<String>) -> Self {
        Self { name, filters, channel: (0, false) }
    }

    /// Its client identifier: nobody else's, not even another run's.
    pub(crate) fn id(&self) -> String {
        format!("bench-{}-{}", std::process::id(), self.name)
    }
}

/// What the broker has granted everybody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Granted {
    /// QoS 1 and 2 messages of one client under way at once.
    pub(crate) receive_maximum: u32,
}

#[derive(Clone, Copy)]
enum Awaits {
    Connack,
    Suback,
    Nothing,
}

struct Coming {
    conn: usize,
    awaits: Awaits,
    since: Instant,
}

/// Lets `clients` in, a few at a time, and calls `joined` with the time each took. Connections are numbered in order from `net`'s next one.
pub(crate) fn join(
    net: &mut Net,
    load: &Load,
    target: &Target,
    clients: &[Client],
    mut joined: impl FnMut(Duration),
) -> Result<(Vec<usize>, Granted), String> {
    let mut progress = Progress::new("connecting", clients.len() as u64);
    let mut coming: Vec<Coming> = Vec::with_capacity(clients.len());
    let mut granted = Granted { receive_maximum: 65_535 };
    let (mut done, mut closed) = (0, net.closed());
    let mut last = Instant::now();
    while done < clients.len() {
        while coming.len() < clients.len().min(done + AT_ONCE) {
            let client = &clients[coming.len()];
            let conn = net.connect(target.address)?;
            let hello = match target.floor {
                true => crate::forward::hello(client.channel).to_vec(),
                false => {
                    let stays = load.scenario == Scenario::Durable && !client.filters.is_empty();
                    wire::connect(load.version, &client.id(), !stays)?
                }
            };
            net.out(conn).extend(hello);
            coming.push(Coming { conn, awaits: Awaits::Connack, since: Instant::now() });
        }
        let first = coming.first().map_or(0, |client| client.conn);
        let before = done;
        net.turn(TICK, |conn, bytes, out| {
            let (Some(one), Some(client)) = (coming.get_mut(conn - first), clients.get(conn - first)) else {
                return Ok(bytes.len());
            };
            let mut used = 0;
            while let Some(frame) = frame(&bytes[used..])? {
                used += frame.len();
                let ready = match one.awaits {
                    Awaits::Connack if target.floor => true, // whatever it says, it is there
                    Awaits::Connack => {
                        let maximum = connack(frame, load.version)?;
                        granted.receive_maximum = granted.receive_maximum.min(maximum.into());
                        if !client.filters.is_empty() {
                            out.extend(wire::subscribe(load.version, &client.filters, load.qos)?);
                            one.awaits = Awaits::Suback;
                        }
                        client.filters.is_empty()
                    }
                    Awaits::Suback => {
                        suback(frame, load)?;
                        true
                    }
                    Awaits::Nothing => return Err(format!("{} got something it had not asked for", client.name)),
                };
                if ready {
                    one.awaits = Awaits::Nothing;
                    done += 1;
                    joined(one.since.elapsed());
                }
            }
            Ok(used)
        })?;
        if net.closed() > closed {
            return Err(format!("the broker closed a connection while {} of {} clients were in", done, clients.len()));
        }
        closed = net.closed();
        let now = Instant::now();
        progress.set(done as u64, now);
        if done > before {
            last = now;
        }
        if now - last > load.patience {
            return Err(format!("the broker let in {done} of {} clients, and then no more", clients.len()));
        }
    }
    Ok((coming.iter().map(|client| client.conn).collect(), granted))
}

/// Sends DISCONNECT everywhere and closes.
pub(crate) fn part(net: &mut Net, conns: &[usize], target: &Target) -> Result<(), String> {
    for &conn in conns {
        if !target.floor {
            net.out(conn).extend(wire::DISCONNECT);
        }
    }
    net.flush()?;
    for &conn in conns {
        net.close(conn);
    }
    Ok(())
}

/// The first whole packet.
fn frame(bytes: &[u8]) -> Result<Option<&[u8]>, String> {
    let len = frame_len(bytes, 1 << 20).map_err(|error| error.to_string())?;
    Ok(len.and_then(|len| bytes.get(..len)))
}

/// The Receive Maximum of a CONNACK that lets in.
pub(crate) fn connack(frame: &[u8], version: Version) -> Result<u16, String> {
    let Packet::Connack(connack) = Packet::decode(frame, version, Role::Server).map_err(|error| error.to_string())?
    else {
        return Err("the broker's first packet is no CONNACK".into());
    };
    if connack.reason.is_error() || connack.reason.0 != 0 {
        return Err(format!("the broker refuses: {}", mqtt_examples::words::reason(connack.reason)));
    }
    let maximum = connack.properties.iter().find_map(|property| match property {
        Property::ReceiveMaximum(maximum) => Some(maximum),
        _ => None,
    });
    Ok(maximum.map_or(u16::MAX, Into::into))
}

fn suback(frame: &[u8], load: &Load) -> Result<(), String> {
    match Packet::decode(frame, load.version, Role::Server).map_err(|error| error.to_string())? {
        Packet::Suback(suback) if suback.codes.iter().all(|code| code.0 == load.qos as u8) => Ok(()),
        Packet::Suback(suback) => {
            Err(format!("the broker grants {:?} where QoS {} was asked for", suback.codes, load.qos as u8))
        }
        other => Err(format!("{other} where SUBACK was awaited")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_codec::{Ack, AckKind, PacketId, Properties, ReasonCode};

    #[test]
    fn acknowledgements_by_hand_are_those_of_the_codec() {
        let rows = [
            (AckKind::Puback, wire::PUBACK),
            (AckKind::Pubrec, wire::PUBREC),
            (AckKind::Pubrel, wire::PUBREL),
            (AckKind::Pubcomp, wire::PUBCOMP),
        ];
        for (kind, first) in rows {
            let ack = Ack {
                kind,
                packet_id: PacketId::new(0x0102).unwrap(),
                reason: ReasonCode::SUCCESS,
                properties: Properties::default(),
            };
            for version in [Version::V311, Version::V5] {
                let mut bytes = Vec::new();
                Packet::Ack(ack).encode(version, &mut bytes).unwrap();
                assert_eq!(bytes, wire::ack(first, 0x0102));
            }
        }
    }
}
