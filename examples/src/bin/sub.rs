//! Subscribes and prints what comes, like `mosquitto_sub`: the client session on a blocking socket.
use clap::Parser;
use mqtt_codec::topic::TopicFilter;
use mqtt_codec::{Qos, ReasonCodes, SubscribeOptions, Subscription};
use mqtt_examples::client::{Client, Failure};
use mqtt_examples::options::{self, Options, topic_filter};
use mqtt_examples::output::Format;
use mqtt_examples::properties::{Command, Given};
use mqtt_examples::words;
use mqtt_session::{Event, Received};
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

/// Subscribes at an MQTT broker and prints the messages that come, one a line.
///
/// Ends with the goodbye of MQTT on Ctrl-C.
/// Exit codes: 0; the code of the CONNACK if the broker refuses (5 at 3.1.1, 135 at 5.0: not authorized); 27 when the time is over; 1 for everything else.
#[derive(Parser)]
#[command(name = "sub", version, disable_help_flag = true, disable_version_flag = true)]
struct Arguments {
    /// A topic filter; repeat it for more
    #[arg(short = 't', long = "topic", value_name = "FILTER", required_unless_present = "unsubscribe",
        value_parser = topic_filter)]
    topics: Vec<String>,
    /// A topic filter to unsubscribe from, for a session that goes on (-c); repeat it for more
    #[arg(short = 'U', long, value_name = "FILTER", value_parser = topic_filter)]
    unsubscribe: Vec<String>,
    /// Do not print messages whose topic matches this filter; repeat it for more
    #[arg(short = 'T', long, value_name = "FILTER", value_parser = topic_filter)]
    filter_out: Vec<String>,
    /// Do not print retained messages
    #[arg(short = 'R', long, conflicts_with = "retained_only")]
    no_retained: bool,
    /// Print retained messages only, and end at the first that is not
    #[arg(long)]
    retained_only: bool,
    /// End after so many messages
    #[arg(short = 'C', long, value_name = "MESSAGES", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after so many seconds, with exit code 27
    #[arg(short = 'W', long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    wait: Option<u32>,
    /// Print the topic before each message
    #[arg(short = 'v', long)]
    verbose: bool,
    /// How a message is printed: `json` for an object a line, or text with %t topic, %p payload, %q QoS, %r retained, %l length,
    /// %x payload in hexadecimal, %I time, %U Unix time, %j JSON, %% and \n \t \r \e \0 \\ in it
    #[arg(short = 'F', long, value_name = "FORMAT", conflicts_with = "verbose", value_parser = Format::parse)]
    format: Option<Format>,
    /// No line end after each message
    #[arg(short = 'N', long)]
    no_newline: bool,
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    options::run(subscribe)
}

fn subscribe(arguments: Arguments) -> Result<(), Failure> {
    let options = &arguments.options;
    let filters = parsed(&arguments.topics)?;
    let given_up = parsed(&arguments.unsubscribe)?;
    let given = options.properties(&[Command::Subscribe, Command::Unsubscribe])?;
    let id = options.client_id("sub");
    let mut client =
        options.with_connect(&id, &given, |connect| Client::open(&options.endpoint(), connect, options.debug))?;
    let stopped = stop_on_signal(&client).map_err(|error| Failure::Other(format!("no signals: {error}")))?;

    let end = arguments.wait.map(|seconds| client.now().plus_secs(seconds));
    let mut show = Show::new(&arguments)?;
    let (mut connected, mut requested) = (false, false);
    while show.left > 0 {
        if connected && !requested {
            requested = true;
            request(&mut client, &filters, &given, options.qos)?;
            give_up(&mut client, &given_up, &given)?;
        }
        // a session that goes on may bring messages before the SUBACK
        let turn = client.turn(end, |event| match event {
            Event::Connected(_) => {
                connected = true;
                Ok(())
            }
            Event::Suback(answer) => granted(&filters, answer.codes),
            Event::Unsuback(answer) => {
                name_refused(&given_up, answer.codes);
                Ok(())
            }
            Event::Publish(message, _) => {
                show.message(&message);
                Ok(())
            }
            _ => Ok(()),
        });
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        turn?;
        if show.left > 0 && end.is_some_and(|end| client.now() >= end) {
            client.disconnect(&given.of(Command::Disconnect))?;
            return Err(Failure::Timeout);
        }
    }
    client.disconnect(&given.of(Command::Disconnect))
}

fn parsed(filters: &[String]) -> Result<Vec<TopicFilter<'_>>, Failure> {
    let filters: Result<_, _> = filters.iter().map(|text| TopicFilter::new(text)).collect();
    filters.map_err(|error| Failure::Other(error.to_string()))
}

/// Sends the SUBSCRIBE, for all filters together.
fn request(client: &mut Client, filters: &[TopicFilter<'_>], given: &Given<'_>, qos: Qos) -> Result<(), Failure> {
    if filters.is_empty() {
        return Ok(());
    }
    let options = SubscribeOptions { qos, ..SubscribeOptions::default() };
    let subscriptions: Vec<_> = filters.iter().map(|&filter| Subscription { filter, options }).collect();
    let now = client.now();
    let requested = client.connection().subscribe(now, &subscriptions, &given.of(Command::Subscribe));
    requested.map(drop).map_err(|error| Failure::Other(format!("these topics cannot be subscribed to: {error}")))
}

/// Sends the UNSUBSCRIBE, for all filters together.
fn give_up(client: &mut Client, filters: &[TopicFilter<'_>], given: &Given<'_>) -> Result<(), Failure> {
    if filters.is_empty() {
        return Ok(());
    }
    let now = client.now();
    let requested = client.connection().unsubscribe(now, filters, &given.of(Command::Unsubscribe));
    requested.map(drop).map_err(|error| Failure::Other(format!("these topics cannot be unsubscribed from: {error}")))
}

/// Names every filter the broker has refused; goes on if there is one it has not.
fn granted(filters: &[TopicFilter<'_>], codes: ReasonCodes<'_>) -> Result<(), Failure> {
    let refused = name_refused(filters, codes);
    if refused == filters.len() { Err(Failure::Other("no topic is left to wait for".into())) } else { Ok(()) }
}

/// Names every filter the broker has refused, and counts them.
fn name_refused(filters: &[TopicFilter<'_>], codes: ReasonCodes<'_>) -> usize {
    let refused: Vec<_> = filters.iter().zip(codes.iter()).filter(|(_, code)| code.is_error()).collect();
    for (filter, code) in &refused {
        eprintln!("the broker refuses '{filter}': {}", words::reason(*code));
    }
    refused.len()
}

/// What is printed of what comes, and how many are yet to be printed.
struct Show<'a> {
    format: Format,
    line_end: &'static [u8],
    filter_out: Vec<TopicFilter<'a>>,
    no_retained: bool,
    retained_only: bool,
    left: u64,
}

impl<'a> Show<'a> {
    fn new(arguments: &'a Arguments) -> Result<Self, Failure> {
        let plain = if arguments.verbose { Format::verbose() } else { Format::payload() };
        Ok(Self {
            format: arguments.format.clone().unwrap_or(plain),
            line_end: if arguments.no_newline { b"" } else { b"\n" },
            filter_out: parsed(&arguments.filter_out)?,
            no_retained: arguments.no_retained,
            retained_only: arguments.retained_only,
            left: arguments.count.unwrap_or(u64::MAX),
        })
    }

    fn message(&mut self, message: &Received<'_>) {
        let topic = message.topic.as_name();
        let unwanted = self.filter_out.iter().any(|filter| filter.matches(topic));
        if self.left == 0 || unwanted || (self.no_retained && message.retain) {
            return;
        }
        if self.retained_only && !message.retain {
            self.left = 0;
            return;
        }
        // a failure means that whoever read our output is gone: then this is the end, and no error
        self.left = if self.print(message).is_ok() { self.left - 1 } else { 0 };
    }

    fn print(&self, message: &Received<'_>) -> io::Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        self.format.write(&mut out, message, SystemTime::now())?;
        out.write_all(self.line_end)?;
        out.flush()
    }
}

/// Ends the wait for messages on Ctrl-C and on SIGTERM; the flag tells the end from a broker that is gone.
#[cfg(unix)]
fn stop_on_signal(client: &Client) -> io::Result<Arc<AtomicBool>> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::low_level::pipe;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    let stopped = Arc::new(AtomicBool::new(false));
    let (mut signals, sender) = UnixStream::pair()?;
    pipe::register(SIGTERM, sender.try_clone()?)?;
    pipe::register(SIGINT, sender)?;
    let (stop, waker) = (stopped.clone(), client.waker());
    std::thread::spawn(move || {
        // what a signal handler may do is little: one byte; the rest is done here
        if signals.read_exact(&mut [0]).is_ok() {
            stop.store(true, Ordering::Relaxed);
            waker.wake();
        }
    });
    Ok(stopped)
}

/// Where there are no such signals, the program ends without a goodbye.
#[cfg(not(unix))]
fn stop_on_signal(_: &Client) -> io::Result<Arc<AtomicBool>> {
    Ok(Arc::default())
}
