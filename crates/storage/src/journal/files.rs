//! The files of a journal: the one that is written, the older ones, and the spare ones.
//!
//! Files are recycled where there are any to recycle: overwriting bytes that a file already has costs
//! less than anything else. How a file that must grow does so is told in `current`.
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
//! before a new header may be written into it. Spare files that nobody turned to for a while go.

mod current;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

use stdx::fault::{Fault, planted};

use super::disk_use::DiskUse;
use super::file_header::{FIRST_FRAME_OFFSET, FileHeader};
use super::file_name::FileName;
use super::frame::{FrameHeader, frame_bytes};
use super::poison::Poison;
use super::settings::JournalSettings;
use super::shortage::{Setback, is_full, setback};
use crate::disk::{Disk, DiskFile, write_all};
use crate::operation::Operation;
use crate::pieces::Pieces;
use crate::position::Position;
use current::{Current, GROWTH_BYTES};

/// A file no longer than this takes so little that it may stay, whatever it is for.
const SMALL_FILE_BYTES: u64 = 4 * GROWTH_BYTES;

/// So many files, the present one included, are not old.
const YOUNG_FILES: usize = 8;

/// A journal file that may still be needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LiveFile {
    pub(super) number: u64,
    pub(super) first: Position,
    pub(super) bytes: u64,
}

/// A file that waits to be written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SpareFile {
    pub(super) number: u64,
    pub(super) bytes: u64,
    /// Up to here it was written before, as far as known.
    pub(super) filled_bytes: u64,
}

/// What a directory holds when a journal is opened.
#[derive(Debug, Default)]
pub(super) struct FilesFound {
    /// Oldest first.
    pub(super) live: VecDeque<LiveFile>,
    pub(super) spares: Vec<SpareFile>,
}

/// Which file to turn to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TurnTo {
    /// One whose whole space is there at once: the one before was filled quickly.
    Whole,
    /// One in which there is room for much, if there is one.
    Large,
    /// One that takes little of the disk.
    Small,
}

/// Counts what was written to the disk.
#[derive(Debug, Default)]
struct WrittenBytes(u64);

/// All files of one journal.
pub(super) struct Files {
    disk: Arc<dyn Disk>,
    file_bytes: u64,
    spare_files_max: usize,
    generation: Box<dyn FnMut() -> u64 + Send>,
    /// Oldest first; the current one, if any, is the last.
    live: VecDeque<LiveFile>,
    spares: Vec<SpareFile>,
    current: Option<Current>,
    next_number: u64,
    written: WrittenBytes,
    /// The owner needs little: files that go are not kept to be written again.
    is_at_rest: bool,
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

impl WrittenBytes {
    fn add(&mut self, bytes: u64) {
        self.0 += bytes;
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
            written: WrittenBytes::default(),
            is_at_rest: false,
        }
    }

    /// Until a large file is begun again, files that go are deleted at once.
    pub(super) fn come_to_rest(&mut self) {
        self.is_at_rest = true;
    }

    pub(super) fn is_at_rest(&self) -> bool {
        self.is_at_rest
    }

    /// What the files take of the disk, and what was written to it.
    pub(super) fn disk_use(&self) -> DiskUse {
        DiskUse {
            live_files: self.live.len(),
            live_bytes: self.live.iter().map(|file| file.bytes).sum(),
            spare_files: self.spares.len(),
            spare_bytes: self.spares.iter().map(|file| file.bytes).sum(),
            written_bytes: self.written.0,
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

    /// Whether the current file takes so much that a small one in its place is worth a turn.
    pub(super) fn is_large(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.file_bytes > SMALL_FILE_BYTES)
    }

    /// Whether a spare file is so long already that a frame of this payload needs no more disk.
    pub(super) fn has_spare_for(&self, payload_bytes: u64) -> bool {
        let needed_bytes = frame_bytes(payload_bytes)
            .and_then(|frame_bytes| frame_bytes.checked_add(FIRST_FRAME_OFFSET));
        needed_bytes.is_some_and(|needed| self.spares.iter().any(|spare| spare.bytes >= needed))
    }

    /// Turns to another file, whose first frame will be at `first`. The current file must be synced.
    /// Without room for that the current file stays.
    pub(super) fn turn(
        &mut self,
        to: TurnTo,
        first: Position,
        released: Position,
    ) -> Result<(), Setback> {
        self.is_at_rest &= to == TurnTo::Small;
        match self.take_spare(to) {
            Some(spare) => self.turn_to_spare(spare, first, released),
            None => match self.create_spare(to) {
                Ok(spare) => self.turn_to_spare(spare, first, released),
                Err(setback @ Setback::Full(_)) => match self.take_spare(TurnTo::Large) {
                    Some(spare) => self.turn_to_spare(spare, first, released),
                    None => Err(setback),
                },
                Err(setback) => Err(setback),
            },
        }
    }

    /// The longest spare file, or the longest small one.
    fn take_spare(&mut self, to: TurnTo) -> Option<SpareFile> {
        let limit_bytes = match to {
            TurnTo::Whole | TurnTo::Large => u64::MAX,
            TurnTo::Small => SMALL_FILE_BYTES,
        };
        let fitting = self.spares.iter().enumerate().filter(|(_, file)| file.bytes <= limit_bytes);
        let (at, _) = fitting.max_by_key(|(_, file)| file.bytes)?;
        Some(self.spares.swap_remove(at))
    }

    /// Its space is set aside at once, so that its header can't meet a full disk in its sync.
    fn create_spare(&mut self, to: TurnTo) -> Result<SpareFile, Setback> {
        let wanted_bytes = match to {
            TurnTo::Whole => self.file_bytes,
            TurnTo::Large | TurnTo::Small => self.file_bytes.min(GROWTH_BYTES),
        };
        let taken = self.spares.iter().map(|spare| spare.number).max().unwrap_or(0);
        let number = self.next_number.max(taken + 1);
        let mut spare = SpareFile { number, bytes: 0, filled_bytes: 0 };
        let name = FileName::Spare(spare.number).to_string();
        let file = self.disk.create(&name).map_err(setback(&name, Operation::Create))?;
        let set_aside = match file.allocate(wanted_bytes) {
            Err(error) if is_full(&error) => file.allocate(FIRST_FRAME_OFFSET),
            outcome => outcome,
        };
        match set_aside.map_err(setback(&name, Operation::Write)) {
            Ok(bytes) => spare.bytes = bytes,
            Err(setback @ Setback::Full(_)) => {
                drop(file);
                self.disk.remove(&name).map_err(failed(&name, Operation::Remove))?;
                return Err(setback);
            }
            Err(setback) => return Err(setback),
        }
        Ok(spare)
    }

    fn turn_to_spare(
        &mut self,
        spare: SpareFile,
        first: Position,
        released: Position,
    ) -> Result<(), Setback> {
        let outcome = self.dress(spare, first, released);
        if let Err(Setback::Full(_)) = outcome {
            self.spares.push(spare);
        }
        outcome
    }

    /// Makes a spare file the current one.
    fn dress(
        &mut self,
        spare: SpareFile,
        first: Position,
        released: Position,
    ) -> Result<(), Setback> {
        let number = self.next_number;
        let from = FileName::Spare(spare.number).to_string();
        let to = FileName::Journal(number).to_string();
        let file = self.disk.open(&from).map_err(failed(&from, Operation::Open))?;
        let generation = (self.generation)();
        let header = FileHeader { generation, number, first, released }.encode();
        write_all(&*file, &mut [IoSlice::new(&header)], 0)
            .map_err(setback(&from, Operation::Write))?;
        sync(&*file).map_err(failed(&from, Operation::Sync))?;
        self.disk.rename(&from, &to).map_err(setback(&from, Operation::Rename))?;
        self.sync_directory(&to)?;
        self.written.add(FIRST_FRAME_OFFSET);
        self.next_number = number + 1;
        let bytes = spare.bytes.max(FIRST_FRAME_OFFSET);
        self.live.push_back(LiveFile { number, first, bytes });
        self.current = Some(Current::new(to, file, generation, bytes, spare.filled_bytes));
        Ok(())
    }

    /// The generation of the current file; 0 while there is none.
    pub(super) fn generation(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.generation)
    }

    /// Writes one frame behind the last; says how much of the file it took. Without room nothing
    /// has changed, and the same frame may be written again.
    pub(super) fn write(&mut self, header: &FrameHeader, pieces: &Pieces) -> Result<u64, Setback> {
        let Some(current) = &mut self.current else {
            let none = FileName::Journal(self.next_number).to_string();
            return Err(failed(&none, Operation::Write)(io::ErrorKind::NotFound.into()).into());
        };
        let frame_bytes = current.write(header, pieces, self.file_bytes, &mut self.written)?;
        if let Some(newest) = self.live.back_mut() {
            newest.bytes = current.file_bytes;
        }
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
    pub(super) fn retire(&mut self, released: Position, files_max: usize) -> Result<(), Setback> {
        let mut renamed = None;
        let mut outcome = Ok(());
        for _ in 0..files_max {
            let Some(oldest) = self.live.front().copied() else { break };
            if self.live.get(1).is_none_or(|second| second.first > released) {
                break;
            }
            outcome = self.let_go(oldest, &mut renamed);
            if outcome.is_err() {
                break;
            }
            self.live.pop_front();
        }
        if let Some(name) = renamed {
            self.sync_directory(&name)?;
        }
        outcome
    }

    /// Makes a file that is not needed any more a spare one, or deletes it.
    fn let_go(&mut self, file: LiveFile, renamed: &mut Option<String>) -> Result<(), Setback> {
        let LiveFile { number, bytes, .. } = file;
        let name = FileName::Journal(number).to_string();
        let spare = FileName::Spare(number).to_string();
        let known = self.spares.iter().any(|spare| spare.number == number);
        let room = !self.is_at_rest && self.spares.len() < self.spare_files_max && !known;
        // A file that one huge frame made would hold its disk for ever.
        if room && bytes <= self.file_bytes.saturating_mul(2) {
            match self.disk.rename(&name, &spare) {
                Ok(()) => {
                    self.spares.push(SpareFile { number, bytes, filled_bytes: bytes });
                    *renamed = Some(name);
                    return Ok(());
                }
                // There may be no room for a name, but for what a file leaves behind.
                Err(error) if is_full(&error) => {}
                Err(error) => return Err(failed(&name, Operation::Rename)(error).into()),
            }
        }
        self.disk.remove(&name).map_err(setback(&name, Operation::Remove))
    }

    /// Whether spare files take more than a small one does.
    pub(super) fn has_excess(&self) -> bool {
        match self.spares.as_slice() {
            [] => false,
            [one] => one.bytes > SMALL_FILE_BYTES,
            [_, _, ..] => true,
        }
    }

    /// Deletes all spare files but a small one. Nothing depends on their names, so no sync is needed.
    pub(super) fn trim(&mut self) -> Result<(), Poison> {
        let kept = self.take_spare(TurnTo::Small);
        while let Some(spare) = self.spares.last() {
            let name = FileName::Spare(spare.number).to_string();
            self.disk.remove(&name).map_err(failed(&name, Operation::Remove))?;
            self.spares.pop();
        }
        self.spares.extend(kept);
        Ok(())
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

fn sync(file: &dyn DiskFile) -> io::Result<()> {
    if planted(Fault::ConfirmBeforeSync) {
        return Ok(());
    }
    file.sync()
}
