//! The files of a journal: the one that is written, the older ones, and the spare ones.
//!
//! Files are recycled, not grown: overwriting bytes that a file already has costs half of what
//! extending it costs, because a sync then has no new length and no new blocks to record. Where a file
//! must grow, it grows by zeros, a step ahead of the frames, so that one frame in many pays; an idle
//! journal takes no more than one such step. Long frames grow the file themselves: for them the
//! second writing would cost more than it saves.
//!
//! The steps of turning to another file are ordered so that a crash between any two of them leaves
//! nothing to guess:
//!
//! 1. the file written so far is synced;
//! 2. a spare file gets its new header and is synced; its old frames are now of a former life;
//! 3. it is renamed to `journal-<number>`, and the directory is synced;
//! 4. frames go into it.
//!
//! A file that is not needed any more is renamed to `spare-<number>`, and the directory is synced
//! before a new header may be written into it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

use stdx::fault::{Fault, planted};

use super::file_header::{FIRST_FRAME_OFFSET, FileHeader};
use super::file_name::FileName;
use super::frame::{FrameHeader, HEADER_BYTES, PAGE_BYTES, frame_bytes};
use super::poison::Poison;
use super::settings::JournalSettings;
use crate::disk::{Disk, DiskFile, write_all};
use crate::operation::Operation;
use crate::pieces::Pieces;
use crate::position::Position;

/// What pads frames and fills files.
static ZEROS: [u8; 65_536] = [0; 65_536];

/// By so much a file grows ahead of its frames.
const GROWTH_BYTES: u64 = 1 << 20;

/// A frame longer than this grows the file itself.
const FRAME_BYTES_WORTH_GROWTH: u64 = GROWTH_BYTES / 4;

/// So many files, the present one included, are not old.
const YOUNG_FILES: usize = 4;

/// A journal file that may still be needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LiveFile {
    pub(super) number: u64,
    pub(super) first: Position,
}

/// What a directory holds when a journal is opened.
#[derive(Debug, Default)]
pub(super) struct FilesFound {
    /// Oldest first.
    pub(super) live: VecDeque<LiveFile>,
    pub(super) spares: Vec<FileName>,
}

/// The file that is written.
#[derive(Debug)]
struct Current {
    name: String,
    file: Box<dyn DiskFile>,
    generation: u64,
    /// Where the next frame goes.
    end: u64,
    /// How long the file is.
    file_bytes: u64,
}

/// All files of one journal.
pub(super) struct Files {
    disk: Arc<dyn Disk>,
    file_bytes: u64,
    spare_files_max: usize,
    generation: Box<dyn FnMut() -> u64 + Send>,
    /// Oldest first; the current one, if any, is the last.
    live: VecDeque<LiveFile>,
    spares: Vec<FileName>,
    current: Option<Current>,
    next_number: u64,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files")
            .field("live", &self.live)
            .field("spares", &self.spares)
            .field("current", &self.current)
            .finish_non_exhaustive()
    }
}

impl Files {
    /// The files found in `disk`. None of them is written again before it was retired: the first
    /// frame opens a new file, so that nothing behind the end of the last one can be revived.
    pub(super) fn new(disk: Arc<dyn Disk>, found: FilesFound, settings: JournalSettings) -> Files {
        // Without a gap, so that a missing file shows. Spare files have numbers of their own.
        let newest = found.live.back().map_or(0, |file| file.number);
        Files {
            disk,
            file_bytes: settings.file_bytes,
            spare_files_max: settings.spare_files_max,
            generation: settings.generation,
            live: found.live,
            spares: found.spares,
            current: None,
            next_number: newest + 1,
        }
    }

    /// Whether a frame of this payload fits into the current file. A file takes at least one frame,
    /// however long.
    pub(super) fn has_room(&self, payload_bytes: u64) -> bool {
        self.current.as_ref().is_some_and(|current| {
            let frame_bytes = frame_bytes(payload_bytes).unwrap_or(u64::MAX);
            current.end == FIRST_FRAME_OFFSET
                || current.end.saturating_add(frame_bytes) <= self.file_bytes
        })
    }

    /// Turns to another file, whose first frame will be at `first`. The current file must be synced.
    pub(super) fn turn(&mut self, first: Position, released: Position) -> Result<(), Poison> {
        let number = self.next_number;
        let spare = self.spares.pop();
        let from = spare.unwrap_or(FileName::Spare(number)).to_string();
        let to = FileName::Journal(number).to_string();
        let file = match spare {
            Some(_) => self.disk.open(&from).map_err(failed(&from, Operation::Open))?,
            None => self.disk.create(&from).map_err(failed(&from, Operation::Create))?,
        };
        let file_bytes = file.bytes().map_err(failed(&from, Operation::Read))?;
        let generation = (self.generation)();
        let header = FileHeader { generation, number, first, released }.encode();
        let mut slices = [IoSlice::new(&header)];
        write_all(&*file, &mut slices, 0).map_err(failed(&from, Operation::Write))?;
        sync(&*file).map_err(failed(&from, Operation::Sync))?;
        self.disk.rename(&from, &to).map_err(failed(&from, Operation::Rename))?;
        self.sync_directory(&to)?;
        self.next_number = number + 1;
        self.live.push_back(LiveFile { number, first });
        let end = FIRST_FRAME_OFFSET;
        self.current = Some(Current { name: to, file, generation, end, file_bytes });
        Ok(())
    }

    /// The generation of the current file; 0 while there is none.
    pub(super) fn generation(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.generation)
    }

    /// Writes one frame behind the last; says how much of the file it took.
    pub(super) fn write(&mut self, header: &FrameHeader, pieces: &Pieces) -> Result<u64, Poison> {
        let Some(current) = &mut self.current else {
            let none = FileName::Journal(self.next_number).to_string();
            return Err(Poison::new(&none, Operation::Write, io::ErrorKind::NotFound.into()));
        };
        let header_bytes = header.encode();
        let written_bytes = HEADER_BYTES + pieces.len();
        let frame_bytes = written_bytes.next_multiple_of(PAGE_BYTES);
        let padding = frame_bytes - written_bytes;
        let mut slices = Vec::with_capacity(pieces.slice_count() + 2);
        slices.push(IoSlice::new(&header_bytes));
        pieces.io_slices(&mut slices);
        slices.push(IoSlice::new(&ZEROS[..padding]));
        let frame_bytes = frame_bytes as u64;
        let end = current.end + frame_bytes;
        if end > current.file_bytes && frame_bytes <= FRAME_BYTES_WORTH_GROWTH {
            let wanted_bytes = (end + GROWTH_BYTES).min(self.file_bytes);
            grow(&*current.file, current.end, wanted_bytes)
                .map_err(failed(&current.name, Operation::Write))?;
            current.file_bytes = wanted_bytes;
        }
        write_all(&*current.file, &mut slices, current.end)
            .map_err(failed(&current.name, Operation::Write))?;
        current.end = end;
        current.file_bytes = current.file_bytes.max(end);
        Ok(frame_bytes)
    }

    /// Makes every frame in the current file durable.
    pub(super) fn sync(&self) -> Result<(), Poison> {
        let Some(current) = &self.current else { return Ok(()) };
        sync(&*current.file).map_err(failed(&current.name, Operation::Sync))
    }

    /// The first position of the oldest file that is not old.
    pub(super) fn old_before(&self) -> Position {
        let young = self.live.len().checked_sub(YOUNG_FILES);
        let oldest_young = young.and_then(|at| self.live.get(at));
        oldest_young.map_or(Position(0), |file| file.first)
    }

    /// The smallest release past `released` that lets one more file go: the first position of the
    /// file behind it. The newest file never goes.
    pub(super) fn goes_at(&self, released: Position) -> Option<Position> {
        self.live.iter().skip(1).map(|file| file.first).find(|first| *first > released)
    }

    /// Lets up to `files_max` files go that lie wholly before `released`. The journal must already
    /// say durably that they are not needed: that some of them are missing is then no damage.
    pub(super) fn retire(&mut self, released: Position, files_max: usize) -> Result<(), Poison> {
        let mut renamed = None;
        for _ in 0..files_max {
            let Some(oldest) = self.live.front() else { break };
            if self.live.get(1).is_none_or(|second| second.first > released) {
                break;
            }
            let name = FileName::Journal(oldest.number).to_string();
            let spare = FileName::Spare(oldest.number);
            let room = self.spares.len() < self.spare_files_max && !self.spares.contains(&spare);
            // A file that one huge frame made would hold its disk for ever.
            if room && self.bytes_of(&name)? <= self.file_bytes.saturating_mul(2) {
                self.disk
                    .rename(&name, &spare.to_string())
                    .map_err(failed(&name, Operation::Rename))?;
                self.spares.push(spare);
                renamed = Some(name);
            } else {
                self.disk.remove(&name).map_err(failed(&name, Operation::Remove))?;
            }
            self.live.pop_front();
        }
        match renamed {
            Some(name) => self.sync_directory(&name),
            None => Ok(()),
        }
    }

    fn bytes_of(&self, name: &str) -> Result<u64, Poison> {
        let file = self.disk.open(name).map_err(failed(name, Operation::Open))?;
        file.bytes().map_err(failed(name, Operation::Read))
    }

    fn sync_directory(&self, name: &str) -> Result<(), Poison> {
        if planted(Fault::ForgottenDirectorySync) {
            return Ok(());
        }
        self.disk.sync_dir().map_err(failed(name, Operation::SyncDirectory))
    }
}

/// Turns the disk's word into the reason why the journal stops.
fn failed(name: &str, operation: Operation) -> impl FnOnce(io::Error) -> Poison {
    move |error| Poison::new(name, operation, error)
}

/// Writes zeros from `start` to `end`. A full disk is no failure here: the frame itself may still fit.
fn grow(file: &dyn DiskFile, start: u64, end: u64) -> io::Result<()> {
    let mut slices = Vec::new();
    let mut left = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
    while left > 0 {
        let len = left.min(ZEROS.len());
        slices.push(IoSlice::new(&ZEROS[..len]));
        left -= len;
    }
    match write_all(file, &mut slices, start) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
        outcome => outcome,
    }
}

fn sync(file: &dyn DiskFile) -> io::Result<()> {
    if planted(Fault::ConfirmBeforeSync) {
        return Ok(());
    }
    file.sync()
}
