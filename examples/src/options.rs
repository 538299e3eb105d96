//! The command line that `pub` and `sub` share; letters mean what they mean to `mosquitto_pub` and `mosquitto_sub`.
use crate::client::Failure;
use clap::{ArgAction, Args, Parser};
use mqtt_codec::topic::{TopicFilter, TopicName};
use mqtt_codec::{Connect, Properties, Property, Qos, Utf8, Version, Will};
use std::process::ExitCode;

/// How to reach the broker, and as whom.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The host to connect to
    #[arg(short = 'h', long, default_value = "localhost")]
    pub host: String,
    /// The port to connect to
    #[arg(short = 'p', long, default_value_t = 1883)]
    pub port: u16,
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

    /// Calls `then` with the CONNECT these options ask for.
    pub fn with_connect<T>(
        &self,
        client_id: &str,
        then: impl FnOnce(&Connect<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let checked = |text| {
            Utf8::new(text).ok_or_else(|| Failure::Other(format!("'{text}': at most 65,535 bytes and no U+0000")))
        };
        let topic = self.will_topic.as_deref().map(TopicName::new).transpose();
        let topic = topic.map_err(|error| Failure::Other(error.to_string()))?;
        // Only 5.0 says how long a session is kept; before, it is for ever.
        let for_ever = [Property::SessionExpiryInterval(u32::MAX)];
        let kept_by_property = self.disable_clean_session && self.protocol_version == Version::V5;
        then(&Connect {
            version: self.protocol_version,
            clean_start: !self.disable_clean_session,
            keep_alive: self.keepalive,
            properties: if kept_by_property { Properties::from_slice(&for_ever) } else { Properties::EMPTY },
            client_id: checked(client_id)?,
            will: topic.map(|topic| Will {
                topic,
                payload: self.will_payload.as_bytes(),
                qos: self.will_qos,
                retain: self.will_retain,
                properties: Properties::EMPTY,
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

fn qos(text: &str) -> Result<Qos, String> {
    text.parse().ok().and_then(Qos::new).ok_or_else(|| "QoS is 0, 1 or 2".into())
}

fn version(text: &str) -> Result<Version, String> {
    match text.strip_prefix("mqttv").unwrap_or(text) {
        "31" | "3.1" => Ok(Version::V31),
        "311" | "3.1.1" => Ok(Version::V311),
        "5" | "5.0" => Ok(Version::V5),
        _ => Err("known are 31, 311 and 5, also written mqttv31, mqttv311 and mqttv5".into()),
    }
}

fn text(text: &str) -> Result<String, String> {
    Utf8::new(text).map(|_| text.to_string()).ok_or_else(|| "at most 65,535 bytes, and no U+0000".into())
}
