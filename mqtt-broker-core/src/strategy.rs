//! What a host says of shared subscriptions: how groups share, and which group shares how.
use alloc::string::String;
use alloc::vec::Vec;
use mqtt_session::topic::SharedFilter;

/// How a group of subscribers shares its messages out. Members that keep up come before others whatever the strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Strategy {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// Any, by a generator seeded by the broker's [`HashSeed`](mqtt_session::topic::HashSeed).
    Random,
    /// Always the same, until it goes away, stalls or is full; then another for as long.
    Sticky,
    /// By the publisher's client identifier: what one client publishes goes to one member.
    HashClient,
    /// By topic: what is published to one topic goes to one member.
    HashTopic,
    /// Whoever has the fewest messages in flight and queued, of up to 8 that are looked at.
    LeastInflight,
}

/// Shared subscriptions. Of members that are equally fit, up to 64 are looked at for one that may receive a message and takes
/// packets of its size. They are switched off by
/// [`ServerConfig::shared_subscription_available`](mqtt_session::ServerConfig::shared_subscription_available).
///
/// # Examples
///
/// ```
/// use mqtt_broker_core::{Config, SharedRule, Strategy};
///
/// let mut config = Config::default();
/// config.shared.strategy = Strategy::LeastInflight;
/// // `$share/audit/..` and whatever is shared below `orders/` keep the order of each topic
/// config.shared.rules.push(SharedRule::group("audit", Strategy::HashTopic));
/// config.shared.rules.push(SharedRule::below("orders/", Strategy::HashTopic));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SharedConfig {
    /// The strategy of groups that no rule is for. Default: round robin.
    pub strategy: Strategy,
    /// The strategies of others; the first rule that fits a group decides, when its first member joins.
    pub rules: Vec<SharedRule>,
    /// Groups at once. Default 100,000.
    pub max_groups: usize,
    /// How many members may have had a message and lost their session before it is dropped: what kills every client that takes
    /// it does not go round for ever. Default 8.
    pub max_handovers: u8,
}

impl Default for SharedConfig {
    fn default() -> Self {
        Self { strategy: Strategy::default(), rules: Vec::new(), max_groups: 100_000, max_handovers: 8 }
    }
}

/// Which strategy some groups have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedRule {
    /// The share name; `None` for any.
    pub group: Option<String>,
    /// What the filter, the part behind the share name, begins with; empty for any.
    pub filter_prefix: String,
    /// How they share.
    pub strategy: Strategy,
}

impl SharedRule {
    /// For the groups of one share name.
    pub fn group(name: impl Into<String>, strategy: Strategy) -> Self {
        Self { group: Some(name.into()), filter_prefix: String::new(), strategy }
    }

    /// For the groups whose filter begins with `prefix`.
    pub fn below(prefix: impl Into<String>, strategy: Strategy) -> Self {
        Self { group: None, filter_prefix: prefix.into(), strategy }
    }

    fn fits(&self, shared: SharedFilter<'_>) -> bool {
        self.group.as_ref().is_none_or(|group| group.as_bytes() == shared.group())
            && shared.filter().as_bytes().starts_with(self.filter_prefix.as_bytes())
    }
}

impl SharedConfig {
    pub(crate) fn strategy_of(&self, shared: SharedFilter<'_>) -> Strategy {
        self.rules.iter().find(|rule| rule.fits(shared)).map_or(self.strategy, |rule| rule.strategy)
    }
}
