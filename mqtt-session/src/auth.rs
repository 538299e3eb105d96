//! Enhanced authentication (section 4.12): the method that was agreed on, and whose turn it is.
//!
//! ```text
//!                  server's AUTH 0x18            client's AUTH 0x18
//! CONNECT --> Server's ----------> Client's ----------> Server's .. CONNACK --> nobody's
//!
//!            client's AUTH 0x19            as above            server's AUTH 0x00
//! nobody's ----------> Server's ----------> .. ----------> Server's ----------> nobody's
//! ```
use crate::control::Control;
use crate::error::{AuthError, Broken};
use crate::limits::Limits;
use alloc::boxed::Box;
use alloc::vec::Vec;
use mqtt_codec::{Auth, Connect, Packet, Properties, Property, ReasonCode, Role, Utf8, Version};

/// The exchanges of one connection; there is none without an Authentication Method in CONNECT.
#[derive(Debug)]
pub(crate) struct Exchange {
    method: Box<str>,
    /// Whose AUTH (or CONNACK) comes next; `None` while nobody owes one.
    turn: Option<Role>,
}

impl Exchange {
    /// What `connect` begins.
    pub(crate) fn of(connect: &Connect<'_>) -> Option<Self> {
        let method = connect.properties.authentication_method().filter(|_| connect.version == Version::V5)?;
        Some(Self { method: method.as_str().into(), turn: Some(Role::Server) })
    }

    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    /// Takes the AUTH of the peer.
    pub(crate) fn take(&mut self, auth: &Auth<'_>, us: Role, accepted: bool) -> Result<(), Broken> {
        self.judge_method(auth.properties.authentication_method())?;
        let peer = other(us);
        self.turn = self.after(peer, auth.reason, accepted).ok_or(match peer {
            // v5 [MQTT-4.12.0-3], v5 [MQTT-4.12.1-1]: 0x18 for an answer, 0x19 to begin anew, and only after CONNACK.
            Role::Client => ("v5 [MQTT-4.12.0-3]", ReasonCode::PROTOCOL_ERROR),
            // v5 [MQTT-4.12.0-2]: 0x18 asks for more, and 0x00 ends what the client began.
            Role::Server => ("v5 [MQTT-4.12.0-2]", ReasonCode::PROTOCOL_ERROR),
        })?;
        Ok(())
    }

    /// The client's end: judges the CONNACK that lets it in.
    pub(crate) fn take_connack(&mut self, method: Option<Utf8<'_>>) -> Result<(), Broken> {
        self.judge_method(method)?;
        if self.turn != Some(Role::Server) {
            return Err(("v5 [MQTT-4.12.0-3]", ReasonCode::PROTOCOL_ERROR));
        }
        self.turn = None;
        Ok(())
    }

    /// The server's end lets the client in.
    pub(crate) fn accept(&mut self) {
        self.turn = None;
    }

    /// Whose turn it is once `speaker` has said `reason`; `None` if it may not.
    fn after(&self, speaker: Role, reason: ReasonCode, accepted: bool) -> Option<Option<Role>> {
        match (self.turn, speaker, reason) {
            (Some(Role::Server), Role::Server, ReasonCode::CONTINUE_AUTHENTICATION) => Some(Some(Role::Client)),
            (Some(Role::Client), Role::Client, ReasonCode::CONTINUE_AUTHENTICATION) => Some(Some(Role::Server)),
            (None, Role::Client, ReasonCode::REAUTHENTICATE) if accepted => Some(Some(Role::Server)),
            (Some(Role::Server), Role::Server, ReasonCode::SUCCESS) if accepted => Some(None),
            _ => None,
        }
    }

    /// v5 [MQTT-4.12.0-5]: one method for all of the connection.
    fn judge_method(&self, method: Option<Utf8<'_>>) -> Result<(), Broken> {
        match method {
            Some(method) if method.as_bytes() == self.method.as_bytes() => Ok(()),
            Some(_) | None => Err(("v5 [MQTT-4.12.0-5]", ReasonCode::PROTOCOL_ERROR)),
        }
    }
}

/// Queues an AUTH of ours.
pub(crate) fn say(
    control: &mut Control,
    limits: &mut Limits,
    reason: ReasonCode,
    data: Option<&[u8]>,
    properties: &[Property<'_>],
    accepted: bool,
) -> Result<(), AuthError> {
    let exchange = limits.exchange().ok_or(AuthError::NotExpected)?;
    let turn = exchange.after(limits.role, reason, accepted).ok_or(AuthError::NotExpected)?;
    let method = Utf8::new(&exchange.method).ok_or(AuthError::Invalid)?;
    // v5 [MQTT-4.12.0-5]: with the method of CONNECT, in every AUTH.
    let mut list = Vec::from([Property::AuthenticationMethod(method)]);
    list.extend(data.map(Property::AuthenticationData));
    list.extend(properties.iter().filter(|property| may_stand(property, limits)));
    let packet = Packet::Auth(Auth { reason, properties: Properties::from_slice(&list) });
    packet.encoded_len(Version::V5).map_err(|_| AuthError::Invalid)?;
    if !control.push(&packet, limits) {
        return Err(AuthError::TooLarge);
    }
    if let Some(exchange) = limits.exchange_mut() {
        exchange.turn = turn;
    }
    Ok(())
}

const fn other(role: Role) -> Role {
    match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    }
}

/// Whether the host's property may stand in an AUTH: method and data have their own place, and
/// v5 [MQTT-3.1.2-29] bars what a client does not want to know.
fn may_stand(property: &Property<'_>, limits: &Limits) -> bool {
    match property {
        Property::AuthenticationMethod(_) | Property::AuthenticationData(_) => false,
        Property::ReasonString(_) | Property::UserProperty(..) => {
            limits.role == Role::Client || limits.asked.problem_information
        }
        _ => true,
    }
}
