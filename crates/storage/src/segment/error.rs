//! Why a segment could not be written, opened or read.

use std::io;

use super::trailer::FORMAT_VERSION;
use crate::disk::is_unreadable;
use crate::operation::Operation;

/// What is wrong at a place of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentDamage {
    /// The file does not begin as segments do.
    #[error("the file does not begin as a segment does")]
    Head,
    /// The file does not end as segments do: cut, or never finished.
    #[error("the file does not end as a finished segment does")]
    Unfinished,
    /// The trailer fails its checksum.
    #[error("the trailer fails its checksum")]
    Trailer,
    /// The trailer says another number than the name.
    #[error("the trailer says it is segment {0}")]
    Number(u64),
    /// The index fails its checksum.
    #[error("the index fails its checksum")]
    Index,
    /// The checksums are right, but the index does not describe this file.
    #[error("the index does not add up")]
    IndexContents,
    /// The file ends inside a block.
    #[error("the file ends inside this block")]
    BlockCut,
    /// The header is not that of the block that belongs here.
    #[error("the header of another block, or of none, is here")]
    BlockHeader,
    /// The block fails its checksum.
    #[error("the block fails its checksum")]
    Block,
    /// The disk refuses to read the block.
    #[error("the disk does not give this block back")]
    Unreadable,
    /// The segment has no such record; whoever asked believes in another segment.
    #[error("run {run} of this segment has no record {index}")]
    NoSuchRecord {
        /// The run that was asked for.
        run: u32,
        /// The record that was asked for.
        index: u32,
    },
}

/// Why a segment could not be written, opened or read.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The disk refused.
    #[error("the segment file {file} could not be {operation}: {error}{}", remedy(*operation, error))]
    Io {
        /// The file.
        file: String,
        /// What was being done.
        operation: Operation,
        /// What the disk said.
        error: io::Error,
    },
    /// Bytes are not what was written.
    #[error(
        "the segment file {file} is damaged at offset {offset}: {found}. Restore the data \
         directory from a backup; or stop the broker and let `postroom repair --data-dir DIR` say \
         what is lost, and give that up"
    )]
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is there.
        found: SegmentDamage,
    },
    /// Written by a newer version of the program.
    #[error(
        "the segment file {file} is written in format version {version}, and this program reads \
         version {FORMAT_VERSION} at most. Start the newer Postroom that wrote it"
    )]
    Newer {
        /// The file.
        file: String,
        /// The version it says.
        version: u32,
    },
}

impl SegmentError {
    /// Whether room on the disk would have made the difference: what was being written is undone,
    /// and may be tried again later under another number.
    pub fn is_no_space(&self) -> bool {
        self.io_kind().is_some_and(|kind| {
            matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        })
    }

    /// Whether the file is not there.
    pub fn is_not_found(&self) -> bool {
        self.io_kind() == Some(io::ErrorKind::NotFound)
    }

    fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            SegmentError::Io { error, .. } => Some(error.kind()),
            SegmentError::Damaged { .. } | SegmentError::Newer { .. } => None,
        }
    }
}

/// What whoever reads the complaint can do, where more can be said than the disk did.
fn remedy(operation: Operation, error: &io::Error) -> &'static str {
    let kind = error.kind();
    // What can't be written is not damaged.
    let is_lost =
        operation.is_reading() && (kind == io::ErrorKind::NotFound || is_unreadable(error));
    if matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        ". Make room on the disk; it is tried again"
    } else if is_lost {
        ". Restore the data directory from a backup; or let `postroom repair --data-dir DIR` say what \
         is lost, and give that up"
    } else if kind == io::ErrorKind::PermissionDenied {
        ". Give the file to the user Postroom runs as"
    } else {
        ""
    }
}

/// Turns the disk's word into a complaint about the file of this name.
pub(super) fn failed(file: &str, operation: Operation) -> impl FnOnce(io::Error) -> SegmentError {
    move |error| SegmentError::Io { file: file.to_owned(), operation, error }
}
