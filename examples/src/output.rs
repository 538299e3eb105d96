//! How `sub` prints a message: the payload, or a format such as `%t %p`, or JSON.
use mqtt_codec::{Properties, Property};
use mqtt_session::Received;
use serde::Serialize;
use serde_json::{Map, Value};
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A format, for [`clap`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Topic,
    Payload,
    Qos,
    Retain,
    Length,
    /// The time of arrival as people write it, in UTC.
    Time,
    /// The same as seconds since 1970, with nine places.
    UnixTime,
    Hex,
    Json,
}

impl Format {
    /// The payload and nothing else.
    pub fn payload() -> Self {
        Self(vec![Piece::Payload])
    }

    /// The topic before the payload.
    pub fn verbose() -> Self {
        Self(vec![Piece::Topic, Piece::Literal(" ".into()), Piece::Payload])
    }

    /// `json` alone, or text with `%t %p %q %r %l %I %U %x %j %%` and `\n \t \r \e \0 \\` in it.
    ///
    /// # Errors
    /// A letter behind `%` or `\` that stands for nothing.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "json" {
            return Ok(Self(vec![Piece::Json]));
        }
        let mut pieces = Vec::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            pieces.push(match character {
                '%' => match characters.next() {
                    Some('t') => Piece::Topic,
                    Some('p') => Piece::Payload,
                    Some('q') => Piece::Qos,
                    Some('r') => Piece::Retain,
                    Some('l') => Piece::Length,
                    Some('I') => Piece::Time,
                    Some('U') => Piece::UnixTime,
                    Some('x') => Piece::Hex,
                    Some('j') => Piece::Json,
                    Some('%') => Piece::Literal("%".into()),
                    Some(other) => {
                        return Err(format!("'%{other}' is unknown; known are %t %p %q %r %l %I %U %x %j and %%"));
                    }
                    None => return Err("a '%' at the end; %% is a literal one".into()),
                },
                '\\' => Piece::Literal(match characters.next() {
                    Some('n') => "\n".into(),
                    Some('t') => "\t".into(),
                    Some('r') => "\r".into(),
                    Some('e') => "\u{1b}".into(),
                    Some('0') => "\0".into(),
                    Some('\\') => "\\".into(),
                    Some(other) => {
                        return Err(format!(r"'\{other}' is unknown; known are \n \t \r \e \0 and \\"));
                    }
                    None => return Err(r"a '\' at the end; \\ is a literal one".into()),
                }),
                other => Piece::Literal(other.into()),
            });
        }
        Ok(Self(pieces))
    }

    /// Writes a message that came at `time`.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write(&self, out: &mut impl Write, message: &Received<'_>, time: SystemTime) -> io::Result<()> {
        let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => out.write_all(text.as_bytes())?,
                Piece::Topic => out.write_all(message.topic.as_name().as_bytes())?,
                Piece::Payload => out.write_all(message.payload)?,
                Piece::Qos => write!(out, "{}", message.qos as u8)?,
                Piece::Retain => write!(out, "{}", u8::from(message.retain))?,
                Piece::Length => write!(out, "{}", message.payload.len())?,
                Piece::Time => write!(out, "{}+0000", date_and_time(since_1970.as_secs()))?,
                Piece::UnixTime => write!(out, "{}.{:09}", since_1970.as_secs(), since_1970.subsec_nanos())?,
                Piece::Hex => out.write_all(hex(message.payload).as_bytes())?,
                Piece::Json => serde_json::to_writer(&mut *out, &Json::of(message, since_1970))?,
            }
        }
        Ok(())
    }
}

/// A message as `%j` prints it. A payload that is no text is there in hexadecimal digits instead.
#[derive(Serialize)]
struct Json<'a> {
    tst: String,
    topic: String,
    qos: u8,
    retain: u8,
    payloadlen: usize,
    #[serde(skip_serializing_if = "Map::is_empty")]
    properties: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hex: Option<String>,
}

impl<'a> Json<'a> {
    fn of(message: &'a Received<'_>, since_1970: Duration) -> Self {
        let payload = std::str::from_utf8(message.payload).ok();
        Self {
            tst: format!("{}.{:06}+0000", date_and_time(since_1970.as_secs()), since_1970.subsec_micros()),
            topic: message.topic.as_name().to_string(),
            qos: message.qos as u8,
            retain: u8::from(message.retain),
            payloadlen: message.payload.len(),
            properties: properties(message.properties),
            payload_hex: payload.is_none().then(|| hex(message.payload)),
            payload,
        }
    }
}

/// The properties that say something about the message, by the names that `-D` has for them; those that can be there more than once are lists.
fn properties(list: Properties<'_>) -> Map<String, Value> {
    let mut map = Map::new();
    let mut add = |name: &str, value: Value| drop(map.insert(name.into(), value));
    for property in list.iter() {
        match property {
            Property::PayloadFormatIndicator(text) => add("payload-format-indicator", u8::from(text).into()),
            Property::MessageExpiryInterval(seconds) => add("message-expiry-interval", seconds.into()),
            Property::ContentType(text) => add("content-type", text.as_str().into()),
            Property::ResponseTopic(topic) => add("response-topic", topic.to_string().into()),
            Property::CorrelationData(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => add("correlation-data", text.into()),
                Err(_) => add("correlation-data-hex", hex(bytes).into()),
            },
            _ => {}
        }
    }
    let identifiers: Vec<_> = list.subscription_identifiers().collect();
    if !identifiers.is_empty() {
        add("subscription-identifiers", identifiers.into());
    }
    let pairs = list.user_properties().map(|(name, value)| Value::from(vec![name.as_str(), value.as_str()]));
    let pairs: Vec<_> = pairs.collect();
    if !pairs.is_empty() {
        add("user-properties", pairs.into());
    }
    map
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Such as `2016-08-10T09:47:38`: the calendar of Gregory, in UTC.
fn date_and_time(since_1970: u64) -> String {
    let (days, second) = (since_1970 / 86_400, since_1970 % 86_400);
    // Years are counted from March, so that the leap day is the last of its year; 400 years are always 146,097 days.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_the_calendar_has_it() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_470_818_858, "2016-08-10T08:47:38"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ] {
            assert_eq!(date_and_time(seconds), expected);
        }
    }
}
