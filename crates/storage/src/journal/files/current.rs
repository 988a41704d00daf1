//! The file that is written: frames behind each other, on space that is set aside ahead of them.
//!
//! A sync that only has to put down bytes costs a fraction of one that has to record new blocks or a
//! new length as well. So space is set aside in steps that double, from a MiB up to the whole file: an
//! idle journal stays small, and a busy one pays a few times per file. What was set aside and never
//! written still has to be recorded as written; that is little for long frames and most of what a
//! short one costs. Ahead of short frames the space is therefore filled with zeros, a step at a time.
//!
//! Setting aside is also what finds out that the disk is full, before anything is written.

use std::io::{self, IoSlice};

use super::{FIRST_FRAME_OFFSET, WrittenBytes};
use crate::disk::{DiskFile, write_all};
use crate::journal::frame::{FrameHeader, HEADER_BYTES, PAGE_BYTES};
use crate::journal::shortage::{Setback, is_full, setback};
use crate::operation::Operation;
use crate::pieces::Pieces;

/// What pads frames and fills files.
static ZEROS: [u8; 65_536] = [0; 65_536];

/// So much is set aside at least, and so much is filled ahead of short frames.
pub(super) const GROWTH_BYTES: u64 = 1 << 20;

/// A frame longer than this is not worth a second writing of its place.
const SHORT_FRAME_BYTES: u64 = GROWTH_BYTES / 4;

/// The file that is written.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) name: String,
    pub(super) file: Box<dyn DiskFile>,
    pub(super) generation: u64,
    /// Where the next frame goes.
    pub(super) end: u64,
    /// How long the file is.
    pub(super) file_bytes: u64,
    /// Up to here it was written before.
    filled_bytes: u64,
    space: Space,
}

/// Whether the system can set space aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Space {
    CanBeSetAside,
    ComesWithWriting,
}

impl Current {
    /// A file that has its header. `filled_bytes` of its `file_bytes` were written in a former life.
    pub(super) fn new(
        name: String,
        file: Box<dyn DiskFile>,
        generation: u64,
        file_bytes: u64,
        filled_bytes: u64,
    ) -> Current {
        Current {
            name,
            file,
            generation,
            end: FIRST_FRAME_OFFSET,
            file_bytes,
            filled_bytes,
            space: Space::CanBeSetAside,
        }
    }

    /// Writes one frame behind the last; says how much of the file it took. `limit_bytes` is how long
    /// the file gets ahead of its frames. Without room the file is as it was: what was written
    /// lies behind the end, and the next try goes to the same place.
    pub(super) fn write(
        &mut self,
        header: &FrameHeader,
        pieces: &Pieces,
        limit_bytes: u64,
        written: &mut WrittenBytes,
    ) -> Result<u64, Setback> {
        let header_bytes = header.encode();
        let written_bytes = HEADER_BYTES + pieces.len();
        let frame_bytes = written_bytes.next_multiple_of(PAGE_BYTES);
        let padding = frame_bytes - written_bytes;
        let frame_bytes = frame_bytes as u64;
        let end = self.end + frame_bytes;
        self.set_aside(end, limit_bytes).map_err(setback(&self.name, Operation::Write))?;
        let mut slices = Vec::with_capacity(pieces.slice_count() + 2);
        slices.push(IoSlice::new(&header_bytes));
        pieces.io_slices(&mut slices);
        slices.push(IoSlice::new(&ZEROS[..padding]));
        write_all(&*self.file, &mut slices, self.end)
            .map_err(setback(&self.name, Operation::Write))?;
        written.add(frame_bytes);
        self.file_bytes = self.file_bytes.max(end);
        if frame_bytes <= SHORT_FRAME_BYTES && self.filled_bytes < end {
            self.fill(end, limit_bytes, written).map_err(setback(&self.name, Operation::Write))?;
        }
        self.filled_bytes = self.filled_bytes.max(end);
        self.end = end;
        Ok(frame_bytes)
    }

    /// Sets space aside up to `end`, and beyond it if there is any.
    fn set_aside(&mut self, end: u64, limit_bytes: u64) -> io::Result<()> {
        if end <= self.file_bytes || self.space == Space::ComesWithWriting {
            return Ok(());
        }
        let ahead = self.file_bytes.saturating_mul(2).max(GROWTH_BYTES).min(limit_bytes).max(end);
        let file_bytes = match self.file.allocate(ahead) {
            Err(error) if is_full(&error) && ahead > end => self.file.allocate(end),
            outcome => outcome,
        }?;
        if file_bytes < end {
            self.space = Space::ComesWithWriting;
        }
        self.file_bytes = self.file_bytes.max(file_bytes);
        Ok(())
    }

    /// Writes zeros behind the frame that ends at `end`. A full disk is no failure here: it is for the
    /// frames to come to find that out.
    fn fill(&mut self, end: u64, limit_bytes: u64, written: &mut WrittenBytes) -> io::Result<()> {
        let from = self.filled_bytes.max(end);
        let to = match self.space {
            // No further than what is set aside: a full disk must not be met half way.
            Space::CanBeSetAside => (end + GROWTH_BYTES).min(self.file_bytes),
            Space::ComesWithWriting => (end + GROWTH_BYTES).min(limit_bytes),
        };
        let mut left = usize::try_from(to.saturating_sub(from)).unwrap_or(0);
        if left == 0 {
            return Ok(());
        }
        let mut slices = Vec::with_capacity(left.div_ceil(ZEROS.len()));
        while left > 0 {
            let len = left.min(ZEROS.len());
            slices.push(IoSlice::new(&ZEROS[..len]));
            left -= len;
        }
        match write_all(&*self.file, &mut slices, from) {
            Ok(()) => {
                written.add(to - from);
                self.filled_bytes = to;
                self.file_bytes = self.file_bytes.max(to);
                Ok(())
            }
            Err(error) if is_full(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
