//! Refusals as AMQP tells them: which reply code, which class and method.

use broker::operation::Verb;
use broker::{RefusalKind, explain};
use domain::refusal::Refusal;

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
    let (kind, text) = explain(refusal, verb, vhost);
    Fault::new(code_of(kind), method_of(verb), text)
}

fn code_of(kind: RefusalKind) -> ReplyCode {
    match kind {
        RefusalKind::AccessRefused => ReplyCode::AccessRefused,
        RefusalKind::NotFound => ReplyCode::NotFound,
        RefusalKind::ResourceLocked => ReplyCode::ResourceLocked,
        RefusalKind::PreconditionFailed => ReplyCode::PreconditionFailed,
        RefusalKind::ChannelError => ReplyCode::ChannelError,
        RefusalKind::NotAllowed => ReplyCode::NotAllowed,
        RefusalKind::NotImplemented => ReplyCode::NotImplemented,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::name::Name;
    use domain::refusal::{ArgumentProblem, Kind};
    use domain::table::Value;

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
                Refusal::QueueLimit { queue: name("q"), queues_max: 2 },
                Verb::DeclareQueue,
                406,
                "PRECONDITION_FAILED - cannot declare queue 'q': queue limit in vhost '/' (2) is \
                 reached",
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
                Refusal::ChannelLimit { user: name("u"), channels_max: 2 },
                Verb::OpenChannel,
                530,
                "NOT_ALLOWED - number of channels opened for user 'u' has reached the maximum \
                 allowed user limit of (2)",
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
