//! A connection that is open: its channels, what comes in on them, what goes out.

#![deny(clippy::indexing_slicing)]

use std::fmt;

use broker::operation::{CancelNotify, Operation, SessionTraits, Verb};
use broker::{Batch, Closing, Event, LoginRefusal, Reply};

use super::handshake::{Client, Gate, Limits};
use super::heartbeat::Heartbeat;
use super::throttle::Throttle;
use crate::channel::content::{self, Bounds};
use crate::channel::reply_to::{self, Replies};
use crate::channel::{Channel, Channels, Rules};
use crate::reply_code::{Fault, MethodId, ReplyCode, Scope};
use crate::translate::requests::{self, PUBLISH, Request};
use crate::translate::{events, garbled, refusals};
use crate::wire::frame::{self, Frame, OVERHEAD_BYTES};
use crate::wire::method::{self, access, basic, channel, connection};

const OPEN_CHANNEL: MethodId = (channel::CLASS, channel::Open::ID);
const CLOSE_CHANNEL: MethodId = (channel::CLASS, channel::Close::ID);
const CLOSE_CHANNEL_OK: MethodId = (channel::CLASS, channel::CloseOk::ID);

/// An open connection.
#[derive(Debug)]
pub(crate) struct Open {
    client: Client,
    vhost: String,
    limits: Limits,
    message_bytes_max: u32,
    channels: Channels,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) throttle: Throttle,
}

/// What comes after a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next<'a> {
    /// The next frame, in these bytes.
    Frame(&'a [u8]),
    /// The client has a new password, which is to be checked.
    Secret(&'a [u8]),
    /// The client wants to close the connection.
    Close,
}

/// What an event means for the connection.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// It goes on.
    Fine,
    /// A request was refused with the connection's end.
    Fault(Fault),
    /// The broker wants it gone.
    Closing(Closing),
    /// The session has ended.
    Ended,
}

/// The connection in the log: by its own name, or by its user and virtual host.
impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.client.connection_name {
            Some(name) => write!(f, "{name:?} ({} in {})", self.client.user, self.vhost),
            None => write!(f, "{} in {}", self.client.user, self.vhost),
        }
    }
}

impl Open {
    pub(crate) fn new(
        client: Client,
        limits: Limits,
        vhost: String,
        message_bytes_max: u32,
    ) -> Open {
        let heartbeat = Heartbeat::every(limits.heartbeat_seconds);
        let channels = Channels::default();
        let throttle = Throttle::new(client.blocked_notify);
        Open { client, vhost, limits, message_bytes_max, channels, heartbeat, throttle }
    }

    /// What the virtual host must know of the client.
    pub(crate) fn traits(&self) -> SessionTraits {
        let cancel_notify =
            if self.client.cancel_notify { CancelNotify::Heard } else { CancelNotify::Unheard };
        SessionTraits { cancel_notify, ..SessionTraits::default() }
    }

    /// Takes a frame, and of the bytes that follow as much as belongs to it.
    #[inline]
    pub(crate) fn frame<'a>(
        &mut self,
        frame: &Frame<'a>,
        rest: &'a [u8],
        gate: &mut dyn Gate,
        batch: &mut Batch,
        out: &mut Vec<u8>,
    ) -> Result<Next<'a>, Fault> {
        garbled::check_end(frame)?;
        if frame.channel == 0 {
            return Ok(control(frame)?.unwrap_or(Next::Frame(rest)));
        }
        match frame.kind {
            frame::METHOD => return self.method(frame, rest, gate, batch, out).map(Next::Frame),
            frame::HEADER | frame::BODY => self.content(frame, batch)?,
            frame::HEARTBEAT => return Err(garbled::misplaced_frame(frame)),
            _unknown => return Err(garbled::unknown_frame(frame)),
        }
        Ok(Next::Frame(rest))
    }

    #[inline]
    fn method<'a>(
        &mut self,
        frame: &Frame<'a>,
        rest: &'a [u8],
        gate: &mut dyn Gate,
        batch: &mut Batch,
        out: &mut Vec<u8>,
    ) -> Result<&'a [u8], Fault> {
        let number = frame.channel;
        let (id, fields) =
            method::split(frame.payload).ok_or_else(|| garbled::unknown_frame(frame))?;
        let Some(channel) = self.channels.get(number) else {
            self.open_channel(number, id, fields, batch)?;
            return Ok(rest);
        };
        if !channel.takes_requests() {
            self.unfinished_close(number, id, batch, out)?;
            return Ok(rest);
        }
        channel.content.refuse_method()?;
        let outcome = match id {
            PUBLISH => {
                let publish = requests::publish(number, fields)?;
                self.throttle.published(out);
                let payload_bytes_max = self.limits.frame_bytes_max - OVERHEAD_BYTES;
                let Channel { content, replies, .. } = channel;
                let rules = Rules {
                    message_bytes_max: self.message_bytes_max,
                    user: self.client.publisher(),
                    replies: replies.as_ref(),
                };
                let bounds = Bounds { payload_bytes_max, rules };
                return match content::publish(content, &publish, frame, rest, bounds, batch) {
                    Ok(rest) => Ok(rest),
                    Err((fault, rest)) => self.fail_channel(number, fault, batch).map(|()| rest),
                };
            }
            CLOSE_CHANNEL => {
                whole::<channel::Close<'_>>(id, fields)?;
                channel.close(number, batch, out);
                Ok(())
            }
            OPEN_CHANNEL => Err(second_open()),
            _request => request(number, id, fields, channel, gate, batch, out),
        };
        outcome.or_else(|fault| self.fail_channel(number, fault, batch))?;
        Ok(rest)
    }

    /// A fault of a channel stays there; one of the connection goes on up.
    fn fail_channel(&mut self, number: u16, fault: Fault, batch: &mut Batch) -> Result<(), Fault> {
        match (fault.code.scope(), self.channels.get(number)) {
            (Scope::Channel, Some(channel)) => {
                channel.fail(number, fault, batch);
                Ok(())
            }
            _connection => Err(fault),
        }
    }

    /// The only method for a free number is `channel.open`.
    fn open_channel(
        &mut self,
        number: u16,
        id: MethodId,
        fields: &[u8],
        batch: &mut Batch,
    ) -> Result<(), Fault> {
        if id != OPEN_CHANNEL {
            return Err(Fault::new(ReplyCode::ChannelError, id, "expected 'channel.open'"));
        }
        whole::<channel::Open<'_>>(id, fields)?;
        let channel_max = self.limits.channel_max;
        if number > channel_max {
            let text = format!(
                "number of channels opened ({channel_max}) has reached the negotiated channel_max \
                 ({channel_max})"
            );
            return Err(Fault::new(ReplyCode::NotAllowed, id, text));
        }
        self.channels.open(number);
        batch.push(Operation::OpenChannel { channel: number });
        Ok(())
    }

    /// A channel that is being closed takes only the close's own methods.
    fn unfinished_close(
        &mut self,
        number: u16,
        id: MethodId,
        batch: &mut Batch,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let Some(channel) = self.channels.get(number) else { return Ok(()) };
        match id {
            OPEN_CHANNEL => return Err(second_open()),
            CLOSE_CHANNEL => channel.close(number, batch, out),
            CLOSE_CHANNEL_OK if channel.close_ok(number, batch) => self.channels.free(number),
            _passed_over => {}
        }
        Ok(())
    }

    /// A header or a piece of body that does not lie behind its method.
    fn content(&mut self, frame: &Frame<'_>, batch: &mut Batch) -> Result<(), Fault> {
        let Some(channel) = self.channels.get(frame.channel) else {
            let text = "expected method frame, got non method frame instead";
            return Err(Fault::new(ReplyCode::UnexpectedFrame, (0, 0), text));
        };
        if !channel.takes_requests() {
            return Ok(());
        }
        let rules = Rules {
            message_bytes_max: self.message_bytes_max,
            user: self.client.publisher(),
            replies: channel.replies.as_ref(),
        };
        let outcome = channel.content.frame(frame, rules, batch);
        outcome.or_else(|fault| self.fail_channel(frame.channel, fault, batch))
    }

    /// Who logged in.
    pub(crate) fn user(&self) -> &str {
        &self.client.user
    }

    /// A new secret counts if the user could log in with it.
    pub(crate) fn secret_checked(
        &self,
        verdict: Result<(), LoginRefusal>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        match verdict {
            Ok(()) => {
                tracing::info!(connection = %self, "secret updated");
                method::write(out, 0, &connection::UpdateSecretOk {});
                Ok(())
            }
            Err(refusal) => {
                tracing::warn!(connection = %self, %refusal, "secret not updated");
                let id = (connection::CLASS, connection::UpdateSecret::ID);
                let text = "New secret was refused by one of the backends";
                Err(Fault::new(ReplyCode::NotAllowed, id, text))
            }
        }
    }

    /// Takes what the virtual host says; frames go to `out`.
    pub(crate) fn event(&mut self, event: &Event, out: &mut Vec<u8>) -> Verdict {
        let frame_bytes_max = self.limits.frame_bytes_max;
        match event {
            Event::Delivered(run) => {
                if self.channels.heard(run.channel).is_some() {
                    events::delivered(run, frame_bytes_max, out);
                }
            }
            Event::Got { channel, tag, redelivered, counts, remaining, chunk, index } => {
                if self.channels.heard(*channel).is_some()
                    && let Some(message) = chunk.message(*index)
                {
                    let (tag, redelivered, remaining) = (*tag, *redelivered, *remaining);
                    let got = events::Got { tag, redelivered, counts: *counts, remaining };
                    events::got(*channel, got, &message, frame_bytes_max, out);
                }
            }
            Event::GotNothing { channel } => {
                if self.channels.heard(*channel).is_some() {
                    events::got_nothing(*channel, out);
                }
            }
            Event::Confirmed { channel, first, last } => {
                if self.channels.heard(*channel).is_some() {
                    events::confirmed(*channel, *first, *last, out);
                }
            }
            Event::Nacked { channel, first, last } => {
                if self.channels.heard(*channel).is_some() {
                    events::nacked(*channel, *first, *last, out);
                }
            }
            Event::Returned { channel, chunk, index } => {
                if self.channels.heard(*channel).is_some()
                    && let Some(message) = chunk.message(*index)
                {
                    events::returned(*channel, &message, frame_bytes_max, out);
                }
            }
            Event::ConsumerCancelled { channel, consumer_tag } => {
                if self.client.cancel_notify && self.channels.heard(*channel).is_some() {
                    let consumer_tag = consumer_tag.as_str().into();
                    let flags = basic::Cancel::NO_WAIT;
                    method::write(out, *channel, &basic::Cancel { consumer_tag, flags });
                }
            }
            Event::Reply { channel, reply } => self.reply(*channel, reply, out),
            Event::Refused { channel, verb, refusal } => {
                return self.refused(*channel, *verb, refusal, out);
            }
            // Nothing of what this protocol asks is answered so.
            Event::LeaseAnswer(_)
            | Event::RemovalAnswer(_)
            | Event::DoneAnswer(_)
            | Event::Taken { .. } => {}
            Event::Closing(closing) => return Verdict::Closing(closing.clone()),
            Event::Ended => return Verdict::Ended,
        }
        Verdict::Fine
    }

    fn reply(&mut self, number: u16, reply: &Reply, out: &mut Vec<u8>) {
        let Some(channel) = self.channels.get(number) else { return };
        if *reply == Reply::ChannelOpened {
            channel.opened();
        }
        if !channel.is_heard() {
            return;
        }
        if *reply != Reply::ChannelClosed {
            events::reply(number, reply, out);
        } else if channel.closed(number, out) {
            self.channels.free(number);
        }
    }

    fn refused(
        &mut self,
        number: u16,
        verb: Verb,
        refusal: &domain::refusal::Refusal,
        out: &mut Vec<u8>,
    ) -> Verdict {
        let Some(channel) = self.channels.get(number) else { return Verdict::Fine };
        if !channel.is_heard() && verb != Verb::OpenChannel {
            return Verdict::Fine;
        }
        let fault = refusals::fault(refusal, verb, &self.vhost);
        match fault.code.scope() {
            Scope::Channel => {
                tracing::warn!(
                    user = self.client.user,
                    vhost = self.vhost,
                    channel = number,
                    error = fault.text,
                    "AMQP channel fails"
                );
                self.channels.get(number).into_iter().for_each(|channel| {
                    channel.refused(number, &fault, out);
                });
                Verdict::Fine
            }
            Scope::Connection => Verdict::Fault(fault),
        }
    }
}

/// The number is not free, or not yet free again.
fn second_open() -> Fault {
    Fault::new(ReplyCode::ChannelError, OPEN_CHANNEL, "second 'channel.open' seen")
}

/// A request of an open channel: for the virtual host, or answered here where it asks for nothing.
fn request(
    number: u16,
    id: MethodId,
    fields: &[u8],
    channel: &mut Channel,
    gate: &mut dyn Gate,
    batch: &mut Batch,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    match requests::read(number, id, fields)? {
        Request::Operation(operation) => {
            let operation = reply_to::consumed(operation, |prefix| gate.make_name(prefix));
            Replies::follow(&mut channel.replies, &operation);
            batch.push(operation);
        }
        Request::Flow => {
            method::write(out, number, &channel::FlowOk { flags: channel::FlowOk::ACTIVE });
        }
        Request::Ticket => method::write(out, number, &access::RequestOk { ticket: 1 }),
    }
    Ok(())
}

/// Frames of channel 0 are about the connection itself.
///
/// Returns what the client wants, if that is not done with the frame itself.
fn control<'a>(frame: &Frame<'a>) -> Result<Option<Next<'a>>, Fault> {
    match frame.kind {
        frame::METHOD => {}
        frame::HEARTBEAT if frame.payload.is_empty() => return Ok(None),
        frame::HEADER | frame::BODY => return Err(garbled::misplaced_frame(frame)),
        _unknown => return Err(garbled::unknown_frame(frame)),
    }
    let (id, fields) = method::split(frame.payload).ok_or_else(|| garbled::unknown_frame(frame))?;
    match id {
        (connection::CLASS, connection::Close::ID) => {
            whole::<connection::Close<'_>>(id, fields)?;
            Ok(Some(Next::Close))
        }
        (connection::CLASS, connection::UpdateSecret::ID) => {
            let update: connection::UpdateSecret<'_> = whole(id, fields)?;
            Ok(Some(Next::Secret(update.new_secret.0)))
        }
        _unexpected => {
            let text = "unexpected method in connection state running";
            Err(Fault::new(ReplyCode::ChannelError, id, text))
        }
    }
}

fn whole<'a, M: method::Method<'a>>(id: MethodId, fields: &'a [u8]) -> Result<M, Fault> {
    method::read(fields).map_err(|malformed| garbled::fields(id, fields, malformed))
}
