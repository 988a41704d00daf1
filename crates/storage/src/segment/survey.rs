//! What of a segment file can still be read, whatever happened to it: every block that is whole, and
//! every place that is not.
//!
//! With the index it is known where the blocks are. Without it they are looked for: a block says
//! itself whose it is, and its checksum covers that. Payloads of whole blocks are passed over, and so
//! are those of damaged ones if a block's header stands where theirs says they end; so what a message
//! imitates is taken for a block only where header and index are both lost.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use super::block::{BLOCK_HEADER_BYTES, BlockHeader};
use super::error::{SegmentDamage, SegmentError, failed};
use super::trailer::HEAD_BYTES;
use super::{Segment, file_name::segment_file_name, read, take_block};
use crate::disk::Disk;
use crate::operation::Operation;

/// Where in a segment some records of a run are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentPlace {
    /// The run's number in the segment.
    pub run: u32,
    /// The number of the first record in the run.
    pub first: u32,
    /// How many there are.
    pub count: u32,
    /// Where the block starts in the file.
    pub offset: u64,
    /// How much of the file it takes.
    pub bytes: u64,
}

/// Something of a segment that a survey comes by.
#[derive(Clone, Debug)]
pub enum SegmentSight {
    /// A block that is whole.
    Block(SegmentPlace, Bytes),
    /// A block that is not; its place is what the index says.
    Damaged(SegmentPlace, SegmentDamage),
    /// Bytes that should be blocks and are none.
    Waste {
        /// Where they start.
        offset: u64,
        /// How many.
        bytes: u64,
    },
}

/// What a survey came to.
#[derive(Debug)]
pub struct SegmentSurvey {
    /// How long the file is.
    pub file_bytes: u64,
    /// The segment; or why it does not open.
    pub segment: Result<Segment, SegmentError>,
}

/// Shows everything in the segment of this number to `visit`. Fails only if the disk does, or if a
/// newer program wrote the segment.
pub fn survey_segment(
    disk: &Arc<dyn Disk>,
    number: u64,
    visit: &mut dyn FnMut(SegmentSight),
) -> Result<SegmentSurvey, SegmentError> {
    match Segment::open(disk, number) {
        Ok(segment) => {
            by_index(&segment, visit);
            Ok(SegmentSurvey { file_bytes: segment.file_bytes(), segment: Ok(segment) })
        }
        Err(error @ (SegmentError::Io { .. } | SegmentError::Newer { .. })) => Err(error),
        Err(error @ SegmentError::Damaged { .. }) => {
            let name = segment_file_name(number);
            let file = disk.open(&name).map_err(failed(&name, Operation::Open))?;
            let file_bytes = file.bytes().map_err(failed(&name, Operation::Read))?;
            let bytes = Bytes::from(read(&*file, &name, 0, file_bytes)?);
            without_index(&bytes, number, visit);
            Ok(SegmentSurvey { file_bytes, segment: Err(error) })
        }
    }
}

fn by_index(segment: &Segment, visit: &mut dyn FnMut(SegmentSight)) {
    let (number, index) = (segment.0.number, &segment.0.index);
    let name = segment_file_name(number);
    let file = segment.0.disk.open(&name);
    for run in (0u32..).take(index.runs.len()) {
        for place in index.find(number, run, 0, usize::MAX) {
            let bytes = place.bytes as u64;
            let found = (file.as_ref().ok())
                .and_then(|file| read(&**file, &name, place.offset, bytes).ok())
                .ok_or(SegmentDamage::Unreadable)
                .and_then(|bytes| take_block(&mut Bytes::from(bytes), &place));
            let (first, count) = (place.header.first, place.header.count);
            let place = SegmentPlace { run, first, count, offset: place.offset, bytes };
            visit(match found {
                Ok(block) => SegmentSight::Block(place, block.bytes),
                Err(found) => SegmentSight::Damaged(place, found),
            });
        }
    }
}

fn without_index(bytes: &Bytes, segment: u64, visit: &mut dyn FnMut(SegmentSight)) {
    let mut at = HEAD_BYTES;
    let mut waste = None;
    while at < bytes.len() {
        let Some((header, end)) = whole_block(bytes, segment, at) else {
            waste = waste.or(Some(at));
            match look_on(bytes, segment, at) {
                ControlFlow::Continue(next) => at = next,
                // What is left may well be the index.
                ControlFlow::Break(()) => return,
            }
            continue;
        };
        if let Some(start) = waste.take() {
            visit(SegmentSight::Waste { offset: start as u64, bytes: (at - start) as u64 });
        }
        let BlockHeader { run, first, count, .. } = header;
        let (offset, size) = (at as u64, (end - at) as u64);
        let place = SegmentPlace { run, first, count, offset, bytes: size };
        visit(SegmentSight::Block(place, bytes.slice(at + BLOCK_HEADER_BYTES..end)));
        at = end;
    }
}

/// The header of the block of this segment that seems to start at a place, and where the block ends.
fn header_at(bytes: &[u8], segment: u64, at: usize) -> Option<(BlockHeader, usize)> {
    let header = BlockHeader::parse(bytes.get(at..)?)?;
    let payload_bytes = usize::try_from(header.payload_bytes).ok()?;
    let end = at.checked_add(BLOCK_HEADER_BYTES)?.checked_add(payload_bytes)?;
    (header.segment == segment && end <= bytes.len()).then_some((header, end))
}

fn whole_block(bytes: &[u8], segment: u64, at: usize) -> Option<(BlockHeader, usize)> {
    let (header, end) = header_at(bytes, segment, at)?;
    header.check(bytes.get(at..end)?).ok().map(|()| (header, end))
}

/// Where to look for the next block behind a place where none is whole.
fn look_on(bytes: &[u8], segment: u64, at: usize) -> ControlFlow<(), usize> {
    if let Some((_, end)) = header_at(bytes, segment, at)
        && header_at(bytes, segment, end).is_some()
    {
        return ControlFlow::Continue(end);
    }
    let next = (at + 1..bytes.len()).find(|next| header_at(bytes, segment, *next).is_some());
    next.map_or(ControlFlow::Break(()), ControlFlow::Continue)
}
