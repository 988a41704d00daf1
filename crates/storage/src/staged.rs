//! What one commit will append, built by the owner without any lock and reused from commit to commit.

use bytes::Bytes;

use crate::pieces::Pieces;

/// Records and waiters that enter the journal together: all of them survive a crash, or none.
pub struct Staged<W> {
    pub(crate) pieces: Pieces,
    pub(crate) waiters: Vec<W>,
    pub(crate) urgency: Urgency,
}

/// How soon a frame has to go to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    /// It may wait for company.
    #[default]
    Patient,
    /// Somebody waits for it.
    Urgent,
}

impl<W> Default for Staged<W> {
    fn default() -> Self {
        Staged { pieces: Pieces::default(), waiters: Vec::new(), urgency: Urgency::Patient }
    }
}

impl<W> std::fmt::Debug for Staged<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Staged")
            .field("bytes", &self.bytes())
            .field("waiters", &self.waiters.len())
            .field("urgency", &self.urgency)
            .finish_non_exhaustive()
    }
}

impl<W> Staged<W> {
    /// Appends a record; `payload` writes it in place, behind what is already there.
    pub fn record(&mut self, tag: u8, payload: impl FnOnce(&mut Vec<u8>)) {
        self.pieces.record(tag, payload);
    }

    /// Appends a record of `head` followed by `body`; the body is kept by reference, not copied.
    pub fn record_with(&mut self, tag: u8, head: impl FnOnce(&mut Vec<u8>), body: Bytes) {
        self.pieces.record_with(tag, head, body);
    }

    /// Hands `waiter` back when this commit is durable.
    pub fn wait(&mut self, waiter: W) {
        self.waiters.push(waiter);
    }

    /// This commit wants a sync now. Without it the frame may wait for company, for a moment.
    pub fn urge(&mut self) {
        self.urgency = Urgency::Urgent;
    }

    /// Whether there is nothing to commit, neither a record nor a waiter.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.waiters.is_empty()
    }

    /// How many bytes of a frame the records will take.
    pub fn bytes(&self) -> usize {
        self.pieces.len()
    }

    /// Forgets the records and gives the waiters back: what to do after a refused commit.
    pub fn abandon(&mut self) -> Vec<W> {
        self.pieces.clear();
        self.urgency = Urgency::Patient;
        std::mem::take(&mut self.waiters)
    }
}
