//! Tells which topics a filter matches, and why: section 4.7 on the command line.
use clap::Parser;
use mqtt_topic::{FilterLevel, TopicFilter, TopicName};
use std::io::{self, BufRead, Write};
use std::process::ExitCode;

/// Says of each topic whether the filter matches it, and which level and rule decide.
///
/// A filter that begins with $share/ is read as the shared subscription it is to MQTT 5.0.
/// Exit codes: 0 if all topics match, 1 if some do not, 2 if the filter or a topic is no good.
#[derive(Parser)]
#[command(name = "match", version)]
struct Arguments {
    /// The topic filter
    filter: String,
    /// The topics; one a line from standard input if there are none here
    topics: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = match filter(&arguments.filter) {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!("filter {}: {error}", shown(&arguments.filter));
            return ExitCode::from(2);
        }
    };
    let mut verdicts = Verdicts { filter, missed: 0, bad: 0 };
    let done = if arguments.topics.is_empty() {
        verdicts.all(io::stdin().lock().split(b'\n'))
    } else {
        verdicts.all(arguments.topics.into_iter().map(|topic| Ok(topic.into_bytes())))
    };
    match done {
        // who reads our answers has heard enough
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
        Ok(()) => {}
    }
    ExitCode::from(match verdicts {
        Verdicts { bad: 1.., .. } => 2,
        Verdicts { missed: 1.., .. } => 1,
        _ => 0,
    })
}

/// The filter that decides: that inside of a shared one.
fn filter(text: &str) -> Result<TopicFilter<'_>, mqtt_topic::FilterError> {
    let filter = TopicFilter::new(text)?;
    Ok(filter.shared()?.map_or(filter, |shared| shared.filter()))
}

struct Verdicts<'a> {
    filter: TopicFilter<'a>,
    missed: usize,
    bad: usize,
}

impl Verdicts<'_> {
    fn all(&mut self, topics: impl Iterator<Item = io::Result<Vec<u8>>>) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        for topic in topics {
            let topic = topic?;
            match TopicName::from_bytes(&topic) {
                Ok(name) => {
                    let matches = self.filter.matches(name);
                    self.missed += usize::from(!matches);
                    let word = if matches { "yes" } else { "no" };
                    writeln!(stdout, "{}: {word}: {}", shown(name.as_str()), reason(self.filter, name).1)?;
                }
                Err(error) => {
                    self.bad += 1;
                    eprintln!("topic {}: {error}", shown(&String::from_utf8_lossy(&topic)));
                }
            }
        }
        Ok(())
    }
}

/// Whether `filter` matches `name`, and what decides it.
fn reason(filter: TopicFilter<'_>, name: TopicName<'_>) -> (bool, String) {
    if filter.begins_with_wildcard() && name.begins_with_dollar() {
        return (false, "a filter that begins with a wildcard does not see topics that begin with '$' (4.7.2)".into());
    }
    let mut taken = Vec::new();
    let mut levels = name.levels();
    for (place, level) in (1..).zip(filter.levels()) {
        match (level, levels.next()) {
            (FilterLevel::Hash, None) => {
                return (true, "'#' matches the level above it too (4.7.1.2)".into());
            }
            (FilterLevel::Hash, Some(_)) => {
                taken.push(format!("'#' takes level {place} and all behind it"));
                return (true, taken.join(", "));
            }
            (FilterLevel::Plus, Some(level)) => taken.push(format!("'+' takes level {place}, {}", quoted(level))),
            (FilterLevel::Text(text), Some(level)) if text == level => {}
            (FilterLevel::Text(text), Some(level)) => {
                return (false, format!("level {place} is {}, the filter has {}", quoted(level), quoted(text)));
            }
            (FilterLevel::Plus, None) => {
                return (false, format!("level {place} is missing, and '+' takes just one level, not none (4.7.1.3)"));
            }
            (FilterLevel::Text(text), None) => {
                return (false, format!("level {place} is missing, the filter has {}", quoted(text)));
            }
        }
    }
    if let Some(level) = levels.next() {
        let more = filter.levels().count() + 1;
        return (false, format!("level {more}, {}, is one more than the filter has", quoted(level)));
    }
    if taken.is_empty() {
        taken.push("equal, byte for byte".into());
    }
    (true, taken.join(", "))
}

fn quoted(level: &[u8]) -> String {
    format!("\"{}\"", shown(&String::from_utf8_lossy(level)))
}

/// `text` with its control characters escaped: a topic must not play with the terminal.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_never_contradicts_the_answer() {
        let filters =
            ["#", "+", "/", "a", "a/#", "a/+", "+/+", "+/a", "/#", "a/+/#", "a/b/c", "$SYS/#", "$SYS/+", "a//#"];
        let names = ["a", "/", "a/", "/a", "a/b", "a/b/c", "$SYS", "$SYS/a", "a//", "b", "b/a"];
        for filter in filters.map(|filter| TopicFilter::new(filter).unwrap()) {
            for name in names.map(|name| TopicName::new(name).unwrap()) {
                let (matches, why) = reason(filter, name);
                assert_eq!(matches, filter.matches(name), "{filter} {name}: {why}");
                assert!(!why.is_empty());
            }
        }
    }
}
