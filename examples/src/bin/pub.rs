//! Publishes one message, like `mosquitto_pub`: the client session on a blocking socket.
use clap::Parser;
use mqtt_codec::Qos;
use mqtt_codec::topic::TopicName;
use mqtt_examples::client::{Client, Failure};
use mqtt_examples::options::{self, Options, topic_name};
use mqtt_examples::words;
use mqtt_session::{Event, Publication, PublishToken, QueueLimits};
use std::process::ExitCode;

/// Publishes one message to an MQTT broker, and waits until it has arrived there as surely as its QoS asks.
///
/// Exit codes: 0; the code of the CONNACK if the broker refuses (5 at 3.1.1, 135 at 5.0: not authorized); 1 for everything else.
#[derive(Parser)]
#[command(name = "pub", version, disable_help_flag = true, disable_version_flag = true)]
struct Arguments {
    /// The topic
    #[arg(short = 't', long, value_parser = topic_name)]
    topic: String,
    /// The message
    #[arg(short = 'm', long)]
    message: String,
    /// Have the broker keep it for later subscribers; an empty message ends that
    #[arg(short = 'r', long)]
    retain: bool,
    #[command(flatten)]
    options: Options,
}

/// There is but one message, and it is here already.
const NO_LIMITS: QueueLimits = QueueLimits { messages: usize::MAX, bytes: usize::MAX };

fn main() -> ExitCode {
    options::run(publish)
}

fn publish(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { topic, message, retain, options } = arguments;
    let topic = TopicName::new(&topic).map_err(|error| Failure::Other(error.to_string()))?;
    let id = options.client_id("pub");
    let mut client =
        options.with_connect(&id, |connect| Client::open(&options.host, options.port, connect, options.debug))?;

    let publication = Publication { qos: options.qos, retain, ..Publication::new(topic, message.as_bytes()) };
    let mut connected = false;
    while !connected {
        client.turn(None, |event| {
            connected |= matches!(event, Event::Connected(_));
            Ok(())
        })?;
    }
    let now = client.now();
    let token = client.connection().publish(now, &publication, &NO_LIMITS);
    let token = token.map_err(|error| Failure::Other(format!("the message cannot be published: {error}")))?;
    match options.qos {
        // has no answer; the goodbye waits until the broker has read it
        Qos::AtMostOnce => client.flush()?,
        Qos::AtLeastOnce | Qos::ExactlyOnce => wait_for(&mut client, token)?,
    }
    client.disconnect()
}

/// Waits for the PUBACK (QoS 1) or the PUBCOMP (QoS 2).
fn wait_for(client: &mut Client, token: PublishToken) -> Result<(), Failure> {
    let mut done = false;
    while !done {
        client.turn(None, |event| match event {
            Event::Completed { token: of, reason } if of == token && reason.is_error() => {
                Err(Failure::Other(format!("the broker does not take the message: {}", words::reason(reason))))
            }
            Event::Completed { token: of, .. } => {
                done |= of == token;
                Ok(())
            }
            _ => Ok(()),
        })?;
    }
    Ok(())
}
