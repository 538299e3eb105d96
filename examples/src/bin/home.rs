//! A house in memory: a broker and its devices, joined by byte buffers; shows who gets a message, why, and packet by packet.
//!
//! There is no socket and no clock in it, and every run prints the same: this is how the libraries are used in a test.
use mqtt_broker_core::{AllowAll, Broker, Config, ConnectionId, Peer, Read};
use mqtt_codec::topic::{FilterLevel, HashSeed, TopicFilter, TopicName};
use mqtt_codec::{
    Connect, OutBuf, Packet, Properties, Qos, Reader, Role, SubscribeOptions, Subscription, Utf8, Version,
};
use mqtt_examples::words;
use mqtt_session::{Connection, Event, Instant, Publication, QueueLimits, Session, Transmit};
use std::error::Error;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Nothing takes time in this house.
const NOW: Instant = Instant::ZERO;

const VERSION: Version = Version::V311;

/// Who subscribes to what.
const SUBSCRIBERS: [(&str, &str); 5] = [
    ("thermostat", "home/+/temp"),
    ("phone", "home/#"),
    ("logger", "home/kitchen/+"),
    ("door app", "home/door"),
    ("rooms", "home/+"),
];

fn main() -> Result<()> {
    let mut home = Home::new()?;

    println!("A house: one broker, some devices, no network. All speak MQTT 3.1.1.\n");
    println!("Five devices connect and subscribe, with QoS 2 as the most they want.\n");
    for (name, filter) in SUBSCRIBERS {
        home.connect(name)?;
        home.subscribe(name, filter)?;
        println!("  {name:<16}{filter}");
    }
    home.connect("kitchen sensor")?;

    let topic = TopicName::new("home/kitchen/temp")?;
    println!("\n\n1. QoS 1, to several subscribers");
    println!("\nThe kitchen sensor publishes \"21.4\" to {topic}, at QoS 1 and with RETAIN.");
    let packets = home.publish(
        "kitchen sensor",
        Publication { qos: Qos::AtLeastOnce, retain: true, ..Publication::new(topic, b"21.4") },
    )?;
    home.explain(topic);
    println!(
        "\nThe packets: QoS 1 is PUBLISH and PUBACK, once from the sensor to the broker, and once from the broker to each subscriber."
    );
    println!(
        "Each way has its own packet identifier (m). RETAIN (r) is 0 for those who are there when the message comes.\n"
    );
    print_packets(&packets);

    println!("\n\n2. The retained message, for a late subscriber");
    println!(
        "\nA display is switched on after all that, and subscribes to home/kitchen/temp. The broker has kept the message:"
    );
    println!("RETAIN is 1 now, so the display can tell that it is not news.\n");
    home.connect("display")?;
    let packets = home.subscribe("display", "home/kitchen/temp")?;
    print_packets(&packets);

    let topic = TopicName::new("home/door")?;
    println!("\n\n3. QoS 2, exactly once");
    println!("\nThe door sensor publishes \"open\" to {topic}, at QoS 2.");
    home.connect("door sensor")?;
    let packets =
        home.publish("door sensor", Publication { qos: Qos::ExactlyOnce, ..Publication::new(topic, b"open") })?;
    home.explain(topic);
    println!("\nFour packets, again on each way by itself. From sensor to broker:\n");
    print_steps(&packets, "door sensor");
    println!("\nand from broker to the door app:\n");
    print_steps(&packets, "door app");
    println!("\nUntil PUBREC the sender may send the message again (d1), and the receiver knows it by its identifier.");
    println!("PUBREL says that this cannot happen any more; with PUBCOMP the identifier is free.");
    Ok(())
}

/// What each of the four packets of QoS 2 is for.
const STEPS: [(&str, &str); 4] = [
    ("PUBLISH", "here it is"),
    ("PUBREC", "I have it: do not send it again"),
    ("PUBREL", "I will not: you may forget the identifier"),
    ("PUBCOMP", "forgotten: it is free for the next message"),
];

fn print_steps(packets: &[Sent], device: &str) {
    for sent in packets.iter().filter(|sent| sent.device == device) {
        let step = STEPS.iter().find(|(name, _)| sent.packet.starts_with(name)).map_or("", |(_, step)| step);
        println!("  {sent:<76}{step}");
    }
}

fn print_packets(packets: &[Sent]) {
    for sent in packets {
        println!("  {sent}");
    }
}

/// The broker and all that is connected to it.
struct Home {
    broker: Broker<AllowAll>,
    devices: Vec<Device>,
    /// The packets since somebody last looked.
    packets: Vec<Sent>,
}

/// A device: its end of its connection, and how much it has received.
struct Device {
    name: &'static str,
    filter: Option<&'static str>,
    client: Connection,
    reader: Reader,
    /// The broker's name for the connection.
    id: ConnectionId,
    /// Messages, since the last was published.
    received: usize,
}

/// A packet on its way.
struct Sent {
    device: &'static str,
    to_broker: bool,
    packet: String,
}

impl std::fmt::Display for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let arrow = if self.to_broker { "->" } else { "<-" };
        f.pad(&format!("{:<15} {arrow} broker   {}", self.device, self.packet))
    }
}

impl Home {
    fn new() -> Result<Self> {
        // a fixed seed, for the same output every time; a real broker takes HashSeed::random()
        let broker = Broker::new(Config::default(), AllowAll, HashSeed::new(1, 2))?;
        Ok(Self { broker, devices: Vec::new(), packets: Vec::new() })
    }

    /// Opens a connection and lets CONNECT and CONNACK pass.
    fn connect(&mut self, name: &'static str) -> Result<()> {
        let connect = Connect {
            version: VERSION,
            clean_start: true,
            keep_alive: 60,
            properties: Properties::EMPTY,
            client_id: Utf8::new(name).ok_or("a name")?,
            will: None,
            user_name: None,
            password: None,
        };
        let client = Connection::client(NOW, &connect, Session::new())?;
        let reader = client.reader();
        let id = self.broker.handle_open(NOW, Peer::default())?;
        self.devices.push(Device { name, filter: None, client, reader, id, received: 0 });
        self.settle()?;
        self.packets.clear();
        Ok(())
    }

    /// Subscribes; gives the packets that were exchanged.
    fn subscribe(&mut self, name: &str, filter: &'static str) -> Result<Vec<Sent>> {
        let options = SubscribeOptions { qos: Qos::ExactlyOnce, ..SubscribeOptions::default() };
        let device = self.device(name)?;
        device.filter = Some(filter);
        device.client.subscribe(NOW, &[Subscription { filter: TopicFilter::new(filter)?, options }], &[])?;
        self.settle()?;
        Ok(std::mem::take(&mut self.packets))
    }

    /// Publishes; gives the packets that were exchanged, by all.
    fn publish(&mut self, name: &str, publication: Publication<'_>) -> Result<Vec<Sent>> {
        let limits = QueueLimits { messages: 1, bytes: 1 << 20 };
        for device in &mut self.devices {
            device.received = 0;
        }
        self.device(name)?.client.publish(NOW, &publication, &limits)?;
        self.settle()?;
        Ok(std::mem::take(&mut self.packets))
    }

    fn device(&mut self, name: &str) -> Result<&mut Device> {
        self.devices.iter_mut().find(|device| device.name == name).ok_or_else(|| format!("no {name} here").into())
    }

    /// Carries bytes between the devices and the broker until nobody has anything to say.
    fn settle(&mut self) -> Result<()> {
        loop {
            let mut moved = false;
            for device in &mut self.devices {
                let bytes = device.transmit();
                moved |= !bytes.is_empty();
                note(&mut self.packets, device.name, true, &bytes);
                self.broker.handle_input(NOW, device.id, &bytes);
            }
            // a host with sockets would now serve those that are named here; this one serves everybody
            while let Some(ready) = self.broker.poll_ready() {
                if ready.read == Read::Close {
                    return Err("the broker closes a connection".into());
                }
            }
            for device in &mut self.devices {
                let mut out = OutBuf::default();
                self.broker.poll_transmit(NOW, device.id, &mut out);
                while !out.is_empty() {
                    let bytes = drain(&mut out);
                    moved = true;
                    note(&mut self.packets, device.name, false, &bytes);
                    device.receive(&bytes)?;
                    self.broker.poll_transmit(NOW, device.id, &mut out);
                }
            }
            if !moved {
                return Ok(());
            }
        }
    }

    /// Prints for every subscriber whether `topic` matches its filter, and why; and holds that against what it has received.
    fn explain(&self, topic: TopicName<'_>) {
        println!("\nWho gets it:\n");
        for device in &self.devices {
            let Some(filter) = device.filter.and_then(|filter| TopicFilter::new(filter).ok()) else { continue };
            let received = device.received > 0;
            assert_eq!(
                filter.matches(topic),
                received,
                "{}: the broker sends what the filter matches, and nothing else",
                device.name
            );
            let verdict = if received { "yes" } else { "no" };
            println!("  {:<12}{:<18}{verdict:<5}{}", device.name, filter.as_str(), why(filter, topic));
        }
    }
}

impl Device {
    /// What it wants to send now.
    fn transmit(&mut self) -> Vec<u8> {
        let mut out = OutBuf::with_limit(4096);
        while self.client.poll_transmit(NOW, &mut out) == Transmit::Wrote {}
        drain(&mut out)
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<()> {
        let mut input = self.client.read(NOW, &mut self.reader, bytes);
        while let Some(event) = input.next()? {
            if let Event::Publish(..) = event {
                self.received += 1;
            }
        }
        Ok(())
    }
}

/// All bytes of a buffer.
fn drain(out: &mut OutBuf) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !out.is_empty() {
        let chunk = out.chunk();
        let len = chunk.len();
        bytes.extend_from_slice(chunk);
        out.advance(len);
    }
    bytes
}

/// Writes down which packets `bytes` are.
fn note(packets: &mut Vec<Sent>, device: &'static str, to_broker: bool, bytes: &[u8]) {
    let from = if to_broker { Role::Client } else { Role::Server };
    let mut rest = bytes;
    while let Ok(Some(len)) = mqtt_codec::frame_len(rest, u32::MAX) {
        let Some((frame, behind)) = rest.split_at_checked(len) else { return };
        rest = behind;
        if let Ok(packet) = Packet::decode(frame, VERSION, from) {
            // reason codes came with 5.0
            let words = words::packet(&packet);
            packets.push(Sent {
                device,
                to_broker,
                packet: if matches!(packet, Packet::Ack(_)) { words.replace(" 0x00", "") } else { words },
            });
        }
    }
}

/// Why a filter matches a name, or where it fails.
fn why(filter: TopicFilter<'_>, name: TopicName<'_>) -> String {
    let text = |level: &[u8]| String::from_utf8_lossy(level).into_owned();
    let mut names = name.levels().map(text);
    let mut stands_for = Vec::new();
    for (level, number) in filter.levels().zip(1..) {
        match (level, names.next()) {
            (FilterLevel::Hash, None) => return "# may stand for nothing at all".into(),
            (FilterLevel::Hash, level @ Some(_)) => {
                let rest: Vec<_> = level.into_iter().chain(names).collect();
                stands_for.push(format!("# stands for all that follows: {}", rest.join("/")));
                return stands_for.join(", ");
            }
            (FilterLevel::Plus, Some(level)) => stands_for.push(format!("+ stands for {level}")),
            (FilterLevel::Text(wanted), Some(level)) if text(wanted) == level => {}
            (FilterLevel::Text(wanted), Some(level)) => {
                return format!("level {number} is {level}, not {}", text(wanted));
            }
            (FilterLevel::Plus | FilterLevel::Text(_), None) => return format!("the name ends before level {number}"),
        }
    }
    match (names.next(), stands_for.is_empty()) {
        (Some(level), true) => format!("the filter ends before {level}"),
        (Some(level), false) => format!("{}: one level, but the name goes on with {level}", stands_for.join(", ")),
        (None, true) => "level by level the same".into(),
        (None, false) => stands_for.join(", "),
    }
}
