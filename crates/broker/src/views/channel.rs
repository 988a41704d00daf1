//! Channels and consumers as they were at some moment.

use std::sync::Arc;

use domain::name::Name;
use domain::table::Table;

use super::counts::MessageCounts;
use crate::connections::Connection;
use crate::operation::{Acknowledgement, ChannelId, Sharing};

/// A channel.
#[derive(Clone, Debug)]
pub struct ChannelView {
    /// Its connection.
    pub connection: Arc<Connection>,
    /// Its number there.
    pub number: ChannelId,
    /// How many deliveries each consumer started from now on may have unsettled; 0: any number.
    pub prefetch: u16,
    /// How many all its consumers may have unsettled together; 0: any number.
    pub prefetch_global: u16,
    /// Its consumers.
    pub consumers: u32,
    /// Deliveries not settled.
    pub unacked: u64,
    /// Whether it confirms publishes.
    pub confirms: bool,
    /// Publishes not yet confirmed; at most so many.
    pub unconfirmed: u64,
    /// Whether it is transactional.
    pub transactional: bool,
    /// Publishes that wait for a commit.
    pub uncommitted: u64,
    /// Settlements that wait for a commit.
    pub uncommitted_settlements: u64,
    /// A request was refused, and the client has not yet agreed to the channel's end.
    pub closing: bool,
    /// What happened to its messages since it was opened.
    pub counts: MessageCounts,
    /// Per second, lately.
    pub rates: MessageCounts<f64>,
}

/// What became of what a consumer was handed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumerCounts {
    /// Handed to it.
    pub delivered: u64,
    /// Of those: some that may have been handed out before.
    pub redelivered: u64,
    /// It acknowledged them.
    pub acknowledged: u64,
    /// It gave them back, or kept them for too long.
    pub requeued: u64,
    /// It rejected them for good.
    pub rejected: u64,
}

/// A consumer.
#[derive(Clone, Debug)]
pub struct ConsumerView {
    /// Its connection.
    pub connection: Arc<Connection>,
    /// Its channel there.
    pub channel: ChannelId,
    /// Its tag.
    pub consumer_tag: Name,
    /// Its queue.
    pub queue: Name,
    /// How its deliveries are settled.
    pub acknowledgement: Acknowledgement,
    /// Whether others may consume beside it.
    pub sharing: Sharing,
    /// How many deliveries it may have unsettled; 0: any number.
    pub prefetch: u16,
    /// How many it has.
    pub unacked: u64,
    /// Whether it is served; false while it stands by for a single active consumer.
    pub active: bool,
    /// Whether it is the one that is served where only one is.
    pub single_active: bool,
    /// How long a delivery may be unsettled, in milliseconds; `None`: for ever.
    pub timeout_ms: Option<u64>,
    /// Its arguments as they came.
    pub arguments: Arc<Table>,
    /// What became of what it was handed.
    pub counts: ConsumerCounts,
}
