//! The frame that gathers while the one before is written.

use stdx::clock::Monotonic;

use crate::pieces::Pieces;
use crate::staged::{Staged, Urgency};

/// What an idle journal keeps of each of its two buffers, for the next frames.
const IDLE_BUFFER_BYTES: usize = 256 << 10;

/// Records that will share a frame, and who waits for it.
pub(super) struct Gathering<W> {
    pub(super) pieces: Pieces,
    pub(super) waiters: Vec<W>,
    urgency: Urgency,
    /// When the first commit came that is not urged; none while nothing was committed.
    since: Option<Monotonic>,
}

impl<W> Default for Gathering<W> {
    fn default() -> Self {
        Gathering {
            pieces: Pieces::default(),
            waiters: Vec::new(),
            urgency: Urgency::Patient,
            since: None,
        }
    }
}

impl<W> Gathering<W> {
    pub(super) fn append(&mut self, staged: &mut Staged<W>, now: Monotonic) {
        self.pieces.append(&mut staged.pieces);
        self.waiters.append(&mut staged.waiters);
        self.urgency = self.urgency.max(std::mem::take(&mut staged.urgency));
        self.since.get_or_insert(now);
    }

    /// Whether nothing was committed to it.
    pub(super) fn is_empty(&self) -> bool {
        self.since.is_none()
    }

    pub(super) fn due_at(&self, linger_ms: u64, gather_bytes: usize) -> Option<Monotonic> {
        let Some(since) = self.since else {
            // Somebody who waits past everything committed must not wait for ever.
            return (!self.waiters.is_empty()).then_some(Monotonic(0));
        };
        let now = self.urgency == Urgency::Urgent || self.pieces.len() >= gather_bytes;
        Some(if now { Monotonic(0) } else { since.plus_ms(linger_ms) })
    }

    /// Makes room for the next records; the buffers stay.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.waiters.clear();
        self.urgency = Urgency::Patient;
        self.since = None;
    }

    /// Gives back what a burst needed, if nothing is in it.
    pub(super) fn shrink(&mut self) {
        if self.pieces.is_empty() {
            self.pieces.shrink(IDLE_BUFFER_BYTES);
        }
    }

    /// The waiters, oldest first; as many may wait for the next frame.
    pub(super) fn take_waiters(&mut self) -> Vec<W> {
        let room = Vec::with_capacity(self.waiters.len());
        std::mem::replace(&mut self.waiters, room)
    }
}
