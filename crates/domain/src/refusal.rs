//! Why a request was refused. One reason, one variant; protocols choose codes and words.

use crate::name::Name;
use crate::table::Value;

/// What kind of thing a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An exchange.
    Exchange,
    /// A queue.
    Queue,
}

/// The reason of a refusal.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// There is no such exchange or queue.
    NotFound(Kind, Name),
    /// No queue was named and none was declared on this channel before.
    NoQueueDeclaredYet,
    /// The name begins with `amq.`, which belongs to the broker.
    ReservedName(Kind, Name),
    /// The default exchange can't be declared, deleted or bound.
    DefaultExchange,
    /// It exists with another setting; values as RabbitMQ prints them.
    Inequivalent {
        /// What kind of thing.
        kind: Kind,
        /// Its name.
        name: Name,
        /// The setting.
        setting: &'static str,
        /// What was asked for; `None`: nothing.
        received: Option<Value>,
        /// What it has; `None`: nothing.
        current: Option<Value>,
    },
    /// The queue belongs to another connection.
    Locked(Name),
    /// An argument has a value it can't have.
    InvalidArgument {
        /// What was to be declared.
        kind: Kind,
        /// Its name.
        name: Name,
        /// The argument.
        argument: Box<str>,
        /// What is wrong with it, in a few words.
        problem: ArgumentProblem,
    },
    /// Something that is known but not built.
    NotBuilt(&'static str),
    /// It has bindings, dependants or consumers, and should go only without.
    InUse(Kind, Name),
    /// The queue has messages, and should go only without.
    NotEmpty(Name),
    /// The exchange takes messages only from other exchanges.
    InternalExchange(Name),
    /// A headers exchange knows no such `x-match`.
    UnknownMatch(Value),
    /// A delivery tag that is not outstanding on the channel.
    UnknownDeliveryTag(u64),
    /// The consumer tag is taken on this channel.
    ConsumerTagTaken(Name),
    /// Somebody consumes exclusively, or others consume where one wants to alone.
    ExclusiveUse(Name),
    /// A commit or a rollback on a channel without transactions.
    NotTransactional,
    /// The channel confirms publishes, and so can't have transactions.
    Confirming,
    /// The channel has transactions, and so can't confirm publishes.
    Transactional,
    /// A queue was full: it refused some of a transaction, and the rest is done.
    PartialTransaction,
    /// The transactions of the connection hold more than so many bytes.
    TransactionTooLarge(usize),
    /// All open transactions together hold more than so many bytes.
    TransactionsTooLarge(usize),
    /// Direct replies can't be acknowledged.
    RepliesAcknowledged,
    /// The channel consumes direct replies already.
    RepliesConsumed,
    /// The channel is already open.
    ChannelOpen,
    /// Queues of this type have no limit that a channel's consumers share.
    NoGlobalPrefetch(Name),
    /// The broker makes up names for classic queues only.
    NoMadeUpName,
    /// Queues of this type can't be declared with this property.
    InvalidProperty {
        /// The queue.
        queue: Name,
        /// The property, in RabbitMQ's word.
        property: &'static str,
    },
    /// A delivery was unsettled for longer than its queue allows, in milliseconds.
    ConsumerTimedOut {
        /// The number of its channel.
        channel: u16,
        /// What is allowed.
        timeout_ms: u64,
    },
    /// The virtual host has as many queues as it may have.
    QueueLimit {
        /// The queue that was to be made.
        queue: Name,
        /// How many there may be.
        queues_max: u32,
    },
    /// The user has as many channels as it may have.
    ChannelLimit {
        /// The user.
        user: Name,
        /// How many there may be.
        channels_max: u32,
    },
    /// The user lacks a right.
    NoPermission {
        /// On what kind of thing.
        kind: Kind,
        /// Its name.
        name: Name,
        /// The user.
        user: Name,
    },
    /// The user lacks a right on a routing key of a topic exchange.
    NoTopicPermission {
        /// The exchange.
        exchange: Name,
        /// The routing key.
        routing_key: Box<[u8]>,
        /// The user.
        user: Name,
    },
}

/// What is wrong with an argument.
#[derive(Clone, Debug, PartialEq)]
pub enum ArgumentProblem {
    /// It has a type it can't have, by RabbitMQ's name.
    UnacceptableType(&'static str),
    /// A number that must not be negative.
    Negative(i128),
    /// A number that must be positive.
    NotPositive(i128),
    /// A number over its limit.
    TooLarge {
        /// The number.
        value: i128,
        /// Its limit.
        limit: i128,
    },
    /// A word that is not among those it may be.
    UnknownWord(Box<str>),
    /// It needs another argument beside it.
    Needs(&'static str),
    /// Queues of this type, `classic` or `quorum`, don't have it.
    OfAnotherType(&'static str),
}
