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

    /// Down to how many bytes a virtual host with so many is to move bodies to the disk; `None`: it
    /// need not.
    pub(crate) fn wanted_bytes(&self, bytes: usize) -> Option<usize> {
        let high = (self.budget.max_bytes / 2).min(limits::UNSEALED_BYTES_MAX);
        if bytes > high {
            return Some(high / 2);
        }
        // Where all are small and too much together, those with at least half of the average move.
        let used = self.budget.used_bytes.load(Ordering::Relaxed);
        let large = bytes.saturating_mul(2 * self.vhosts()) >= used;
        (used > self.budget.max_bytes / 2 && large).then_some(bytes / 2)
    }

    /// What may lie in memory for long, in bytes. Shared out, so that many that rest leave room for one
    /// that does not.
    pub(crate) fn idle_bytes(&self) -> usize {
        (self.budget.max_bytes / 16 / self.vhosts()).min(limits::SEAL_IDLE_BYTES)
    }

    /// What may be in memory of what was read back, in bytes; shared out, too.
    pub(crate) fn blocks_bytes(&self) -> usize {
        (self.budget.max_bytes / 16 / self.vhosts()).min(limits::READ_BLOCKS_BYTES_MAX)
    }

    /// From how many bytes of dead messages on segments are written anew.
    pub(crate) fn dead_bytes(&self) -> u64 {
        (self.budget.max_bytes as u64 / 8).min(limits::DEAD_SEGMENT_BYTES_MIN)
    }

    /// A segment with less than that alive is a small one, in bytes.
    pub(crate) fn small_bytes(&self) -> u64 {
        (self.budget.max_bytes as u64 / 32).min(limits::SMALL_SEGMENT_BYTES)
    }

    fn vhosts(&self) -> usize {
        self.budget.vhosts.load(Ordering::Relaxed).max(1)
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.budget.used_bytes.fetch_sub(self.told_bytes, Ordering::AcqRel);
        self.budget.vhosts.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn one_moves_its_oldest_at_half_of_the_memory() {
        let mut alone = MemoryBudget::new(64 * MIB).share();
        for (bytes, expected) in [(0, None), (32 * MIB, None), (33 * MIB, Some(16 * MIB))] {
            alone.tell(bytes);
            assert_eq!(alone.wanted_bytes(bytes), expected, "{bytes}");
        }
    }

    /// What all may keep for ever must leave room, or publishers would wait for ever.
    #[test]
    fn many_that_keep_what_they_may_are_never_too_many() {
        for count in [1, 2, 9, 100, 1_000] {
            let budget = MemoryBudget::new(64 * MIB);
            let mut shares: Vec<MemoryShare> = Vec::new();
            for _ in 0..count {
                // Each when it comes, while there are few others.
                let mut share = budget.share();
                let kept = share.idle_bytes() + share.blocks_bytes();
                share.tell(kept);
                shares.push(share);
            }
            // Their harmonic sum: 1 + 1/2 + 1/3 … eighths of the memory.
            assert!(!budget.is_over(), "{count} keep {:?}", budget.used());
        }
    }
}
