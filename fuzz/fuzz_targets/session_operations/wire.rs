//! What is between the two ends: bytes that one writes, and the other hears.
use crate::*;

impl Pair {
    /// Lets one end write, and a part of what it wrote arrive.
    pub(crate) fn transfer(&mut self, from: Role, most: usize) {
        self.write(from);
        let (sender, _) = self.ends(from);
        let bytes: Vec<u8> = sender.wire.drain(..sender.wire.len().min(most)).collect();
        let done = sender.wire.is_empty()
            && sender.connection.as_ref().is_some_and(|connection| connection.state() == State::Closing);
        let heard = self.hear(from, &bytes);
        // whoever has said goodbye closes once it is on its way; whoever has heard it closes at once
        if done || !heard {
            self.cut();
        }
    }

    /// Writes all that an end has to say.
    pub(crate) fn write(&mut self, from: Role) {
        let (now, mut fills) = (self.now, std::mem::take(&mut self.fills));
        let mut out = OutBuf::with_limit(1 << 20);
        let (end, _) = self.ends(from);
        let Some(connection) = &mut end.connection else { return };
        for round in 0.. {
            assert!(round < FOREVER, "an end that never stops writing");
            match connection.poll_transmit(now, &mut out) {
                Transmit::Wrote => {}
                Transmit::Full | Transmit::Empty => break,
                Transmit::Place(place) if fills > 0 => {
                    fills -= 1;
                    let publication = Publication::new(TopicName::new("a").unwrap(), &[]);
                    connection.fill_place(place, Delivery::new(Message::new(now, &publication), QOS[fills % 3], true));
                }
                Transmit::Place(place) => connection.close_place(place),
            }
        }
        while !out.is_empty() {
            let len = out.chunk().len();
            end.wire.extend_from_slice(out.chunk());
            out.advance(len);
        }
        self.fills = fills;
    }

    /// One end hears what the other wrote; `false` if it wants to hear no more.
    pub(crate) fn hear(&mut self, from: Role, mut bytes: &[u8]) -> bool {
        let (now, spoiled) = (self.now, self.spoiled);
        loop {
            let (sender, end) = self.ends(from);
            let (Some(connection), Some(reader)) = (&mut end.connection, &mut end.reader) else { return false };
            let (mut goes_on, mut asked) = (true, false);
            let mut input = connection.read(now, reader, bytes);
            loop {
                match input.next() {
                    Ok(None) => break,
                    Ok(Some(Event::Connect(_))) => {}
                    Ok(Some(Event::Auth(auth))) => asked = auth.reason != ReasonCode::SUCCESS,
                    Ok(Some(Event::Refused(_) | Event::Disconnect(_))) => goes_on = false,
                    Ok(Some(Event::Publish(received, token))) => {
                        let number = number(received.payload);
                        assert!(spoiled || number.is_some() || received.payload.is_empty());
                        let sent = number.and_then(|number| sender.sent.get(&number));
                        let is_its = |sent: &Sent| received.topic.as_name().as_bytes() == TOPICS[sent.topic].as_bytes();
                        assert!(spoiled || sent.is_none_or(is_its), "an alias stands for another topic");
                        if token.is_awaited() {
                            end.waiting.push((token, number));
                        } else if let Some(sent) = number.and_then(|number| sender.sent.get_mut(&number)) {
                            sent.accepted += 1;
                        }
                    }
                    Ok(Some(Event::Released(token))) => end.waiting.push((token, None)),
                    Ok(Some(Event::Subscribe(subscribe, token))) => {
                        end.asked.push(Asked::Subscribe(token, subscribe.subscriptions.iter().count()));
                    }
                    Ok(Some(Event::Unsubscribe(unsubscribe, token))) => {
                        end.asked.push(Asked::Unsubscribe(token, unsubscribe.filters.iter().count()));
                    }
                    Ok(Some(_)) => {}
                    Err(error) => {
                        assert!(spoiled, "{from:?} is accused: {error:?}");
                        goes_on = false;
                        break;
                    }
                }
            }
            drop(input);
            if asked && from == Role::Server {
                let _ = connection.answer_challenge(now, Some(b"proof"), &[]);
            }
            if connection.state() != State::Deciding {
                self.owes_auth |= asked && from == Role::Client;
                return goes_on;
            }
            self.decide();
            bytes = &[];
        }
    }

    /// The server's host lets the client in, or not.
    pub(crate) fn decide(&mut self) {
        let Some(server) = &mut self.server.connection else { return };
        if std::mem::take(&mut self.rejects) {
            return server.reject(self.now, ReasonCode::SERVER_BUSY, &[]);
        }
        if self.challenges > 0 {
            self.challenges -= 1;
            server.challenge(self.now, Some(b"prove it"), &[]).unwrap();
            return;
        }
        let accept = Accept { session_present: self.server_has_session, ..Accept::default() };
        let session = self.server.session.take().unwrap_or_default();
        server.accept(self.now, session, &self.config, &accept);
        self.server_has_session = true;
    }
}
