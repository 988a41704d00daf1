//! Makes a damaged journal open again: what is lost is replaced by frames that say so.
//!
//! Positions have no gap, so in place of every missing frame goes a *void* one: a whole frame of that
//! position whose only record has the tag the owner chose for it. A frame takes a page at least, so
//! void frames fit wherever frames were; the last of them takes all that is left up to the next whole
//! frame. Everything else stays where it is.

use std::io::{self, IoSlice};

use stdx::checksum::checksum;

use super::scan::{Cure, Gap, Scan, Sight, scan};
use super::{Damage, OpenError};
use crate::disk::{Disk, DiskFile, write_all};
use crate::journal::file_header::{FIRST_FRAME_OFFSET, FileHeader};
use crate::journal::file_name::FileName;
use crate::journal::frame::{ALIGNMENT, FrameHeader, HEADER_BYTES, PAGE_BYTES};
use crate::operation::Operation;
use crate::pieces::{RECORD_HEAD_BYTES, record_head};
use crate::position::Position;

/// More void frames than this (four gibibytes of them) no rot ever asked for.
const VOID_FRAMES_MAX: u64 = 1 << 20;

/// What a repair needs of its caller.
pub struct RepairSettings<'a> {
    /// The tag of the record that stands for what is lost.
    pub void_tag: u8,
    /// Draws the random id of a new file.
    pub generation: &'a mut dyn FnMut() -> u64,
    /// Puts a copy of the file of this name aside, before anything in it is changed.
    pub put_aside: &'a mut dyn FnMut(&str) -> io::Result<()>,
}

impl std::fmt::Debug for RepairSettings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RepairSettings").field("void_tag", &self.void_tag).finish_non_exhaustive()
    }
}

/// Repairs a journal that nobody has open, and says what was missing.
pub fn repair(disk: &dyn Disk, mut settings: RepairSettings<'_>) -> Result<Scan, OpenError> {
    let found = scan(disk, &mut |_sight: Sight<'_>| {})?;
    if found.gaps.is_empty() {
        return Ok(found);
    }
    let mut aside = Vec::new();
    for gap in &found.gaps {
        let is_there = gap.found != Damage::FileMissing;
        if is_there && !aside.contains(&&gap.file) {
            (settings.put_aside)(&gap.file).map_err(failed(&gap.file, Operation::Read))?;
            aside.push(&gap.file);
        }
    }
    for gap in &found.gaps {
        mend(disk, gap, found.released, &mut settings)?;
    }
    disk.sync_dir().map_err(failed("its directory", Operation::SyncDirectory))?;
    Ok(found)
}

fn mend(
    disk: &dyn Disk,
    gap: &Gap,
    released: Position,
    settings: &mut RepairSettings<'_>,
) -> Result<(), OpenError> {
    match &gap.cure {
        Cure::Header(header) => {
            let file = disk.open(&gap.file).map_err(failed(&gap.file, Operation::Open))?;
            write(&*file, &gap.file, 0, &mut [IoSlice::new(&header.encode())])?;
            file.sync().map_err(failed(&gap.file, Operation::Sync))
        }
        Cure::Frames { generation } => {
            let file = disk.open(&gap.file).map_err(failed(&gap.file, Operation::Open))?;
            let frames = VoidFrames {
                generation: *generation,
                offset: gap.offset,
                end: gap.end,
                missing: gap.missing.clone(),
                released,
                tag: settings.void_tag,
            };
            frames.write(&*file, gap)
        }
        Cure::Files { numbers } => {
            let mut missing = gap.missing.clone();
            for number in numbers.clone() {
                let name = FileName::Journal(number).to_string();
                let generation = (settings.generation)();
                let first = Position(missing.start);
                let header = FileHeader { generation, number, first, released }.encode();
                let file = disk.create(&name).map_err(failed(&name, Operation::Create))?;
                write(&*file, &name, 0, &mut [IoSlice::new(&header)])?;
                // All of them go into the first file.
                let end = missing.end;
                let frames = VoidFrames {
                    generation,
                    offset: FIRST_FRAME_OFFSET,
                    end: None,
                    missing: std::mem::replace(&mut missing, end..end),
                    released,
                    tag: settings.void_tag,
                };
                frames.write(&*file, gap)?;
            }
            Ok(())
        }
    }
}

/// Frames that stand for missing ones.
struct VoidFrames {
    generation: u64,
    offset: u64,
    /// Where the last of them has to end, if a whole frame is there.
    end: Option<u64>,
    missing: std::ops::Range<u64>,
    released: Position,
    tag: u8,
}

impl VoidFrames {
    fn write(self, file: &dyn DiskFile, gap: &Gap) -> Result<(), OpenError> {
        let count = self.missing.end.saturating_sub(self.missing.start);
        let pages = self.end.map_or(count, |end| end.saturating_sub(self.offset) / ALIGNMENT);
        if pages < count || count > VOID_FRAMES_MAX {
            return Err(OpenError::Corrupt {
                file: gap.file.clone(),
                offset: gap.offset,
                position: Position(self.missing.start),
                found: gap.found,
            });
        }
        let mut offset = self.offset;
        for position in self.missing.clone() {
            let is_last = position + 1 == self.missing.end;
            let frame_pages = if is_last { pages - (count - 1) } else { 1 };
            let frame_bytes = frame_pages.saturating_mul(ALIGNMENT);
            self.frame(file, &gap.file, Position(position), offset, frame_bytes)?;
            offset += frame_bytes;
        }
        file.sync().map_err(failed(&gap.file, Operation::Sync))
    }

    fn frame(
        &self,
        file: &dyn DiskFile,
        name: &str,
        position: Position,
        offset: u64,
        frame_bytes: u64,
    ) -> Result<(), OpenError> {
        let frame_bytes = usize::try_from(frame_bytes).unwrap_or(PAGE_BYTES);
        let mut payload = vec![0; frame_bytes - HEADER_BYTES];
        let record = record_head(self.tag, payload.len() - RECORD_HEAD_BYTES);
        payload[..RECORD_HEAD_BYTES].copy_from_slice(&record);
        let header = FrameHeader {
            generation: self.generation,
            position,
            durable: position.previous(),
            released: self.released,
            payload_bytes: payload.len() as u64,
            payload_checksum: checksum(&payload),
        };
        write(file, name, offset, &mut [IoSlice::new(&header.encode()), IoSlice::new(&payload)])
    }
}

fn write(
    file: &dyn DiskFile,
    name: &str,
    offset: u64,
    slices: &mut [IoSlice<'_>],
) -> Result<(), OpenError> {
    write_all(file, slices, offset).map_err(failed(name, Operation::Write))
}

fn failed(name: &str, operation: Operation) -> impl FnOnce(io::Error) -> OpenError {
    move |error| OpenError::Io { file: name.to_owned(), operation, error }
}
