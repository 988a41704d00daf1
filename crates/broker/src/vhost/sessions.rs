//! A session in its virtual host: its channels, its exclusive queues, and what it is to be told.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::binding::QueueId;
use domain::credit::Credit;
use domain::name::Name;
use domain::queue::consumers::ConsumerId;
use domain::run::Sequence;
use storage::Position;

use super::Map;
use super::transaction::Transaction;
use crate::event::Event;
use crate::operation::ChannelId;
use crate::outbox::Outbox;

/// One client.
#[derive(Debug)]
pub(crate) struct SessionState {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) channels: Map<ChannelId, Channel>,
    pub(crate) exclusive_queues: Vec<QueueId>,
    /// Memory that its open transactions hold.
    pub(crate) transactions_bytes: usize,
    /// To be told when the turn is finished.
    pub(crate) events: Vec<Event>,
    /// What the deliveries among `events` cost.
    pub(crate) events_bytes: usize,
    /// Among `events` is the answer to a change that the journal does not have yet.
    pub(crate) gated: bool,
    /// It stands in the turn's list of those to be told something.
    pub(crate) touched: bool,
}

impl SessionState {
    pub(crate) fn new(outbox: Arc<Outbox>) -> SessionState {
        SessionState {
            outbox,
            channels: Map::default(),
            exclusive_queues: Vec::new(),
            transactions_bytes: 0,
            events: Vec::new(),
            events_bytes: 0,
            gated: false,
            touched: false,
        }
    }
}

/// A channel of a session.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    /// A request was refused; everything is ignored until the channel is closed.
    pub(crate) failed: bool,
    pub(crate) consumers: Map<Name, ConsumerId>,
    /// Deliveries not settled, by their first tag; runs, as they were delivered.
    pub(crate) unsettled: BTreeMap<u64, Unsettled>,
    pub(crate) last_tag: u64,
    /// For consumers to come.
    pub(crate) prefetch: u16,
    /// Shared by all consumers of the channel.
    pub(crate) credit: Credit,
    pub(crate) confirms: Option<Confirms>,
    /// Never beside `confirms`.
    pub(crate) transaction: Option<Box<Transaction>>,
    /// Empty: none yet.
    pub(crate) last_queue: Option<Name>,
}

/// Deliveries with consecutive tags, of messages that are neighbours in their queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsettled {
    pub(crate) count: u32,
    pub(crate) queue: QueueId,
    pub(crate) first: Sequence,
    /// `None`: it was got, not consumed.
    pub(crate) consumer: Option<ConsumerId>,
}

/// Publisher confirms of a channel.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Confirms {
    /// Publishes counted so far.
    pub(crate) published: u64,
    /// Of these, what the turn has to confirm starts after this one.
    pub(crate) told: u64,
    /// Where the last journaled publish stands; nothing later may be confirmed before it is durable.
    pub(crate) position: Position,
    /// Something published in this turn was journaled.
    pub(crate) journaled: bool,
}
