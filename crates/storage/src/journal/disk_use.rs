//! What a journal takes of the disk, and how much it wrote to it, for those who watch.

/// Of one journal, in this life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUse {
    /// Journal files.
    pub live_files: usize,
    /// How long they are together.
    pub live_bytes: u64,
    /// Files that wait to be written again.
    pub spare_files: usize,
    /// How long those are together.
    pub spare_bytes: u64,
    /// Everything that was written since the journal was opened: frames with their padding, file
    /// headers, and what fills files ahead of short frames.
    pub written_bytes: u64,
}

impl DiskUse {
    /// All files together.
    pub fn bytes(&self) -> u64 {
        self.live_bytes + self.spare_bytes
    }
}
