//! A queue as its clients can know it: which messages are in it, in which order, where each of them
//! is, and how sure that is.

use std::collections::BTreeMap;

use broker::Persistence;
use domain::queue::QueueDeclaration;
use domain::queue::settings::QueueSettings;

use crate::checker::{ConsumerKey, SessionKey, Turn};
use crate::message::{Content, MessageId};
use crate::vocabulary::DEAD;

/// The number of a queue; a deleted one and its namesake are two.
pub(crate) type QueueKey = u64;

/// Something that need not be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    No,
    Yes,
    Perhaps,
}

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// In the queue.
    Ready,
    /// With a consumer.
    Delivered,
}

/// One message in one queue.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) message: MessageId,
    /// Higher ones go first.
    pub(crate) level: u8,
    /// Whether it survives a restart.
    pub(crate) journaled: bool,
    pub(crate) whereabouts: Whereabouts,
    /// Whether the next delivery must be marked.
    pub(crate) redelivered: Known,
    /// Whether it is there at all: a session that is gone may have taken it unseen.
    pub(crate) there: Known,
    /// When it goes unread.
    pub(crate) deadline_ms: Option<u64>,
    /// When it came.
    pub(crate) since: Turn,
    /// It is due, and goes if nobody has it.
    pub(crate) leaving: bool,
    /// Its dead letter may be there already, or may have gone.
    pub(crate) perhaps_died: bool,
}

/// Places of one level lie together, those of the next lower one behind them.
const LEVEL_PLACES: u64 = 1 << 40;

impl Entry {
    /// Whether it is there for sure.
    pub(crate) fn stays(&self) -> bool {
        self.there == Known::Yes && !self.leaving
    }

    pub(crate) fn is_due(&self, now_ms: u64) -> bool {
        self.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms)
    }
}

/// One queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    pub(crate) name: String,
    pub(crate) declaration: QueueDeclaration,
    pub(crate) settings: QueueSettings,
    pub(crate) owner: Option<SessionKey>,
    /// In the order in which they are handed out.
    pub(crate) entries: BTreeMap<u64, Entry>,
    by_message: BTreeMap<MessageId, u64>,
    /// Messages it ever took.
    pub(crate) enqueued: u64,
    pub(crate) consumers: Vec<ConsumerKey>,
    pub(crate) has_exclusive: bool,
    /// When it last took a message that may not wait: then it delivers before the turn is over, and
    /// what returns in that turn comes behind.
    pub(crate) stirred: Turn,
    /// Whether it ever had a consumer.
    pub(crate) used: bool,
    pub(crate) deleted: bool,
}

impl Queue {
    pub(crate) fn new(
        name: &str,
        declaration: QueueDeclaration,
        owner: Option<SessionKey>,
    ) -> Queue {
        Queue {
            name: name.to_owned(),
            settings: QueueSettings::of(&declaration.arguments),
            declaration,
            owner,
            entries: BTreeMap::new(),
            by_message: BTreeMap::new(),
            enqueued: 0,
            consumers: Vec::new(),
            has_exclusive: false,
            stirred: 0,
            used: false,
            deleted: false,
        }
    }

    /// Whether dead letters come into it, whose order is nobody's promise.
    pub(crate) fn is_mixed(&self) -> bool {
        self.name == DEAD
    }

    /// Whether the queue survives a restart.
    pub(crate) fn is_durable(&self) -> bool {
        self.declaration.durable && !self.declaration.exclusive
    }

    /// A message comes; says whether it survives a restart.
    pub(crate) fn enqueue(
        &mut self,
        message: MessageId,
        content: &Content,
        (since, now_ms): (Turn, u64),
    ) -> bool {
        let journaled = self.is_durable() && content.persistence == Persistence::Persistent;
        let ttl_ms = match (self.settings.message_ttl_ms, content.expiration_ms) {
            (Some(queue), Some(message)) => Some(queue.min(message)),
            (one, other) => one.or(other),
        };
        if ttl_ms == Some(0) {
            self.stirred = since;
        }
        let level = content.priority.unwrap_or(0).min(self.settings.priority_max.unwrap_or(0));
        self.restore(Entry {
            message,
            level,
            journaled,
            whereabouts: Whereabouts::Ready,
            redelivered: Known::No,
            // What may not wait at all goes to whoever can take it now.
            leaving: ttl_ms == Some(0),
            perhaps_died: false,
            there: Known::Yes,
            deadline_ms: ttl_ms.map(|ttl_ms| now_ms + ttl_ms),
            since,
        });
        journaled
    }

    pub(crate) fn restore(&mut self, entry: Entry) {
        let place = u64::from(u8::MAX - entry.level) * LEVEL_PLACES + self.enqueued;
        self.by_message.insert(entry.message, place);
        self.entries.insert(place, entry);
        self.enqueued += 1;
    }

    pub(crate) fn place(&self, message: MessageId) -> Option<u64> {
        self.by_message.get(&message).copied()
    }

    /// A message leaves.
    pub(crate) fn remove(&mut self, place: u64) {
        if let Some(entry) = self.entries.remove(&place) {
            self.by_message.remove(&entry.message);
        }
    }

    /// A delivered message returns to its place.
    pub(crate) fn requeue(&mut self, place: u64, now_ms: u64) {
        if let Some(entry) = self.entries.get_mut(&place) {
            entry.leaving = entry.is_due(now_ms);
            entry.whereabouts = Whereabouts::Ready;
            entry.redelivered = Known::Yes;
        }
    }

    /// The ready messages; with those that may have gone unseen.
    pub(crate) fn ready(&self) -> impl Iterator<Item = (u64, &Entry)> {
        self.entries
            .iter()
            .filter(|(_, entry)| entry.whereabouts == Whereabouts::Ready)
            .map(|(place, entry)| (*place, entry))
    }

    /// How many are ready, at least and at most.
    pub(crate) fn ready_bounds(&self) -> (u64, u64) {
        let least = self.ready().filter(|(_, entry)| entry.stays()).count();
        (least as u64, self.ready().count() as u64)
    }

    /// Drops the ready messages; where it is not known which are, all are in doubt.
    pub(crate) fn purge(&mut self, surely: Known) {
        if surely == Known::Yes {
            let ready: Vec<u64> = self.ready().map(|(place, _)| place).collect();
            for place in ready {
                self.remove(place);
            }
        } else {
            for entry in self.entries.values_mut() {
                if entry.whereabouts == Whereabouts::Ready {
                    entry.there = Known::Perhaps;
                }
            }
        }
    }
}
