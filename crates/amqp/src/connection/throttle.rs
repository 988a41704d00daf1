//! Blocking whoever publishes while the broker is short of memory or disk. As in RabbitMQ, a
//! connection is blocked by what it publishes during the alarm, not by what it published before:
//! consumers, and publishers that have stopped, notice nothing. Who is not read because what it
//! published waits for the disk publishes still.

use broker::Alarms;

use crate::wire::method::{self, connection};

/// Whether a connection may still be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Throttle {
    alarms: Alarms,
    blocked: bool,
    /// The client wants to be told.
    notify: bool,
}

impl Throttle {
    pub(crate) fn new(notify: bool) -> Throttle {
        Throttle { alarms: Alarms::default(), blocked: false, notify }
    }

    /// The client publishes.
    #[inline]
    pub(crate) fn published(&mut self, out: &mut Vec<u8>) {
        if !self.alarms.are_clear() && !self.blocked {
            self.block(out);
        }
    }

    #[cold]
    fn block(&mut self, out: &mut Vec<u8>) {
        self.blocked = true;
        if self.notify {
            let reason = format!("low on {}", self.alarms);
            let reason = reason.as_str().into();
            method::write(out, 0, &connection::Blocked { reason });
        }
    }

    /// The broker's alarms have changed. A second one is not told; the end of the last one is.
    pub(crate) fn alarms(&mut self, alarms: Alarms, out: &mut Vec<u8>) {
        self.alarms = alarms;
        if alarms.are_clear() && std::mem::take(&mut self.blocked) && self.notify {
            method::write(out, 0, &connection::Unblocked {});
        }
    }

    pub(crate) fn is_blocked(self) -> bool {
        self.blocked
    }
}
