//! What waits for the journal: a confirm is a position. Whatever was attached to a commit comes
//! back here, in order, when the disk has it.

use std::sync::Arc;

use stdx::fault::{Fault, planted};

use crate::operation::ChannelId;
use crate::outbox::{Outbox, WakeList};

/// Something that happens once a commit is durable.
#[derive(Debug)]
pub(crate) enum Waiter {
    /// A publisher learns that its messages are safe.
    Confirm {
        outbox: Arc<Outbox>,
        channel: ChannelId,
        /// Publishes `first..=last` of the channel.
        first: u64,
        last: u64,
    },
    /// Events held back until now may go: they told of a change that was not yet safe.
    Gate { outbox: Arc<Outbox>, ticket: u64 },
    /// Publishes worth so many bytes need no memory on their way to the disk any more.
    Room { outbox: Arc<Outbox>, bytes: usize },
}

/// Nobody is told that what was waited for is safe: it may not be.
pub(crate) fn abandon(waiters: Vec<Waiter>) {
    for waiter in waiters {
        if let Waiter::Gate { outbox, .. } = waiter {
            outbox.forget_held();
            outbox.wake();
        }
    }
}

/// Does what was waited for, in order, then wakes every session once.
pub(crate) fn release(mut waiters: Vec<Waiter>) {
    if planted(Fault::ConfirmOutOfOrder) {
        waiters.reverse();
    }
    let mut wake = WakeList::default();
    for waiter in waiters {
        match waiter {
            Waiter::Confirm { outbox, channel, first, last } => {
                outbox.confirm(channel, first, last);
                wake.push(outbox);
            }
            Waiter::Gate { outbox, ticket } => {
                outbox.open(ticket);
                wake.push(outbox);
            }
            Waiter::Room { outbox, bytes } => outbox.give_back(bytes, &mut wake),
        }
    }
    wake.wake();
}
