//! `-D COMMAND PROPERTY VALUE`: properties of 5.0 by the names that `mosquitto_pub` and `mosquitto_sub` know them by.
use mqtt_codec::topic::TopicName;
use mqtt_codec::{Property, Utf8};
use std::mem::discriminant;
use std::str::FromStr;

/// What the property is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Command {
    Connect,
    Will,
    Publish,
    Subscribe,
    Unsubscribe,
    Disconnect,
}

use Command::{Connect, Disconnect, Publish, Subscribe, Unsubscribe, Will};

const COMMANDS: [(&str, Command); 6] = [
    ("connect", Connect),
    ("will", Will),
    ("publish", Publish),
    ("subscribe", Subscribe),
    ("unsubscribe", Unsubscribe),
    ("disconnect", Disconnect),
];

/// A property by its name: where it may be, and how it is made of text.
type Row = (&'static str, &'static [Command], for<'a> fn(&'a str) -> Result<Property<'a>, String>);

/// All but the user property, which is made of two texts. What the session settles by itself is not among them: topic aliases,
/// authentication.
const PROPERTIES: [Row; 14] = [
    ("payload-format-indicator", &[Publish, Will], |text| flag(text).map(Property::PayloadFormatIndicator)),
    ("message-expiry-interval", &[Publish, Will], |text| number(text).map(Property::MessageExpiryInterval)),
    ("content-type", &[Publish, Will], |text| utf8(text).map(Property::ContentType)),
    ("response-topic", &[Publish, Will], |text| topic(text).map(Property::ResponseTopic)),
    ("correlation-data", &[Publish, Will], |text| Ok(Property::CorrelationData(text.as_bytes()))),
    ("will-delay-interval", &[Will], |text| number(text).map(Property::WillDelayInterval)),
    ("subscription-identifier", &[Subscribe], |text| identifier(text).map(Property::SubscriptionIdentifier)),
    ("session-expiry-interval", &[Connect, Disconnect], |text| number(text).map(Property::SessionExpiryInterval)),
    ("receive-maximum", &[Connect], |text| positive(text).map(Property::ReceiveMaximum)),
    ("maximum-packet-size", &[Connect], |text| positive(text).map(Property::MaximumPacketSize)),
    ("topic-alias-maximum", &[Connect], |text| number(text).map(Property::TopicAliasMaximum)),
    ("request-response-information", &[Connect], |text| flag(text).map(Property::RequestResponseInformation)),
    ("request-problem-information", &[Connect], |text| flag(text).map(Property::RequestProblemInformation)),
    ("reason-string", &[Disconnect], |text| utf8(text).map(Property::ReasonString)),
];

const USER_PROPERTY: &str = "user-property";

/// The properties of one command line.
#[derive(Clone, Debug, Default)]
pub struct Given<'a>(Vec<(Command, Property<'a>)>);

impl<'a> Given<'a> {
    /// Takes the words behind every `-D`, one after the other: three each, or four for a user property.
    ///
    /// # Errors
    /// The first that is unknown, not of this command, of a value it cannot have, or there twice.
    pub fn parse(words: &'a [String], sent: &[Command]) -> Result<Self, String> {
        let mut given = Self::default();
        let mut words = words.iter().map(String::as_str);
        while let Some(command) = words.next() {
            let command_name = command;
            let known = COMMANDS.iter().find(|(name, _)| *name == command_name).map(|(_, command)| *command);
            let command = known
                .filter(|command| matches!(command, Connect | Will | Disconnect) || sent.contains(command))
                .ok_or_else(|| {
                    format!("'{command_name}' is none of the packets that -D can be for: {}", names(sent))
                })?;
            let name = words.next().unwrap_or_default();
            let property = if name == USER_PROPERTY {
                let (Some(key), Some(value)) = (words.next(), words.next()) else {
                    return Err(format!("-D {command_name} {name}: a name and a value are needed"));
                };
                Property::UserProperty(utf8(key)?, utf8(value)?)
            } else {
                property(command, command_name, name, words.next())?
            };
            given.add(command, property).map_err(|()| format!("-D {command_name} {name}: given twice"))?;
        }
        Ok(given)
    }

    /// Those of one packet, in the order given.
    pub fn of(&self, command: Command) -> Vec<Property<'a>> {
        self.0.iter().filter(|(of, _)| *of == command).map(|(_, property)| *property).collect()
    }

    fn add(&mut self, command: Command, property: Property<'a>) -> Result<(), ()> {
        let same =
            |(of, other): &(Command, Property<'a>)| *of == command && discriminant(other) == discriminant(&property);
        if !matches!(property, Property::UserProperty(..)) && self.0.iter().any(same) {
            return Err(());
        }
        self.0.push((command, property));
        Ok(())
    }
}

fn property<'a>(command: Command, of: &str, name: &str, value: Option<&'a str>) -> Result<Property<'a>, String> {
    let row = PROPERTIES.iter().find(|(known, ..)| *known == name);
    let Some((_, commands, make)) = row else {
        let of_command = PROPERTIES.iter().filter(|(_, commands, _)| commands.contains(&command));
        let known: Vec<_> = of_command.map(|(known, ..)| *known).chain([USER_PROPERTY]).collect();
        return Err(format!("-D {of}: '{name}' is unknown; known are {}", known.join(", ")));
    };
    if !commands.contains(&command) {
        return Err(format!("-D {of}: '{name}' is no property of this packet"));
    }
    let value = value.ok_or_else(|| format!("-D {of} {name}: a value is needed"))?;
    make(value).map_err(|error| format!("-D {of} {name} '{value}': {error}"))
}

/// The packets that a program sends.
fn names(sent: &[Command]) -> String {
    let is_sent = |command: &Command| matches!(command, Connect | Will | Disconnect) || sent.contains(command);
    let names: Vec<_> = COMMANDS.iter().filter(|(_, command)| is_sent(command)).map(|(name, _)| *name).collect();
    names.join(", ")
}

fn flag(text: &str) -> Result<bool, String> {
    match text {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err("0 or 1".into()),
    }
}

fn number<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("a whole number of at most {} bits", 8 * size_of::<N>()))
}

fn positive<N: FromStr + Default + PartialEq>(text: &str) -> Result<N, String> {
    number(text).and_then(|number: N| if number == N::default() { Err("not 0".into()) } else { Ok(number) })
}

fn identifier(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (1..=268_435_455).contains(number));
    number.ok_or_else(|| "a number from 1 to 268,435,455".into())
}

fn utf8(text: &str) -> Result<Utf8<'_>, String> {
    Utf8::new(text).ok_or_else(|| "at most 65,535 bytes, and no U+0000".into())
}

fn topic(text: &str) -> Result<TopicName<'_>, String> {
    TopicName::new(text).map_err(|error| error.to_string())
}
