//! Bytes on disk, without rules: a journal of records that are durable when it says so, and
//! segments, files that are written once and read in pieces.
//!
//! Storage has never heard of a queue. It keeps records (a tag and a payload) in order, tells when
//! they are durable, and gives them back after a restart: all that was durable, in order, and
//! nothing that was never written. It owns no thread, reads no clock and draws no random number.

mod backup;

mod directory_lock;
mod journal;
mod staged;

mod segment;

mod pieces;

mod operation;

mod position;

pub mod disk;

pub use backup::{BackedUp, BackupError, Placed, Taken, back_up, back_up_disk};
pub use directory_lock::{DirectoryLock, LockError};
pub use journal::{
    Committed, Damage, DiskUse, Gap, Journal, JournalSettings, Nudge, OpenError, Opened, Poison,
    Record, RepairSettings, ReplaySummary, Scan, Shortage, Sight, SyncMode, TornTail, Work, Writer,
    is_journal_file, open, repair, scan,
};
pub use operation::Operation;
pub use position::Position;
pub use segment::{
    Segment, SegmentBlock, SegmentBuilder, SegmentDamage, SegmentError, SegmentPlace, SegmentRun,
    SegmentSight, SegmentSurvey, SegmentSync, list_segments, remove_segment, segment_file_name,
    segment_file_number, survey_segment,
};
pub use staged::Staged;
