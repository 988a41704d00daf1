//! Which blocks of segments are in memory, oldest first: when they are too many, the oldest go. They
//! are read again if they are wanted again.

use std::collections::VecDeque;

use super::sealed::{LoadedBlock, SealedRun};

/// What was read and is still in memory.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    /// Slot, key and first index; some are gone.
    order: VecDeque<(u32, u64, u32)>,
    bytes: usize,
}

impl Blocks {
    /// What they take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Blocks were read. Those that are there already are dropped.
    pub(crate) fn add(&mut self, slot: u32, run: &mut SealedRun, blocks: Vec<LoadedBlock>) {
        for block in blocks {
            let at = run.blocks.partition_point(|known| known.end() <= block.first);
            if run.blocks.get(at).is_some_and(|known| known.first < block.end()) {
                continue;
            }
            self.bytes += block.chunk.memory_bytes();
            self.order.push_back((slot, run.key, block.first));
            run.blocks.insert(at, block);
        }
    }

    /// Drops the block that ends at an index: all of it was handed out.
    pub(crate) fn used_up(&mut self, run: &mut SealedRun, end: u32) {
        let at = run.blocks.partition_point(|block| block.end() < end);
        if run.blocks.get(at).is_some_and(|block| block.end() == end)
            && let Some(block) = run.blocks.remove(at)
        {
            self.bytes -= block.chunk.memory_bytes();
        }
    }

    /// The run goes.
    pub(crate) fn forget_all(&mut self, run: &SealedRun) {
        self.bytes -= run.blocks.iter().map(|block| block.chunk.memory_bytes()).sum::<usize>();
    }

    /// The next to go if they take more than `bytes_max`: slot, key and first index.
    pub(crate) fn pop_excess(&mut self, bytes_max: usize) -> Option<(u32, u64, u32)> {
        // Nothing is behind an entry that is gone; without blocks they all are.
        if self.bytes == 0 {
            self.order.clear();
        }
        if self.bytes > bytes_max || self.order.len() > ENTRIES_MAX {
            return self.order.pop_front();
        }
        None
    }

    /// Drops the block of the run that begins at an index.
    pub(crate) fn drop_at(&mut self, run: &mut SealedRun, first: u32) {
        let at = run.blocks.partition_point(|block| block.first < first);
        if run.blocks.get(at).is_some_and(|block| block.first == first)
            && let Some(block) = run.blocks.remove(at)
        {
            self.bytes -= block.chunk.memory_bytes();
        }
    }
}

/// Blocks and gone entries together; a block takes some kilobytes at least, mostly 64.
const ENTRIES_MAX: usize = 65_536;
