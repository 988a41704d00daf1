//! Refusals in RabbitMQ's words: which reply code, which text, which class and method.

use std::fmt::Write as _;

use broker::operation::Verb;
use domain::name::Name;
use domain::refusal::{ArgumentProblem, Kind, Refusal};
use domain::table::Value;

use crate::reply_code::{Fault, MethodId, ReplyCode};

/// The class and method of a request.
pub(crate) fn method_of(verb: Verb) -> MethodId {
    match verb {
        Verb::Unasked => (0, 0),
        Verb::OpenChannel => (20, 10),
        Verb::CloseChannel => (20, 40),
        Verb::SelectConfirms => (85, 10),
        Verb::SelectTransactions => (90, 10),
        Verb::Commit => (90, 20),
        Verb::Rollback => (90, 30),
        Verb::SetPrefetch => (60, 10),
        Verb::Publish => (60, 40),
        Verb::Ack => (60, 80),
        Verb::Nack => (60, 120),
        Verb::Reject => (60, 90),
        Verb::Recover => (60, 110),
        Verb::RecoverAsync => (60, 100),
        Verb::Consume => (60, 20),
        Verb::Cancel => (60, 30),
        Verb::Get => (60, 70),
        Verb::DeclareExchange => (40, 10),
        Verb::DeleteExchange => (40, 20),
        Verb::DeclareQueue => (50, 10),
        Verb::DeleteQueue => (50, 40),
        Verb::PurgeQueue => (50, 30),
        Verb::BindQueue => (50, 20),
        Verb::UnbindQueue => (50, 50),
        Verb::BindExchange => (40, 30),
        Verb::UnbindExchange => (40, 40),
    }
}

/// What a refused request is told.
pub(crate) fn fault(refusal: &Refusal, verb: Verb, vhost: &str) -> Fault {
    let (code, text) = words(refusal, verb, vhost);
    Fault::new(code, method_of(verb), text)
}

/// A refusal in the words that a client would read.
pub fn explain(refusal: &Refusal, verb: Verb, vhost: &str) -> String {
    words(refusal, verb, vhost).1
}

fn words(refusal: &Refusal, verb: Verb, vhost: &str) -> (ReplyCode, String) {
    use ReplyCode as Code;
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
            let text = format!(
                "delivery acknowledgement on channel {channel} timed out. Timeout value used: \
                 {timeout_ms} ms. This timeout value can be configured, see consumers doc guide to \
                 learn more"
            );
            (Code::PreconditionFailed, text)
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

/// What queues of one type don't have.
fn type_words(refusal: &Refusal, vhost: &str) -> (ReplyCode, String) {
    use ReplyCode as Code;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn invalid(kind: Kind, argument: &str, problem: ArgumentProblem) -> Refusal {
        Refusal::InvalidArgument { kind, name: name("q"), argument: argument.into(), problem }
    }

    fn inequivalent(received: Option<Value>, current: Option<Value>) -> Refusal {
        let setting = "x-message-ttl";
        Refusal::Inequivalent { kind: Kind::Queue, name: name("q"), setting, received, current }
    }

    /// Texts as RabbitMQ 3.10.8 sent them, but where it has no such refusal.
    #[test]
    #[expect(clippy::too_many_lines, reason = "one table of every refusal")]
    fn every_refusal_in_rabbitmqs_words() {
        use ArgumentProblem as Problem;
        let locked = "cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be \
            originally declared on another connection or the exclusive property value does not \
            match that of the original declaration.";
        for (refusal, verb, number, text) in [
            (
                Refusal::NotFound(Kind::Queue, name("q")),
                Verb::Consume,
                404,
                "NOT_FOUND - no queue 'q' in vhost '/'",
            ),
            (
                Refusal::NotFound(Kind::Exchange, name("x")),
                Verb::Publish,
                404,
                "NOT_FOUND - no exchange 'x' in vhost '/'",
            ),
            (
                Refusal::NoQueueDeclaredYet,
                Verb::Get,
                404,
                "NOT_FOUND - no previously declared queue",
            ),
            (
                Refusal::NoQueueDeclaredYet,
                Verb::DeclareQueue,
                404,
                "NOT_FOUND - no queue '' in vhost '/'",
            ),
            (
                Refusal::ReservedName(Kind::Exchange, name("amq.x")),
                Verb::DeclareExchange,
                403,
                "ACCESS_REFUSED - exchange name 'amq.x' contains reserved prefix 'amq.*'",
            ),
            (
                Refusal::ReservedName(Kind::Queue, name("amq.q")),
                Verb::DeclareQueue,
                403,
                "ACCESS_REFUSED - queue name 'amq.q' contains reserved prefix 'amq.*'",
            ),
            (
                Refusal::ReservedName(Kind::Exchange, name("amq.direct")),
                Verb::DeleteExchange,
                403,
                "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed",
            ),
            (
                Refusal::DefaultExchange,
                Verb::BindQueue,
                403,
                "ACCESS_REFUSED - operation not permitted on the default exchange",
            ),
            (
                Refusal::Inequivalent {
                    kind: Kind::Exchange,
                    name: name("x"),
                    setting: "type",
                    received: Some(Value::text("fanout")),
                    current: Some(Value::text("direct")),
                },
                Verb::DeclareExchange,
                406,
                "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'x' in vhost '/': \
                 received 'fanout' but current is 'direct'",
            ),
            (
                inequivalent(Some(Value::Bool(false)), Some(Value::Bool(true))),
                Verb::DeclareQueue,
                406,
                "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost \
                 '/': received 'false' but current is 'true'",
            ),
            (
                inequivalent(None, Some(Value::I32(5))),
                Verb::DeclareQueue,
                406,
                "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost \
                 '/': received none but current is the value '5' of type 'signedint'",
            ),
            (
                inequivalent(Some(Value::F64(1.5)), None),
                Verb::DeclareQueue,
                406,
                "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost \
                 '/': received the value '1.5' of type 'double' but current is none",
            ),
            (
                inequivalent(Some(Value::Void), None),
                Verb::DeclareQueue,
                406,
                "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost \
                 '/': received the value 'undefined' of type 'void' but current is none",
            ),
            (Refusal::Locked(name("q")), Verb::Get, 405, &format!("RESOURCE_LOCKED - {locked}")),
            (
                invalid(Kind::Queue, "x-message-ttl", Problem::Negative(-1)),
                Verb::DeclareQueue,
                406,
                "PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'q' in vhost '/': \
                 {value_negative,-1}",
            ),
            (
                invalid(Kind::Queue, "x-message-ttl", Problem::UnacceptableType("longstr")),
                Verb::DeclareQueue,
                406,
                "PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'q' in vhost '/': \
                 \"expected integer, got longstr\"",
            ),
            (
                invalid(Kind::Queue, "x-overflow", Problem::UnacceptableType("signedint")),
                Verb::DeclareQueue,
                406,
                "PRECONDITION_FAILED - invalid arg 'x-overflow' for queue 'q' in vhost '/': \
                 {unacceptable_type,signedint}",
            ),
            (
                invalid(Kind::Queue, "x-expires", Problem::NotPositive(0)),
                Verb::DeclareQueue,
                406,
                "PRECONDITION_FAILED - invalid arg 'x-expires' for queue 'q' in vhost '/': \
                 {value_zero,0}",
            ),
            (
                invalid(
                    Kind::Queue,
                    "x-max-priority",
                    Problem::TooLarge { value: 256, limit: 255 },
                ),
                Verb::DeclareQueue,
                406,
                "PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'q' in vhost '/': \
                 {max_value_exceeded,256}",
            ),
            (
                invalid(Kind::Queue, "x-queue-mode", Problem::UnknownWord("foo".into())),
                Verb::DeclareQueue,
                406,
                "PRECONDITION_FAILED - invalid arg 'x-queue-mode' for queue 'q' in vhost '/': \
                 \"unsupported queue mode 'foo'\"",
            ),
            (
                invalid(Kind::Queue, "x-overflow", Problem::UnknownWord("foo".into())),
                Verb::DeclareQueue,
                406,
                "PRECONDITION_FAILED - invalid arg 'x-overflow' for queue 'q' in vhost '/': \
                 invalid_overflow",
            ),
            (
                invalid(
                    Kind::Queue,
                    "x-dead-letter-routing-key",
                    Problem::Needs("x-dead-letter-exchange"),
                ),
                Verb::DeclareQueue,
                406,
                "PRECONDITION_FAILED - invalid arg 'x-dead-letter-routing-key' for queue 'q' in \
                 vhost '/': routing_key_but_no_dlx_defined",
            ),
            (
                invalid(
                    Kind::Exchange,
                    "alternate-exchange",
                    Problem::UnacceptableType("signedint"),
                ),
                Verb::DeclareExchange,
                406,
                "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in \
                 exchange 'q' in vhost '/'",
            ),
            (
                Refusal::NotBuilt("x-queue-type=stream"),
                Verb::DeclareQueue,
                406,
                "PRECONDITION_FAILED - x-queue-type=stream is not supported yet",
            ),
            (
                Refusal::InUse(Kind::Exchange, name("x")),
                Verb::DeleteExchange,
                406,
                "PRECONDITION_FAILED - exchange 'x' in vhost '/' in use",
            ),
            (
                Refusal::NotEmpty(name("q")),
                Verb::DeleteQueue,
                406,
                "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty",
            ),
            (
                Refusal::InternalExchange(name("x")),
                Verb::Publish,
                403,
                "ACCESS_REFUSED - cannot publish to internal exchange 'x' in vhost '/'",
            ),
            (
                Refusal::UnknownMatch(Value::text("foo")),
                Verb::BindQueue,
                406,
                "PRECONDITION_FAILED - Invalid x-match field value <<\"foo\">>; expected all, any, \
                 all-with-x, or any-with-x",
            ),
            (
                Refusal::UnknownMatch(Value::I32(5)),
                Verb::BindQueue,
                406,
                "PRECONDITION_FAILED - Invalid x-match field type signedint (value 5); expected \
                 longstr",
            ),
            (
                Refusal::UnknownDeliveryTag(5),
                Verb::Ack,
                406,
                "PRECONDITION_FAILED - unknown delivery tag 5",
            ),
            (
                Refusal::ConsumerTagTaken(name("t")),
                Verb::Consume,
                530,
                "NOT_ALLOWED - attempt to reuse consumer tag 't'",
            ),
            (
                Refusal::ExclusiveUse(name("q")),
                Verb::Consume,
                403,
                "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use",
            ),
            (
                invalid(Kind::Queue, "x-delivery-limit", Problem::OfAnotherType("classic")),
                Verb::DeclareQueue,
                406,
                "PRECONDITION_FAILED - invalid arg 'x-delivery-limit' for queue 'q' in vhost '/' of \
                 queue type rabbit_classic_queue",
            ),
            (
                Refusal::NoGlobalPrefetch(name("q")),
                Verb::Consume,
                540,
                "NOT_IMPLEMENTED - queue 'q' in vhost '/' does not support global qos",
            ),
            (
                Refusal::NoMadeUpName,
                Verb::DeclareQueue,
                406,
                "PRECONDITION_FAILED - Cannot declare a server-named queue for type \
                 rabbit_quorum_queue",
            ),
            (
                Refusal::InvalidProperty { queue: name("q"), property: "non-durable" },
                Verb::DeclareQueue,
                406,
                "PRECONDITION_FAILED - invalid property 'non-durable' for queue 'q' in vhost '/'",
            ),
            (
                Refusal::ConsumerTimedOut { channel: 3, timeout_ms: 1_000 },
                Verb::Unasked,
                406,
                "PRECONDITION_FAILED - delivery acknowledgement on channel 3 timed out. Timeout value \
                 used: 1000 ms. This timeout value can be configured, see consumers doc guide to \
                 learn more",
            ),
            (
                Refusal::NotTransactional,
                Verb::Rollback,
                406,
                "PRECONDITION_FAILED - channel is not transactional",
            ),
            (
                Refusal::Confirming,
                Verb::SelectTransactions,
                406,
                "PRECONDITION_FAILED - cannot switch from confirm to tx mode",
            ),
            (
                Refusal::Transactional,
                Verb::SelectConfirms,
                406,
                "PRECONDITION_FAILED - cannot switch from tx to confirm mode",
            ),
            (
                Refusal::PartialTransaction,
                Verb::Commit,
                406,
                "PRECONDITION_FAILED - partial tx completion",
            ),
            (
                Refusal::TransactionTooLarge(9),
                Verb::Publish,
                406,
                "PRECONDITION_FAILED - the open transactions of this connection hold more than 9 \
                 bytes: commit more often",
            ),
            (
                Refusal::TransactionsTooLarge(9),
                Verb::Ack,
                406,
                "PRECONDITION_FAILED - all open transactions of vhost '/' together hold more than \
                 9 bytes: commit more often",
            ),
            (
                Refusal::RepliesAcknowledged,
                Verb::Consume,
                406,
                "PRECONDITION_FAILED - reply consumer cannot acknowledge",
            ),
            (
                Refusal::RepliesConsumed,
                Verb::Consume,
                406,
                "PRECONDITION_FAILED - reply consumer already set",
            ),
            (
                Refusal::ChannelOpen,
                Verb::OpenChannel,
                504,
                "CHANNEL_ERROR - second 'channel.open' seen",
            ),
            (
                Refusal::NoPermission { kind: Kind::Queue, name: name("q"), user: name("u") },
                Verb::Consume,
                403,
                "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'u'",
            ),
            (
                Refusal::NoPermission { kind: Kind::Exchange, name: name(""), user: name("u") },
                Verb::Publish,
                403,
                "ACCESS_REFUSED - access to exchange 'amq.default' in vhost '/' refused for user \
                 'u'",
            ),
            (
                Refusal::NoTopicPermission {
                    exchange: name("x"),
                    routing_key: (*b"a.b").into(),
                    user: name("u"),
                },
                Verb::Publish,
                403,
                "ACCESS_REFUSED - access to topic 'a.b' in exchange 'x' in vhost '/' refused for \
                 user 'u'",
            ),
        ] {
            let fault = fault(&refusal, verb, "/");
            assert_eq!((fault.code.number(), fault.text.as_str()), (number, text));
            assert_eq!(fault.method, method_of(verb));
        }
    }
}
