//! What is to happen at a time: a heap of moments, each for one queue or consumer. A timer that
//! goes off too early finds nothing to do and is set anew, so that nothing is ever taken out of
//! the middle.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use domain::binding::QueueId;
use domain::queue::consumers::ConsumerId;
use stdx::clock::Clock;

use crate::limits;

/// A moment on both clocks, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// On the clock that never steps.
    pub(crate) ms: u64,
    /// Since 1970, for what outlives the process.
    pub(crate) wall_ms: u64,
}

impl Moment {
    pub(crate) fn now(clock: &dyn Clock) -> Moment {
        Moment { ms: clock.monotonic().ms(), wall_ms: clock.wall_ms() }
    }
}

/// What is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A queue has messages that go unread.
    Messages(QueueId),
    /// A queue may have been unused for long enough.
    Queue(QueueId),
    /// A consumer may have left a delivery unsettled for too long.
    Consumer(ConsumerId),
    /// A lease without a connection may have run out, or somebody may have waited for long enough.
    Leases,
    /// What became of messages of a queue may have been told for long enough.
    Done(QueueId),
    /// Something may be ready to be sealed or deleted.
    Storage,
}

/// All timers of a virtual host.
#[derive(Debug, Default)]
pub(crate) struct Timers(BinaryHeap<Reverse<(u64, Timer)>>);

impl Timers {
    pub(crate) fn set(&mut self, at_ms: u64, timer: Timer) {
        self.0.push(Reverse((at_ms, timer)));
    }

    /// When the next one goes off.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.0.peek().map(|Reverse((at_ms, _))| *at_ms)
    }

    /// Takes out those that go off by `now_ms`, as many as one turn looks at; the others stay due.
    pub(crate) fn take_due(&mut self, now_ms: u64) -> Vec<Timer> {
        let mut due = Vec::new();
        while let Some(Reverse((at_ms, timer))) = self.0.peek()
            && *at_ms <= now_ms
            && due.len() < limits::TURN_TIMERS_MAX
        {
            due.push(*timer);
            self.0.pop();
        }
        due
    }
}
