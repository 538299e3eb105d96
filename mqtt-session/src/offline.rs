//! What a client publishes on its way into the session, with a connection or without.
use crate::outgoing::Outgoing;
use crate::{Delivery, Instant, Message, Publication, PublishError, PublishToken, QueueLimits, Session};
use mqtt_codec::{Qos, Version};

impl Session {
    /// Publishes while there is no connection: the message waits, within `limits`, for the next one.
    ///
    /// Its token is of the session, not of a connection: a QoS 1 or 2 message completes with
    /// [`Event::Completed`](crate::Event::Completed) on whichever connection the server acknowledges it. On a connection, connected
    /// already or not, [`Connection::publish`](crate::Connection::publish) does the same. What the server turns out not to serve, or
    /// to be too large or expired when its turn comes, is dropped, counted in [`Drops`](crate::Drops) and told by
    /// [`Connection::poll_dropped`](crate::Connection::poll_dropped).
    ///
    /// # Errors
    /// Ours: nothing has changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqtt_session::codec::{Connect, OutBuf, Properties, Qos, Utf8, Version};
    /// use mqtt_session::{Connection, Event, Instant, Publication, QueueLimits, Session, Transmit, topic::TopicName};
    ///
    /// let (now, limits) = (Instant::ZERO, QueueLimits { messages: 100, bytes: 100_000 });
    /// let mut session = Session::new();
    /// let mut message = Publication::new(TopicName::new("a").unwrap(), b"1");
    /// message.qos = Qos::AtLeastOnce;
    /// let token = session.publish(now, &message, &limits)?; // nobody is connected
    ///
    /// let connect = Connect {
    ///     version: Version::V311, clean_start: false, keep_alive: 60, properties: Properties::EMPTY,
    ///     client_id: Utf8::new("c").unwrap(), will: None, user_name: None, password: None,
    /// };
    /// let mut client = Connection::client(now, &connect, session)?;
    /// let (mut reader, mut out) = (client.reader(), OutBuf::with_limit(1000));
    /// let mut completed = None;
    /// for bytes in [[0x20, 2, 0, 0], [0x40, 2, 0, 1]] { // CONNACK, PUBACK
    ///     while client.poll_transmit(now, &mut out) == Transmit::Wrote {}
    ///     let mut input = client.read(now, &mut reader, &bytes);
    ///     while let Some(event) = input.next()? {
    ///         if let Event::Completed { token, .. } = event { completed = Some(token) }
    ///     }
    /// }
    /// assert_eq!(completed, Some(token));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish(
        &mut self,
        now: Instant,
        publication: &Publication<'_>,
        limits: &QueueLimits,
    ) -> Result<PublishToken, PublishError> {
        // What the next connection speaks is not known: 5.0 takes the most room.
        check(publication, Version::V5, |_| true)?;
        let delivery = Delivery::new(Message::new(now, publication), publication.qos, publication.retain);
        self.outbound.deliver(delivery, limits).map_err(|_| PublishError::Full)
    }
}

/// Whether a packet of `version` can hold `publication`, and the peer takes one of that size.
pub(crate) fn check(
    publication: &Publication<'_>,
    version: Version,
    fits: impl FnOnce(usize) -> bool,
) -> Result<(), PublishError> {
    let correlation = publication.properties.correlation_data().unwrap_or_default();
    let id = if publication.qos == Qos::AtMostOnce { 0 } else { 2 };
    let size = Outgoing::borrowed(publication, publication.retain, &[]).size(version);
    if u16::try_from(correlation.len()).is_err() || !size.is_some_and(|size| fits(size + id)) {
        return Err(PublishError::TooLarge);
    }
    Ok(())
}
