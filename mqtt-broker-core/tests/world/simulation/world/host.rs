//! The host of the broker under test: its transports, its turns, its store and how the process dies.
use super::*;

impl World {
    // --- transports ------------------------------------------------------------------------------------------------

    /// Whether the broker has it now; else it may never get there.
    pub(super) fn send(&mut self, slot: usize, bytes: &[u8]) -> bool {
        let now = self.now;
        let link = self.link(slot);
        link.spoke = now;
        if !link.reading || !link.wire.is_empty() {
            link.wire.extend_from_slice(bytes);
            return false;
        }
        let id = link.id;
        if super::super::tells() {
            println!(
                "{:>9} from c{} ({slot}): {:02x?}",
                self.now - START,
                self.link(slot).who,
                &bytes[..bytes.len().min(24)]
            );
        }
        self.note_bytes(slot, bytes);
        self.broker.handle_input(self.at(), id, bytes);
        self.note();
        // whoever is paused by a decision or a rate has what comes behind it lying there unread
        let name = self.links[slot].as_ref().and_then(|link| self.names.get(link.who));
        let pauses = |about: &About| match about {
            About::Message(message) => !message.is_will && message.from.as_ref() == name,
            About::Gone => false,
            About::Other => true,
        };
        self.shape.rate.is_none() && !self.broker.policy().waiting.iter().any(|(_, about)| pauses(about))
    }

    /// The transport fails.
    pub(super) fn cut(&mut self, slot: usize) {
        let Some(link) = self.links[slot].take() else { return };
        let client = &mut self.clients[link.who];
        if client.link == Some(slot) {
            client.link = None;
        }
        self.broker.handle_closed(self.at(), link.id);
        self.note_of(Some(&link));
    }

    /// One turn of the host's loop, until nothing is left to do.
    pub(super) fn turn(&mut self) {
        for turns in 0.. {
            assert!(turns < FOREVER, "the broker keeps its host busy for nothing");
            self.note();
            if let Some(ready) = self.broker.poll_ready() {
                let slot = self.links.iter().position(|link| link.as_ref().is_some_and(|link| link.id == ready.id));
                let slot = slot.expect("only an open connection is ready");
                let link = self.link(slot);
                link.reading = ready.read == Read::Read;
                link.was_paused |= ready.read == Read::Pause;
                if ready.transmit || ready.read == Read::Close {
                    self.flush(slot);
                }
                if ready.read == Read::Close {
                    self.cut(slot);
                } else {
                    self.read(slot);
                }
                continue;
            }
            let eager = |link: &Link| !link.plan.lazy && link.connected && !link.answers.is_empty();
            match self.links.iter().position(|link| link.as_ref().is_some_and(eager)) {
                Some(slot) => self.answer(slot, 1),
                None if self.keep() => {}
                None => return,
            }
        }
    }

    // --- the store -------------------------------------------------------------------------------------------------

    /// Writes what the broker gives out, and makes it durable unless the host holds that back; whether there was something.
    pub(super) fn keep(&mut self) -> bool {
        let mut batch = Vec::new();
        let Some(ticket) = self.broker.poll_store(self.epoch(), &mut batch) else { return false };
        self.note();
        self.host.batches += 1;
        self.host.stood.push_back((self.host.batches, self.reference.clone()));
        let count = self.host.batches.to_le_bytes();
        let action = StoreAction::Put(StoreRecord::Bytes(count[..].into()));
        batch.push(StoreOp { key: StoreKey::new(Table::Sessions, BATCHES), action });
        self.host.store.borrow_mut().write(&batch, self.epoch()).expect("there is room");
        self.host.waiting = Some(ticket);
        if !self.host.holds {
            self.sync();
        }
        true
    }

    pub(super) fn sync(&mut self) {
        self.host.store.borrow_mut().sync().expect("it can");
        let last = self.host.batches;
        self.host.stood.retain(|(batch, _)| *batch == last);
        if let Some(ticket) = self.host.waiting.take() {
            self.host.synced = self.now;
            self.broker.stored(self.at(), ticket);
            self.note();
        }
    }

    /// The process dies, and the next begins with what is left of its store.
    pub(super) fn crash(&mut self, how: Loss, at: usize) {
        match self.shape.durability {
            Durability::None => return,
            Durability::Buffered => {
                self.host.store.borrow_mut().sync().expect("it can");
                let last = self.host.batches;
                self.host.stood.retain(|(batch, _)| *batch == last);
            }
            _ => {}
        }
        self.played.crashes += 1;
        let store = self.host.store.borrow().clone();
        let (frames, bytes) = (store.unsynced() + 1, store.unsynced_bytes() + 1);
        let mut store = store.crash(match how {
            Loss::Tail => StoreFault::LoseTail,
            Loss::Tear => StoreFault::Tear(at % bytes),
            Loss::Drop => StoreFault::Drop(at % frames),
            Loss::Reorder => StoreFault::Reorder(at as u64),
            Loss::Flip => StoreFault::Flip(at % bytes),
        });
        let mut left = 0;
        let key = StoreKey::new(Table::Sessions, BATCHES);
        let each = &mut |record: &[u8]| left = record.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        store.load(&key, each).expect("it can be read");
        let stood = self.host.stood.iter().find(|(batch, _)| *batch == left);
        let (_, stood) = stood.expect("a store loses nothing that is durable").clone();
        let mut reference = stood.clone();
        reference.begin_anew(self.now, &self.reference, &self.known);
        self.reference = reference;
        self.links.clear();
        for client in &mut self.clients {
            client.link = None;
            // what came at QoS 1 before it was stored may come under another identifier, and that one with something else
            for taken in &mut client.unfinished {
                taken.answered |= taken.qos == Qos::AtLeastOnce;
                taken.known = false;
                // that it was taken back may not be stored: it is judged by what holds when its client comes
                taken.revoked = false;
            }
        }
        let was = self.broker.policy_mut();
        let asked = std::mem::take(&mut was.asked);
        let (revoked, connect, publish, subscribe) =
            (was.revoked, was.defers_connect, was.defers_publish, was.defers_subscribe);
        let store = Rc::new(RefCell::new(store));
        self.broker = broker(&self.shape, Rc::clone(&store));
        let keeper = self.broker.policy_mut();
        (keeper.asked, keeper.zero) = (asked, self.now);
        self.zero = self.now;
        (keeper.revoked, keeper.defers_connect) = (revoked, connect);
        (keeper.defers_publish, keeper.defers_subscribe) = (publish, subscribe);
        self.host = Host {
            store: Rc::clone(&store),
            holds: self.host.holds,
            synced: self.now,
            waiting: None,
            // the beginning of this process is not stored either
            stood: VecDeque::from([(left, stood)]),
            batches: left,
        };
        let (now, epoch) = (self.at(), self.epoch());
        let unrestored = restore(&mut self.broker, &mut *store.borrow_mut(), now, epoch).expect("it can be read");
        assert!(unrestored.is_empty(), "{unrestored:?}");
        if revoked {
            // that a right was taken away may not have been stored
            self.revoke(true);
        }
        self.note();
    }

    /// Reads what waits in a transport, if the host may.
    pub(super) fn read(&mut self, slot: usize) {
        let Some(link) = &mut self.links[slot] else { return };
        if link.reading && !link.wire.is_empty() {
            let (id, bytes) = (link.id, std::mem::take(&mut link.wire));
            self.note_bytes(slot, &bytes);
            self.broker.handle_input(self.at(), id, &bytes);
            self.note();
        }
    }

    /// Sends what the socket takes.
    pub(super) fn flush(&mut self, slot: usize) {
        for round in 0.. {
            assert!(round < FOREVER, "the broker never stops writing");
            let now = self.at();
            let Some(link) = &mut self.links[slot] else { return };
            self.broker.poll_transmit(now, link.id, &mut link.out);
            let len = link.out.chunk().len().min(link.takes.unwrap_or(usize::MAX));
            let bytes = link.out.chunk()[..len].to_vec();
            link.out.advance(len);
            if let Some(takes) = &mut link.takes {
                *takes -= len;
            }
            self.note();
            if len == 0 {
                return;
            }
            self.note_bytes(slot, &bytes);
            self.hear(slot, &bytes);
        }
    }
}
