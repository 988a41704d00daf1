//! The part of reading messages back that waits for the disk.

use std::sync::Arc;

use storage::{Operation, Segment, SegmentError, segment_file_name};

use super::chunks::sealed::LoadedBlock;
use crate::chunk::Chunk;

/// Reads blocks of a run.
#[derive(Debug)]
pub(crate) struct LoadJob {
    pub(crate) slot: u32,
    pub(crate) key: u64,
    pub(crate) segment: Arc<Segment>,
    pub(crate) run: u32,
    /// A message that is wanted; those behind it may be.
    pub(crate) index: u32,
    pub(crate) window_bytes: usize,
}

/// What came of a read.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) slot: u32,
    pub(crate) key: u64,
    pub(crate) blocks: Result<Vec<LoadedBlock>, ReadError>,
}

/// Why messages can't be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The segment can't be read.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// A block's checksum is right, but it is not made of messages.
    #[error(
        "segment {segment}, run {run}: the block from message {index} on is not made of whole \
             messages, though its checksum is right: please report this"
    )]
    NotMessages {
        /// The segment's number.
        segment: u64,
        /// The run in it.
        run: u32,
        /// The first message of the block.
        index: u32,
    },
    /// The run does not have the message.
    #[error("segment {segment}, run {run} has no message {index}")]
    NotThere {
        /// The segment's number.
        segment: u64,
        /// The run in it.
        run: u32,
        /// The message.
        index: u32,
    },
}

impl ReadError {
    /// The file that can't be read.
    pub(crate) fn file(&self) -> String {
        match self {
            ReadError::Segment(
                SegmentError::Io { file, .. }
                | SegmentError::Damaged { file, .. }
                | SegmentError::Newer { file, .. },
            ) => file.clone(),
            ReadError::NotMessages { segment, .. } | ReadError::NotThere { segment, .. } => {
                segment_file_name(*segment)
            }
        }
    }

    /// What was being done.
    pub(crate) fn operation(&self) -> Operation {
        match self {
            ReadError::Segment(SegmentError::Io { operation, .. }) => *operation,
            ReadError::Segment(SegmentError::Damaged { .. } | SegmentError::Newer { .. })
            | ReadError::NotMessages { .. }
            | ReadError::NotThere { .. } => Operation::Read,
        }
    }

    /// Why, for who has said already which file it is and what was being done.
    pub(crate) fn cause(&self) -> String {
        match self {
            ReadError::Segment(SegmentError::Io { operation, error, .. })
                if !operation.is_reading() =>
            {
                error.to_string()
            }
            ReadError::Segment(_) | ReadError::NotMessages { .. } | ReadError::NotThere { .. } => {
                self.to_string()
            }
        }
    }
}

impl LoadJob {
    pub(crate) fn run(self) -> Loaded {
        let LoadJob { slot, key, segment, run, index, window_bytes } = self;
        Loaded { slot, key, blocks: read_blocks(&segment, run, index, window_bytes) }
    }
}

/// Reads the block that holds a message, and those behind it until about `window_bytes`.
pub(crate) fn read_blocks(
    segment: &Segment,
    run: u32,
    index: u32,
    window_bytes: usize,
) -> Result<Vec<LoadedBlock>, ReadError> {
    let mut loaded = Vec::new();
    for block in segment.read(run, index, window_bytes)? {
        let malformed =
            ReadError::NotMessages { segment: segment.number(), run, index: block.first };
        let Ok(chunk) = Chunk::parse(block.bytes) else { return Err(malformed) };
        if chunk.count() != block.count {
            return Err(malformed);
        }
        loaded.push(LoadedBlock { first: block.first, chunk: Arc::new(chunk) });
    }
    Ok(loaded)
}
