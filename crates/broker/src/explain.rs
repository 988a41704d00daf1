//! Refusals in RabbitMQ's words, which all our protocols use: users look them up, and clients compare
//! them.

use std::fmt::Write as _;

use domain::name::Name;
use domain::refusal::{ArgumentProblem, Kind, Refusal};
use domain::table::Value;

use crate::operation::Verb;

/// What kind of mistake a refusal reproaches its asker with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// The user lacks a right, or nobody has it.
    AccessRefused,
    /// What is asked for is not there.
    NotFound,
    /// It belongs to another connection.
    ResourceLocked,
    /// It is not as the asker takes it to be.
    PreconditionFailed,
    /// The channel is not as the asker takes it to be.
    ChannelError,
    /// Such a thing is not done.
    NotAllowed,
    /// Such a thing can't be done.
    NotImplemented,
}

/// The kind of a refusal, and the words that a client reads; `vhost` is where it was asked.
pub fn explain(refusal: &Refusal, verb: Verb, vhost: &str) -> (RefusalKind, String) {
    use RefusalKind as Code;
    let full = |kind: Kind, name: &dyn std::fmt::Display| {
        format!("{} '{name}' in vhost '{vhost}'", noun(kind))
    };
    match refusal {
        Refusal::NotFound(kind, name) => (Code::NotFound, format!("no {}", full(*kind, name))),
        Refusal::NoQueueDeclaredYet if verb == Verb::DeclareQueue => {
            (Code::NotFound, format!("no {}", full(Kind::Queue, &"")))
        }
        Refusal::NoQueueDeclaredYet => (Code::NotFound, "no previously declared queue".to_owned()),
        Refusal::ReservedName(kind, name) if verb == Verb::DeleteExchange => {
            (Code::AccessRefused, format!("deletion of system {} not allowed", full(*kind, name)))
        }
        Refusal::ReservedName(kind, name) => {
            let text = format!("{} name '{name}' contains reserved prefix 'amq.*'", noun(*kind));
            (Code::AccessRefused, text)
        }
        Refusal::DefaultExchange => {
            let text = "operation not permitted on the default exchange";
            (Code::AccessRefused, text.to_owned())
        }
        Refusal::Inequivalent { kind, name, setting, received, current } => {
            let (received, current) = both_values(received.as_ref(), current.as_ref());
            let text = format!(
                "inequivalent arg '{setting}' for {}: received {received} but current is {current}",
                full(*kind, name)
            );
            (Code::PreconditionFailed, text)
        }
        Refusal::Locked(name) => {
            let text = format!(
                "cannot obtain exclusive access to locked {}. It could be originally declared on \
                 another connection or the exclusive property value does not match that of the \
                 original declaration.",
                full(Kind::Queue, name)
            );
            (Code::ResourceLocked, text)
        }
        Refusal::InvalidArgument { kind, name, argument, problem } => {
            (Code::PreconditionFailed, argument_words(argument, problem, &full(*kind, name)))
        }
        Refusal::NotBuilt(what) => {
            (Code::PreconditionFailed, format!("{what} is not supported yet"))
        }
        Refusal::InUse(kind, name) => {
            (Code::PreconditionFailed, format!("{} in use", full(*kind, name)))
        }
        Refusal::NotEmpty(name) => {
            (Code::PreconditionFailed, format!("{} not empty", full(Kind::Queue, name)))
        }
        Refusal::InternalExchange(name) => {
            let text = format!("cannot publish to internal {}", full(Kind::Exchange, name));
            (Code::AccessRefused, text)
        }
        Refusal::UnknownMatch(value) => (Code::PreconditionFailed, match_words(value)),
        Refusal::UnknownDeliveryTag(tag) => {
            (Code::PreconditionFailed, format!("unknown delivery tag {tag}"))
        }
        Refusal::ConsumerTagTaken(tag) => {
            (Code::NotAllowed, format!("attempt to reuse consumer tag '{tag}'"))
        }
        Refusal::ExclusiveUse(name) => {
            (Code::AccessRefused, format!("{} in exclusive use", full(Kind::Queue, name)))
        }
        Refusal::NoGlobalPrefetch(_) | Refusal::NoMadeUpName | Refusal::InvalidProperty { .. } => {
            type_words(refusal, vhost)
        }
        Refusal::ConsumerTimedOut { channel, timeout_ms } => {
            (Code::PreconditionFailed, timed_out_words(*channel, *timeout_ms))
        }
        Refusal::NotTransactional
        | Refusal::Confirming
        | Refusal::Transactional
        | Refusal::PartialTransaction
        | Refusal::TransactionTooLarge(_)
        | Refusal::TransactionsTooLarge(_) => {
            (Code::PreconditionFailed, transaction_words(refusal, vhost))
        }
        Refusal::RepliesAcknowledged => {
            (Code::PreconditionFailed, "reply consumer cannot acknowledge".to_owned())
        }
        Refusal::RepliesConsumed => {
            (Code::PreconditionFailed, "reply consumer already set".to_owned())
        }
        Refusal::ChannelOpen => (Code::ChannelError, "second 'channel.open' seen".to_owned()),
        Refusal::QueueLimit { queue, queues_max } => {
            (Code::PreconditionFailed, queue_limit_words(queue, *queues_max, vhost))
        }
        Refusal::ChannelLimit { user, channels_max } => {
            (Code::NotAllowed, channel_limit_words(user, *channels_max))
        }
        Refusal::NoPermission { kind, name, user } => {
            let name = if name.is_empty() { "amq.default" } else { name.as_str() };
            (Code::AccessRefused, no_access(&full(*kind, &name), user))
        }
        Refusal::NoTopicPermission { exchange, routing_key, user } => {
            let exchange = full(Kind::Exchange, exchange);
            (Code::AccessRefused, no_access(&topic(routing_key, &exchange), user))
        }
    }
}

fn channel_limit_words(user: &Name, channels_max: u32) -> String {
    format!(
        "number of channels opened for user '{user}' has reached the maximum allowed user limit of \
         ({channels_max})"
    )
}

fn queue_limit_words(queue: &Name, queues_max: u32, vhost: &str) -> String {
    format!(
        "cannot declare queue '{queue}': queue limit in vhost '{vhost}' ({queues_max}) is reached"
    )
}

fn timed_out_words(channel: u16, timeout_ms: u64) -> String {
    format!(
        "delivery acknowledgement on channel {channel} timed out. Timeout value used: {timeout_ms} \
         ms. This timeout value can be configured, see consumers doc guide to learn more"
    )
}

/// What queues of one type don't have.
fn type_words(refusal: &Refusal, vhost: &str) -> (RefusalKind, String) {
    use RefusalKind as Code;
    if let Refusal::NoGlobalPrefetch(name) = refusal {
        let text = format!("queue '{name}' in vhost '{vhost}' does not support global qos");
        return (Code::NotImplemented, text);
    }
    if let Refusal::InvalidProperty { queue, property } = refusal {
        let text = format!("invalid property '{property}' for queue '{queue}' in vhost '{vhost}'");
        return (Code::PreconditionFailed, text);
    }
    let text = "Cannot declare a server-named queue for type rabbit_quorum_queue";
    (Code::PreconditionFailed, text.to_owned())
}

fn transaction_words(refusal: &Refusal, vhost: &str) -> String {
    if let Refusal::TransactionTooLarge(limit_bytes) = refusal {
        return format!(
            "the open transactions of this connection hold more than {limit_bytes} bytes: commit \
             more often"
        );
    }
    if let Refusal::TransactionsTooLarge(limit_bytes) = refusal {
        return format!(
            "all open transactions of vhost '{vhost}' together hold more than {limit_bytes} bytes: \
             commit more often"
        );
    }
    let text = if *refusal == Refusal::Confirming {
        "cannot switch from confirm to tx mode"
    } else if *refusal == Refusal::PartialTransaction {
        "partial tx completion"
    } else if *refusal == Refusal::Transactional {
        "cannot switch from tx to confirm mode"
    } else {
        "channel is not transactional"
    };
    text.to_owned()
}

fn topic(routing_key: &[u8], exchange: &str) -> String {
    format!("topic '{}' in {exchange}", String::from_utf8_lossy(routing_key))
}

fn no_access(what: &str, user: &Name) -> String {
    format!("access to {what} refused for user '{user}'")
}

fn noun(kind: Kind) -> &'static str {
    match kind {
        Kind::Exchange => "exchange",
        Kind::Queue => "queue",
    }
}

/// Two settings that should be the same: the values alone where both are there, with their type
/// where one is missing.
fn both_values(received: Option<&Value>, current: Option<&Value>) -> (String, String) {
    let typed = |value: Option<&Value>| match value {
        None => "none".to_owned(),
        Some(value) => format!("the value '{}' of type '{}'", shown(value), value.type_name()),
    };
    match (received, current) {
        (Some(received), Some(current)) => {
            (format!("'{}'", shown(received)), format!("'{}'", shown(current)))
        }
        _one_or_none => (typed(received), typed(current)),
    }
}

/// A value as RabbitMQ prints it.
fn shown(value: &Value) -> String {
    match value {
        Value::Bool(flag) => flag.to_string(),
        Value::F32(number) => format!("{number:?}"),
        Value::F64(number) => format!("{number:?}"),
        Value::Timestamp(seconds) => seconds.to_string(),
        Value::LongString(bytes) | Value::Bytes(bytes) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        Value::Void => "undefined".to_owned(),
        Value::Decimal { scale, value } => format!("{{{scale},{value}}}"),
        Value::Array(values) => {
            format!("[{}]", values.iter().map(shown).collect::<Vec<_>>().join(","))
        }
        Value::Table(table) => {
            let mut text = String::from("[");
            for (name, value) in &table.0 {
                let comma = if text.len() > 1 { "," } else { "" };
                let name = String::from_utf8_lossy(name);
                _ = write!(
                    text,
                    "{comma}{{<<\"{name}\">>,{},{}}}",
                    value.type_name(),
                    shown(value)
                );
            }
            text + "]"
        }
        Value::I8(_)
        | Value::U8(_)
        | Value::I16(_)
        | Value::U16(_)
        | Value::I32(_)
        | Value::U32(_)
        | Value::I64(_) => value.as_integer().unwrap_or_default().to_string(),
    }
}

fn match_words(value: &Value) -> String {
    let shown = shown(value);
    if let Value::LongString(_) = value {
        let expected = "expected all, any, all-with-x, or any-with-x";
        return format!("Invalid x-match field value <<\"{shown}\">>; {expected}");
    }
    let found = value.type_name();
    format!("Invalid x-match field type {found} (value {shown}); expected longstr")
}

/// Arguments that name an exchange, of which RabbitMQ speaks in other words.
const EXCHANGE_ARGUMENTS: [&str; 2] = ["alternate-exchange", "x-dead-letter-exchange"];

/// Arguments that are a number, of which RabbitMQ says what it expected.
const NUMBER_ARGUMENTS: [&str; 13] = [
    "x-message-ttl",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-delivery-limit",
    "x-consumer-timeout",
    "x-queue-version",
    "x-priority",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-quorum-initial-group-size",
    "x-quorum-target-group-size",
];

fn argument_words(argument: &str, problem: &ArgumentProblem, full: &str) -> String {
    let what = match problem {
        ArgumentProblem::UnacceptableType(found) if EXCHANGE_ARGUMENTS.contains(&argument) => {
            return format!("invalid type '{found}' for arg '{argument}' in {full}");
        }
        ArgumentProblem::UnacceptableType(found) if NUMBER_ARGUMENTS.contains(&argument) => {
            format!("\"expected integer, got {found}\"")
        }
        ArgumentProblem::UnacceptableType(found) => format!("{{unacceptable_type,{found}}}"),
        ArgumentProblem::Negative(number) => format!("{{value_negative,{number}}}"),
        ArgumentProblem::NotPositive(number) if argument == "x-queue-version" => {
            format!("\"unsupported queue version '{number}'\"")
        }
        ArgumentProblem::NotPositive(number) => format!("{{value_zero,{number}}}"),
        ArgumentProblem::TooLarge { value, .. } if argument == "x-max-priority" => {
            format!("{{max_value_exceeded,{value}}}")
        }
        ArgumentProblem::TooLarge { value, .. } => format!("{{value_too_large,{value}}}"),
        ArgumentProblem::UnknownWord(_) if argument == "x-overflow" => {
            "invalid_overflow".to_owned()
        }
        ArgumentProblem::UnknownWord(_) if argument == "x-dead-letter-strategy" => {
            "invalid_dlx_strategy".to_owned()
        }
        ArgumentProblem::UnknownWord(word) => {
            let what = argument.trim_start_matches("x-").replace('-', " ");
            format!("\"unsupported {what} '{word}'\"")
        }
        ArgumentProblem::OfAnotherType(queue_type) => {
            return format!(
                "invalid arg '{argument}' for {full} of queue type rabbit_{queue_type}_queue"
            );
        }
        ArgumentProblem::Needs("x-dead-letter-exchange") => {
            "routing_key_but_no_dlx_defined".to_owned()
        }
        ArgumentProblem::Needs(other) => format!("\"needs {other}\""),
    };
    format!("invalid arg '{argument}' for {full}: {what}")
}
