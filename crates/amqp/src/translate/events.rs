//! Events of a virtual host, from the broker's words into frames.

use broker::operation::ChannelId;
use broker::{Chunk, DeliveryRun, Message, Reply};

use crate::wire::field::{LongString, ShortString};
use crate::wire::frame;
use crate::wire::method::{self, basic, channel, confirm, exchange, queue};

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
    content(channel, message, frame_bytes_max, out);
}

/// What `basic.get-ok` says besides the message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Got {
    pub(crate) tag: u64,
    pub(crate) redelivered: bool,
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
    let got = basic::GetOk {
        delivery_tag: got.tag,
        flags: if got.redelivered { basic::GetOk::REDELIVERED } else { 0 },
        exchange: message.exchange.into(),
        routing_key: ShortString(message.routing_key),
        message_count: count(got.remaining),
    };
    method::write(out, channel, &got);
    content(channel, message, frame_bytes_max, out);
}

/// Appends the answer to a `basic.get` that found nothing.
pub(crate) fn got_nothing(channel: ChannelId, out: &mut Vec<u8>) {
    method::write(out, channel, &basic::GetEmpty { reserved_1: ShortString(b"") });
}

/// Bytes of a delivery besides its consumer tag and what lies in the chunk: the two frames of
/// method and header, one of body.
const DELIVERY_OVERHEAD_BYTES: usize = 64;

/// Appends deliveries. This is the hot path out: room is made once, and every message is laid down
/// in a few pieces.
pub(crate) fn delivered(run: &DeliveryRun, frame_bytes_max: u32, out: &mut Vec<u8>) {
    let span = run.chunk.span_bytes(run.first, run.count);
    let tag = run.consumer_tag.as_str();
    out.reserve(span + run.count as usize * (DELIVERY_OVERHEAD_BYTES + tag.len()));
    for offset in 0..run.count {
        let Some(message) = message(&run.chunk, run.first + offset) else { return };
        let delivery_tag = run.first_tag + u64::from(offset);
        deliver(run, delivery_tag, &message, out);
        content(run.channel, &message, frame_bytes_max, out);
    }
}

/// The message at `index`; there is none only if the broker told of one that it has not.
fn message(chunk: &Chunk, index: u32) -> Option<Message<'_>> {
    let message = chunk.message(index);
    debug_assert!(message.is_some(), "an event tells of a message that is not there");
    message
}

/// Appends `basic.deliver`, by hand: it is written once per message.
#[inline]
fn deliver(run: &DeliveryRun, delivery_tag: u64, message: &Message<'_>, out: &mut Vec<u8>) {
    let consumer_tag = short(run.consumer_tag.as_str().as_bytes());
    let exchange = short(message.exchange.as_bytes());
    let routing_key = short(message.routing_key);
    let strings =
        usize::from(consumer_tag.1) + usize::from(exchange.1) + usize::from(routing_key.1);
    // Class, method, three string lengths, delivery tag, flags, and the strings.
    let [_, _, length_high, length_low] = u32::try_from(16 + strings).unwrap_or(0).to_be_bytes();
    let [channel_high, channel_low] = run.channel.to_be_bytes();
    out.extend_from_slice(&[
        frame::METHOD,
        channel_high,
        channel_low,
        0,
        0,
        length_high,
        length_low,
        0,
        60,
        0,
        60,
        consumer_tag.1,
    ]);
    out.extend_from_slice(consumer_tag.0);
    let [t0, t1, t2, t3, t4, t5, t6, t7] = delivery_tag.to_be_bytes();
    let redelivered = u8::from(run.redelivered);
    out.extend_from_slice(&[t0, t1, t2, t3, t4, t5, t6, t7, redelivered, exchange.1]);
    out.extend_from_slice(exchange.0);
    out.push(routing_key.1);
    out.extend_from_slice(routing_key.0);
    out.push(frame::END);
}

/// A short string's bytes and their number.
#[inline]
fn short(bytes: &[u8]) -> (&[u8], u8) {
    let len = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    (bytes.get(..len.into()).unwrap_or_default(), len)
}

/// Appends the header and the body of a message, in frames no larger than agreed.
#[inline]
fn content(channel: ChannelId, message: &Message<'_>, frame_bytes_max: u32, out: &mut Vec<u8>) {
    // A property list that alone is larger than a frame can't be cut; what came in one frame of
    // another connection goes out in one, whatever was agreed here.
    let [c1, c0] = channel.to_be_bytes();
    let properties = u32::try_from(message.properties.len()).unwrap_or(u32::MAX);
    let [l3, l2, l1, l0] = (12 + properties).to_be_bytes();
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
    out.extend_from_slice(message.properties);
    out.push(frame::END);
    let piece_bytes_max = (frame_bytes_max - frame::OVERHEAD_BYTES) as usize;
    for piece in message.body.chunks(piece_bytes_max) {
        let [p3, p2, p1, p0] = u32::try_from(piece.len()).unwrap_or(u32::MAX).to_be_bytes();
        out.extend_from_slice(&[frame::BODY, c1, c0, p3, p2, p1, p0]);
        out.extend_from_slice(piece);
        out.push(frame::END);
    }
}
