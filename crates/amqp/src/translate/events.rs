//! Events of a virtual host, from the broker's words into frames.

use broker::operation::ChannelId;
use broker::{DeliveryRun, Message, Reply};
use domain::properties::{Edit, Expiration, Properties};
use domain::run::Counts;
use domain::table::{Table, Value};

use crate::wire::field::{LongString, ShortString};
use crate::wire::frame;
use crate::wire::method::{self, basic, channel, confirm, exchange, queue, tx};

/// The code and the text of a returned message (§1.1, `no-route`).
const NO_ROUTE: (u16, &str) = (312, "NO_ROUTE");

/// Appends the answer to a request.
pub(crate) fn reply(channel: ChannelId, reply: &Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::ChannelOpened => {
            method::write(out, channel, &channel::OpenOk { reserved_1: LongString(b"") });
        }
        Reply::ChannelClosed => method::write(out, channel, &channel::CloseOk {}),
        Reply::ConfirmsSelected => method::write(out, channel, &confirm::SelectOk {}),
        Reply::TransactionsSelected => method::write(out, channel, &tx::SelectOk {}),
        Reply::Committed => method::write(out, channel, &tx::CommitOk {}),
        Reply::RolledBack => method::write(out, channel, &tx::RollbackOk {}),
        Reply::PrefetchSet => method::write(out, channel, &basic::QosOk {}),
        Reply::Consuming { consumer_tag } => {
            let consumer_tag = consumer_tag.as_str().into();
            method::write(out, channel, &basic::ConsumeOk { consumer_tag });
        }
        Reply::Cancelled { consumer_tag } => {
            let consumer_tag = consumer_tag.as_str().into();
            method::write(out, channel, &basic::CancelOk { consumer_tag });
        }
        Reply::Recovered => method::write(out, channel, &basic::RecoverOk {}),
        Reply::ExchangeDeclared => method::write(out, channel, &exchange::DeclareOk {}),
        Reply::ExchangeDeleted => method::write(out, channel, &exchange::DeleteOk {}),
        Reply::QueueDeclared { queue, messages, consumers } => {
            let declared = queue::DeclareOk {
                queue: queue.as_str().into(),
                message_count: count(*messages),
                consumer_count: *consumers,
            };
            method::write(out, channel, &declared);
        }
        Reply::QueueDeleted { messages } => {
            method::write(out, channel, &queue::DeleteOk { message_count: count(*messages) });
        }
        Reply::QueuePurged { messages } => {
            method::write(out, channel, &queue::PurgeOk { message_count: count(*messages) });
        }
        Reply::QueueBound => method::write(out, channel, &queue::BindOk {}),
        Reply::QueueUnbound => method::write(out, channel, &queue::UnbindOk {}),
        Reply::ExchangeBound => method::write(out, channel, &exchange::BindOk {}),
        Reply::ExchangeUnbound => method::write(out, channel, &exchange::UnbindOk {}),
    }
}

/// A number of messages, where the wire has room for four billion only.
fn count(messages: u64) -> u32 {
    u32::try_from(messages).unwrap_or(u32::MAX)
}

/// Appends the confirm of `first..=last`; all before `first` are confirmed already.
pub(crate) fn confirmed(channel: ChannelId, first: u64, last: u64, out: &mut Vec<u8>) {
    let flags = if first == last { 0 } else { basic::Ack::MULTIPLE };
    method::write(out, channel, &basic::Ack { delivery_tag: last, flags });
}

/// Appends the refusal of each of `first..=last`. Not of several at once: those before them may
/// still be on their way to the disk.
pub(crate) fn nacked(channel: ChannelId, first: u64, last: u64, out: &mut Vec<u8>) {
    for delivery_tag in first..=last {
        method::write(out, channel, &basic::Nack { delivery_tag, flags: 0 });
    }
}

/// Appends a message that comes back to its publisher.
pub(crate) fn returned(
    channel: ChannelId,
    message: &Message<'_>,
    frame_bytes_max: u32,
    out: &mut Vec<u8>,
) {
    let returned = basic::Return {
        reply_code: NO_ROUTE.0,
        reply_text: NO_ROUTE.1.into(),
        exchange: message.exchange.into(),
        routing_key: ShortString(message.routing_key),
    };
    method::write(out, channel, &returned);
    content(channel, message, None, frame_bytes_max, out);
}

/// What `basic.get-ok` says besides the message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Got {
    pub(crate) tag: u64,
    pub(crate) redelivered: bool,
    pub(crate) counts: Option<Counts>,
    pub(crate) remaining: u64,
}

/// Appends the answer to a `basic.get` that found something.
pub(crate) fn got(
    channel: ChannelId,
    got: Got,
    message: &Message<'_>,
    frame_bytes_max: u32,
    out: &mut Vec<u8>,
) {
    let counts = got.counts;
    let got = basic::GetOk {
        delivery_tag: got.tag,
        flags: if got.redelivered { basic::GetOk::REDELIVERED } else { 0 },
        exchange: message.exchange.into(),
        routing_key: ShortString(message.routing_key),
        message_count: count(got.remaining),
    };
    method::write(out, channel, &got);
    content(channel, message, counts, frame_bytes_max, out);
}

/// Appends the answer to a `basic.get` that found nothing.
pub(crate) fn got_nothing(channel: ChannelId, out: &mut Vec<u8>) {
    method::write(out, channel, &basic::GetEmpty { reserved_1: ShortString(b"") });
}

/// Bytes of a delivery besides its consumer tag and what lies in the chunk: the two frames of
/// method and header, one of body.
const DELIVERY_OVERHEAD_BYTES: usize = 64;

/// Appends deliveries. This is the hot path out: room is made once, and a method that differs from
/// the one before it only in its tag is not made anew.
pub(crate) fn delivered(run: &DeliveryRun, frame_bytes_max: u32, out: &mut Vec<u8>) {
    let span = run.chunk.span_bytes(run.first, run.count);
    let tag = run.consumer_tag.as_str();
    out.reserve(span + run.count as usize * (DELIVERY_OVERHEAD_BYTES + tag.len()));
    let mut method = Vec::new();
    let mut route: Option<(&str, &[u8])> = None;
    for offset in 0..run.count {
        let message = run.chunk.message(run.first + offset);
        debug_assert!(message.is_some(), "an event tells of a message that is not there");
        let Some(message) = message else { return };
        let delivery_tag = run.first_tag + u64::from(offset);
        if route == Some((message.exchange, message.routing_key)) {
            set_delivery_tag(&mut method, tag.len(), delivery_tag);
        } else {
            route = Some((message.exchange, message.routing_key));
            method.clear();
            let deliver = basic::Deliver {
                consumer_tag: tag.into(),
                delivery_tag,
                flags: if run.redelivered { basic::Deliver::REDELIVERED } else { 0 },
                exchange: message.exchange.into(),
                routing_key: ShortString(message.routing_key),
            };
            method::write(&mut method, run.channel, &deliver);
        }
        out.extend_from_slice(&method);
        content(run.channel, &message, run.counts, frame_bytes_max, out);
    }
}

/// Writes another tag into a frame with `basic.deliver`: behind class, method and consumer tag.
fn set_delivery_tag(deliver: &mut [u8], consumer_tag_bytes: usize, delivery_tag: u64) {
    let at = frame::PREFIX_BYTES + 5 + consumer_tag_bytes;
    if let Some(place) = deliver.get_mut(at..at + 8) {
        place.copy_from_slice(&delivery_tag.to_be_bytes());
    }
}

/// The properties of a message that came back to a queue that counts (RabbitMQ: quorum queues).
fn with_counts(properties: &[u8], counts: Counts) -> Vec<u8> {
    let mut with = Table::default();
    with.push("x-delivery-count", Value::I64(counts.failures.into()));
    with.push("x-acquired-count", Value::I64(counts.acquisitions.into()));
    let edit = Edit { without: &[], with, expiration: Expiration::Kept };
    // They were checked when they came in; damaged ones stay as they are.
    Properties(properties).edit(&edit).unwrap_or_else(|_damaged| properties.to_vec())
}

/// Appends the header and the body of a message, in frames no larger than agreed.
#[inline]
fn content(
    channel: ChannelId,
    message: &Message<'_>,
    counts: Option<Counts>,
    frame_bytes_max: u32,
    out: &mut Vec<u8>,
) {
    let counted = counts.map(|counts| with_counts(message.properties, counts));
    let properties = counted.as_deref().unwrap_or(message.properties);
    // A property list that alone is larger than a frame can't be cut; what came in one frame of
    // another connection goes out in one, whatever was agreed here.
    let [c1, c0] = channel.to_be_bytes();
    let properties_bytes = u32::try_from(properties.len()).unwrap_or(u32::MAX);
    let [l3, l2, l1, l0] = (12 + properties_bytes).to_be_bytes();
    let [s7, s6, s5, s4, s3, s2, s1, s0] = (message.body.len() as u64).to_be_bytes();
    out.extend_from_slice(&[
        frame::HEADER,
        c1,
        c0,
        l3,
        l2,
        l1,
        l0,
        0,
        60,
        0,
        0,
        s7,
        s6,
        s5,
        s4,
        s3,
        s2,
        s1,
        s0,
    ]);
    out.extend_from_slice(properties);
    out.push(frame::END);
    let piece_bytes_max = (frame_bytes_max - frame::OVERHEAD_BYTES) as usize;
    for piece in message.body.chunks(piece_bytes_max) {
        let [p3, p2, p1, p0] = u32::try_from(piece.len()).unwrap_or(u32::MAX).to_be_bytes();
        out.extend_from_slice(&[frame::BODY, c1, c0, p3, p2, p1, p0]);
        out.extend_from_slice(piece);
        out.push(frame::END);
    }
}
