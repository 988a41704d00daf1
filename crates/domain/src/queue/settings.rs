//! What a queue's arguments make of it: one field for each that acts.

use crate::name::Name;
use crate::table::{Table, Value};

/// How often a message of a quorum queue may fail if nobody says otherwise (RabbitMQ 4.0).
pub const DELIVERY_LIMIT: u32 = 20;

/// The highest level of a quorum queue (RabbitMQ 4.3).
const QUORUM_LEVEL_MAX: u8 = 31;

/// The level of a message without a priority in a quorum queue (RabbitMQ 4.3).
const QUORUM_LEVEL: u8 = 4;

/// What clients asked for; there is one implementation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueType {
    /// RabbitMQ's classic queue.
    #[default]
    Classic,
    /// RabbitMQ's quorum queue: everything in it is durable, and failures are counted.
    Quorum,
}

impl QueueType {
    /// Its name as the argument `x-queue-type` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            QueueType::Classic => "classic",
            QueueType::Quorum => "quorum",
        }
    }
}

/// What happens at the length limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest ready message goes.
    #[default]
    DropHead,
    /// The new message is refused.
    RejectPublish,
    /// The new message is refused and dead-lettered.
    RejectPublishDeadLetter,
}

/// Where messages go that the queue gives up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLettering {
    /// The exchange; empty: the default exchange.
    pub exchange: Name,
    /// In place of the message's own routing keys.
    pub routing_key: Option<Box<[u8]>>,
}

/// How long a done message is told of where nobody says: a week, in milliseconds.
pub const DONE_TTL_MS: u64 = 7 * 86_400_000;

/// How many done messages are told of where nobody says.
pub const DONE_MESSAGES_MAX: u64 = 10_000;

/// How much of memory what is told of done messages may take where nobody says, in bytes.
pub const DONE_BYTES_MAX: u64 = 16 << 20;

/// Of which messages a queue tells what became of them, when they are done: those that were done last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoneLimits {
    /// For how long, in milliseconds.
    pub ttl_ms: u64,
    /// How many.
    pub messages_max: u64,
    /// Bytes of what is told of them.
    pub bytes_max: u64,
}

/// A queue's settings, in force since it was declared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueSettings {
    /// What it is to a client.
    pub queue_type: QueueType,
    /// How long a message may wait, in milliseconds.
    pub message_ttl_ms: Option<u64>,
    /// How long the queue may be unused, in milliseconds.
    pub expires_ms: Option<u64>,
    /// Ready messages at most.
    pub messages_max: Option<u64>,
    /// Bytes of ready bodies at most.
    pub bytes_max: Option<u64>,
    /// What happens beyond.
    pub overflow: Overflow,
    /// Where given-up messages go; without it they are dropped.
    pub dead_lettering: Option<DeadLettering>,
    /// The highest priority; `None`: priorities mean nothing.
    pub priority_max: Option<u8>,
    /// Whether one consumer is served at a time.
    pub single_active_consumer: SingleActiveConsumer,
    /// How many deliveries may fail; the one after it is given up.
    pub delivery_limit: Option<u32>,
    /// How long a delivery may be unsettled.
    pub consumer_timeout: ConsumerTimeout,
    /// Which done messages it tells of; `None`: of none.
    pub done: Option<DoneLimits>,
}

/// How long a delivery of a queue may be unsettled, unless its consumer brings its own limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsumerTimeout {
    /// For ever.
    #[default]
    Never,
    /// So many milliseconds.
    Ms(u64),
    /// As long as the broker says.
    Default,
}

/// Whether one consumer is served at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SingleActiveConsumer {
    /// All are.
    #[default]
    No,
    /// Only the active one.
    Yes,
}

impl DoneLimits {
    /// Those that were given, and what goes without saying for the others; `None`: none was.
    fn of(
        (ttl_ms, messages_max, bytes_max): (Option<u64>, Option<u64>, Option<u64>),
    ) -> Option<DoneLimits> {
        ttl_ms.or(messages_max).or(bytes_max)?;
        Some(DoneLimits {
            ttl_ms: ttl_ms.unwrap_or(DONE_TTL_MS),
            messages_max: messages_max.unwrap_or(DONE_MESSAGES_MAX),
            bytes_max: bytes_max.unwrap_or(DONE_BYTES_MAX),
        })
    }
}

impl QueueSettings {
    /// Reads arguments that have been checked; what can't be read counts as not given.
    pub fn of(arguments: &Table) -> QueueSettings {
        let number = |name: &str| arguments.get(name).and_then(Value::as_integer);
        let size = |name: &str| number(name).and_then(|number| u64::try_from(number).ok());
        let text = |name: &str| arguments.get(name).and_then(Value::as_text);
        let queue_type = match text("x-queue-type") {
            Some("quorum") => QueueType::Quorum,
            _other => QueueType::Classic,
        };
        let quorum = queue_type == QueueType::Quorum;
        let dead_letter_key = match arguments.get("x-dead-letter-routing-key") {
            Some(Value::LongString(key)) => Some(key.clone()),
            _none => None,
        };
        let done = (size("x-done-ttl"), size("x-done-max-length"), size("x-done-max-length-bytes"));
        let exchange = text("x-dead-letter-exchange").and_then(|name| Name::new(name).ok());
        QueueSettings {
            queue_type,
            message_ttl_ms: size("x-message-ttl"),
            expires_ms: size("x-expires"),
            messages_max: size("x-max-length"),
            bytes_max: size("x-max-length-bytes"),
            overflow: match text("x-overflow") {
                Some("reject-publish") => Overflow::RejectPublish,
                Some("reject-publish-dlx") => Overflow::RejectPublishDeadLetter,
                _drop_head => Overflow::DropHead,
            },
            dead_lettering: exchange
                .map(|exchange| DeadLettering { exchange, routing_key: dead_letter_key }),
            // A highest priority of 0 leaves one level, as none at all does.
            priority_max: number("x-max-priority")
                .and_then(|number| u8::try_from(number).ok())
                .filter(|max| *max > 0),
            single_active_consumer: match arguments.get("x-single-active-consumer") {
                Some(Value::Bool(true)) => SingleActiveConsumer::Yes,
                _no => SingleActiveConsumer::No,
            },
            delivery_limit: match number("x-delivery-limit") {
                Some(limit) => u32::try_from(limit).ok(),
                None => quorum.then_some(DELIVERY_LIMIT),
            },
            consumer_timeout: match size("x-consumer-timeout") {
                None if quorum => ConsumerTimeout::Default,
                // RabbitMQ: 0 turns it off.
                Some(0) | None => ConsumerTimeout::Never,
                Some(ms) => ConsumerTimeout::Ms(ms),
            },
            done: DoneLimits::of(done),
        }
    }

    /// Whether messages that come back are counted.
    pub fn counts_returns(&self) -> bool {
        self.queue_type == QueueType::Quorum
    }

    /// Whether the number of ready messages is limited.
    pub fn is_limited(&self) -> bool {
        self.messages_max.is_some() || self.bytes_max.is_some()
    }

    /// Whether a message without an expiration of its own just comes in and waits its turn.
    pub fn is_plain(&self) -> bool {
        !self.is_limited()
            && self.message_ttl_ms.is_none()
            && self.priority_max.is_none()
            && self.queue_type == QueueType::Classic
    }

    /// The level of a message with this priority.
    pub fn level(&self, priority: Option<u8>) -> u8 {
        match (self.queue_type, self.priority_max) {
            (QueueType::Quorum, _) => priority.unwrap_or(QUORUM_LEVEL).min(QUORUM_LEVEL_MAX),
            (QueueType::Classic, Some(max)) => priority.unwrap_or(0).min(max),
            (QueueType::Classic, None) => 0,
        }
    }

    /// How long a message may wait that may itself wait `expiration_ms`: the lower of the two.
    pub fn ttl_ms(&self, expiration_ms: Option<u64>) -> Option<u64> {
        match (self.message_ttl_ms, expiration_ms) {
            (Some(queue), Some(message)) => Some(queue.min(message)),
            (one, other) => one.or(other),
        }
    }
}
