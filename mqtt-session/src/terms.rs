//! What the two ends have agreed on, as the host sees it (sections 3.1.2.11 and 3.2.2.3), and where a server sends a client (4.11).
use mqtt_codec::{Properties, Property, Qos, ReasonCode, Utf8};

/// What holds on a connection once it is up: what the peer announced, or the default of what it did not. [`Connection::terms`](crate::Connection::terms).
///
/// What a client publishes and subscribes to is held against these terms by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Terms<'c> {
    /// The keep alive in force, seconds; 0 is off.
    pub keep_alive: u16,
    /// QoS 1 and 2 messages that may be on their way to the peer at once.
    pub receive_maximum: u16,
    /// The largest packet the peer takes, bytes with fixed header; `u32::MAX` if it did not say.
    pub maximum_packet_size: u32,
    /// Topic aliases that the peer takes.
    pub topic_alias_maximum: u16,
    /// The highest QoS the server takes.
    pub maximum_qos: Qos,
    /// Whether the server keeps retained messages.
    pub retain_available: bool,
    /// Whether the server takes filters with wildcards.
    pub wildcard_subscription_available: bool,
    /// Whether the server takes Subscription Identifiers.
    pub subscription_identifiers_available: bool,
    /// Whether the server has shared subscriptions.
    pub shared_subscription_available: bool,
    /// Client: the Session Expiry Interval that the server set in the place of the one asked for, seconds.
    pub session_expiry_interval: Option<u32>,
    /// Client: the identifier that the server gave to a client without one: the next connection says it, to go on with the session.
    pub assigned_client_id: Option<&'c str>,
    /// Client: the basis of response topics, if it was asked for.
    pub response_information: Option<&'c str>,
    /// Client: another server, named by one that let us in all the same.
    pub server_reference: Option<&'c str>,
}

/// Where a server sends a client: [`Event::redirect`](crate::Event::redirect), [`Connection::redirect`](crate::Connection::redirect).
///
/// # Examples
///
/// ```
/// use mqtt_session::{Redirect, codec::Utf8};
///
/// let redirect = Redirect { permanent: false, reference: Utf8::new("a.example:1883 [fe80::1]:8883") };
/// assert_eq!(redirect.servers().collect::<Vec<_>>(), ["a.example:1883", "[fe80::1]:8883"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirect<'p> {
    /// For good (0x9D), so that the old server is not to be asked again; else for now (0x9C).
    pub permanent: bool,
    /// The Server Reference, if there was one: a list of names and addresses. Without one the client has to know.
    pub reference: Option<Utf8<'p>>,
}

impl<'p> Redirect<'p> {
    /// What a CONNACK or DISCONNECT of the server says.
    pub(crate) fn of(reason: ReasonCode, properties: Properties<'p>) -> Option<Self> {
        let permanent = match reason {
            ReasonCode::USE_ANOTHER_SERVER => false,
            ReasonCode::SERVER_MOVED => true,
            _ => return None,
        };
        Some(Self { permanent, reference: properties.server_reference() })
    }

    /// The reason code that says it. v5 [X5-CACK-10]: 0x9C for now, 0x9D for good.
    pub(crate) fn reason(self) -> ReasonCode {
        if self.permanent { ReasonCode::SERVER_MOVED } else { ReasonCode::USE_ANOTHER_SERVER }
    }

    pub(crate) fn property(self) -> Option<Property<'p>> {
        self.reference.map(Property::ServerReference)
    }

    /// The servers named, in their order. v5 [X5-CACK-10]: separated by spaces.
    pub fn servers(self) -> impl Iterator<Item = &'p str> {
        self.reference.map_or("", Utf8::as_str).split(' ').filter(|server| !server.is_empty())
    }
}

/// What CONNACK says in words and few servers do: kept aside.
#[derive(Debug, Default)]
pub(crate) struct Words {
    pub(crate) session_expiry: Option<u32>,
    pub(crate) client_id: Option<alloc::boxed::Box<str>>,
    pub(crate) response_information: Option<alloc::boxed::Box<str>>,
    pub(crate) server_reference: Option<alloc::boxed::Box<str>>,
}

impl Words {
    /// `None` if there are none.
    pub(crate) fn of(properties: Properties<'_>) -> Option<Self> {
        let mut words = None;
        for property in properties {
            let words: &mut Self = match property {
                Property::SessionExpiryInterval(_)
                | Property::AssignedClientIdentifier(_)
                | Property::ResponseInformation(_)
                | Property::ServerReference(_) => words.get_or_insert_default(),
                _ => continue,
            };
            match property {
                Property::SessionExpiryInterval(seconds) => words.session_expiry = Some(seconds),
                Property::AssignedClientIdentifier(text) => words.client_id = Some(text.as_str().into()),
                Property::ResponseInformation(text) => words.response_information = Some(text.as_str().into()),
                Property::ServerReference(text) => words.server_reference = Some(text.as_str().into()),
                _ => {}
            }
        }
        words
    }

    pub(crate) fn memory(&self) -> usize {
        let texts = [&self.client_id, &self.response_information, &self.server_reference];
        texts.into_iter().flatten().map(|text| text.len()).sum()
    }
}
