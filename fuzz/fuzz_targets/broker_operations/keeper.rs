//! The policy: who may do what, when it says so, and what it has allowed.
use crate::*;

/// Decides by the first letter, puts off what its mask says, and remembers which messages of clients it has allowed.
#[derive(Default)]
pub(crate) struct Keeper {
    pub(crate) mask: u8,
    pub(crate) revoked: bool,
    pub(crate) tickets: Vec<Ticket>,
    pub(crate) allowed: Vec<Allowed>,
}

/// A message on its way to those who have asked for it.
pub(crate) struct Allowed {
    pub(crate) from: String,
    pub(crate) topic: String,
    pub(crate) number: u32,
}

pub(crate) const NO: Decision = Decision::Deny(ReasonCode::NOT_AUTHORIZED);

impl Keeper {
    fn decide(&mut self, bit: u8, ticket: Ticket) -> Decision {
        if self.mask & bit == 0 {
            return Decision::Allow;
        }
        self.tickets.push(ticket);
        Decision::Defer(ticket)
    }
}

impl Policy for Keeper {
    fn connect(&mut self, request: &ConnectRequest<'_>) -> Decision {
        if self.mask & 8 != 0 && request.client.client_id == NAMES[4] {
            return Decision::DenyWith(Box::new(Refusal::use_another_server("elsewhere")));
        }
        self.decide(1, request.ticket)
    }

    fn publish(&mut self, request: &PublishRequest<'_>) -> Decision {
        let publication = request.publication;
        match publication.topic.as_bytes().first() {
            Some(b'n') => return NO,
            Some(b'b') if self.revoked => return NO,
            Some(b'd') if self.mask & 2 != 0 => return self.decide(2, request.ticket),
            Some(b'r') if !request.rewritten => {
                let new = Publication { topic: TopicName::new("a").unwrap(), ..*publication };
                return Decision::publish_as(request.now, &new);
            }
            _ => {}
        }
        if let Origin::Client(client) = request.origin
            && let Some(number) = number(publication.payload)
            && publication.qos != Qos::AtMostOnce
            && publication.properties.message_expiry_interval().is_none()
        {
            let (from, topic) = (client.client_id.to_owned(), publication.topic.as_str().to_owned());
            self.allowed.push(Allowed { from, topic, number });
        }
        Decision::Allow
    }

    fn subscribe(&mut self, request: &SubscribeRequest<'_>) -> Decision {
        match plain(request.filter.as_str()).as_bytes().first() {
            Some(b'n') => NO,
            Some(b'b') if self.revoked => NO,
            Some(b'd') => self.decide(4, request.ticket),
            // one that nobody asks for by its own name: it would be replaced, and end, with the other
            Some(b'r') if !request.rewritten => {
                Decision::subscribe_as(TopicFilter::new("w/x").unwrap(), request.options)
            }
            _ => Decision::Allow,
        }
    }

    fn unsubscribe(&mut self, request: &UnsubscribeRequest<'_>) -> Decision {
        if request.filter.as_bytes().starts_with(b"d") { self.decide(4, request.ticket) } else { Decision::Allow }
    }

    fn receives_all(&mut self, _: &ClientInfo<'_>, filter: TopicFilter<'_>) -> bool {
        !filter.begins_with_wildcard()
    }

    fn receive(&mut self, request: &ReceiveRequest<'_>) -> bool {
        let topic = request.publication.topic.as_bytes();
        !topic.starts_with(b"s") && !(self.revoked && topic.starts_with(b"b"))
    }
}
