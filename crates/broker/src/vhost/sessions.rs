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
use crate::event::Event;
use crate::operation::ChannelId;
use crate::outbox::Outbox;
use crate::permissions::Access;

/// One client.
#[derive(Debug)]
pub(crate) struct SessionState {
    pub(crate) outbox: Arc<Outbox>,
    /// What the user may do here.
    pub(crate) access: Arc<Access>,
    /// Exchanges that it was found to be allowed to publish to.
    pub(crate) granted: Vec<Name>,
    pub(crate) channels: Map<ChannelId, Channel>,
    pub(crate) exclusive_queues: Vec<QueueId>,
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
    pub(crate) fn new(outbox: Arc<Outbox>, access: Arc<Access>) -> SessionState {
        SessionState {
            outbox,
            access,
            granted: Vec::new(),
            channels: Map::default(),
            exclusive_queues: Vec::new(),
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
