//! Taking messages out of the middle of a queue, by their ids: to drop them, or to put them into another
//! queue. Only what is ready is taken; whatever somebody holds stays his.

use bytes::Bytes;
use domain::dead_letter::Author;
use domain::name::Name;
use domain::refusal::Refusal;

use crate::chunk::{Chunk, ChunkBuilder, Message, MessageHead, Persistence};
use crate::message_id::MessageId;

/// Messages to be taken out of a queue.
#[derive(Clone, Debug)]
pub struct Removal {
    /// Comes back in the answer.
    pub ticket: u64,
    /// The queue they are in.
    pub queue: Name,
    /// Which they are.
    pub(crate) ids: Vec<MessageId>,
    /// What becomes of them.
    pub(crate) fate: Fate,
}

/// What becomes of messages that are taken out.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    Dropped,
    /// Each goes to a queue; copies of them lie here, in the same order.
    Moved {
        to: Name,
        copies: Chunk,
    },
}

/// The answer to a [`Removal`]; what it says is on disk.
#[derive(Clone, Debug)]
pub struct RemovalAnswer {
    /// Which question.
    pub ticket: u64,
    /// What came of it.
    pub outcome: Result<Removed, Refusal>,
}

/// How many messages were taken out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Those that were.
    pub removed: u64,
    /// Those that are not there, or not ready, any more.
    pub gone: u64,
    /// Those that the other queue has no room for: they stay.
    pub refused: u64,
}

impl Removal {
    /// Drops messages of a queue.
    pub fn drop(ticket: u64, queue: Name, ids: Vec<MessageId>) -> Removal {
        Removal { ticket, queue, ids, fate: Fate::Dropped }
    }

    /// Asks whether messages of a queue may be taken out: dropped, or moved to another one.
    pub fn of_nothing(ticket: u64, queue: Name, to: Option<Name>) -> Removal {
        let moved = |to| Fate::Moved { to, copies: Chunk::default() };
        let fate = to.map_or(Fate::Dropped, moved);
        Removal { ticket, queue, ids: Vec::new(), fate }
    }
}

/// Messages that are to go to another queue, gathered.
#[derive(Debug, Default)]
pub struct Moving {
    piles: [Pile; 4],
    bytes: usize,
}

/// Messages that may lie side by side.
#[derive(Debug, Default)]
struct Pile {
    ids: Vec<MessageId>,
    builder: ChunkBuilder,
}

impl Moving {
    /// Adds a message as it is.
    pub fn add(&mut self, id: MessageId, message: &Message<'_>) {
        let pile = match (message.persistence, message.author) {
            (Persistence::Persistent, Author::Publisher) => 0,
            (Persistence::Persistent, Author::Broker) => 1,
            (Persistence::Transient, Author::Publisher) => 2,
            (Persistence::Transient, Author::Broker) => 3,
        };
        let Some(pile) = self.piles.get_mut(pile) else { return };
        let head = MessageHead {
            persistence: message.persistence,
            exchange: message.exchange,
            routing_key: message.routing_key,
            properties: message.properties,
            author: message.author,
            ..MessageHead::default()
        };
        pile.ids.push(id);
        let before = pile.builder.len_bytes();
        pile.builder.message(&head, u32::try_from(message.body.len()).unwrap_or(u32::MAX));
        pile.builder.body(message.body);
        pile.builder.end();
        self.bytes += pile.builder.len_bytes() - before;
    }

    /// What they take, in bytes.
    pub fn len_bytes(&self) -> usize {
        self.bytes
    }

    /// What moves them, each with a ticket of its own from 0 on. A message keeps its
    /// place among those of its kind, persistent or not.
    pub fn into_removals(self, queue: &Name, to: &Name) -> Vec<Removal> {
        let piles = self.piles.into_iter().filter(|pile| !pile.ids.is_empty());
        let moved = piles.zip(0..).map(|(pile, ticket)| {
            let fate = Fate::Moved { to: to.clone(), copies: pile.builder.finish() };
            Removal { ticket, queue: queue.clone(), ids: pile.ids, fate }
        });
        moved.collect()
    }
}

impl Removal {
    /// The bytes that it brings along.
    pub(crate) fn cost_bytes(&self) -> usize {
        let copies = match &self.fate {
            Fate::Dropped => 0,
            Fate::Moved { copies, .. } => Bytes::len(copies.bytes()),
        };
        copies + self.ids.len() * size_of::<MessageId>()
    }
}
