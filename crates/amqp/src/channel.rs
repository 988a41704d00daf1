//! A channel as its connection keeps it: whether it takes requests, whether the client hears what
//! the broker says of it, and the message that is on its way in. Channels themselves live in the
//! broker, which counts, remembers and answers in order; here is only what the wire needs.
//!
//! ```text
//!              channel.open                    channel.close of the client, or a fault seen here
//!   (free) ───────────────────▶ Open ────────────────────────────────────────────▶ Leaving
//!                                │                                                   │
//!                                │ the broker refused:                the broker has closed it:
//!                                │ channel.close is written           close-ok, or channel.close
//!                                ▼                                                   │
//!                              Failed ◀──────────────────────────────────────────────┤
//!                                │ channel.close-ok                                  │ close-ok
//!                                ▼                                                   ▼
//!                              (free)                                              (free)
//! ```

#![deny(clippy::indexing_slicing)]

pub(crate) mod content;

mod admission;
mod copies;
pub(crate) mod reply_to;

pub(crate) use admission::Rules;

use broker::Batch;
use broker::operation::{Answer, ChannelId, Operation};

use self::content::Content;
use self::reply_to::Replies;
use crate::reply_code::Fault;
use crate::wire::method::{self, channel};

/// A channel that is open, or not yet free again.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    state: State,
    /// The broker has opened it and not yet ended it. Whatever it says before that is about a
    /// channel that had the number before.
    heard: bool,
    /// Its consumer of direct replies.
    pub(crate) replies: Option<Replies>,
    /// The message that is on its way in.
    pub(crate) content: Content,
}

#[derive(Debug, Default)]
enum State {
    /// Requests are taken.
    #[default]
    Open,
    /// The broker was asked to close it and will answer.
    Leaving {
        /// What went wrong, to be told then.
        fault: Option<Box<Fault>>,
        /// Whether the client has asked for the close.
        asked: bool,
    },
    /// `channel.close` was written; the client's close-ok frees the number.
    Failed {
        /// Whether the broker knows that it is closed.
        closed: bool,
    },
}

impl Channel {
    /// Whether requests are taken; else everything but the end of the close is passed over.
    #[inline]
    pub(crate) fn takes_requests(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Whether what the broker says is for the client.
    #[inline]
    pub(crate) fn is_heard(&self) -> bool {
        self.heard
    }

    /// Something was wrong with a request that never reached the broker. What was asked before is
    /// answered first; then the client is told.
    pub(crate) fn fail(&mut self, channel: ChannelId, fault: Fault, batch: &mut Batch) {
        self.content = Content::Idle;
        self.state = State::Leaving { fault: Some(Box::new(fault)), asked: false };
        batch.push(Operation::CloseChannel { channel, answer: Answer::Wanted });
    }

    /// The client sent `channel.close`.
    pub(crate) fn close(&mut self, channel: ChannelId, batch: &mut Batch, out: &mut Vec<u8>) {
        match &mut self.state {
            State::Open => {
                self.content = Content::Idle;
                self.state = State::Leaving { fault: None, asked: true };
                batch.push(Operation::CloseChannel { channel, answer: Answer::Wanted });
            }
            State::Leaving { asked, .. } => *asked = true,
            State::Failed { .. } => {
                // The two closes crossed: this one is agreed to, ours is still to be agreed to.
                self.close_in_broker(channel, batch);
                method::write(out, channel, &channel::CloseOk {});
            }
        }
    }

    /// The client sent `channel.close-ok`.
    ///
    /// Returns whether the number is free again.
    pub(crate) fn close_ok(&mut self, channel: ChannelId, batch: &mut Batch) -> bool {
        self.close_in_broker(channel, batch);
        matches!(self.state, State::Failed { .. })
    }

    /// Of a failed channel that the broker only refused a request of.
    fn close_in_broker(&mut self, channel: ChannelId, batch: &mut Batch) {
        if let State::Failed { closed } = &mut self.state
            && !std::mem::replace(closed, true)
        {
            batch.push(Operation::CloseChannel { channel, answer: Answer::Unwanted });
        }
    }

    /// The broker has opened it.
    pub(crate) fn opened(&mut self) {
        self.heard = true;
    }

    /// The broker refused a request: the client is told, and hears nothing more.
    pub(crate) fn refused(&mut self, channel: ChannelId, fault: &Fault, out: &mut Vec<u8>) {
        self.heard = false;
        self.content = Content::Idle;
        write_close(channel, fault, out);
        let (closed, asked) = match self.state {
            State::Open | State::Failed { .. } => (false, false),
            State::Leaving { asked, .. } => (true, asked),
        };
        if asked {
            method::write(out, channel, &channel::CloseOk {});
        }
        self.state = State::Failed { closed };
    }

    /// The broker has closed it, as it was asked to.
    ///
    /// Returns whether the number is free again.
    pub(crate) fn closed(&mut self, channel: ChannelId, out: &mut Vec<u8>) -> bool {
        let State::Leaving { fault, asked } = &mut self.state else { return false };
        self.heard = false;
        let (fault, asked) = (fault.take(), *asked);
        if let Some(fault) = &fault {
            write_close(channel, fault, out);
        }
        if asked {
            method::write(out, channel, &channel::CloseOk {});
        }
        self.state = State::Failed { closed: true };
        fault.is_none()
    }
}

fn write_close(channel: ChannelId, fault: &Fault, out: &mut Vec<u8>) {
    let close = channel::Close {
        reply_code: fault.code.number(),
        reply_text: fault.text.as_str().into(),
        class_id: fault.method.0,
        method_id: fault.method.1,
    };
    method::write(out, channel, &close);
}

/// The channels of a connection, by number.
#[derive(Debug, Default)]
pub(crate) struct Channels(Vec<Option<Box<Channel>>>);

impl Channels {
    /// The channel of that number, unless it is free.
    #[inline]
    pub(crate) fn get(&mut self, number: ChannelId) -> Option<&mut Channel> {
        self.0.get_mut(usize::from(number))?.as_deref_mut()
    }

    /// The channel of that number, if the client hears what the broker says of it.
    #[inline]
    pub(crate) fn heard(&mut self, number: ChannelId) -> Option<&mut Channel> {
        self.get(number).filter(|channel| channel.is_heard())
    }

    /// Takes a free number into use.
    pub(crate) fn open(&mut self, number: ChannelId) {
        let index = usize::from(number);
        if self.0.len() <= index {
            self.0.resize_with(index + 1, || None);
        }
        if let Some(place) = self.0.get_mut(index) {
            *place = Some(Box::default());
        }
    }

    /// Frees a number.
    pub(crate) fn free(&mut self, number: ChannelId) {
        if let Some(place) = self.0.get_mut(usize::from(number)) {
            *place = None;
        }
    }
}
