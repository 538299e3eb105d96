//! What can happen in a world.
use crate::random::Random;
use mqtt_session::codec::Version;

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) version: Version,
    /// The link breaks, hosts refuse, time jumps, goodbyes are said.
    pub(crate) faults: bool,
    /// Bytes handed over at once; random if `None`.
    pub(crate) chunk: Option<usize>,
    pub(crate) only_from_client: bool,
    pub(crate) receive_maximum: u16,
    pub(crate) maximum_inflight: u16,
    /// Messages of a few bytes only.
    pub(crate) small: bool,
    /// Seconds.
    pub(crate) keep_alive: u16,
    /// The client's host acknowledges by itself.
    pub(crate) manual: bool,
    /// How often, in percent, an end whose link breaks starts again from what it has stored.
    pub(crate) restarts: u64,
    /// Topic aliases that each end sets by itself (5.0).
    pub(crate) aliases: u16,
}

impl Plan {
    pub(crate) fn calm(version: Version) -> Self {
        Self {
            version,
            faults: false,
            chunk: None,
            only_from_client: false,
            receive_maximum: 20,
            maximum_inflight: 20,
            small: false,
            keep_alive: 0,
            manual: false,
            restarts: 0,
            aliases: 0,
        }
    }

    pub(crate) fn wild(seed: u64) -> Self {
        let mut random = Random::new(!seed);
        Self {
            version: crate::VERSIONS[random.below(3) as usize],
            faults: true,
            chunk: None,
            only_from_client: false,
            receive_maximum: 1 + random.below(6) as u16,
            maximum_inflight: 1 + random.below(6) as u16,
            small: random.chance(20),
            keep_alive: 5 * random.below(3) as u16,
            manual: random.chance(50),
            restarts: 50 * random.below(2),
            aliases: random.below(3) as u16,
        }
    }
}
