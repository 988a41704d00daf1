//! How much memory bodies may take, in all virtual hosts together: over half of it they move to the
//! disk, over all of it publishers wait until they have.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits;

/// The memory of all virtual hosts.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    max_bytes: usize,
    used_bytes: AtomicUsize,
    vhosts: AtomicUsize,
}

/// What one virtual host has of it.
#[derive(Debug)]
pub(crate) struct MemoryShare {
    budget: Arc<MemoryBudget>,
    told_bytes: usize,
}

/// What messages take of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessagesMemory {
    /// What they take, in bytes: their bodies, and what keeps their order.
    pub used_bytes: u64,
    /// What they may take, in bytes.
    pub max_bytes: u64,
}

/// What came of telling how much is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// There may be less than before.
    Less,
    /// There is more than before, and some is free.
    More,
}

impl MemoryBudget {
    pub(crate) fn new(max_bytes: usize) -> Arc<MemoryBudget> {
        let (used_bytes, vhosts) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(MemoryBudget { max_bytes, used_bytes, vhosts })
    }

    /// A virtual host comes.
    pub(crate) fn share(self: &Arc<MemoryBudget>) -> MemoryShare {
        self.vhosts.fetch_add(1, Ordering::Relaxed);
        MemoryShare { budget: Arc::clone(self), told_bytes: 0 }
    }

    /// What is used of it.
    pub(crate) fn used(&self) -> MessagesMemory {
        let used_bytes = self.used_bytes.load(Ordering::Relaxed) as u64;
        MessagesMemory { used_bytes, max_bytes: self.max_bytes as u64 }
    }

    /// Whether publishers have to wait.
    pub(crate) fn is_over(&self) -> bool {
        self.used_bytes.load(Ordering::Acquire) > self.max_bytes
    }
}

impl MemoryShare {
    /// The virtual host has so much in memory now.
    pub(crate) fn tell(&mut self, bytes: usize) -> Room {
        let used = &self.budget.used_bytes;
        let told_bytes = std::mem::replace(&mut self.told_bytes, bytes);
        if bytes >= told_bytes {
            if bytes > told_bytes {
                used.fetch_add(bytes - told_bytes, Ordering::AcqRel);
            }
            return Room::Less;
        }
        used.fetch_sub(told_bytes - bytes, Ordering::AcqRel);
        if self.budget.is_over() { Room::Less } else { Room::More }
    }

    /// From where on bodies move to the disk, in bytes.
    pub(crate) fn high_bytes(&self) -> usize {
        (self.budget.max_bytes / 2).min(limits::UNSEALED_BYTES_MAX)
    }

    /// What may lie in memory for long, in bytes.
    pub(crate) fn idle_bytes(&self) -> usize {
        (self.budget.max_bytes / 8).min(limits::SEAL_IDLE_BYTES)
    }

    /// From how many bytes of dead messages on segments are written anew.
    pub(crate) fn dead_bytes(&self) -> u64 {
        (self.budget.max_bytes as u64 / 8).min(limits::DEAD_SEGMENT_BYTES_MIN)
    }

    /// A segment with less than that alive is a small one, in bytes.
    pub(crate) fn small_bytes(&self) -> u64 {
        (self.budget.max_bytes as u64 / 32).min(limits::SMALL_SEGMENT_BYTES)
    }

    /// Whether a virtual host with so much in memory is to move some of it.
    pub(crate) fn is_high(&self, bytes: usize) -> bool {
        let used = self.budget.used_bytes.load(Ordering::Relaxed);
        let vhosts = self.budget.vhosts.load(Ordering::Relaxed).max(1);
        let high = self.high_bytes();
        bytes > high
            || (used > self.budget.max_bytes / 2 && bytes.saturating_mul(2 * vhosts) >= used)
    }

    /// What may be in memory of what was read back, in bytes.
    pub(crate) fn blocks_bytes(&self) -> usize {
        (self.budget.max_bytes / 8).min(limits::READ_BLOCKS_BYTES_MAX)
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.budget.used_bytes.fetch_sub(self.told_bytes, Ordering::AcqRel);
        self.budget.vhosts.fetch_sub(1, Ordering::Relaxed);
    }
}
