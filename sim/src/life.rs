//! One life of a broker: its process, its clients, and the checker that watches both. Whatever
//! happens to them happens through here, and is seen by the checker at once.

mod writing;

use std::collections::BTreeMap;
use std::sync::Arc;

use broker::operation::{ChannelId, Operation, Unroutable, Verb};
use broker::{Batch, Event, LargeMessage, MessageHead, Session};
use storage::SyncMode;
use storage::disk::{Faults, SimulatedDisk};

use crate::checker::snapshot::Snapshot;
use crate::checker::{Checker, SessionKey};
use crate::message::MessageId;
use crate::process::{Process, Woken};
use crate::trace::{Trace, describe};
use crate::violation::{Violation, broken, demand};
pub(crate) use writing::Loss;
use writing::{Begun, Occasion};

/// A broker and everybody around it.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) process: Process,
    pub(crate) checker: Checker,
    pub(crate) trace: Trace,
    clients: BTreeMap<SessionKey, Client>,
    sync: SyncMode,
    disk: SimulatedDisk,
    faults: Faults,
    /// What each frame written so far left; the first is what the life began with.
    frames: Vec<Snapshot>,
    /// What would be there if the frame that failed made it to the disk.
    torn: Option<Snapshot>,
    /// What is in the frame that waits for room on the disk.
    waiting: Option<Begun>,
    /// What is in the frame that the writer is at, while the disk takes its time.
    stalled: Option<Begun>,
}

/// A client's side of its session.
#[derive(Debug)]
struct Client {
    session: Session,
    woken: Arc<Woken>,
    pace: Pace,
    /// Events taken and not yet written to the client.
    unwritten_bytes: usize,
}

/// How a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// At once.
    Fast,
    /// When told to.
    Slow,
}

/// One thing that a batch asks for.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Operation(Operation),
    Publish { channel: ChannelId, unroutable: Unroutable, message: MessageId, size: Size },
}

/// How a message comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// In one piece.
    Small,
    /// In many reads.
    Large,
}

/// What is done in the background at one moment, and never more.
const STEPS_MAX: u32 = 20_000;

/// How long others wait for who is to be refused; on a full disk that may take for ever.
const REFUSAL_STEPS_MAX: u32 = 500;

/// After so many looks at what only looks whether there is something to do, there is nothing.
const QUIET_MAX: u32 = 100;

impl Life {
    pub(crate) fn begin(
        process: Process,
        checker: Checker,
        trace: Trace,
        sync: SyncMode,
        (disk, faults): (&SimulatedDisk, &Faults),
        start: Snapshot,
    ) -> Life {
        let (clients, frames) = (BTreeMap::new(), vec![start]);
        let (disk, faults) = (disk.clone(), faults.clone());
        Life {
            process,
            checker,
            trace,
            clients,
            sync,
            disk,
            faults,
            frames,
            torn: None,
            waiting: None,
            stalled: None,
        }
    }

    pub(crate) fn sessions(&self) -> Vec<SessionKey> {
        self.clients.keys().copied().collect()
    }

    /// A client comes; none does where the broker lets nobody in.
    pub(crate) fn connect(&mut self, pace: Pace) -> Result<Option<SessionKey>, Violation> {
        self.checker.begin_turn();
        let connected = self.process.connect();
        let refused = self.checker.poisoned || self.checker.stopping;
        demand!(
            connected.is_err() == refused,
            PoisonTold,
            "connecting should be refused: {refused}; {:?}",
            connected.err()
        );
        let Ok((session, woken)) = connected else { return Ok(None) };
        let key = self.checker.connect();
        self.trace.line(format!("session {key} comes, {pace:?}"));
        self.clients.insert(key, Client { session, woken, pace, unwritten_bytes: 0 });
        // What was due may have gone to somebody.
        self.see_and_write()?;
        Ok(Some(key))
    }

    /// Adds a request to a batch of the turn that has begun.
    pub(crate) fn ask(&mut self, session: SessionKey, batch: &mut Batch, request: &Request) {
        match request {
            Request::Operation(operation) => {
                self.trace.line(format!("session {session} asks {operation:?}"));
                self.checker.operation(session, operation);
                batch.push(operation.clone());
            }
            Request::Publish { channel, unroutable, message, size } => {
                let Some(content) = self.checker.messages.content(*message).cloned() else {
                    return;
                };
                self.trace.line(format!(
                    "session {session} publishes {message} on {channel} to {:?} {:?}, \
                     {:?} {:?} {unroutable:?} {size:?}",
                    content.exchange,
                    content.keys().map(String::from_utf8_lossy).collect::<Vec<_>>(),
                    content.persistence,
                    content.expiration_ms,
                ));
                self.checker.publish(session, *channel, *unroutable, *message);
                let (properties, body) = (content.properties(*message), content.body(*message));
                let head = MessageHead {
                    persistence: content.persistence,
                    exchange: content.exchange.as_str(),
                    routing_key: &content.routing_key,
                    properties: &properties,
                    priority: content.priority,
                    expiration_ms: content.expiration_ms,
                    ..MessageHead::default()
                };
                match size {
                    Size::Small => {
                        let also = content.also.clone();
                        batch.publish_also(*channel, *unroutable, &head, &body, also);
                    }
                    Size::Large => {
                        let mut large = LargeMessage::begin(&head, content.body_bytes)
                            .also(content.also.clone());
                        body.chunks(10_000).for_each(|piece| {
                            large.body(piece);
                        });
                        batch.publish_large(*channel, *unroutable, large);
                    }
                }
            }
        }
    }

    /// Hands a batch over.
    pub(crate) fn submit(
        &mut self,
        session: SessionKey,
        mut batch: Batch,
    ) -> Result<(), Violation> {
        if let Some(client) = self.clients.get_mut(&session) {
            client.session.submit(&mut batch);
        }
        self.see_and_write()?;
        self.await_refusals()
    }

    /// Hands these requests over as one batch.
    pub(crate) fn request(
        &mut self,
        session: SessionKey,
        requests: &[Request],
    ) -> Result<(), Violation> {
        self.checker.begin_turn();
        let mut batch = Batch::default();
        for request in requests {
            self.ask(session, &mut batch, request);
        }
        self.submit(session, batch)
    }

    /// The connection breaks: nobody reads what the session is told any more.
    pub(crate) fn drop_session(&mut self, session: SessionKey) -> Result<(), Violation> {
        self.trace.line(format!("session {session} is lost"));
        self.checker.begin_turn();
        self.checker.operation(session, &Operation::End);
        self.checker.vanish(session);
        self.clients.remove(&session);
        self.see_and_write()?;
        self.await_refusals()
    }

    /// Whoever waited for a message of a queue that is no more hears so before others act: what its
    /// channel gives back then, and when, the checker can't know.
    fn await_refusals(&mut self) -> Result<(), Violation> {
        for _ in 0..REFUSAL_STEPS_MAX {
            if self.checker.poisoned || !self.checker.is_a_refusal_underway() {
                break;
            }
            if !self.background(0)? {
                self.pass(5);
                self.step()?;
            }
        }
        Ok(())
    }

    /// A session that has ended needs no client any more.
    fn forget_ended(&mut self) {
        let ended: Vec<SessionKey> = (self.checker.sessions.iter())
            .filter(|(_, session)| session.ended && session.held.is_none())
            .map(|(key, _)| *key)
            .collect();
        for key in ended {
            self.clients.remove(&key);
            self.checker.vanish(key);
        }
    }

    /// Shows the checker everything that was told.
    fn see(&mut self) -> Result<(), Violation> {
        if !self.process.has_background() {
            self.checker.bury();
        }
        let mut told = Vec::new();
        for (key, client) in &mut self.clients {
            let mut events = Vec::new();
            client.session.take(&mut events);
            let woken = client.woken.take();
            demand!(events.is_empty() || woken, Woken, "session {key} sleeps through {events:?}");
            told.push((*key, events));
        }
        // A get that waited for the disk may be refused in the end; what its channel held goes to
        // somebody else in the same turn.
        let is_late = |event: &Event| matches!(event, Event::Refused { verb: Verb::Get, .. });
        told.sort_by_key(|(_, events)| !events.iter().any(is_late));
        for (key, events) in told {
            for event in events {
                self.trace.line(format!("session {key} hears {}", describe(&event)));
                if let Some(client) = self.clients.get_mut(&key) {
                    client.unwritten_bytes += event.cost_bytes();
                }
                self.checker.event(key, &event)?;
            }
        }
        self.checker.end_turn()
    }

    /// The same, and fast clients write what they took, which may bring more.
    fn see_and_write(&mut self) -> Result<(), Violation> {
        self.see()?;
        while self.write(Pace::Fast)? {}
        self.forget_ended();
        Ok(())
    }

    /// Clients of that pace write what they took; says whether any did.
    fn write(&mut self, pace: Pace) -> Result<bool, Violation> {
        let waiting: Vec<SessionKey> = (self.clients.iter())
            .filter(|(_, client)| client.pace == pace && client.unwritten_bytes > 0)
            .map(|(key, _)| *key)
            .collect();
        for key in &waiting {
            self.checker.begin_quiet_turn();
            if let Some(client) = self.clients.get_mut(key) {
                let bytes = std::mem::take(&mut client.unwritten_bytes);
                client.session.written(bytes);
            }
            self.see()?;
        }
        Ok(!waiting.is_empty())
    }

    /// Slow clients write what they took.
    pub(crate) fn write_slow(&mut self) -> Result<(), Violation> {
        self.trace.line("slow clients write".to_owned());
        self.write(Pace::Slow)?;
        self.see_and_write()
    }

    /// There is so much room on the disk from now on.
    pub(crate) fn limit_room(&mut self, capacity_bytes: Option<u64>) {
        self.trace.line(format!("the disk holds {capacity_bytes:?} bytes"));
        self.faults.capacity_bytes = capacity_bytes;
        self.disk.set_faults(self.faults.clone());
    }

    /// Whether the room on the disk is limited.
    pub(crate) fn has_limited_room(&self) -> bool {
        self.faults.capacity_bytes.is_some()
    }

    /// Everything that can be done is done, with as much room on the disk as it takes; then nobody
    /// may wait for anything.
    pub(crate) fn settle(&mut self) -> Result<(), Violation> {
        if self.has_limited_room() {
            self.limit_room(None);
        }
        self.trace.line("everything settles".to_owned());
        let mut quiet = 0;
        while quiet < QUIET_MAX {
            let (mut steps, mut any) = (0, false);
            while self.background(0)? {
                steps += 1;
                demand!(steps < STEPS_MAX, NothingHangs, "the background never comes to rest");
            }
            self.pass(50);
            any |= self.step()?;
            any |= self.write(Pace::Slow)?;
            if self.checker.poisoned {
                return Ok(());
            }
            quiet = if any || self.process.is_stalled() {
                0
            } else if steps == 0 && !self.has_background() {
                QUIET_MAX
            } else {
                // What took its time may go on by now.
                quiet + 1
            };
        }
        self.checker.written(self.checker.turn);
        let full = self.process.broker.is_disk_full();
        demand!(!full, NothingHangs, "publishers are blocked for want of room, and there is room");
        for (key, client) in &self.clients {
            demand!(client.session.has_room(), NothingHangs, "session {key} has no room");
        }
        self.checker.idle()
    }

    /// Whether anything could be done in the background.
    pub(crate) fn has_background(&self) -> bool {
        self.process.has_background()
    }

    /// Something in the background moves, by `choice`; says whether there was anything.
    pub(crate) fn background(&mut self, choice: u64) -> Result<bool, Violation> {
        self.checker.begin_quiet_turn();
        let any = self.process.run_background(choice);
        if !self.checker.poisoned && self.disk_fails() && self.process.is_poisoned() {
            self.trace.line("the background fails".to_owned());
            self.last_frame()?;
            let stepped = self.process.broker.step();
            demand!(stepped.is_err(), PoisonTold, "the writer goes on: {stepped:?}");
            self.checker.poison();
            self.gives_up()?;
        }
        self.see_and_write()?;
        Ok(any)
    }

    /// Time passes.
    pub(crate) fn advance(&mut self, ms: u64) {
        self.trace.line(format!("{ms} ms pass"));
        self.pass(ms);
    }

    fn pass(&mut self, ms: u64) {
        self.process.clock.advance_ms(ms);
        self.checker.pass(ms);
    }

    /// A clean stop: sessions are told and go, everything is written.
    pub(crate) fn stop(&mut self) -> Result<(), Violation> {
        self.trace.line("the broker stops".to_owned());
        self.end_stalls()?;
        self.checker.begin_turn();
        self.checker.stopping = true;
        self.process.broker.close();
        self.see_and_write()?;
        demand!(self.connect(Pace::Fast)?.is_none(), OverIsOver, "a stopping broker lets in");
        for key in self.sessions() {
            while self.is_waiting(key) && (self.background(0)? || self.step()?) {}
            if !self.is_ending(key) {
                self.request(key, &[Request::Operation(Operation::End)])?;
            }
        }
        // What a session was told last may wait for the journal.
        while self.step()? {}
        for key in self.sessions() {
            self.drop_session(key)?;
        }
        self.checker.begin_turn();
        let before = self.checker.snapshot();
        let finished = self.process.broker.finish();
        self.trace.line(format!("finished: {finished:?}"));
        match finished {
            Ok(()) if self.checker.poisoned => broken!(PoisonTold, "a poisoned broker finishes"),
            Ok(()) => self.written(Occasion::Stop, None),
            Err(_poison) => self.failed(before),
        }
    }

    /// Whether the session waits for a message: what it asks for meanwhile is not heard before it is
    /// read from the disk.
    pub(crate) fn is_waiting(&self, session: SessionKey) -> bool {
        self.checker
            .sessions
            .get(&session)
            .is_some_and(|session| session.expected.iter().any(|expected| expected.got().is_some()))
    }

    /// Whether the session has asked for its end.
    pub(crate) fn is_ending(&self, session: SessionKey) -> bool {
        self.checker.sessions.get(&session).is_none_or(|session| session.end_asked)
    }

    /// Whether the session may send more.
    pub(crate) fn has_room(&self, session: SessionKey) -> bool {
        self.clients.get(&session).is_some_and(|client| client.session.has_room())
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.checker.poisoned
    }
}
