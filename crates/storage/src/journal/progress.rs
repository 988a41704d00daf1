//! How much was written since the checkpoint, so that the owner knows when to write the next.

use std::collections::VecDeque;

use crate::position::Position;

/// Between two milestones at least so many bytes were written; so much may the answer be too high.
const MILESTONE_BYTES: u64 = 1 << 20;

/// Counts what frames take on disk.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Bytes of all frames so far, since the oldest one found at the start.
    total_bytes: u64,
    checkpoint: Position,
    /// What `total_bytes` was when the checkpoint was down.
    checkpoint_bytes: u64,
    /// What `total_bytes` was after some positions, all past the checkpoint.
    milestones: VecDeque<(Position, u64)>,
}

impl Progress {
    /// The frame at `position` took this many bytes.
    pub(super) fn wrote(&mut self, position: Position, frame_bytes: u64) {
        self.total_bytes += frame_bytes;
        if position <= self.checkpoint {
            self.checkpoint_bytes = self.total_bytes;
            return;
        }
        let newest = self.milestones.back().map_or(self.checkpoint_bytes, |milestone| milestone.1);
        if self.total_bytes - newest >= MILESTONE_BYTES {
            self.milestones.push_back((position, self.total_bytes));
        }
    }

    /// The checkpoint is in the frame at `position`, which may not be written yet.
    pub(super) fn mark_checkpoint(&mut self, position: Position) {
        if position <= self.checkpoint {
            return;
        }
        self.checkpoint = position;
        while let Some((_, bytes)) = self.milestones.pop_front_if(|(at, _)| *at <= position) {
            self.checkpoint_bytes = bytes;
        }
    }

    pub(super) fn bytes_since_checkpoint(&self) -> u64 {
        self.total_bytes - self.checkpoint_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_the_checkpoint_wherever_it_is() {
        const MIB: u64 = 1 << 20;
        let mut progress = Progress::default();
        for position in 1..=10 {
            progress.wrote(Position(position), MIB);
        }
        assert_eq!(progress.bytes_since_checkpoint(), 10 * MIB);
        progress.mark_checkpoint(Position(4));
        assert_eq!(progress.bytes_since_checkpoint(), 6 * MIB, "one already written");
        progress.mark_checkpoint(Position(3));
        assert_eq!(progress.bytes_since_checkpoint(), 6 * MIB, "never backwards");
        progress.mark_checkpoint(Position(12));
        progress.wrote(Position(11), 100);
        progress.wrote(Position(12), 50 * MIB);
        assert_eq!(progress.bytes_since_checkpoint(), 0, "its own bytes do not count");
        progress.wrote(Position(13), 7);
        assert_eq!(progress.bytes_since_checkpoint(), 7);
        assert!(progress.milestones.is_empty());
    }
}
