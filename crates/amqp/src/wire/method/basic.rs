//! Class 60: messages.

#![expect(missing_docs, reason = "the fields and flags have the specification's names")]

use domain::table::Table;

use crate::wire::field::ShortString;

methods! {
    60 "basic"
    /// Limits unsettled deliveries.
    10 "qos" Qos { prefetch_size: u32, prefetch_count: u16, flags: u8 } flags { GLOBAL = 0 }
    /// Done.
    11 "qos-ok" QosOk {}
    /// Starts a consumer.
    20 "consume" Consume<'a> {
        ticket: u16,
        queue: ShortString<'a>,
        consumer_tag: ShortString<'a>,
        flags: u8,
        arguments: Table,
    } flags { NO_LOCAL = 0, NO_ACK = 1, EXCLUSIVE = 2, NO_WAIT = 3 }
    /// Started under this tag.
    21 "consume-ok" ConsumeOk<'a> { consumer_tag: ShortString<'a> }
    /// Ends a consumer.
    30 "cancel" Cancel<'a> { consumer_tag: ShortString<'a>, flags: u8 } flags { NO_WAIT = 0 }
    /// Done.
    31 "cancel-ok" CancelOk<'a> { consumer_tag: ShortString<'a> }
    /// Publishes the content that follows.
    40 "publish" Publish<'a> {
        ticket: u16,
        exchange: ShortString<'a>,
        routing_key: ShortString<'a>,
        flags: u8,
    } flags { MANDATORY = 0, IMMEDIATE = 1 }
    /// The content that follows comes back to its publisher.
    50 "return" Return<'a> {
        reply_code: u16,
        reply_text: ShortString<'a>,
        exchange: ShortString<'a>,
        routing_key: ShortString<'a>,
    }
    /// The content that follows goes to a consumer.
    60 "deliver" Deliver<'a> {
        consumer_tag: ShortString<'a>,
        delivery_tag: u64,
        flags: u8,
        exchange: ShortString<'a>,
        routing_key: ShortString<'a>,
    } flags { REDELIVERED = 0 }
    /// Asks for one message.
    70 "get" Get<'a> { ticket: u16, queue: ShortString<'a>, flags: u8 } flags { NO_ACK = 0 }
    /// It is the content that follows.
    71 "get-ok" GetOk<'a> {
        delivery_tag: u64,
        flags: u8,
        exchange: ShortString<'a>,
        routing_key: ShortString<'a>,
        message_count: u32,
    } flags { REDELIVERED = 0 }
    /// There is none.
    72 "get-empty" GetEmpty<'a> { reserved_1: ShortString<'a> }
    /// Settles deliveries, or confirms publishes.
    80 "ack" Ack { delivery_tag: u64, flags: u8 } flags { MULTIPLE = 0 }
    /// Refuses a delivery.
    90 "reject" Reject { delivery_tag: u64, flags: u8 } flags { REQUEUE = 0 }
    /// Returns all unsettled deliveries, without an answer.
    100 "recover-async" RecoverAsync { flags: u8 } flags { REQUEUE = 0 }
    /// Returns all unsettled deliveries.
    110 "recover" Recover { flags: u8 } flags { REQUEUE = 0 }
    /// Done.
    111 "recover-ok" RecoverOk {}
    /// Refuses deliveries (RabbitMQ).
    120 "nack" Nack { delivery_tag: u64, flags: u8 } flags { MULTIPLE = 0, REQUEUE = 1 }
}
