//! What a session asks of its virtual host, in the broker's words. Operations of one batch are
//! applied in order; each is answered by an [`Event`](crate::event::Event), unless nobody wants one.

use domain::binding::BindingArguments;
use domain::exchange::ExchangeSettings;
use domain::name::Name;
use domain::queue::QueueDeclaration;

use crate::chunk::Persistence;
use crate::done::DoneRequest;
use crate::lease::{LeaseRequest, LeaseSettlements};
use crate::removal::Removal;

/// A channel of a session. Deliveries, confirms and settlements are counted per channel.
pub type ChannelId = u16;

/// Whether the asker waits for an answer. Refusals are always told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Answer with the matching [`Reply`](crate::event::Reply).
    Wanted,
    /// Say nothing when it worked (AMQP's `no-wait`).
    Unwanted,
}

/// What becomes of a message that no queue takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unroutable {
    /// It is dropped.
    Dropped,
    /// It is returned to its publisher (AMQP's `mandatory`), before its confirm.
    Returned,
}

/// How a delivery ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done: the message leaves the queue.
    Acknowledged,
    /// Back to its place in the queue: nothing is wrong with it (nack with requeue).
    Requeued,
    /// Back to its place in the queue: it could not be handled (reject with requeue; RabbitMQ 4.3
    /// counts that).
    Failed,
    /// The consumer will never take it (nack or reject without requeue).
    Rejected,
}

/// Which unsettled deliveries of the channel are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tags {
    /// This one.
    One(u64),
    /// All up to and including this one; 0 means all.
    UpTo(u64),
}

/// Whether an entity is only asked about or made if absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declare {
    /// Fails if it does not exist; changes and compares nothing.
    Passive,
    /// Makes it, or compares it with the one that exists.
    Active,
}

/// Which limit a prefetch sets (RabbitMQ's reading of `basic.qos`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefetchScope {
    /// For each consumer started on the channel from now on.
    Consumer,
    /// Shared by all consumers of the channel.
    Channel,
}

/// Whether deliveries are settled by the consumer or by being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledgement {
    /// The consumer settles each delivery.
    Manual,
    /// Sending settles it (AMQP's `no-ack`).
    Automatic,
}

/// Whether a consumer shares its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Others may consume as well.
    Shared,
    /// Nobody else may consume.
    Exclusive,
}

/// A run of publishes that one read brought: same channel, exchange, routing key and flags, side
/// by side in one of the batch's chunks, alike in what queues look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishRun {
    /// Where they came from.
    pub channel: ChannelId,
    /// Index of the chunk within the batch.
    pub chunk: u32,
    /// Index of the first message within the chunk.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// For messages that no queue takes.
    pub unroutable: Unroutable,
    /// Whether they ask to survive a restart.
    pub persistence: Persistence,
    /// The priority they were given.
    pub priority: Option<u8>,
    /// How long they may wait, as they were given it, in milliseconds.
    pub expiration_ms: Option<u64>,
}

/// What a session's client can be told besides what it asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionTraits {
    /// Whether it hears of consumers that the broker ends.
    pub cancel_notify: CancelNotify,
    /// Whether it hears under which ids queues take what it publishes.
    pub ids: Ids,
}

/// Whether a client hears under which ids queues take what it publishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ids {
    /// It does not ask.
    #[default]
    Untold,
    /// By [`Event::Taken`](crate::event::Event::Taken), before the confirm.
    Told,
}

/// Whether a client hears of consumers that the broker ends (AMQP's capability
/// `consumer_cancel_notify`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CancelNotify {
    /// It would not understand.
    #[default]
    Unheard,
    /// It does.
    Heard,
}

/// Routing keys that a message has beside its own.
pub type FurtherKeys = Box<[Box<[u8]>]>;

/// The queue that is none: direct replies are consumed from it, and addresses of such consumers
/// begin with its name and a dot.
pub const REPLY_QUEUE: &str = "amq.rabbitmq.reply-to";

/// One request to a virtual host.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Messages to route.
    Publish(PublishRun),
    /// A message to route by further keys too; each queue takes it once, whichever keys lead there.
    PublishAlso {
        /// A run of one.
        run: PublishRun,
        /// The further keys.
        also: FurtherKeys,
    },
    /// Ends deliveries.
    Settle {
        /// The channel that got them.
        channel: ChannelId,
        /// Which deliveries.
        tags: Tags,
        /// How they end.
        outcome: Outcome,
        /// The name of the request, for a refusal.
        verb: Verb,
    },
    /// Opens a channel; answered by `ChannelOpened`.
    OpenChannel {
        /// Free until now.
        channel: ChannelId,
    },
    /// Ends a channel, whether open or failed: its consumers go, its unsettled deliveries return.
    /// Answered by `ChannelClosed`.
    CloseChannel {
        /// The channel.
        channel: ChannelId,
        /// Unwanted when the peer has just agreed to a close of ours.
        answer: Answer,
    },
    /// Confirms publishes from now on.
    SelectConfirms {
        /// The channel.
        channel: ChannelId,
        /// Whether to answer.
        answer: Answer,
    },
    /// Collects publishes and settlements from now on, until a commit or a rollback.
    SelectTransactions {
        /// The channel.
        channel: ChannelId,
    },
    /// Does what was collected, all of it or nothing.
    Commit {
        /// The channel.
        channel: ChannelId,
    },
    /// Forgets what was collected; settled deliveries are outstanding again.
    Rollback {
        /// The channel.
        channel: ChannelId,
    },
    /// Limits unsettled deliveries.
    SetPrefetch {
        /// The channel.
        channel: ChannelId,
        /// At most this many unsettled deliveries; 0 means no limit.
        count: u16,
        /// Of what.
        scope: PrefetchScope,
    },
    /// Starts a consumer.
    Consume {
        /// The channel.
        channel: ChannelId,
        /// The rest.
        consume: Box<Consume>,
        /// Whether to answer.
        answer: Answer,
    },
    /// Starts the channel's consumer of direct replies; answered as `Consume`.
    ConsumeReplies {
        /// The channel.
        channel: ChannelId,
        /// The consumer's tag.
        consumer_tag: Name,
        /// Where replies find it: made of [`REPLY_QUEUE`] and what nobody can guess, for this
        /// consumer alone.
        address: Name,
        /// Nothing but `Automatic` is taken.
        acknowledgement: Acknowledgement,
        /// Whether to answer.
        answer: Answer,
    },
    /// Stops a consumer; its unsettled deliveries stay with the channel.
    Cancel {
        /// The channel.
        channel: ChannelId,
        /// The consumer's tag.
        consumer_tag: Name,
        /// Whether to answer.
        answer: Answer,
    },
    /// Takes one message; answered by `Got` or `GotNothing`.
    Get {
        /// The channel.
        channel: ChannelId,
        /// Empty: the queue declared last on this channel.
        queue: Name,
        /// How it is settled.
        acknowledgement: Acknowledgement,
    },
    /// Leases messages to whoever holds the tokens, whatever becomes of this session; answered by
    /// `LeaseAnswer`.
    Lease(Box<LeaseRequest>),
    /// Ends or extends leases of any session; answered by `LeaseAnswer`.
    SettleLeases(Box<LeaseSettlements>),
    /// Takes messages out of a queue, wherever in it they are; answered by `RemovalAnswer`.
    Remove(Box<Removal>),
    /// Asks what became of messages, or has that forgotten; answered by `DoneAnswer`.
    Done(Box<DoneRequest>),
    /// Returns all unsettled deliveries of the channel to their queues.
    Recover {
        /// The channel.
        channel: ChannelId,
        /// Unwanted for AMQP's `basic.recover-async`.
        answer: Answer,
    },
    /// Makes or compares an exchange.
    DeclareExchange {
        /// The channel.
        channel: ChannelId,
        /// Its name.
        exchange: Name,
        /// Passive or active.
        declare: Declare,
        /// What it shall be; ignored when passive.
        settings: Box<ExchangeSettings>,
        /// Whether to answer.
        answer: Answer,
    },
    /// Deletes an exchange.
    DeleteExchange {
        /// The channel.
        channel: ChannelId,
        /// Its name.
        exchange: Name,
        /// Refuse if it has bindings or exchanges depend on it.
        only_if_unused: bool,
        /// Whether to answer.
        answer: Answer,
    },
    /// Makes or compares a queue.
    DeclareQueue {
        /// The channel.
        channel: ChannelId,
        /// Empty: the broker makes a name (or, when passive, the queue declared last).
        queue: Name,
        /// Passive or active.
        declare: Declare,
        /// What it shall be; ignored when passive.
        declaration: Box<QueueDeclaration>,
        /// Whether to answer.
        answer: Answer,
    },
    /// Deletes a queue with its messages.
    DeleteQueue {
        /// The channel.
        channel: ChannelId,
        /// Empty: the queue declared last on this channel.
        queue: Name,
        /// Refuse if it has consumers.
        only_if_unused: bool,
        /// Refuse if it has ready messages.
        only_if_empty: bool,
        /// Whether to answer.
        answer: Answer,
    },
    /// Drops the ready messages of a queue.
    PurgeQueue {
        /// The channel.
        channel: ChannelId,
        /// Empty: the queue declared last on this channel.
        queue: Name,
        /// Whether to answer.
        answer: Answer,
    },
    /// Adds or removes a binding.
    Bind {
        /// The channel.
        channel: ChannelId,
        /// Add or remove.
        change: BindingChange,
        /// The exchange that messages come from.
        source: Name,
        /// Where they go.
        destination: Destination,
        /// The binding key.
        routing_key: Box<[u8]>,
        /// The binding's arguments.
        arguments: BindingArguments,
        /// Whether to answer.
        answer: Answer,
    },
    /// Says what the session's client can be told; before anything else, if at all.
    Introduce(SessionTraits),
    /// The session has written enough of what it was handed: deliver more.
    ResumeDeliveries,
    /// The session is over: its channels close, its exclusive queues go. Answered by `Ended`,
    /// after which no event comes.
    End,
}

impl Operation {
    /// For a request that an open channel makes and that is answered or refused as a whole: who
    /// asks, what for, and whether an answer is wanted.
    pub(crate) fn asker(&self) -> Option<(ChannelId, Verb, Answer)> {
        use Operation as O;
        Some(match self {
            O::SelectConfirms { channel, answer } => (*channel, Verb::SelectConfirms, *answer),
            O::SelectTransactions { channel } => {
                (*channel, Verb::SelectTransactions, Answer::Wanted)
            }
            O::Commit { channel } => (*channel, Verb::Commit, Answer::Wanted),
            O::Rollback { channel } => (*channel, Verb::Rollback, Answer::Wanted),
            O::SetPrefetch { channel, .. } => (*channel, Verb::SetPrefetch, Answer::Wanted),
            O::Consume { channel, answer, .. } | O::ConsumeReplies { channel, answer, .. } => {
                (*channel, Verb::Consume, *answer)
            }
            O::Cancel { channel, answer, .. } => (*channel, Verb::Cancel, *answer),
            O::Get { channel, .. } => (*channel, Verb::Get, Answer::Unwanted),
            O::Recover { channel, answer: Answer::Wanted } => {
                (*channel, Verb::Recover, Answer::Wanted)
            }
            O::Recover { channel, answer: Answer::Unwanted } => {
                (*channel, Verb::RecoverAsync, Answer::Unwanted)
            }
            O::DeclareExchange { channel, answer, .. } => {
                (*channel, Verb::DeclareExchange, *answer)
            }
            O::DeleteExchange { channel, answer, .. } => (*channel, Verb::DeleteExchange, *answer),
            O::DeclareQueue { channel, answer, .. } => (*channel, Verb::DeclareQueue, *answer),
            O::DeleteQueue { channel, answer, .. } => (*channel, Verb::DeleteQueue, *answer),
            O::PurgeQueue { channel, answer, .. } => (*channel, Verb::PurgeQueue, *answer),
            O::Bind { channel, change, destination, answer, .. } => {
                let verb = match (destination, change) {
                    (Destination::Queue(_), BindingChange::Add) => Verb::BindQueue,
                    (Destination::Queue(_), BindingChange::Remove) => Verb::UnbindQueue,
                    (Destination::Exchange(_), BindingChange::Add) => Verb::BindExchange,
                    (Destination::Exchange(_), BindingChange::Remove) => Verb::UnbindExchange,
                };
                (*channel, verb, *answer)
            }
            O::Publish(_)
            | O::PublishAlso { .. }
            | O::Settle { .. }
            | O::OpenChannel { .. }
            | O::CloseChannel { .. }
            | O::Lease(_)
            | O::SettleLeases(_)
            | O::Remove(_)
            | O::Done(_)
            | O::Introduce(_)
            | O::ResumeDeliveries
            | O::End => return None,
        })
    }
}

/// Whether a binding comes or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindingChange {
    /// Make it; nothing happens if it is there.
    Add,
    /// Remove it; nothing happens if it is not there.
    Remove,
}

/// What a binding leads to, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A queue; empty: the queue declared last on this channel.
    Queue(Name),
    /// Another exchange.
    Exchange(Name),
}

/// A consumer to be started.
#[derive(Clone, Debug)]
pub struct Consume {
    /// Empty: the queue declared last on this channel.
    pub queue: Name,
    /// Empty: the broker makes one.
    pub consumer_tag: Name,
    /// How deliveries are settled.
    pub acknowledgement: Acknowledgement,
    /// Whether others may consume.
    pub sharing: Sharing,
    /// The consumer's arguments, kept as they came.
    pub arguments: domain::table::Table,
}

/// The kind of a request, for whoever must say which one was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the requests' own")]
pub enum Verb {
    /// No request: the broker's own doing.
    Unasked,
    OpenChannel,
    CloseChannel,
    SelectConfirms,
    SelectTransactions,
    Commit,
    Rollback,
    SetPrefetch,
    Publish,
    Ack,
    Nack,
    Reject,
    Recover,
    RecoverAsync,
    Consume,
    Cancel,
    Get,
    DeclareExchange,
    DeleteExchange,
    DeclareQueue,
    DeleteQueue,
    PurgeQueue,
    BindQueue,
    UnbindQueue,
    BindExchange,
    UnbindExchange,
}

impl Verb {
    /// All of them, in the order of their declaration.
    pub const ALL: &[Verb] = &[
        Verb::Unasked,
        Verb::OpenChannel,
        Verb::CloseChannel,
        Verb::SelectConfirms,
        Verb::SelectTransactions,
        Verb::Commit,
        Verb::Rollback,
        Verb::SetPrefetch,
        Verb::Publish,
        Verb::Ack,
        Verb::Nack,
        Verb::Reject,
        Verb::Recover,
        Verb::RecoverAsync,
        Verb::Consume,
        Verb::Cancel,
        Verb::Get,
        Verb::DeclareExchange,
        Verb::DeleteExchange,
        Verb::DeclareQueue,
        Verb::DeleteQueue,
        Verb::PurgeQueue,
        Verb::BindQueue,
        Verb::UnbindQueue,
        Verb::BindExchange,
        Verb::UnbindExchange,
    ];
}
