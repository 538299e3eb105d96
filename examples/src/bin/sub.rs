//! Subscribes and prints what comes, like `mosquitto_sub`: the client session on a blocking socket.
use clap::Parser;
use mqtt_codec::topic::TopicFilter;
use mqtt_codec::{Qos, ReasonCodes, SubscribeOptions, Subscription};
use mqtt_examples::client::{Client, Failure};
use mqtt_examples::options::{self, Options, topic_filter};
use mqtt_examples::words;
use mqtt_session::{Event, Received};
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Subscribes at an MQTT broker and prints the messages that come, one a line.
///
/// Ends with the goodbye of MQTT on Ctrl-C.
/// Exit codes: 0; the code of the CONNACK if the broker refuses (5 at 3.1.1, 135 at 5.0: not authorized); 27 when the time is over; 1 for everything else.
#[derive(Parser)]
#[command(name = "sub", version, disable_help_flag = true, disable_version_flag = true)]
struct Arguments {
    /// A topic filter; repeat it for more
    #[arg(short = 't', long = "topic", value_name = "FILTER", required = true, value_parser = topic_filter)]
    topics: Vec<String>,
    /// End after so many messages
    #[arg(short = 'C', long, value_name = "MESSAGES", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after so many seconds, with exit code 27
    #[arg(short = 'W', long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    wait: Option<u32>,
    /// Print the topic before each message
    #[arg(short = 'v', long)]
    verbose: bool,
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    options::run(subscribe)
}

fn subscribe(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { topics, count, wait, verbose, options } = arguments;
    let filters: Result<Vec<_>, _> = topics.iter().map(|text| TopicFilter::new(text)).collect();
    let filters = filters.map_err(|error| Failure::Other(error.to_string()))?;
    let id = options.client_id("sub");
    let mut client =
        options.with_connect(&id, |connect| Client::open(&options.host, options.port, connect, options.debug))?;
    let stopped = stop_on_signal(&client).map_err(|error| Failure::Other(format!("no signals: {error}")))?;

    let end = wait.map(|seconds| client.now().plus_secs(seconds));
    let mut left = count.unwrap_or(u64::MAX);
    let (mut connected, mut requested) = (false, false);
    while left > 0 {
        if connected && !requested {
            requested = true;
            request(&mut client, &filters, options.qos)?;
        }
        // a session that goes on may bring messages before the SUBACK
        let turn = client.turn(end, |event| match event {
            Event::Connected(_) => {
                connected = true;
                Ok(())
            }
            Event::Suback(_, codes, _) => granted(&filters, codes),
            Event::Publish(message, _) if left > 0 => {
                // a failure means that whoever read our output is gone: then this is the end, and no error
                left = if show(&message, verbose).is_ok() { left - 1 } else { 0 };
                Ok(())
            }
            _ => Ok(()),
        });
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        turn?;
        if left > 0 && end.is_some_and(|end| client.now() >= end) {
            client.disconnect()?;
            return Err(Failure::Timeout);
        }
    }
    client.disconnect()
}

/// Sends the SUBSCRIBE, for all filters together.
fn request(client: &mut Client, filters: &[TopicFilter<'_>], qos: Qos) -> Result<(), Failure> {
    let options = SubscribeOptions { qos, ..SubscribeOptions::default() };
    let subscriptions: Vec<_> = filters.iter().map(|&filter| Subscription { filter, options }).collect();
    let now = client.now();
    let requested = client.connection().subscribe(now, &subscriptions, &[]);
    requested.map(drop).map_err(|error| Failure::Other(format!("these topics cannot be subscribed to: {error}")))
}

/// Names every filter the broker has refused; goes on if there is one it has not.
fn granted(filters: &[TopicFilter<'_>], codes: ReasonCodes<'_>) -> Result<(), Failure> {
    let refused: Vec<_> = filters.iter().zip(codes.iter()).filter(|(_, code)| code.is_error()).collect();
    for (filter, code) in &refused {
        eprintln!("the broker refuses '{filter}': {}", words::reason(*code));
    }
    if refused.len() == filters.len() { Err(Failure::Other("no topic is left to wait for".into())) } else { Ok(()) }
}

fn show(message: &Received<'_>, verbose: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if verbose {
        write!(out, "{} ", message.topic.as_name())?;
    }
    out.write_all(message.payload)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Ends the wait for messages on Ctrl-C and on SIGTERM; the flag tells the end from a broker that is gone.
#[cfg(unix)]
fn stop_on_signal(client: &Client) -> io::Result<Arc<AtomicBool>> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::low_level::pipe;
    use std::io::Read;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    let stopped = Arc::new(AtomicBool::new(false));
    let (mut signals, sender) = UnixStream::pair()?;
    pipe::register(SIGTERM, sender.try_clone()?)?;
    pipe::register(SIGINT, sender)?;
    let (stop, socket) = (stopped.clone(), client.socket()?);
    std::thread::spawn(move || {
        // what a signal handler may do is little: one byte; the rest is done here
        if signals.read_exact(&mut [0]).is_ok() {
            stop.store(true, Ordering::Relaxed);
            let _ = socket.shutdown(Shutdown::Read);
        }
    });
    Ok(stopped)
}

/// Where there are no such signals, the program ends without a goodbye.
#[cfg(not(unix))]
fn stop_on_signal(_: &Client) -> io::Result<Arc<AtomicBool>> {
    Ok(Arc::default())
}
