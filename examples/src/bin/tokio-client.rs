//! The client's end driven by tokio: subscribes, publishes each line of standard input, prints what comes, and comes back when the
//! connection is lost, with nothing lost. `tokio-client --address 127.0.0.1:1883 --topic demo`
//!
//! Everything that is not MQTT stands here: a socket, a clock, and the choice of which to wait for. Ends with standard input, once
//! everything has been acknowledged.
use clap::Parser;
use mqtt_codec::{
    Connect, OutBuf, Properties, Property, Qos, ReasonCode, SubscribeOptions, Subscription, Utf8, Version,
};
use mqtt_session::{Backoff, Connection, Event, Instant, Publication, QueueLimits, Session, State, Transmit};
use mqtt_topic::{TopicFilter, TopicName};
use std::error::Error;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines, Stdin, stdin};
use tokio::net::TcpStream;
use tokio::time::sleep_until;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What waits for the broker at most; then standard input waits.
const LIMITS: QueueLimits = QueueLimits { messages: 100, bytes: 1 << 20 };

#[derive(Parser)]
struct Options {
    /// Host and port of the broker.
    #[arg(long, default_value = "127.0.0.1:1883")]
    address: String,
    /// Subscribed to, and published to.
    #[arg(long, default_value = "demo")]
    topic: String,
    #[arg(long, default_value = "tokio-client")]
    client_id: String,
}

struct Client {
    options: Options,
    lines: Lines<BufReader<Stdin>>,
    /// Standard input has ended.
    ended: bool,
    /// The moment that [`Instant::ZERO`] stands for.
    zero: tokio::time::Instant,
    /// Messages published and not acknowledged.
    open: usize,
    /// Connections in a row that came to nothing.
    attempt: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let lines = BufReader::new(stdin()).lines();
    let zero = tokio::time::Instant::now();
    let mut client = Client { options: Options::parse(), lines, ended: false, zero, open: 0, attempt: 0 };
    let mut session = Session::new();
    let mut backoff = Backoff::new(std::process::id().into());
    backoff.first = Duration::from_millis(200);
    loop {
        let mut connection = client.connect(session)?;
        match client.live(&mut connection).await {
            Ok(()) => return Ok(()),
            Err(error) => eprintln!("the connection is lost: {error}"),
        }
        session = connection.into_session();
        tokio::time::sleep(backoff.delay(client.attempt)).await;
        client.attempt += 1;
    }
}

impl Client {
    fn now(&self) -> Instant {
        Instant::ZERO + self.zero.elapsed()
    }

    fn connect(&self, session: Session) -> Outcome<Connection> {
        let properties = [Property::SessionExpiryInterval(3600)];
        let connect = Connect {
            version: Version::V5,
            clean_start: false,
            keep_alive: 30,
            properties: Properties::from_slice(&properties),
            client_id: Utf8::new(&self.options.client_id).ok_or("a client identifier without U+0000")?,
            will: None,
            user_name: None,
            password: None,
        };
        Ok(Connection::client(self.now(), &connect, session)?)
    }

    /// One connection, to the end of the work or of the connection.
    async fn live(&mut self, connection: &mut Connection) -> Outcome<()> {
        let mut stream = TcpStream::connect(&self.options.address).await?;
        let (mut reader, mut out, mut bytes) = (connection.reader(), OutBuf::with_limit(1 << 16), vec![0; 1 << 14]);
        loop {
            if self.ended && self.open == 0 && connection.state() == State::Connected {
                connection.disconnect(self.now(), ReasonCode::SUCCESS, &[]);
            }
            while connection.poll_transmit(self.now(), &mut out) == Transmit::Wrote {}
            if let Some((token, why)) = connection.poll_dropped() {
                eprintln!("message {} is not sent: {why:?}", token.sequence());
                self.open -= 1;
                continue;
            }
            while !out.is_empty() {
                let written = stream.write(out.chunk()).await?;
                out.advance(written);
            }
            if connection.state() == State::Closing {
                return if self.ended && self.open == 0 { Ok(()) } else { Err("the broker ended it".into()) };
            }
            let wake = connection.poll_timeout().map(|at| self.zero + at.since(Instant::ZERO));
            let takes_lines = !self.ended && self.open < LIMITS.messages && connection.state() == State::Connected;
            tokio::select! {
                len = stream.read(&mut bytes) => match len? {
                    0 => return Err("the broker closed it".into()),
                    len => self.hear(connection, &mut reader, bytes.get(..len).unwrap_or_default())?,
                },
                line = self.lines.next_line(), if takes_lines => match line? {
                    Some(line) => self.publish(connection, &line)?,
                    None => self.ended = true,
                },
                () = sleep_until(wake.unwrap_or(self.zero)), if wake.is_some() => connection.handle_timeout(self.now())?,
            }
        }
    }

    fn publish(&mut self, connection: &mut Connection, line: &str) -> Outcome<()> {
        let mut message = Publication::new(TopicName::new(&self.options.topic)?, line.as_bytes());
        message.qos = Qos::ExactlyOnce;
        connection.publish(self.now(), &message, &LIMITS)?;
        self.open += 1;
        Ok(())
    }

    fn hear(&mut self, connection: &mut Connection, reader: &mut mqtt_codec::Reader, bytes: &[u8]) -> Outcome<()> {
        let (now, mut connected) = (self.now(), false);
        let mut input = connection.read(now, reader, bytes);
        while let Some(event) = input.next()? {
            match event {
                Event::Connected(_) => (connected, self.attempt) = (true, 0),
                Event::Refused(refusal) => return Err(format!("refused: {:?}", refusal.reason).into()),
                Event::Publish(message, _) => println!("{}", String::from_utf8_lossy(message.payload)),
                Event::Completed { .. } => self.open -= 1,
                _ => {}
            }
        }
        drop(input);
        if connected {
            let options = SubscribeOptions { qos: Qos::ExactlyOnce, ..SubscribeOptions::default() };
            let filter = TopicFilter::new(&self.options.topic)?;
            connection.subscribe(now, &[Subscription { filter, options }], &[])?;
        }
        Ok(())
    }
}
