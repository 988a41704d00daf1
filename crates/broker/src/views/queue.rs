//! A queue as it was at some moment.

use std::sync::Arc;

use domain::name::Name;
use domain::queue::QueueDeclaration;
use domain::queue::settings::QueueType;

use super::counts::MessageCounts;
use super::lives::MessageLives;
use crate::connections::Connection;

/// A queue.
#[derive(Clone, Debug)]
pub struct QueueView {
    /// Its name.
    pub name: Name,
    /// What it was declared with.
    pub declaration: Arc<QueueDeclaration>,
    /// Its type.
    pub queue_type: QueueType,
    /// Messages that could be delivered.
    pub ready: u64,
    /// Messages delivered and not settled, and those that were given back for later.
    pub unacked: u64,
    /// Of these: how many were given back for later, and wait until their delay is over.
    pub delayed: u64,
    /// Bytes of ready bodies; known only where they are limited.
    pub ready_bytes: Option<u64>,
    /// Done messages that it tells of, and what that takes of the memory, in bytes; `None`: it was not
    /// declared for that.
    pub done: Option<DoneTotals>,
    /// Its consumers.
    pub consumers: u32,
    /// How many of its consumers have room for more.
    pub consumers_with_room: u32,
    /// The tag of the one that consumes alone, of its own will.
    pub exclusive_consumer_tag: Option<Name>,
    /// The one that is served, where only one is.
    pub single_active_consumer: Option<ActiveConsumer>,
    /// The connection that an exclusive queue belongs to.
    pub owner: Option<Arc<Connection>>,
    /// How long the next message to go has waited, in milliseconds; counted anew from a restart.
    pub oldest_ms: Option<u64>,
    /// How long nothing has happened to its messages, in milliseconds; `None`: nothing ever did.
    pub idle_ms: Option<u64>,
    /// What happened to its messages; `None`: nothing since the start.
    pub traffic: Option<Box<QueueTraffic>>,
    /// How long its messages take; `None`: nobody counts that, because too many queues do already.
    pub lives: Option<Box<MessageLives>>,
    /// How often who leased a message said what went wrong, by its class.
    pub errors: Vec<(Box<str>, u64)>,
}

/// What a queue tells of done messages, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DoneTotals {
    /// How many they are.
    pub messages: u64,
    /// What is told of them, in bytes.
    pub bytes: u64,
}

/// Whom a queue serves that serves one at a time.
#[derive(Clone, Debug)]
pub struct ActiveConsumer {
    /// The consumer's tag.
    pub consumer_tag: Name,
    /// Its channel.
    pub channel: u16,
    /// Its connection, if it has one.
    pub connection: Option<Arc<Connection>>,
}

/// What happened to a queue's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct QueueTraffic {
    /// Since the start, or since the queue was made.
    pub counts: MessageCounts,
    /// Per second, lately.
    pub rates: MessageCounts<f64>,
    /// By how many ready messages it grows per second; below zero: it drains.
    pub ready_rate: f64,
    /// By how many unsettled deliveries it grows per second.
    pub unacked_rate: f64,
}

impl QueueView {
    /// What happened to its messages; zeros if nothing did.
    pub fn traffic(&self) -> QueueTraffic {
        self.traffic.as_deref().copied().unwrap_or_default()
    }

    /// Ready and unsettled messages.
    pub fn messages(&self) -> u64 {
        self.ready + self.unacked
    }
}
