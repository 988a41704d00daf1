//! The checker: believes nothing, remembers everything. It is shown every request and every event
//! of every session, keeps a naive picture of what must be so, and names the rule that an event
//! breaks. What a crash may leave is a snapshot of that picture at a frame's end.
//!
//! The broker applies a batch before `submit` returns, so the picture is exact, but for deliveries
//! that were made and not yet seen: those of a session whose news wait for the journal. The queues
//! they may have come from are *foggy*; what depends on them is not judged until the fog lifts.

mod declare;
mod expiry;
mod observe;
mod refused;
mod requests;
mod settle;
mod transaction;

pub(crate) mod snapshot;

pub(crate) mod sessions;

pub(crate) mod queue;
pub(crate) mod topology;

use std::collections::BTreeMap;

use broker::operation::Acknowledgement;
use domain::name::Name;

use crate::message::Messages;
use crate::violation::{Violation, broken, demand};
use expiry::Dying;
use queue::{Entry, Known, Queue, QueueKey, Whereabouts};
use sessions::{Channel, Consumer, Session, Told};
use snapshot::Snapshot;
use topology::Topology;

/// A moment: one batch applied.
pub(crate) type Turn = u64;
/// The number of a session.
pub(crate) type SessionKey = u64;
/// The number of a channel; reopened, it is another.
pub(crate) type ChannelKey = u64;
/// The number of a consumer.
pub(crate) type ConsumerKey = u64;

/// A name; those of the simulation are short.
pub(crate) fn named(text: &str) -> Name {
    Name::new(text).unwrap_or_else(|_too_long| unreachable!("{text} is a short name"))
}

/// Everything that is known about one life of the broker.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    pub(crate) messages: Messages,
    pub(crate) turn: Turn,
    /// What the wall shows, in milliseconds since the run began.
    pub(crate) now_ms: u64,
    /// The journal has everything up to here.
    durable: Turn,
    /// The journal must have everything up to here before the request at hand is answered.
    safe: Turn,
    pub(crate) topology: Topology,
    /// When anything of it was last changed that the journal may have to have.
    topology_changed: Turn,
    /// When each durable thing, by description, was last made or removed.
    changed: BTreeMap<String, Turn>,
    pub(crate) queues: BTreeMap<QueueKey, Queue>,
    pub(crate) names: BTreeMap<String, QueueKey>,
    pub(crate) sessions: BTreeMap<SessionKey, Session>,
    pub(crate) channels: BTreeMap<ChannelKey, Channel>,
    pub(crate) consumers: BTreeMap<ConsumerKey, Consumer>,
    next_key: u64,
    /// Where each session's last delivery of this turn from each level of each queue stood. How
    /// levels take turns is for the rules' own tests.
    delivered: BTreeMap<(QueueKey, SessionKey, u8), u64>,
    /// What queues have given up and may not have become a letter yet.
    dying: Vec<Dying>,
    /// What this turn's gets said about how many messages are left.
    left: Vec<(QueueKey, u64)>,
    pub(crate) poisoned: bool,
    pub(crate) stopping: bool,
}

impl Checker {
    /// The picture after a restart that found `snapshot`, with the messages seen in it.
    pub(crate) fn restored(messages: Messages, snapshot: &Snapshot, now_ms: u64) -> Checker {
        let mut checker = Checker { messages, now_ms, ..Checker::default() };
        checker.topology = snapshot.topology.clone();
        let mut due = Vec::new();
        for (name, kept) in &snapshot.queues {
            let key = checker.key();
            let mut queue = Queue::new(name, kept.declaration.clone(), None);
            for message in &kept.messages {
                let redelivered = message.redelivered;
                let (whereabouts, there) = (Whereabouts::Ready, Known::Yes);
                queue.restore(Entry {
                    message: message.id,
                    level: message.level,
                    journaled: true,
                    whereabouts,
                    redelivered,
                    there,
                    deadline_ms: message.deadline_ms,
                    since: 0,
                    leaving: false,
                    perhaps_died: false,
                });
            }
            queue.enqueued = queue.enqueued.max(kept.enqueued);
            let is_due = queue.ready().filter(|(_, entry)| entry.is_due(now_ms));
            due.extend(is_due.map(|(place, _)| (key, place)));
            checker.names.insert(name.clone(), key);
            checker.queues.insert(key, queue);
        }
        for (key, place) in due {
            checker.give_up(key, place, "expired", Known::Yes);
        }
        checker
    }

    fn key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    /// A client came.
    pub(crate) fn connect(&mut self) -> SessionKey {
        let key = self.key();
        self.sessions.insert(key, Session::default());
        key
    }

    /// A batch is about to be submitted, or something else that makes the broker look at the clock.
    pub(crate) fn begin_turn(&mut self) {
        self.begin_quiet_turn();
        self.expire();
    }

    /// Something is about to happen that may make the broker deliver, and may not.
    pub(crate) fn begin_quiet_turn(&mut self) {
        self.turn += 1;
        self.delivered.clear();
        self.left.clear();
    }

    /// Everything the turn had to say has been seen.
    pub(crate) fn end_turn(&mut self) -> Result<(), Violation> {
        for ((queue, _, level), last) in &self.delivered {
            let Some(state) = self.clear_queue(*queue) else { continue };
            if state.is_mixed() || state.stirred == self.turn {
                continue;
            }
            for (place, entry) in state.ready() {
                demand!(
                    place > *last || entry.level != *level || !entry.stays(),
                    DeliveredInOrder,
                    "queue {} handed out place {last} while message {} at place {place} was ready",
                    state.name,
                    entry.message
                );
            }
        }
        for (queue, left) in &self.left {
            let Some(state) = self.clear_queue(*queue) else { continue };
            let (least, mut most) = state.ready_bounds();
            if state.is_mixed() {
                most += self.letters_to_come();
            }
            demand!(
                (least..=most).contains(left),
                Answered,
                "a get said that {left} messages are left in {}, it has {least} to {most}",
                state.name
            );
        }
        Ok(())
    }

    /// A queue that is there and about which everything is known.
    fn clear_queue(&self, queue: QueueKey) -> Option<&Queue> {
        let state = self.queues.get(&queue)?;
        (!state.deleted && !self.is_foggy(queue)).then_some(state)
    }

    /// Whether it is certain how many messages are ready in the queue of that name.
    pub(crate) fn knows_depth_of(&self, name: &str) -> bool {
        let queue = self.names.get(name).and_then(|key| self.clear_queue(*key));
        queue.is_some_and(|queue| {
            let (least, most) = queue.ready_bounds();
            least == most
        })
    }

    /// Whether messages of the queue may have been delivered unseen.
    fn is_foggy(&self, queue: QueueKey) -> bool {
        self.sessions.values().any(|session| session.held_queues.contains_key(&queue))
    }

    /// The news of a session may now be held back.
    fn hold(&mut self, session: SessionKey) {
        let consumed: Vec<(QueueKey, Acknowledgement)> = (self.consumers.values())
            .filter(|consumer| consumer.session == session)
            .map(|consumer| (consumer.queue, consumer.acknowledgement))
            .collect();
        if let Some(state) = self.sessions.get_mut(&session) {
            state.hold(self.turn, consumed);
        }
    }

    /// The journal has written everything up to `turn`, and all that waited for that has been seen.
    pub(crate) fn written(&mut self, turn: Turn) {
        self.durable = turn;
        for session in self.sessions.values_mut().filter(|session| session.is_told_by(turn)) {
            session.release();
        }
    }

    /// The journal is about to say that it has everything up to `turn`.
    pub(crate) fn writing(&mut self, turn: Turn) {
        self.durable = turn;
    }

    /// The journal can't be written any more: what waited for it is never told, and nothing that is
    /// asked from now on is done.
    pub(crate) fn poison(&mut self) {
        self.poisoned = true;
        for session in self.sessions.values_mut() {
            session.expected.retain(|expected| matches!(expected.told, Told::Ended));
            session.cancellations.clear();
        }
    }

    /// The session is gone without having seen its last news.
    pub(crate) fn vanish(&mut self, session: SessionKey) {
        let Some(state) = self.sessions.remove(&session) else { return };
        for (queue, settled_itself) in state.held_queues {
            let Some(queue) = self.queues.get_mut(&queue) else { continue };
            for entry in queue.entries.values_mut() {
                if entry.whereabouts == Whereabouts::Delivered {
                    continue;
                }
                if entry.redelivered == Known::No {
                    entry.redelivered = Known::Perhaps;
                }
                if settled_itself {
                    entry.there = Known::Perhaps;
                }
            }
        }
    }

    /// Nothing is left to do: nobody may wait for anything.
    pub(crate) fn idle(&self) -> Result<(), Violation> {
        for (key, session) in &self.sessions {
            if let Some(expected) = session.expected.front() {
                return broken!(NothingHangs, "session {key} waits for {:?}", expected.told);
            }
            demand!(
                session.cancellations.is_empty(),
                NothingHangs,
                "session {key} was not told of the end of {:?}",
                session.cancellations
            );
        }
        for channel in self.channels.values().filter(|channel| channel.open) {
            demand!(
                channel.confirmed == channel.published(),
                NothingHangs,
                "session {} channel {}: {} published, {} confirmed",
                channel.session,
                channel.number,
                channel.published(),
                channel.confirmed
            );
        }
        for queue in self.queues.values().filter(|queue| !queue.deleted) {
            self.nobody_hungers(queue)?;
        }
        Ok(())
    }

    /// Where a message is ready, no consumer has credit.
    fn nobody_hungers(&self, queue: &Queue) -> Result<(), Violation> {
        if queue.ready_bounds().0 == 0 {
            return Ok(());
        }
        for key in &queue.consumers {
            let Some(consumer) = self.consumers.get(key) else { continue };
            let Some(channel) = self.channels.get(&consumer.channel) else { continue };
            let full = |limit: u16, in_hand: usize| limit != 0 && in_hand >= usize::from(limit);
            let has_credit = consumer.acknowledgement == Acknowledgement::Automatic
                || !full(consumer.limit, channel.in_hand_of(*key))
                    && !full(channel.limit, channel.in_hand());
            demand!(
                !has_credit,
                NothingHangs,
                "queue {} has messages ready, and its consumer {} in session {} credit",
                queue.name,
                consumer.tag,
                consumer.session
            );
        }
        Ok(())
    }
}
