//! Who publishes what to whom.

use crate::load::{Load, Scenario};

/// The clients of a run and what passes between them.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The filters of each subscriber. No two of one subscriber overlap: a message reaches it once, by every broker's rules.
    pub(crate) subscribers: Vec<Vec<String>>,
    pub(crate) publishers: usize,
    pub(crate) streams: Vec<Stream>,
}

/// One publisher's messages to one topic.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) topic: String,
    pub(crate) publisher: usize,
    /// Subscribers that must get them.
    pub(crate) hearers: Vec<u32>,
}

impl Plan {
    /// The plan of a scenario in which messages pass.
    pub(crate) fn of(load: &Load) -> Self {
        match load.scenario {
            Scenario::FanOut => Self::fan_out(load.clients),
            Scenario::FanIn => Self::fan_in(load.clients),
            Scenario::Mixed => Self::mixed(load.clients),
            Scenario::Stalled => Self::fan_out(1),
            _ => Self::pairs(load.clients),
        }
    }

    /// The streams each subscriber hears.
    pub(crate) fn heard(&self) -> Vec<Vec<u32>> {
        let mut heard = vec![Vec::new(); self.subscribers.len()];
        for (stream, number) in self.streams.iter().zip(0..) {
            for &hearer in &stream.hearers {
                heard[hearer as usize].push(number);
            }
        }
        heard
    }

    fn pairs(count: usize) -> Self {
        let topic = |pair: usize| format!("bench/pair/{pair}");
        let stream = |pair: usize| Stream { topic: topic(pair), publisher: pair, hearers: vec![pair as u32] };
        Self {
            subscribers: (0..count).map(|pair| vec![topic(pair)]).collect(),
            publishers: count,
            streams: (0..count).map(stream).collect(),
        }
    }

    fn fan_out(count: usize) -> Self {
        let topic = "bench/out".to_owned();
        Self {
            subscribers: vec![vec![topic.clone()]; count],
            publishers: 1,
            streams: vec![Stream { topic, publisher: 0, hearers: (0..count as u32).collect() }],
        }
    }

    fn fan_in(count: usize) -> Self {
        let stream = |publisher| Stream { topic: format!("bench/in/{publisher}"), publisher, hearers: vec![0] };
        Self {
            subscribers: vec![vec!["bench/in/+".to_owned()]],
            publishers: count,
            streams: (0..count).map(stream).collect(),
        }
    }

    /// Ten filters a client, each on a site of its own. A site has 50 filters, hence 2 or 3 with `#` and 7 or 8 with `+` that hear all of
    /// its 20 devices, and 40 for one device: about 12 hits for each topic.
    fn mixed(clients: usize) -> Self {
        const FILTERS: usize = 10;
        const DEVICES: usize = 20;
        let sites = (clients * FILTERS / 50).max(FILTERS);
        let topic = |site: usize, device: usize| format!("site/{site}/dev/{device}/temp");
        let mut subscribers = vec![Vec::new(); clients];
        let mut hearers = vec![Vec::new(); sites * DEVICES];
        for (client, filters) in subscribers.iter_mut().enumerate() {
            for k in 0..FILTERS {
                let site = (client * FILTERS + k) % sites;
                // the kind goes round within a site, so that every site has the same mix
                let turn = (client * FILTERS + k) / sites;
                let device = (turn * 7 + site) % DEVICES;
                let all = site * DEVICES..(site + 1) * DEVICES;
                let (filter, heard) = match (turn + site) % 20 {
                    0 => (format!("site/{site}/#"), all),
                    1..=3 => (format!("site/{site}/dev/+/temp"), all),
                    _ => (topic(site, device), site * DEVICES + device..site * DEVICES + device + 1),
                };
                filters.push(filter);
                hearers[heard].iter_mut().for_each(|list| list.push(client as u32));
            }
        }
        let publishers = sites.min(50);
        let streams = hearers.into_iter().enumerate().map(|(number, hearers)| Stream {
            topic: topic(number / DEVICES, number % DEVICES),
            publisher: number / DEVICES % publishers,
            hearers,
        });
        Self { subscribers, publishers, streams: streams.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_codec::topic::{TopicFilter, TopicName};

    #[test]
    fn who_hears_what_is_as_the_filters_say() {
        for plan in [Plan::pairs(3), Plan::fan_out(3), Plan::fan_in(3), Plan::mixed(2), Plan::mixed(60)] {
            for stream in &plan.streams {
                let name = TopicName::new(&stream.topic).unwrap();
                assert!(stream.publisher < plan.publishers);
                for (number, filters) in plan.subscribers.iter().enumerate() {
                    let hits = filters.iter().filter(|filter| TopicFilter::new(filter).unwrap().matches(name)).count();
                    let named = stream.hearers.iter().filter(|&&hearer| hearer as usize == number).count();
                    assert_eq!(hits, named, "{filters:?} {}", stream.topic);
                    assert!(hits <= 1, "{filters:?} {}", stream.topic);
                }
            }
        }
    }

    #[test]
    fn a_mixed_message_has_about_twelve_hearers() {
        let plan = Plan::mixed(1000);
        let hits: usize = plan.streams.iter().map(|stream| stream.hearers.len()).sum();
        let mean = hits as f64 / plan.streams.len() as f64;
        assert!((11.0..13.0).contains(&mean), "{mean}");
    }
}
