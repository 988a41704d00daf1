//! What the owner of a journal decides about it.

/// When written bytes are made durable, and with it what a confirm means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMode {
    /// Every frame is synced before anybody is told: a confirmed record survives power loss.
    #[default]
    Always,
    /// Waiters are told after the write; a sync follows at most `ms` later. A power loss takes
    /// what was confirmed since the last sync; the death of the process takes nothing.
    Interval {
        /// The longest time between a write and its sync.
        ms: u64,
    },
    /// Waiters are told after the write; the system syncs when it likes. Only a file's end, and
    /// what the removal of older files depends on, is synced.
    Never,
}

/// How one journal is kept.
pub struct JournalSettings {
    /// When written bytes are made durable.
    pub sync: SyncMode,
    /// How long a file gets, unless a single frame is longer.
    pub file_bytes: u64,
    /// How long a commit that is not urged may wait for company.
    pub linger_ms: u64,
    /// How many bytes may gather before the frame is written although nobody urges.
    pub gather_bytes: usize,
    /// How many retired files are kept to be written again; the rest is deleted, and these too
    /// when they were not needed for a while.
    pub spare_files_max: usize,
    /// Draws the random id of a new file. Randomness comes from outside, so that a simulated run
    /// repeats exactly; in earnest it must not be guessable.
    pub generation: Box<dyn FnMut() -> u64 + Send>,
}

impl JournalSettings {
    /// The defaults, with the caller's source of randomness.
    pub fn new(generation: Box<dyn FnMut() -> u64 + Send>) -> JournalSettings {
        JournalSettings {
            sync: SyncMode::Always,
            file_bytes: 64 << 20,
            linger_ms: 10,
            gather_bytes: 256 << 10,
            spare_files_max: 8,
            generation,
        }
    }
}

impl std::fmt::Debug for JournalSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalSettings")
            .field("sync", &self.sync)
            .field("file_bytes", &self.file_bytes)
            .field("linger_ms", &self.linger_ms)
            .field("gather_bytes", &self.gather_bytes)
            .field("spare_files_max", &self.spare_files_max)
            .finish_non_exhaustive()
    }
}
