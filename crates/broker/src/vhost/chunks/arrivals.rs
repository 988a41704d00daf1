//! The chunks in memory in order of arrival, so that the oldest can be sealed first.

use std::collections::VecDeque;

/// Entries of chunks that are gone stay until they are so many more than the others.
const GONE_MAX: usize = 1024;

/// A chunk in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Its slot; another chunk may have it by now.
    pub(crate) slot: u32,
    /// What tells it from the others; growing.
    pub(crate) age: u64,
    /// When it came, in milliseconds.
    pub(crate) at_ms: u64,
}

/// All chunks in memory, oldest first, and some that are gone.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    entries: VecDeque<Arrival>,
    present: usize,
    next_age: u64,
    now_ms: u64,
}

impl Arrivals {
    /// The time at which what comes now comes.
    pub(crate) fn set_now_ms(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// A chunk came; returns its age.
    pub(crate) fn add(&mut self, slot: u32) -> u64 {
        let age = self.next_age;
        self.next_age += 1;
        self.present += 1;
        self.entries.push_back(Arrival { slot, age, at_ms: self.now_ms });
        age
    }

    /// A chunk went.
    pub(crate) fn removed(&mut self) {
        self.present = self.present.saturating_sub(1);
    }

    /// Forgets what is gone if it is too much; `is_there` knows a slot and an age.
    pub(crate) fn tidy(&mut self, is_there: impl Fn(u32, u64) -> bool) {
        while let Some(front) = self.entries.front()
            && !is_there(front.slot, front.age)
        {
            self.entries.pop_front();
        }
        if self.entries.len() > 2 * self.present + GONE_MAX {
            self.entries.retain(|entry| is_there(entry.slot, entry.age));
        }
    }

    /// Oldest first; some may be gone.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arrival> {
        self.entries.iter()
    }
}
