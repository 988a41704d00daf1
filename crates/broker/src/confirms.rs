//! What waits for the journal: a confirm is a position. Whatever was attached to a commit comes
//! back here, in order, when the disk has it.

use std::sync::Arc;

use stdx::clock::Monotonic;
use stdx::fault::{Fault, planted};

use crate::histogram::Histogram;
use crate::operation::ChannelId;
use crate::outbox::{Outbox, WakeList};
use crate::traces::Passing;

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
        /// When they were taken.
        since: Monotonic,
    },
    /// Events held back until now may go: they told of a change that was not yet safe.
    Gate { outbox: Arc<Outbox>, ticket: u64 },
    /// Publishes worth so many bytes need no memory on their way to the disk any more.
    Room { outbox: Arc<Outbox>, bytes: usize },
    /// Spans of publishes end.
    Traced(Box<Passing>),
}

/// Nobody is told that what was waited for is safe: it may not be.
pub(crate) fn abandon(waiters: Vec<Waiter>) {
    for waiter in waiters {
        if let Waiter::Gate { outbox, .. } = waiter {
            outbox.silence();
            outbox.wake();
        }
    }
}

/// Does what was waited for, in order, then wakes every session once. How long publishers have waited
/// by `now` goes to `times`, in microseconds.
pub(crate) fn release(mut waiters: Vec<Waiter>, now: Monotonic, times: &mut Histogram) {
    if planted(Fault::ConfirmOutOfOrder) {
        waiters.reverse();
    }
    let mut wake = WakeList::default();
    for waiter in waiters {
        match waiter {
            Waiter::Confirm { outbox, channel, first, last, since } => {
                let waited_us = now.0.saturating_sub(since.0) / 1_000;
                times.record(waited_us, last - first + 1);
                outbox.confirm(channel, first, last);
                wake.push(outbox);
            }
            Waiter::Gate { outbox, ticket } => {
                outbox.open(ticket);
                wake.push(outbox);
            }
            Waiter::Room { outbox, bytes } => outbox.give_back(bytes, &mut wake),
            Waiter::Traced(passing) => passing.hand_over_ended(now),
        }
    }
    wake.wake();
}
