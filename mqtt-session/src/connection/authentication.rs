//! The host's part of enhanced authentication (section 4.12), both ends.
use super::{Connection, State};
use crate::auth::{self, Exchange};
use crate::{AuthError, Instant};
use mqtt_codec::{Property, ReasonCode, Role};

impl Connection {
    /// The Authentication Method of CONNECT, if there was one (5.0).
    pub fn authentication_method(&self) -> Option<&str> {
        self.limits.exchange().map(Exchange::method)
    }

    /// Server: asks the client for more (AUTH 0x18), in answer to [`Event::Connect`](crate::Event::Connect) or [`Event::Auth`](crate::Event::Auth).
    ///
    /// The method goes with it by itself. Before acceptance the connection is then [`State::Authenticating`]: read on; the client has
    /// [`connect_timeout`](crate::ServerConfig::connect_timeout) to answer. v5 [MQTT-4.12.0-2].
    ///
    /// # Errors
    /// Ours: nothing has changed. A client that cannot be asked can still be turned away.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqtt_session::codec::{Connect, OutBuf, Properties, Property, Reader, Utf8, Version};
    /// use mqtt_session::{Accept, Connection, Event, Instant, ServerConfig, Session, Transmit};
    ///
    /// let asks = [Property::AuthenticationMethod(Utf8::new("SCRAM").unwrap()), Property::AuthenticationData(b"hello")];
    /// let connect = Connect {
    ///     version: Version::V5, clean_start: true, keep_alive: 60, properties: Properties::from_slice(&asks),
    ///     client_id: Utf8::new("c").unwrap(), will: None, user_name: None, password: None,
    /// };
    /// let (config, now) = (ServerConfig::default(), Instant::ZERO);
    /// let mut client = Connection::client(now, &connect, Session::new())?;
    /// let mut server = Connection::server(now, &config);
    /// let (mut at_client, mut at_server) = (client.reader(), server.reader());
    ///
    /// fn carry(from: &mut Connection, to: &mut Connection, reader: &mut Reader, mut act: impl FnMut(&Event<'_>)) {
    ///     let mut out = OutBuf::with_limit(65_536);
    ///     while from.poll_transmit(Instant::ZERO, &mut out) == Transmit::Wrote {}
    ///     let mut input = to.read(Instant::ZERO, reader, out.chunk());
    ///     while let Some(event) = input.next().unwrap() { act(&event) }
    /// }
    ///
    /// carry(&mut client, &mut server, &mut at_server, |event| assert!(matches!(event, Event::Connect(_))));
    /// server.challenge(now, Some(b"prove it"), &[])?;
    /// carry(&mut server, &mut client, &mut at_client, |event| {
    ///     let Event::Auth(auth) = event else { panic!("an AUTH") };
    ///     assert_eq!(auth.properties.authentication_data(), Some(&b"prove it"[..]));
    /// });
    /// client.answer_challenge(now, Some(b"proof"), &[])?;
    /// carry(&mut client, &mut server, &mut at_server, |event| assert!(matches!(event, Event::Auth(_))));
    /// server.accept(now, Session::new(), &config, &Accept::default());
    /// carry(&mut server, &mut client, &mut at_client, |event| assert!(matches!(event, Event::Connected(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn challenge(
        &mut self,
        now: Instant,
        data: Option<&[u8]>,
        properties: &[Property<'_>],
    ) -> Result<(), AuthError> {
        self.say(now, Role::Server, ReasonCode::CONTINUE_AUTHENTICATION, data, properties)?;
        if self.state == State::Deciding {
            self.state = State::Authenticating;
            self.keep_alive.await_step(self.now);
        }
        Ok(())
    }

    /// Server: the client that re-authenticates is who it says (AUTH 0x00). If it is not, [`disconnect`](Self::disconnect) with 0x87
    /// (v5 [MQTT-4.12.1-2]).
    ///
    /// # Errors
    /// Ours: nothing has changed.
    pub fn authenticated(
        &mut self,
        now: Instant,
        data: Option<&[u8]>,
        properties: &[Property<'_>],
    ) -> Result<(), AuthError> {
        self.say(now, Role::Server, ReasonCode::SUCCESS, data, properties)
    }

    /// Client: answers the server's AUTH 0x18 with one of the same reason (v5 [MQTT-4.12.0-3]).
    ///
    /// # Errors
    /// Ours: nothing has changed.
    pub fn answer_challenge(
        &mut self,
        now: Instant,
        data: Option<&[u8]>,
        properties: &[Property<'_>],
    ) -> Result<(), AuthError> {
        self.say(now, Role::Client, ReasonCode::CONTINUE_AUTHENTICATION, data, properties)?;
        if self.state == State::Handshake {
            self.keep_alive.await_step(self.now);
        }
        Ok(())
    }

    /// Client: proves anew who it is, while all else goes on (AUTH 0x19, with the method of CONNECT). Answered by
    /// [`Event::Auth`](crate::Event::Auth), or by the end of the connection.
    ///
    /// # Errors
    /// Ours: nothing has changed. v5 [MQTT-4.12.0-7]: not without a method in CONNECT.
    pub fn reauthenticate(
        &mut self,
        now: Instant,
        data: Option<&[u8]>,
        properties: &[Property<'_>],
    ) -> Result<(), AuthError> {
        self.say(now, Role::Client, ReasonCode::REAUTHENTICATE, data, properties)
    }

    fn say(
        &mut self,
        now: Instant,
        us: Role,
        reason: ReasonCode,
        data: Option<&[u8]>,
        properties: &[Property<'_>],
    ) -> Result<(), AuthError> {
        self.clock(now);
        if self.limits.role != us || self.state == State::Closing {
            return Err(AuthError::NotExpected);
        }
        let accepted = self.state == State::Connected;
        auth::say(&mut self.control, &mut self.limits, reason, data, properties, accepted)
    }
}
