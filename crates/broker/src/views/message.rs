//! A message in its queue as it was at some moment, but for what it says.

use std::sync::Arc;

use domain::name::Name;

use crate::message_id::MessageId;

/// A message's part in its queue.
#[derive(Clone, Copy, Debug)]
pub struct MessageView<'v> {
    /// Its name.
    pub id: MessageId,
    /// What it is doing.
    pub state: &'v MessageState,
    /// How many times it was handed out; at least so many where its queue does not count.
    pub attempts: u32,
    /// Its level in a queue of priorities; 0 elsewhere.
    pub level: u8,
    /// For how long it has been there, in milliseconds: to a few percent, and counted anew from a
    /// restart.
    pub age_ms: u64,
    /// When it goes unread, in milliseconds since 1970; `None`: never.
    pub expires_wall_ms: Option<u64>,
}

/// What a message is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageState {
    /// It waits, and could be delivered.
    Ready,
    /// It is leased without a connection.
    Leased(LeaseView),
    /// It is delivered to a consumer that has not settled it.
    Delivered,
    /// It was given back for later, and is nobody's.
    Delayed {
        /// When it is ready again, in milliseconds since 1970.
        until_wall_ms: u64,
    },
}

/// A lease without a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// When it ends, in milliseconds since 1970.
    pub until_wall_ms: u64,
    /// Whose name it was asked in.
    pub holder: Name,
    /// How far the holder is, as it last said: JSON.
    pub progress: Option<Arc<str>>,
}
