//! Publishes messages, like `mosquitto_pub`: the client session on a blocking socket.
use clap::{Args, Parser};
use mqtt_codec::topic::TopicName;
use mqtt_codec::{Properties, Qos};
use mqtt_examples::client::{Client, Failure, Waker};
use mqtt_examples::options::{self, Options, topic_name};
use mqtt_examples::properties::Command;
use mqtt_examples::words;
use mqtt_session::{Event, Instant, Publication, QueueLimits};
use std::io::{self, BufRead, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

/// Publishes messages to an MQTT broker, and waits until they have arrived there as surely as their QoS asks.
///
/// Exit codes: 0; the code of the CONNACK if the broker refuses (5 at 3.1.1, 135 at 5.0: not authorized); 1 for everything else.
#[derive(Parser)]
#[command(name = "pub", version, disable_help_flag = true, disable_version_flag = true)]
struct Arguments {
    /// The topic
    #[arg(short = 't', long, value_parser = topic_name)]
    topic: String,
    #[command(flatten)]
    what: What,
    /// Have the broker keep it for later subscribers; an empty message ends that
    #[arg(short = 'r', long)]
    retain: bool,
    /// Publish it so many times
    #[arg(long, value_name = "TIMES", default_value_t = 1, conflicts_with = "stdin_line",
        value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// The pause between two times, in seconds, such as 0.5
    #[arg(long, value_name = "SECONDS", default_value = "0", requires = "repeat", value_parser = seconds,
        allow_negative_numbers = true)]
    repeat_delay: Duration,
    /// How many messages of QoS 1 and 2 are on their way at once (some brokers lose what is beyond 20)
    #[arg(short = 'M', long, value_name = "MESSAGES", default_value_t = 20,
        value_parser = clap::value_parser!(u16).range(1..))]
    max_inflight: u16,
    #[command(flatten)]
    options: Options,
}

/// What is published.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct What {
    /// The message
    #[arg(short = 'm', long, allow_hyphen_values = true)]
    message: Option<String>,
    /// Publish what is in this file, as one message
    #[arg(short = 'f', long)]
    file: Option<PathBuf>,
    /// Publish each line of standard input, as it comes, as a message
    #[arg(short = 'l', long)]
    stdin_line: bool,
    /// Publish the whole standard input, as one message
    #[arg(short = 's', long)]
    stdin_file: bool,
    /// Publish a message of no bytes
    #[arg(short = 'n', long)]
    null_message: bool,
}

/// What bounds the queue is `--max-inflight`, and [`BATCH`] at QoS 0.
const NO_LIMITS: QueueLimits = QueueLimits { messages: usize::MAX, bytes: usize::MAX };

/// How many messages are handed to the session before it sends; and how many lines are read ahead.
const BATCH: usize = 256;

fn main() -> ExitCode {
    options::run(publish)
}

fn publish(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { topic, what, retain, repeat, repeat_delay, max_inflight, options } = arguments;
    let topic = TopicName::new(&topic).map_err(|error| Failure::Other(error.to_string()))?;
    let given = options.properties(&[Command::Publish])?;
    let whole = what.whole()?;
    let id = options.client_id("pub");
    let mut client =
        options.with_connect(&id, &given, |connect| Client::open(&options.endpoint(), connect, options.debug))?;
    let mut connected = false;
    while !connected {
        client.turn(None, |event| {
            connected |= matches!(event, Event::Connected(_));
            Ok(())
        })?;
    }

    let mut source = match whole {
        Some(payload) => Source::Same { payload, left: repeat, pause: repeat_delay, due: Instant::ZERO },
        None => Source::Lines(lines(client.waker())),
    };
    let properties = given.of(Command::Publish);
    let properties = Properties::from_slice(&properties);
    let pattern = Publication { qos: options.qos, retain, properties, ..Publication::new(topic, &[]) };
    publish_all(&mut client, &mut source, &pattern, max_inflight.into())?;
    // the goodbye waits until the broker has read what went before
    client.disconnect(&given.of(Command::Disconnect))
}

/// Publishes everything there is, and waits for every PUBACK (QoS 1) and PUBCOMP (QoS 2).
fn publish_all(
    client: &mut Client,
    source: &mut Source,
    pattern: &Publication<'_>,
    max_inflight: usize,
) -> Result<(), Failure> {
    let mut awaited = 0;
    loop {
        let mut batch = 0;
        let until = loop {
            if awaited >= max_inflight {
                break None;
            }
            // there is more; but what comes from the broker has its turn
            if batch >= BATCH {
                break Some(client.now());
            }
            let payload = match source.next(client.now())? {
                Next::Message(payload) => payload,
                Next::Wait(until) => break until,
                Next::End if awaited == 0 => return client.flush(),
                Next::End => break None,
            };
            let now = client.now();
            let published =
                client.connection().publish(now, &Publication { payload: &payload, ..*pattern }, &NO_LIMITS);
            published.map_err(|error| Failure::Other(format!("the message cannot be published: {error}")))?;
            batch += 1;
            awaited += usize::from(pattern.qos != Qos::AtMostOnce);
        };
        client.turn(until, |event| match event {
            Event::Completed { reason, .. } if reason.is_error() => {
                Err(Failure::Other(format!("the broker does not take the message: {}", words::reason(reason))))
            }
            Event::Completed { .. } => {
                awaited = awaited.saturating_sub(1);
                Ok(())
            }
            _ => Ok(()),
        })?;
        if client.connection().take_drops().expired > 0 {
            return Err(Failure::Other("a message has expired before it could be sent".into()));
        }
    }
}

/// Where the messages come from.
enum Source {
    /// The same one, `left` more times, the next when it is `due`.
    Same {
        payload: Vec<u8>,
        left: u64,
        pause: Duration,
        due: Instant,
    },
    Lines(Receiver<io::Result<Vec<u8>>>),
}

enum Next {
    Message(Vec<u8>),
    /// Nothing yet: ask again then, or when woken.
    Wait(Option<Instant>),
    End,
}

impl Source {
    fn next(&mut self, now: Instant) -> Result<Next, Failure> {
        match self {
            Self::Same { left: 0, .. } => Ok(Next::End),
            Self::Same { due, .. } if now < *due => Ok(Next::Wait(Some(*due))),
            Self::Same { payload, left, pause, due } => {
                *left -= 1;
                *due = now + *pause;
                Ok(Next::Message(payload.clone()))
            }
            Self::Lines(lines) => match lines.try_recv() {
                Ok(line) => line.map(Next::Message).map_err(|error| unreadable("standard input", &error)),
                Err(TryRecvError::Empty) => Ok(Next::Wait(None)),
                Err(TryRecvError::Disconnected) => Ok(Next::End),
            },
        }
    }
}

impl What {
    /// The one message; nothing if it is one a line.
    fn whole(self) -> Result<Option<Vec<u8>>, Failure> {
        if let Some(file) = &self.file {
            let name = format!("'{}'", file.display());
            return std::fs::read(file).map(Some).map_err(|error| unreadable(&name, &error));
        }
        if self.stdin_file {
            let mut bytes = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut bytes);
            return read.map(|_| Some(bytes)).map_err(|error| unreadable("standard input", &error));
        }
        Ok(if self.stdin_line { None } else { Some(self.message.unwrap_or_default().into_bytes()) })
    }
}

/// Reads the lines of standard input, without their ends, in a thread of its own.
fn lines(waker: Waker) -> Receiver<io::Result<Vec<u8>>> {
    let (sender, lines) = sync_channel(BATCH);
    std::thread::spawn(move || {
        read_lines(&sender, &waker);
        // the end is news too
        drop(sender);
        waker.wake();
    });
    lines
}

fn read_lines(sender: &SyncSender<io::Result<Vec<u8>>>, waker: &Waker) {
    for line in io::stdin().lock().split(b'\n') {
        let line = line.map(|mut line| {
            line.pop_if(|byte| *byte == b'\r');
            line
        });
        let last = line.is_err();
        if sender.send(line).is_err() || last {
            return;
        }
        waker.wake();
    }
}

fn unreadable(what: &str, error: &io::Error) -> Failure {
    Failure::Other(format!("cannot read {what}: {error}"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "a number of seconds, such as 2 or 0.5".into())
}
