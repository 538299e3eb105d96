//! Where a message has been: each broker it left over a bridge wrote its name into it, as a user property.

use mqtt_broker_core::{
    ClientInfo, ConnectRequest, Decision, Policy, PublishRequest, ReceiveRequest, SubscribeRequest, UnsubscribeRequest,
};
use mqtt_codec::topic::TopicFilter;
use mqtt_codec::{Properties, Property, ReasonCode, Utf8};

/// The name of the user properties that name brokers.
pub(crate) const MARK: &str = "mqttkit-bridge";
/// The most crossings of one message: what ends loops of brokers that change their names.
pub(crate) const MOST: usize = 16;
/// What the broker of a bridge says to what has been there before.
pub(crate) const BEEN_HERE: ReasonCode = ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR;

/// The brokers that a message has left over bridges.
fn path(properties: Properties<'_>) -> impl Iterator<Item = &str> {
    properties.iter().filter_map(|property| match property {
        Property::UserProperty(name, value) if name.as_str() == MARK => Some(value.as_str()),
        _ => None,
    })
}

/// What a message with these properties bears on its way from broker `from` to broker `to`; `None`: it has been at one of them.
pub(crate) fn cross<'a>(properties: Properties<'a>, from: &'a str, to: &str) -> Option<Vec<Property<'a>>> {
    if path(properties).any(|name| name == from || name == to) || path(properties).count() >= MOST {
        return None;
    }
    let mark = Property::UserProperty(Utf8::new(MARK)?, Utf8::new(from)?);
    Some(properties.iter().chain([mark]).collect())
}

/// Lets everybody do everything, but takes no message a second time.
pub(crate) struct Once {
    /// The name of this broker.
    pub(crate) name: String,
}

impl Policy for Once {
    fn publish(&mut self, request: &PublishRequest<'_>) -> Decision {
        let been_here = path(request.publication.properties).any(|name| name == self.name);
        if been_here { Decision::Deny(BEEN_HERE) } else { Decision::Allow }
    }
    fn connect(&mut self, _: &ConnectRequest<'_>) -> Decision {
        Decision::Allow
    }
    fn subscribe(&mut self, _: &SubscribeRequest<'_>) -> Decision {
        Decision::Allow
    }
    fn unsubscribe(&mut self, _: &UnsubscribeRequest<'_>) -> Decision {
        Decision::Allow
    }
    fn receives_all(&mut self, _: &ClientInfo<'_>, _: TopicFilter<'_>) -> bool {
        true
    }
    fn receive(&mut self, _: &ReceiveRequest<'_>) -> bool {
        true
    }
}
