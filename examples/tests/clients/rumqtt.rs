//! The `rumqttc` crate: its client for 3.1.1 and its client for 5.0, each in a thread of its own.
use super::PATIENCE;
use super::client::{Message, Options, Seen, Version};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::spawn;

/// A client in its thread. When this is dropped, the client ends with whatever happens next: to end it now, cut its wire.
///
/// (A wait that is bounded would not do: rumqttc begins its connection anew when a bound runs out before the CONNACK.)
pub struct Running {
    pub seen: Receiver<Seen>,
    stop: Arc<AtomicBool>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Subscribes; what happens is reported by the one that is returned.
pub fn subscribe(version: Version, broker: SocketAddr, options: &Options, filters: &[(&str, u8)]) -> Running {
    let filters: Vec<_> = filters.iter().map(|(filter, qos)| (filter.to_string(), *qos)).collect();
    let task = Task { subscribe: filters, publish: None, options: options.clone() };
    if version == Version::V5 { v5::run(broker, options, task) } else { v4::run(broker, options, task) }
}

/// Publishes and waits for the end of it.
pub fn publish(version: Version, broker: SocketAddr, options: &Options, message: &Message) -> Result<(), u8> {
    let task = Task { subscribe: Vec::new(), publish: Some(message.clone()), options: options.clone() };
    let running = if version == Version::V5 { v5::run(broker, options, task) } else { v4::run(broker, options, task) };
    match super::client::receive(&running.seen, PATIENCE) {
        Some(Seen::Published) => Ok(()),
        Some(Seen::Refused(code)) => Err(code),
        other => panic!("rumqttc, {version:?}: {other:?} instead of the acknowledgement"),
    }
}

/// What to do once connected.
struct Task {
    subscribe: Vec<(String, u8)>,
    publish: Option<Message>,
    options: Options,
}

/// The two clients differ in their types, hardly in their calls: the loop is written once for both.
macro_rules! client {
    ($options:ident) => {
        pub(super) fn run(broker: SocketAddr, options: &Options, task: Task) -> Running {
            let ($options, reconnect) = (settings(broker, options), options.reconnect);
            let (sender, seen) = channel();
            let stop = Arc::new(AtomicBool::new(false));
            let stopped = stop.clone();
            spawn(move || {
                let (client, mut connection) = Client::new($options, 100);
                patient(&mut connection);
                let mut started = false;
                for event in connection.iter() {
                    if stopped.load(Ordering::Relaxed) {
                        return;
                    }
                    let seen = match event {
                        Err(ConnectionError::ConnectionRefused(code)) => Some(Seen::Refused(refusal(code))),
                        Err(_) if reconnect => continue,
                        Err(error) => Some(Seen::Lost(error.to_string())),
                        Ok(Event::Incoming(Packet::ConnAck(_))) if !started => {
                            started = true;
                            if let Some(message) = &task.publish {
                                send(&client, message, &task.options);
                            } else {
                                ask(&client, &task.subscribe, &task.options);
                            }
                            None
                        }
                        Ok(Event::Incoming(Packet::SubAck(_))) => Some(Seen::Subscribed),
                        Ok(Event::Incoming(Packet::Publish(publish))) => Some(Seen::Message(told(&publish))),
                        Ok(Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_))) => {
                            client.disconnect().unwrap();
                            None
                        }
                        Ok(Event::Outgoing(Outgoing::Publish(_)))
                            if task.publish.as_ref().is_some_and(|message| message.qos == 0) =>
                        {
                            client.disconnect().unwrap();
                            None
                        }
                        Ok(Event::Outgoing(Outgoing::Disconnect)) => Some(Seen::Published),
                        Ok(_) => None,
                    };
                    let last = matches!(seen, Some(Seen::Published | Seen::Refused(_) | Seen::Lost(_)));
                    if seen.is_some_and(|seen| sender.send(seen).is_err()) || last {
                        return;
                    }
                }
            });
            Running { seen, stop }
        }

        fn text(bytes: &[u8]) -> String {
            String::from_utf8(bytes.to_vec()).unwrap()
        }
    };
}

mod v4 {
    use super::*;
    use rumqttc::{
        Client, ConnectReturnCode, Connection, ConnectionError, Event, LastWill, MqttOptions, NetworkOptions, Outgoing,
        Packet, SubscribeFilter, qos,
    };

    client!(settings);

    fn settings(broker: SocketAddr, options: &Options) -> MqttOptions {
        let mut settings = MqttOptions::new(&options.id, broker.ip().to_string(), broker.port());
        settings.set_clean_session(!options.keep).set_max_packet_size(1 << 20, 1 << 20);
        if let Some((user, password)) = options.user {
            settings.set_credentials(user, password);
        }
        if let Some(will) = &options.will {
            settings.set_last_will(LastWill::new(
                &will.topic,
                will.payload.clone(),
                qos(will.qos).unwrap(),
                will.retain,
            ));
        }
        settings
    }

    fn patient(connection: &mut Connection) {
        let mut network = NetworkOptions::new();
        network.set_connection_timeout(PATIENCE.as_secs());
        connection.eventloop.set_network_options(network);
    }

    fn send(client: &Client, message: &Message, _: &Options) {
        let qos = qos(message.qos).unwrap();
        client.publish(&message.topic, qos, message.retain, message.payload.clone()).unwrap();
    }

    fn ask(client: &Client, filters: &[(String, u8)], _: &Options) {
        let filters = filters.iter().map(|(filter, level)| SubscribeFilter::new(filter.into(), qos(*level).unwrap()));
        client.subscribe_many(filters).unwrap();
    }

    fn told(publish: &rumqttc::Publish) -> Message {
        let message = Message::new(&publish.topic, &text(&publish.payload), publish.qos as u8);
        Message { retain: publish.retain, ..message }
    }

    fn refusal(code: ConnectReturnCode) -> u8 {
        code as u8
    }
}

mod v5 {
    use super::*;
    use rumqttc::Outgoing;
    use rumqttc::v5::mqttbytes::qos;
    use rumqttc::v5::mqttbytes::v5::{
        ConnectReturnCode, Filter, LastWill, LastWillProperties, Packet, Publish, PublishProperties, RetainForwardRule,
        SubscribeProperties,
    };
    use rumqttc::v5::{Client, Connection, ConnectionError, Event, MqttOptions};

    client!(settings);

    fn settings(broker: SocketAddr, options: &Options) -> MqttOptions {
        let mut settings = MqttOptions::new(&options.id, broker.ip().to_string(), broker.port());
        settings.set_clean_start(!options.keep);
        if options.keep {
            settings.set_session_expiry_interval(Some(600));
        }
        if let Some(most) = options.property("connect", "receive-maximum") {
            settings.set_receive_maximum(Some(most as u16));
        }
        if let Some(most) = options.property("connect", "topic-alias-maximum") {
            settings.set_topic_alias_max(Some(most as u16));
        }
        if let Some((user, password)) = options.user {
            settings.set_credentials(user, password);
        }
        if let Some(will) = &options.will {
            settings.set_last_will(LastWill::new(
                &will.topic,
                will.payload.clone(),
                qos(will.qos).unwrap(),
                will.retain,
                options.property("will", "will-delay-interval").map(|delay| LastWillProperties {
                    delay_interval: Some(delay),
                    payload_format_indicator: None,
                    message_expiry_interval: None,
                    content_type: None,
                    response_topic: None,
                    correlation_data: None,
                    user_properties: Vec::new(),
                }),
            ));
        }
        settings
    }

    fn patient(connection: &mut Connection) {
        connection.eventloop.options.set_connection_timeout(PATIENCE.as_secs());
    }

    fn send(client: &Client, message: &Message, options: &Options) {
        let qos = qos(message.qos).unwrap();
        let properties = PublishProperties {
            message_expiry_interval: options.property("publish", "message-expiry-interval"),
            ..PublishProperties::default()
        };
        let (topic, payload) = (&message.topic, message.payload.clone());
        client.publish_with_properties(topic, qos, message.retain, payload, properties).unwrap();
    }

    fn ask(client: &Client, filters: &[(String, u8)], options: &Options) {
        let filters = filters.iter().map(|(filter, level)| Filter {
            preserve_retain: options.as_published,
            retain_forward_rule: match options.handling {
                0 => RetainForwardRule::OnEverySubscribe,
                1 => RetainForwardRule::OnNewSubscribe,
                _ => RetainForwardRule::Never,
            },
            ..Filter::new(filter, qos(*level).unwrap())
        });
        let id = options.property("subscribe", "subscription-identifier").map(|id| id as usize);
        let properties = SubscribeProperties { id, user_properties: Vec::new() };
        client.subscribe_many_with_properties(filters, properties).unwrap();
    }

    fn told(publish: &Publish) -> Message {
        let message = Message::new(&text(&publish.topic), &text(&publish.payload), publish.qos as u8);
        let properties = publish.properties.clone().unwrap_or_default();
        let identifiers: Vec<_> = properties.subscription_identifiers.iter().map(usize::to_string).collect();
        let (identifiers, expiry) = (identifiers.join(","), properties.message_expiry_interval);
        Message { retain: publish.retain, identifiers, expiry, ..message }
    }

    fn refusal(code: ConnectReturnCode) -> u8 {
        match code {
            ConnectReturnCode::BadUserNamePassword => 0x86,
            ConnectReturnCode::NotAuthorized => 0x87,
            ConnectReturnCode::UseAnotherServer => 0x9C,
            other => panic!("CONNACK {other:?}"),
        }
    }
}
