//! What a virtual host tells a session, in the order in which it happened.

use std::sync::Arc;

use domain::name::Name;
use domain::refusal::Refusal;
use domain::run::Counts;
use storage::Poison;

use crate::chunk::{Chunk, Persistence};
use crate::done::DoneAnswer;
use crate::lease::LeaseAnswer;
use crate::message_id::MessageId;
use crate::operation::{ChannelId, Verb};
use crate::removal::RemovalAnswer;

/// One thing told to a session.
#[derive(Clone, Debug)]
pub enum Event {
    /// Messages for a consumer.
    Delivered(DeliveryRun),
    /// The answer to a `Get`.
    Got {
        /// The channel that asked.
        channel: ChannelId,
        /// The delivery tag.
        tag: u64,
        /// Whether it may have been delivered before.
        redelivered: bool,
        /// How often it came back, if its queue counts and it did.
        counts: Option<Counts>,
        /// Messages still ready in the queue.
        remaining: u64,
        /// The chunk it lies in.
        chunk: Arc<Chunk>,
        /// Its index there.
        index: u32,
    },
    /// The queue of a `Get` had nothing ready.
    GotNothing {
        /// The channel that asked.
        channel: ChannelId,
    },
    /// Publishes `first..=last` of the channel are safe. Ranges come in order, without gaps.
    Confirmed {
        /// The channel.
        channel: ChannelId,
        /// The first publish that this confirms, counted from 1 since confirms were selected.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// Publishes `first..=last` of the channel were refused by a queue that is full.
    Nacked {
        /// The channel.
        channel: ChannelId,
        /// The first publish that this is about, counted as for `Confirmed`.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// No queue took this message, and its publisher wanted to know.
    Returned {
        /// The channel.
        channel: ChannelId,
        /// The chunk it lies in.
        chunk: Arc<Chunk>,
        /// Its index there.
        index: u32,
    },
    /// A queue took messages that the session published, side by side in their chunk and in the queue.
    Taken {
        /// Which of the batch's chunks they lie in: persistent messages lie apart from others.
        persistence: Persistence,
        /// Index of the first one there.
        index: u32,
        /// How many.
        count: u32,
        /// The first one's id; see [`MessageId::plus`].
        id: MessageId,
    },
    /// The answer to a `Lease` or to `SettleLeases`; of different ones in any order.
    LeaseAnswer(Box<LeaseAnswer>),
    /// The answer to a `Remove`.
    RemovalAnswer(Box<RemovalAnswer>),
    /// The answer to a `Done`.
    DoneAnswer(Box<DoneAnswer>),
    /// A request worked.
    Reply {
        /// The channel that asked.
        channel: ChannelId,
        /// The answer.
        reply: Reply,
    },
    /// A request was refused. The channel takes nothing more until it is closed and opened anew.
    Refused {
        /// The channel that asked.
        channel: ChannelId,
        /// What was asked.
        verb: Verb,
        /// Why not.
        refusal: Refusal,
    },
    /// The broker ended a consumer: its queue was deleted, or it left deliveries unsettled too long.
    ConsumerCancelled {
        /// The channel.
        channel: ChannelId,
        /// The consumer.
        consumer_tag: Name,
    },
    /// The broker wants the session gone.
    Closing(Closing),
    /// The answer to `End`; nothing follows.
    Ended,
}

/// Why the broker ends a session.
#[derive(Clone, Debug)]
pub enum Closing {
    /// It stops.
    Shutdown,
    /// The virtual host can't write any more.
    Poisoned(Poison),
    /// The virtual host was deleted.
    Deleted,
    /// Somebody in charge wants this connection gone, and says why.
    Forced(Box<str>),
}

/// Messages side by side in one chunk, for one consumer, with consecutive delivery tags.
#[derive(Clone, Debug)]
pub struct DeliveryRun {
    /// The channel.
    pub channel: ChannelId,
    /// The consumer.
    pub consumer_tag: Name,
    /// The tag of the first message; the others follow.
    pub first_tag: u64,
    /// Whether they may have been delivered before.
    pub redelivered: bool,
    /// How often they came back, if their queue counts and they did.
    pub counts: Option<Counts>,
    /// The chunk they lie in.
    pub chunk: Arc<Chunk>,
    /// Index of the first one there.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// The answer to a request that worked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To `OpenChannel`.
    ChannelOpened,
    /// To `CloseChannel`; the number is free again.
    ChannelClosed,
    /// To `SelectConfirms`.
    ConfirmsSelected,
    /// To `SelectTransactions`.
    TransactionsSelected,
    /// To `Commit`: what was collected is done, and safe.
    Committed,
    /// To `Rollback`.
    RolledBack,
    /// To `SetPrefetch`.
    PrefetchSet,
    /// To `Consume`.
    Consuming {
        /// The consumer's tag, made by the broker if none was given.
        consumer_tag: Name,
    },
    /// To `Cancel`.
    Cancelled {
        /// The consumer's tag.
        consumer_tag: Name,
    },
    /// To `Recover`.
    Recovered,
    /// To `DeclareExchange`.
    ExchangeDeclared,
    /// To `DeleteExchange`.
    ExchangeDeleted,
    /// To `DeclareQueue`.
    QueueDeclared {
        /// Its name, made by the broker if none was given.
        queue: Name,
        /// Ready messages.
        messages: u64,
        /// Consumers.
        consumers: u32,
    },
    /// To `DeleteQueue`.
    QueueDeleted {
        /// Ready messages that went with it.
        messages: u64,
    },
    /// To `PurgeQueue`.
    QueuePurged {
        /// Messages dropped.
        messages: u64,
    },
    /// To `Bind` of a queue, added.
    QueueBound,
    /// To `Bind` of a queue, removed.
    QueueUnbound,
    /// To `Bind` of an exchange, added.
    ExchangeBound,
    /// To `Bind` of an exchange, removed.
    ExchangeUnbound,
}

impl Event {
    /// What the event takes of the session's outbox, in bytes; given back by
    /// [`Session::written`](crate::session::Session::written).
    pub fn cost_bytes(&self) -> usize {
        match self {
            Event::Delivered(run) => run.chunk.span_bytes(run.first, run.count),
            Event::Got { chunk, index, .. } | Event::Returned { chunk, index, .. } => {
                chunk.span_bytes(*index, 1)
            }
            Event::LeaseAnswer(answer) => answer.cost_bytes(),
            Event::DoneAnswer(answer) => answer.cost_bytes(),
            Event::GotNothing { .. }
            | Event::Confirmed { .. }
            | Event::Nacked { .. }
            | Event::RemovalAnswer(_)
            | Event::Taken { .. }
            | Event::Reply { .. }
            | Event::Refused { .. }
            | Event::ConsumerCancelled { .. }
            | Event::Closing(_)
            | Event::Ended => 0,
        }
    }
}
