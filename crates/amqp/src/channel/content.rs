//! A message on its way in: a method, a header, and pieces of body in frames of their own. Nearly
//! all messages lie side by side in one read and are handed on where they lie; the others are
//! collected here. Memory grows with what arrived, never with what was announced.

#![deny(clippy::indexing_slicing)]

use broker::operation::{ChannelId, FurtherKeys, Unroutable};
use broker::{Batch, LargeMessage, MessageHead, Persistence};
use domain::dead_letter::Author;

use super::admission::{self, Admitted, Rules};
use crate::reply_code::{Fault, ReplyCode};
use crate::translate::garbled;
use crate::translate::requests::{PUBLISH, Publish};
use crate::wire::frame::{self, Frame, Pattern};
use crate::wire::method::basic;
use crate::wire::properties::{self, ContentHeader};

/// From this size on a body gets a chunk of its own, so that it is laid down only once.
const LARGE_BYTES_MIN: u32 = 32 << 10;

/// What has come of a message so far.
#[derive(Debug, Default)]
pub(crate) enum Content {
    /// Nothing: a method may come.
    #[default]
    Idle,
    /// Its method.
    Announced(Box<Announced>),
    /// Its header and perhaps some of its body.
    Small(Box<Small>),
    /// The same, of a large one.
    Large(Unroutable, Box<LargeMessage>),
}

/// A publish whose header has not come.
#[derive(Debug)]
pub(crate) struct Announced {
    exchange: Box<str>,
    routing_key: Box<[u8]>,
    unroutable: Unroutable,
}

/// A small message whose body has not all come.
#[derive(Debug)]
pub(crate) struct Small {
    publish: Announced,
    persistence: Persistence,
    priority: Option<u8>,
    expiration_ms: Option<u64>,
    properties: Box<[u8]>,
    also: FurtherKeys,
    body_bytes: usize,
    body: Vec<u8>,
}

/// A header and a body that lie whole behind their method.
#[derive(Clone, Copy, Debug)]
struct Adjoining<'a> {
    header: ContentHeader<'a>,
    body: &'a [u8],
    /// What follows them.
    rest: &'a [u8],
}

/// Looks for the header and the whole body of a message at the front of `bytes`, in at most two
/// frames. `None`: they are not there, or not like that, and are to be read frame by frame.
#[inline]
fn adjoining(channel: ChannelId, bytes: &[u8], payload_bytes_max: u32) -> Option<Adjoining<'_>> {
    let (head, rest) = frame::take(bytes, payload_bytes_max).ok()??;
    if head.kind != frame::HEADER || head.channel != channel || head.end != frame::END {
        return None;
    }
    let header = properties::read_header(head.payload).ok()?;
    if header.class != basic::CLASS || header.weight != 0 {
        return None;
    }
    if header.body_bytes == 0 {
        return Some(Adjoining { header, body: &[], rest });
    }
    let (body, rest) = frame::take(rest, payload_bytes_max).ok()??;
    let whole = body.kind == frame::BODY
        && body.channel == channel
        && body.end == frame::END
        && body.payload.len() as u64 == header.body_bytes;
    whole.then_some(Adjoining { header, body: body.payload, rest })
}

/// What messages of a connection are held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds<'a> {
    pub(crate) payload_bytes_max: u32,
    pub(crate) rules: Rules<'a>,
}

/// Takes a publish, told by `method`, and hands it on from where it lies if all of it lies in
/// `rest`; then as many more as follow with the very same method. This is the hot path in.
///
/// Returns what follows; beside a fault, what follows the method at fault.
#[inline]
pub(crate) fn publish<'a>(
    content: &mut Content,
    publish: &Publish<'_>,
    method: &Frame<'_>,
    rest: &'a [u8],
    bounds: Bounds<'_>,
    batch: &mut Batch,
) -> Result<&'a [u8], (Fault, &'a [u8])> {
    let again = Pattern::of(method);
    let mut rest = rest;
    loop {
        let Some(whole) = adjoining(method.channel, rest, bounds.payload_bytes_max) else {
            content.announce(publish);
            return Ok(rest);
        };
        let Admitted { persistence, priority, expiration_ms, copies } =
            admission::check(&whole.header, bounds.rules).map_err(|fault| (fault, rest))?;
        let head = MessageHead {
            persistence,
            exchange: publish.exchange,
            routing_key: publish.routing_key,
            properties: whole.header.properties,
            priority,
            expiration_ms,
            author: Author::Publisher,
        };
        if copies.is_none() {
            batch.publish(method.channel, publish.unroutable, &head, whole.body);
        } else {
            let (properties, also) = admission::kept(head.properties, copies);
            let head = MessageHead { properties: &properties, ..head };
            batch.publish_also(method.channel, publish.unroutable, &head, whole.body, also);
        }
        match again.strip(whole.rest) {
            Some(behind) => rest = behind,
            None => return Ok(whole.rest),
        }
    }
}

impl Content {
    /// A method announces a message.
    fn announce(&mut self, publish: &Publish<'_>) {
        *self = Content::Announced(Box::new(Announced {
            exchange: publish.exchange.into(),
            routing_key: publish.routing_key.into(),
            unroutable: publish.unroutable,
        }));
    }

    /// What is wrong with a method's frame now, if a message is on its way.
    pub(crate) fn refuse_method(&self) -> Result<(), Fault> {
        match self {
            Content::Idle => Ok(()),
            Content::Announced(_) => Err(no_header()),
            Content::Small(_) | Content::Large(..) => Err(no_body()),
        }
    }

    /// A header or a piece of body has come; a message that it completes goes to the batch.
    pub(crate) fn frame(
        &mut self,
        frame: &Frame<'_>,
        rules: Rules<'_>,
        batch: &mut Batch,
    ) -> Result<(), Fault> {
        match (std::mem::take(self), frame.kind) {
            (Content::Idle, _) => {
                let text = "expected method frame, got non method frame instead";
                Err(Fault::new(ReplyCode::UnexpectedFrame, (0, 0), text))
            }
            (Content::Announced(publish), frame::HEADER) => {
                self.header(frame, *publish, rules, batch)
            }
            (Content::Announced(_), _body) => Err(no_header()),
            (Content::Small(small), frame::BODY) => {
                self.small_body(frame.channel, frame.payload, small, batch)
            }
            (Content::Large(unroutable, large), frame::BODY) => {
                self.large_body(frame.channel, frame.payload, unroutable, large, batch)
            }
            (Content::Small(_) | Content::Large(..), _header) => Err(no_body()),
        }
    }

    fn header(
        &mut self,
        frame: &Frame<'_>,
        publish: Announced,
        rules: Rules<'_>,
        batch: &mut Batch,
    ) -> Result<(), Fault> {
        let header = properties::read_header(frame.payload)
            .map_err(|_malformed| garbled::unknown_frame(frame))?;
        if header.class != basic::CLASS {
            let text = format!(
                "expected content header for class 60, got one for class {} instead",
                header.class
            );
            return Err(Fault::new(ReplyCode::UnexpectedFrame, PUBLISH, text));
        }
        if header.weight != 0 {
            return Err(no_header());
        }
        let Admitted { persistence, priority, expiration_ms, copies } =
            admission::check(&header, rules)?;
        let (properties, also) = admission::kept(header.properties, copies);
        let head = MessageHead {
            persistence,
            priority,
            expiration_ms,
            properties: &properties,
            ..publish.head()
        };
        // Admitted bodies are far below 4 GiB.
        let body_bytes = u32::try_from(header.body_bytes).unwrap_or(u32::MAX);
        if body_bytes == 0 {
            batch.publish_also(frame.channel, publish.unroutable, &head, &[], also);
        } else if body_bytes >= LARGE_BYTES_MIN {
            let large = LargeMessage::begin(&head, body_bytes).also(also);
            *self = Content::Large(publish.unroutable, Box::new(large));
        } else {
            *self = Content::Small(Box::new(Small {
                persistence,
                priority,
                expiration_ms,
                properties: properties.into(),
                also,
                body_bytes: body_bytes as usize,
                body: Vec::new(),
                publish,
            }));
        }
        Ok(())
    }

    fn small_body(
        &mut self,
        channel: ChannelId,
        piece: &[u8],
        mut small: Box<Small>,
        batch: &mut Batch,
    ) -> Result<(), Fault> {
        small.body.extend_from_slice(piece);
        let left = small.body_bytes.checked_sub(small.body.len()).ok_or_else(too_much_body)?;
        if left > 0 {
            *self = Content::Small(small);
            return Ok(());
        }
        let small = *small;
        let head = MessageHead {
            persistence: small.persistence,
            priority: small.priority,
            expiration_ms: small.expiration_ms,
            properties: &small.properties,
            ..small.publish.head()
        };
        batch.publish_also(channel, small.publish.unroutable, &head, &small.body, small.also);
        Ok(())
    }

    fn large_body(
        &mut self,
        channel: ChannelId,
        piece: &[u8],
        unroutable: Unroutable,
        mut large: Box<LargeMessage>,
        batch: &mut Batch,
    ) -> Result<(), Fault> {
        if piece.len() as u64 > u64::from(large.missing_bytes()) {
            return Err(too_much_body());
        }
        if large.body(piece) > 0 {
            *self = Content::Large(unroutable, large);
        } else {
            batch.publish_large(channel, unroutable, *large);
        }
        Ok(())
    }
}

impl Announced {
    /// What the method says of the message.
    fn head(&self) -> MessageHead<'_> {
        MessageHead {
            exchange: &self.exchange,
            routing_key: &self.routing_key,
            ..MessageHead::default()
        }
    }
}

fn no_header() -> Fault {
    let text = "expected content header for class 60, got non content header frame instead";
    Fault::new(ReplyCode::UnexpectedFrame, PUBLISH, text)
}

fn no_body() -> Fault {
    let text = "expected content body, got non content body frame instead";
    Fault::new(ReplyCode::UnexpectedFrame, PUBLISH, text)
}

fn too_much_body() -> Fault {
    let text = "the content's body is longer than its header announced";
    Fault::new(ReplyCode::FrameError, PUBLISH, text)
}
