//! A session in its virtual host: its channels, its exclusive queues, and what it is to be told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use domain::binding::QueueId;
use domain::credit::Credit;
use domain::name::Name;
use domain::queue::consumers::ConsumerId;
use domain::run::Sequence;
use storage::Position;

use super::Map;
use super::chunks::BatchChunk;
use super::leases::WaiterId;
use super::tallies::Tallies;
use crate::channel_limits::{ChannelPlace, UserChannels};
use crate::chunk::Chunk;
use crate::connections::Connection;
use crate::event::Event;
use crate::operation::{ChannelId, FurtherKeys, Operation, Outcome, PublishRun, SessionTraits};
use crate::outbox::Outbox;
use crate::permissions::Access;
use crate::session_id::SessionId;
use crate::views::counts::{MessageCounts, Tally};

/// As whom a client comes.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// Who is at the other end; `None`: nobody who is connected for long.
    pub(crate) connection: Option<Arc<Connection>>,
    /// Where its channels are counted; `None`: nowhere, for nobody is connected.
    pub(crate) channels: Option<Arc<UserChannels>>,
}

/// What of a session's news waits for the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Gate {
    /// Nothing.
    #[default]
    Open,
    /// What this turn tells, and so whatever comes behind it: an answer to a change is among it.
    News,
    /// Whatever comes, even if this turn tells nothing: confirms that are to come before do.
    Successors,
}

/// One client.
#[derive(Debug)]
pub(crate) struct SessionState {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) connection: Option<Arc<Connection>>,
    pub(crate) user_channels: Option<Arc<UserChannels>>,
    /// What the user may do here.
    pub(crate) access: Arc<Access>,
    /// Exchanges that it was found to be allowed to publish to.
    pub(crate) granted: Vec<Name>,
    pub(crate) channels: Map<ChannelId, Channel>,
    pub(crate) exclusive_queues: Vec<QueueId>,
    /// Memory that its open transactions hold.
    pub(crate) transactions_bytes: usize,
    /// To be told when the turn is finished.
    pub(crate) events: Vec<Event>,
    /// What the deliveries among `events` cost.
    pub(crate) events_bytes: usize,
    /// What of its news waits for the turn's commit to be durable.
    pub(crate) gate: Gate,
    /// Where the commit stands that the last of its events waited for.
    pub(crate) gate_position: Position,
    /// It stands in the turn's list of those to be told something.
    pub(crate) touched: bool,
    /// What its client can be told.
    pub(crate) traits: SessionTraits,
    /// Batches that wait until a message is read from the disk, oldest first.
    pub(crate) parked: VecDeque<Work>,
    /// Its requests that wait for messages to lease.
    pub(crate) waiters: Vec<WaiterId>,
}

/// A batch, or what is left of it.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) operations: std::vec::IntoIter<Operation>,
    pub(crate) chunks: Vec<BatchChunk>,
    /// What it takes of the session's room.
    pub(crate) cost_bytes: usize,
}

impl SessionState {
    pub(crate) fn new(outbox: Arc<Outbox>, access: Arc<Access>, entry: Entry) -> SessionState {
        SessionState {
            outbox,
            connection: entry.connection,
            user_channels: entry.channels,
            access,
            granted: Vec::new(),
            channels: Map::default(),
            exclusive_queues: Vec::new(),
            transactions_bytes: 0,
            events: Vec::new(),
            events_bytes: 0,
            gate: Gate::Open,
            gate_position: Position::default(),
            touched: false,
            traits: SessionTraits::default(),
            parked: VecDeque::new(),
            waiters: Vec::new(),
        }
    }
}

/// A channel of a session.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    /// What it takes of those that its user may have.
    pub(crate) place: Option<ChannelPlace>,
    /// A request was refused; everything is ignored until the channel is closed.
    pub(crate) failed: bool,
    pub(crate) consumers: Map<Name, ConsumerId>,
    /// Deliveries not settled, by their first tag; runs, as they were delivered.
    pub(crate) unsettled: BTreeMap<u64, Unsettled>,
    pub(crate) last_tag: u64,
    /// Deliveries that came back unsettled after too long, by their first tag: how many. What the
    /// client still says of them means nothing.
    pub(crate) expired: BTreeMap<u64, u32>,
    /// Its consumer of direct replies.
    pub(crate) replies: Option<ReplyConsumer>,
    /// For consumers to come.
    pub(crate) prefetch: u16,
    /// Shared by all consumers of the channel.
    pub(crate) credit: Credit,
    pub(crate) confirms: Option<Confirms>,
    /// Never beside `confirms`.
    pub(crate) transaction: Option<Box<Transaction>>,
    /// Empty: none yet.
    pub(crate) last_queue: Option<Name>,
    pub(crate) tally: Tally<MessageCounts>,
}

impl Channel {
    /// Where something that happens on the channel is counted.
    pub(crate) fn count(
        &mut self,
        (session, channel): (SessionId, ChannelId),
        tallies: &mut Tallies,
    ) -> &mut MessageCounts {
        if !std::mem::replace(&mut self.tally.listed, true) {
            tallies.list_channel(session, channel);
        }
        &mut self.tally.counts
    }
}

/// A consumer of direct replies.
#[derive(Clone, Debug)]
pub(crate) struct ReplyConsumer {
    pub(crate) tag: Name,
    pub(crate) address: Name,
}

/// Deliveries with consecutive tags, of messages that are neighbours in their queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsettled {
    pub(crate) count: u32,
    pub(crate) queue: QueueId,
    pub(crate) first: Sequence,
    /// `None`: it was got, not consumed.
    pub(crate) consumer: Option<ConsumerId>,
    /// When they were delivered, in milliseconds, where that matters; else 0.
    pub(crate) since_ms: u64,
}

/// Publisher confirms of a channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Confirms {
    /// Publishes counted so far.
    pub(crate) published: u64,
    /// Of these, what the turn has to confirm starts after this one.
    pub(crate) told: u64,
    /// Where the last journaled publish stands; nothing later may be confirmed before it is durable.
    pub(crate) position: Position,
    /// What was told up to there.
    pub(crate) told_there: u64,
    /// When that was written, so many were known to be on disk.
    pub(crate) safe: u64,
    /// Something published in this turn was journaled.
    pub(crate) journaled: bool,
    /// Of what the turn has to confirm: what a full queue refused. Its publisher has been told, and
    /// must not be told otherwise.
    pub(crate) refused: Vec<u64>,
}

impl Confirms {
    /// What is journaled so far is on its way to `position`.
    pub(crate) fn stand_at(&mut self, position: Position, durable: Position) {
        if self.position <= durable {
            self.safe = self.told_there;
        }
        self.position = position;
        self.told_there = self.told;
    }

    /// Publishes that are not yet confirmed; at most so many.
    pub(crate) fn outstanding(&self, durable: Position) -> u64 {
        let safe = if self.position <= durable { self.told } else { self.safe };
        self.published.saturating_sub(safe)
    }

    /// Whether the turn has something to confirm.
    pub(crate) fn is_due(&self) -> bool {
        self.told < self.published
    }

    /// Takes the ranges that the turn has to confirm, first and last, in order.
    pub(crate) fn take_due(&mut self, mut each: impl FnMut(u64, u64)) {
        let mut first = self.told + 1;
        self.told = self.published;
        for refused in self.refused.drain(..) {
            if first < refused {
                each(first, refused - 1);
            }
            first = refused + 1;
        }
        if first <= self.published {
            each(first, self.published);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_not_confirmed() {
        for (refused, expected) in [
            (vec![], "3-7"),
            (vec![3], "4-7"),
            (vec![7], "3-6"),
            (vec![4, 5], "3-3 6-7"),
            (vec![3, 4, 5, 6, 7], ""),
        ] {
            let mut confirms = Confirms { published: 7, told: 2, refused, ..Confirms::default() };
            let mut ranges = Vec::new();
            confirms.take_due(|first, last| ranges.push(format!("{first}-{last}")));
            assert_eq!(ranges.join(" "), expected);
            assert!(!confirms.is_due() && confirms.refused.is_empty());
        }
    }
}

/// What a transactional channel has asked for since its last commit.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// Where the messages lie; a run's `chunk` is an index here.
    pub(crate) chunks: Vec<Arc<Chunk>>,
    pub(crate) publishes: Vec<Collected>,
    pub(crate) settlements: Vec<Settlement>,
    pub(crate) bytes: usize,
}

/// Publishes that wait for the commit.
#[derive(Debug)]
pub(crate) struct Collected {
    pub(crate) run: PublishRun,
    pub(crate) to: To,
}

/// Where collected publishes go.
#[derive(Debug)]
pub(crate) enum To {
    /// These queues, as bindings had it when they were published.
    Queues(Box<[QueueId]>),
    /// Through the default exchange, by their own key and these.
    Named(FurtherKeys),
}

/// Deliveries whose end waits for the commit.
#[derive(Debug)]
pub(crate) struct Settlement {
    pub(crate) first_tag: u64,
    pub(crate) delivery: Unsettled,
    pub(crate) outcome: Outcome,
}

/// Chunks among which a message's own is looked for before it counts as another: two for what is
/// persistent and what is not, and a few large messages.
const CHUNKS_LOOKED_AT: usize = 8;

impl Transaction {
    /// Keeps publishes for the commit.
    pub(crate) fn publish(&mut self, run: PublishRun, to: To, chunk: &Arc<Chunk>) {
        let known = self.chunks.iter().rev().take(CHUNKS_LOOKED_AT);
        let found = known.enumerate().find(|(_, known)| Arc::ptr_eq(known, chunk));
        let at = if let Some((back, _)) = found {
            self.chunks.len() - 1 - back
        } else {
            // All of it stays in memory, whoever else's messages lie there too.
            self.bytes += chunk.bytes().len();
            self.chunks.push(Arc::clone(chunk));
            self.chunks.len() - 1
        };
        self.bytes += size_of::<Collected>() + to.bytes();
        let run = PublishRun { chunk: u32::try_from(at).unwrap_or(u32::MAX), ..run };
        self.publishes.push(Collected { run, to });
    }

    /// Keeps the end of deliveries for the commit.
    pub(crate) fn settle(&mut self, settlement: Settlement) {
        // Whoever settles one after the other still makes one entry.
        if let Some(last) = self.settlements.last_mut()
            && last.outcome == settlement.outcome
            && last.first_tag + u64::from(last.delivery.count) == settlement.first_tag
            && last.delivery.is_followed_by(&settlement.delivery)
        {
            last.delivery.count += settlement.delivery.count;
            return;
        }
        self.bytes += size_of::<Settlement>();
        self.settlements.push(settlement);
    }
}

impl To {
    fn bytes(&self) -> usize {
        match self {
            To::Queues(queues) => size_of_val(&**queues),
            To::Named(keys) => {
                size_of_val(&**keys) + keys.iter().map(|key| key.len()).sum::<usize>()
            }
        }
    }
}
