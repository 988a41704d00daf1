//! How long a journal takes: its writer counts, whoever looks reads.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::histogram::Histogram;

/// What is counted; locked once for each frame that is written.
#[derive(Debug, Default)]
pub(crate) struct Times(Mutex<JournalTimes>);

/// How long a journal takes, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalTimes {
    /// To write a frame and, as far as the sync mode wants it, to sync it.
    pub writes: Histogram,
    /// From taking a durable publish to its confirm.
    pub confirms: Histogram,
}

impl Times {
    fn times(&self) -> MutexGuard<'_, JournalTimes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A frame was written, and its publishes confirmed.
    pub(crate) fn count(&self, write_us: u64, confirms: &Histogram) {
        let mut times = self.times();
        times.writes.record(write_us, 1);
        times.confirms.add(confirms);
    }

    pub(crate) fn read(&self) -> JournalTimes {
        *self.times()
    }
}
