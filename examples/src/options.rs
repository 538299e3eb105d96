//! The command line that `pub` and `sub` share; letters mean what they mean to `mosquitto_pub` and `mosquitto_sub`.
use crate::client::Failure;
use crate::properties::{Command, Given};
use crate::wire::{Endpoint, Place, Tls};
use clap::{ArgAction, Args, Parser};
use mqtt_codec::topic::{TopicFilter, TopicName};
use mqtt_codec::{Connect, Properties, Property, Qos, Utf8, Version, Will};
use std::path::PathBuf;
use std::process::ExitCode;

/// How to reach the broker, and as whom.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The host to connect to
    #[arg(short = 'h', long, default_value = "localhost")]
    pub host: String,
    /// The port to connect to: 1883 if not given, 8883 under TLS, 8083 with WebSocket, 8084 with both
    #[arg(short = 'p', long)]
    pub port: Option<u16>,
    /// The unix socket to connect to, in place of host and port
    #[arg(long, value_name = "PATH", conflicts_with_all = ["host", "port"])]
    pub unix: Option<PathBuf>,
    /// Connect under TLS, to a broker whose certificate one of these authorities has signed (PEM)
    #[arg(long, value_name = "FILE")]
    pub cafile: Option<PathBuf>,
    /// The certificate to show the broker (PEM)
    #[arg(long, value_name = "FILE", requires_all = ["cafile", "key"])]
    pub cert: Option<PathBuf>,
    /// The private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Do not check that the broker's certificate is for this host
    #[arg(long, requires = "cafile")]
    pub insecure: bool,
    /// Connect by WebSocket, path /mqtt
    #[arg(long)]
    pub ws: bool,
    /// Quality of service: 0, 1 or 2
    #[arg(short = 'q', long, default_value = "0", value_parser = qos)]
    pub qos: Qos,
    /// The client identifier; made from the process number if not given
    #[arg(short = 'i', long, value_parser = text)]
    pub id: Option<String>,
    /// The user name
    #[arg(short = 'u', long, value_parser = text)]
    pub username: Option<String>,
    /// The password
    #[arg(short = 'P', long, value_name = "PASSWORD", requires = "username")]
    pub pw: Option<String>,
    /// The protocol version: 31, 311 or 5 (also mqttv31, mqttv311, mqttv5)
    #[arg(short = 'V', long, value_name = "VERSION", default_value = "311", value_parser = version)]
    pub protocol_version: Version,
    /// Keep alive in seconds; 0 turns it off
    #[arg(short = 'k', long, value_name = "SECONDS", default_value_t = 60)]
    pub keepalive: u16,
    /// Go on with the session of this client identifier, and keep it for the next time
    #[arg(short = 'c', long, requires = "id")]
    pub disable_clean_session: bool,
    /// How many seconds the session is kept after this program has ended (5.0); -1: for ever, as with -c alone
    #[arg(short = 'x', long, value_name = "SECONDS", value_parser = expiry, allow_negative_numbers = true)]
    pub session_expiry_interval: Option<u32>,
    /// A property (5.0) of one of the packets sent, such as `publish content-type text/plain` or `connect user-property NAME VALUE`
    #[arg(short = 'D', long = "property", num_args = 3..=4, allow_negative_numbers = true, value_names = ["COMMAND", "PROPERTY", "VALUE"])]
    pub property: Vec<String>,
    /// Where the broker publishes the will, if this client is cut off
    #[arg(long, value_name = "TOPIC", value_parser = topic_name)]
    pub will_topic: Option<String>,
    /// What the will says
    #[arg(long, value_name = "TEXT", default_value = "", requires = "will_topic")]
    pub will_payload: String,
    /// The quality of service of the will
    #[arg(long, value_name = "QOS", default_value = "0", value_parser = qos, requires = "will_topic")]
    pub will_qos: Qos,
    /// Whether the will is retained
    #[arg(long, requires = "will_topic")]
    pub will_retain: bool,
    /// Print every packet sent (->) and received (<-) to standard error
    #[arg(short = 'd', long)]
    pub debug: bool,
    /// Print this help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// Print the version of this program
    #[arg(long, action = ArgAction::Version)]
    version: Option<bool>,
}

impl Options {
    /// The identifier given, or one made of `program` and the process number: short enough for MQTT 3.1.
    pub fn client_id(&self, program: &str) -> String {
        self.id.clone().unwrap_or_else(|| format!("mqttkit-{program}-{}", std::process::id()))
    }

    /// Where the broker is and how it is spoken to.
    pub fn endpoint(&self) -> Endpoint {
        let tls = self.cafile.as_ref().map(|authorities| Tls {
            authorities: authorities.clone(),
            own: self.cert.clone().zip(self.key.clone()),
            any_host: self.insecure,
        });
        let usual = match (&tls, self.ws) {
            (None, false) => 1883,
            (Some(_), false) => 8883,
            (None, true) => 8083,
            (Some(_), true) => 8084,
        };
        let place = match &self.unix {
            Some(path) => Place::Unix(path.clone()),
            None => Place::Host(self.host.clone(), self.port.unwrap_or(usual)),
        };
        Endpoint { place, tls, websocket: self.ws }
    }

    /// The properties given with `-D`, of the packets that the program sends beside CONNECT with its will, and DISCONNECT.
    ///
    /// # Errors
    /// What is wrong with one, or with all: before 5.0 there are none.
    pub fn properties(&self, sent: &[Command]) -> Result<Given<'_>, Failure> {
        let given = Given::parse(&self.property, sent).map_err(Failure::Other)?;
        let needs = |what| Err(Failure::Other(format!("{what} needs -V 5: earlier versions have no properties")));
        match self.protocol_version {
            Version::V5 if self.will_topic.is_none() && !given.of(Command::Will).is_empty() => {
                Err(Failure::Other("a property of the will (-D will) needs --will-topic".into()))
            }
            Version::V5 => Ok(given),
            _ if !self.property.is_empty() => needs("a property (-D)"),
            _ if self.session_expiry_interval.is_some() => needs("session expiry (-x)"),
            _ => Ok(given),
        }
    }

    /// Calls `then` with the CONNECT these options ask for.
    ///
    /// # Errors
    /// A name or text that CONNECT cannot hold, and what `then` says.
    pub fn with_connect<T>(
        &self,
        client_id: &str,
        given: &Given<'_>,
        then: impl FnOnce(&Connect<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let checked = |text| {
            Utf8::new(text).ok_or_else(|| Failure::Other(format!("'{text}': at most 65,535 bytes and no U+0000")))
        };
        let topic = self.will_topic.as_deref().map(TopicName::new).transpose();
        let topic = topic.map_err(|error| Failure::Other(error.to_string()))?;
        let (mut properties, will_properties) = (given.of(Command::Connect), given.of(Command::Will));
        // Only 5.0 says how long a session is kept; before, it is for ever.
        let is_expiry = |property: &Property<'_>| matches!(property, Property::SessionExpiryInterval(_));
        if self.protocol_version == Version::V5 && !properties.iter().any(is_expiry) {
            let for_ever = self.disable_clean_session.then_some(u32::MAX);
            properties.extend(self.session_expiry_interval.or(for_ever).map(Property::SessionExpiryInterval));
        }
        then(&Connect {
            version: self.protocol_version,
            clean_start: !self.disable_clean_session,
            keep_alive: self.keepalive,
            properties: Properties::from_slice(&properties),
            client_id: checked(client_id)?,
            will: topic.map(|topic| Will {
                topic,
                payload: self.will_payload.as_bytes(),
                qos: self.will_qos,
                retain: self.will_retain,
                properties: Properties::from_slice(&will_properties),
            }),
            user_name: self.username.as_deref().map(checked).transpose()?,
            password: self.pw.as_deref().map(str::as_bytes),
        })
    }
}

/// Parses the command line and runs `program`; the exit code is 0, what the failure says, or 1 for a command line that is wrong.
pub fn run<P: Parser>(program: impl FnOnce(P) -> Result<(), Failure>) -> ExitCode {
    let failure = match P::try_parse() {
        Ok(arguments) => match program(arguments) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(failure) => failure,
        },
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    eprintln!("{failure}");
    ExitCode::from(failure.exit_code())
}

/// A topic name, for [`clap`].
///
/// # Errors
/// The rule it breaks, and where.
pub fn topic_name(text: &str) -> Result<String, String> {
    TopicName::new(text).map(|_| text.to_string()).map_err(|error| error.to_string())
}

/// A topic filter, for [`clap`]. `$share/` is checked too, since every version may meet a broker that knows it.
///
/// # Errors
/// The rule it breaks, and where.
pub fn topic_filter(text: &str) -> Result<String, String> {
    let filter = TopicFilter::new(text).and_then(|filter| filter.shared());
    filter.map(|_| text.to_string()).map_err(|error| error.to_string())
}

/// A QoS, for [`clap`].
///
/// # Errors
/// What it could be instead.
pub fn qos(text: &str) -> Result<Qos, String> {
    text.parse().ok().and_then(Qos::new).ok_or_else(|| "QoS is 0, 1 or 2".into())
}

/// A protocol version, for [`clap`].
///
/// # Errors
/// What it could be instead.
pub fn version(text: &str) -> Result<Version, String> {
    match text.strip_prefix("mqttv").unwrap_or(text) {
        "31" | "3.1" => Ok(Version::V31),
        "311" | "3.1.1" => Ok(Version::V311),
        "5" | "5.0" => Ok(Version::V5),
        _ => Err("known are 31, 311 and 5, also written mqttv31, mqttv311 and mqttv5".into()),
    }
}

fn expiry(text: &str) -> Result<u32, String> {
    match text {
        "-1" => Ok(u32::MAX),
        _ => text.parse().map_err(|_| "from 0 to 4,294,967,295 seconds, or -1".into()),
    }
}

/// A text that a packet can hold, for [`clap`].
///
/// # Errors
/// What it could be instead.
pub fn text(text: &str) -> Result<String, String> {
    Utf8::new(text).map(|_| text.to_string()).ok_or_else(|| "at most 65,535 bytes, and no U+0000".into())
}
