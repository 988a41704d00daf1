//! Opening a journal: every durable record is shown again, in order, and the end is found.
//!
//! Frames carry consecutive positions. Where the next frame is not there, or is not whole, the
//! question is whether that place was ever durable. If it was, it is damaged and the journal refuses
//! to open; if not, it is the torn end of what was being written, and nobody was told otherwise:
//!
//! | the place is in | a frame behind it in the file, or it itself, knows as durable | verdict |
//! | --- | --- | --- |
//! | a file with a later one behind it | anything or nothing | damage: a file is synced before the next is begun |
//! | the last file | a position at or past this one | damage: it had been synced |
//! | the last file | less, or no such frame | the end |
//!
//! What lies behind the end is never used again: writing goes on in a new file, of a new generation,
//! whose first position says at every later opening where this one ended. This holds in every sync
//! mode, because only a sync makes a frame known as durable.

mod repair;

mod scan;

pub(super) mod reader;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

pub use repair::{RepairSettings, repair};
pub use scan::{Gap, Scan, Sight, scan};

use super::Journal;
use super::file_header::{FIRST_FRAME_OFFSET, FileHeader};
use super::file_name::FileName;
use super::files::{Files, FilesFound, LiveFile, SpareFile};
use super::frame::FORMAT_VERSION;
use super::progress::Progress;
use super::settings::JournalSettings;
use super::writer::Writer;
use crate::disk::{Disk, is_unreadable};
use crate::operation::Operation;
use crate::pieces::{RECORD_HEAD_BYTES, parse_record_head};
use crate::position::Position;
use reader::{FileReader, Frame, FrameSeen, file_bytes, read_header};

/// One record, as it was committed.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// The frame it is in.
    pub position: Position,
    /// The owner's tag.
    pub tag: u8,
    /// The owner's bytes: a slice of the frame's buffer, which lives as long as any of its slices.
    pub payload: Bytes,
    /// The file it is in, for a complaint about its contents.
    pub file: &'a str,
    /// Where in the file its frame starts, for the same purpose.
    pub offset: u64,
}

/// An opened journal.
#[derive(Debug)]
pub struct Opened<W> {
    /// The appending side.
    pub journal: Arc<Journal<W>>,
    /// The writing side.
    pub writer: Writer<W>,
    /// What was found.
    pub summary: ReplaySummary,
}

/// What an opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplaySummary {
    /// Frames shown.
    pub frames: u64,
    /// Records shown.
    pub records: u64,
    /// Bytes of disk the frames take.
    pub bytes: u64,
    /// Journal files, spare ones not counted.
    pub files: u64,
    /// The position that the oldest of them begins with; none if there are none.
    pub first: Option<Position>,
    /// What was being written when the machine or the process stopped, if any of it is to be seen.
    pub torn_tail: Option<TornTail>,
}

/// A frame that was being written when the machine or the process stopped; nobody was told it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The file it is in.
    pub file: String,
    /// Where it starts, or would have.
    pub offset: u64,
    /// The position it has, or would have had.
    pub position: Position,
    /// What is there instead of a whole frame.
    pub found: Damage,
}

/// What is wrong at a place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The file's own header is not whole.
    #[error("the file's header is damaged")]
    FileHeader,
    /// The header says another number than the name.
    #[error("the file's header says it is file {0}")]
    FileNumber(u64),
    /// The file before this one is missing and may still be needed.
    #[error("the file before this one is missing, and with it frames up to this position")]
    FileMissing,
    /// The file begins before the position at which the one before it does.
    #[error("the file begins at an earlier position than the one before it, {0}")]
    FileOrder(Position),
    /// There is no frame.
    #[error("no frame is there")]
    NoFrame,
    /// The frame's header fails its checksum.
    #[error("the frame's header fails its checksum")]
    FrameHeader,
    /// The frame is longer than the file.
    #[error("the frame's end lies behind the end of the file")]
    FrameCut,
    /// The payload fails its checksum.
    #[error("the frame's payload fails its checksum")]
    Payload,
    /// A whole frame of another position.
    #[error("a frame of position {0} is there")]
    WrongPosition(Position),
    /// The checksum is right, but the records do not fill the payload.
    #[error("the records in the frame do not add up")]
    Records,
}

/// What whoever reads the complaint about an unreadable file can do.
const REPAIR: &str = ". Restore the data directory from a backup; or let `postroom repair --data-dir \
                      DIR` say what is lost, and give that up";

/// Why a journal did not open. Nothing was changed on disk.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk refused.
    #[error(
        "the journal does not open, because {file} could not be {operation}: {error}{}",
        if is_unreadable(error) { REPAIR } else { "" }
    )]
    Io {
        /// The file, or the directory.
        file: String,
        /// What was being done.
        operation: Operation,
        /// What the disk said.
        error: io::Error,
    },
    /// Bytes that had been durable are not what was written.
    #[error(
        "the journal does not open, because it is damaged: {file}, offset {offset}, where the frame \
         of position {position} should be: {found}. What was there had been synced, so this is no \
         torn end of a crash. Restore the data directory from a backup; or let `postroom repair \
         --data-dir DIR` say what is lost, and give that up"
    )]
    Corrupt {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// The position that should be there.
        position: Position,
        /// What is there.
        found: Damage,
    },
    /// Written by a newer version of the program.
    #[error(
        "the journal does not open: {file} is written in format version {version}, and this program \
         reads version {FORMAT_VERSION} at most. Start the newer Postroom that wrote it"
    )]
    Newer {
        /// The file.
        file: String,
        /// The version it says.
        version: u32,
    },
}

/// Opens the journal in `disk`, an empty directory being an empty journal. Every record is shown to
/// `visit`, oldest first; those before the newest released position may be missing, but only from the
/// front. If opening fails, what was shown is void.
pub fn open<W>(
    disk: Arc<dyn Disk>,
    settings: JournalSettings,
    visit: &mut dyn FnMut(Record<'_>),
) -> Result<Opened<W>, OpenError> {
    let (found, headers) = find_files(&*disk)?;
    let start = first_file_after_a_gap(&headers);
    let mut replay = Replay {
        visit,
        summary: ReplaySummary {
            files: headers.len() as u64,
            first: headers.get(start).map(|header| header.first),
            ..ReplaySummary::default()
        },
        progress: Progress::default(),
        expected: headers.get(start).map_or(Position(1), |header| header.first),
        released: Position(0),
        known_durable: Position(0),
    };
    for (index, header) in headers.iter().enumerate().skip(start) {
        let mut reader = FileReader::open(&*disk, *header)?;
        match headers.get(index + 1) {
            Some(next) => replay.older_file(&mut reader, next.first)?,
            None => replay.last_file(&mut reader)?,
        }
    }
    if let Some(oldest) = headers.get(start)
        && oldest.first > replay.released.max(Position(1))
    {
        let file = FileName::Journal(oldest.number).to_string();
        let (position, found) = (oldest.first.previous(), Damage::FileMissing);
        return Err(OpenError::Corrupt { file, offset: 0, position, found });
    }
    let durable = replay.expected.previous();
    let journal = Arc::new(Journal::new(&settings, durable, replay.progress));
    let sync = settings.sync;
    let files = Files::new(disk, found, settings);
    journal.set_files(files.goes_at(Position(0)), files.disk_use());
    let writer = Writer::new(Arc::clone(&journal), files, sync, durable);
    Ok(Opened { journal, writer, summary: replay.summary })
}

fn failed_to_list(error: io::Error) -> OpenError {
    OpenError::Io { file: "its directory".to_owned(), operation: Operation::List, error }
}

/// Lists the directory and reads the header of every journal file, oldest first.
fn find_files(disk: &dyn Disk) -> Result<(FilesFound, Vec<FileHeader>), OpenError> {
    let names = disk.list().map_err(failed_to_list)?;
    let mut names: Vec<FileName> = names.iter().filter_map(|name| FileName::parse(name)).collect();
    names.sort_unstable();
    let mut found = FilesFound::default();
    let mut headers: Vec<FileHeader> = Vec::new();
    for name in names {
        let number = match name {
            FileName::Journal(number) => number,
            FileName::Spare(number) => {
                let bytes = file_bytes(disk, &name.to_string())?;
                found.spares.push(SpareFile { number, bytes, filled_bytes: bytes });
                continue;
            }
        };
        let (header, bytes) = read_header(disk, &name.to_string())?;
        let corrupt = |found| {
            let (file, position) = (name.to_string(), header.first);
            OpenError::Corrupt { file, offset: 0, position, found }
        };
        if header.number != number {
            return Err(corrupt(Damage::FileNumber(header.number)));
        }
        if let Some(before) = headers.last()
            && header.first < before.first
        {
            return Err(corrupt(Damage::FileOrder(before.first)));
        }
        found.live.push_back(LiveFile { number, first: header.first, bytes });
        headers.push(header);
    }
    Ok((found, headers))
}

/// Files go from the front, several at a time, and a crash may keep any of their names. So what stands
/// before a gap is not needed if the files behind it say so, and damage if they don't; which of the
/// two is known when those have been read.
fn first_file_after_a_gap(headers: &[FileHeader]) -> usize {
    let numbers: Vec<u64> = headers.iter().map(|header| header.number).collect();
    first_gap(&numbers)
}

/// Which of ascending numbers is the first behind the last gap.
fn first_gap(numbers: &[u64]) -> usize {
    let gap = numbers.windows(2).rposition(|pair| match pair {
        [before, after] => before.checked_add(1) != Some(*after),
        _ => false,
    });
    gap.map_or(0, |before| before + 1)
}

/// Takes the first record off a payload; none if what is left is no record.
fn split_record(payload: &mut Bytes) -> Option<(u8, Bytes)> {
    let (tag, bytes) =
        payload.first_chunk::<RECORD_HEAD_BYTES>().copied().map(parse_record_head)?;
    let bytes = usize::try_from(bytes).ok()?;
    if bytes > payload.len() - RECORD_HEAD_BYTES {
        return None;
    }
    let mut record = payload.split_to(RECORD_HEAD_BYTES + bytes);
    Some((tag, record.split_off(RECORD_HEAD_BYTES)))
}

/// Where the next frame should have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a file with a later one behind it.
    OlderFile,
    /// In the file that was written last.
    LastFile,
}

/// What it means that the next frame is not there, or not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It had been durable.
    Damage,
    /// It never was: the journal ends here.
    End,
}

/// The table at the top of this file; `known_durable` is the newest position that a frame there or
/// behind knows as durable, if there is any sign of a frame.
fn verdict(place: Place, missing: Position, known_durable: Option<Position>) -> Verdict {
    match (place, known_durable) {
        (Place::OlderFile, _) => Verdict::Damage,
        (Place::LastFile, Some(durable)) if durable >= missing => Verdict::Damage,
        (Place::LastFile, Some(_) | None) => Verdict::End,
    }
}

/// The state of a replay between two frames.
struct Replay<'v> {
    visit: &'v mut dyn FnMut(Record<'_>),
    summary: ReplaySummary,
    progress: Progress,
    /// The position of the next frame.
    expected: Position,
    /// The newest release that a frame or a file header states.
    released: Position,
    /// The newest position that a frame or a file header knows as durable.
    known_durable: Position,
}

impl Replay<'_> {
    /// A file with another one behind it, which begins at `next_first`: every frame before that
    /// must be there, and what follows is void.
    fn older_file(
        &mut self,
        reader: &mut FileReader,
        next_first: Position,
    ) -> Result<(), OpenError> {
        self.begin(reader);
        let mut offset = FIRST_FRAME_OFFSET;
        while self.expected < next_first {
            let damage = match reader.frame(offset, self.expected)? {
                FrameSeen::Whole(frame) => {
                    offset = self.frame(reader, offset, frame)?;
                    continue;
                }
                FrameSeen::Nothing => Damage::NoFrame,
                FrameSeen::Damaged(damage) => damage,
            };
            match verdict(Place::OlderFile, self.expected, None) {
                Verdict::Damage => return Err(reader.corrupt(offset, self.expected, damage)),
                Verdict::End => break,
            }
        }
        Ok(())
    }

    /// The file that was written last: finds the end, or the damage.
    fn last_file(&mut self, reader: &mut FileReader) -> Result<(), OpenError> {
        self.begin(reader);
        let mut offset = FIRST_FRAME_OFFSET;
        let mut unproven: VecDeque<(Position, u64)> = VecDeque::new();
        let damage = loop {
            match reader.frame(offset, self.expected)? {
                FrameSeen::Whole(frame) => {
                    unproven.push_back((self.expected, offset));
                    offset = self.frame(reader, offset, frame)?;
                    let known_durable = self.known_durable;
                    while unproven.pop_front_if(|(at, _)| *at <= known_durable).is_some() {}
                }
                FrameSeen::Nothing => break Damage::NoFrame,
                FrameSeen::Damaged(damage) => break damage,
            }
        };
        let behind = reader.claims_from(offset)?;
        if verdict(Place::LastFile, self.expected, behind) == Verdict::Damage {
            return Err(reader.corrupt(offset, self.expected, damage));
        }
        if damage != Damage::NoFrame || behind.is_some() {
            self.summary.torn_tail = Some(TornTail {
                file: reader.name.clone(),
                offset,
                position: self.expected,
                found: damage,
            });
        }
        if let Some((_, start)) = unproven.front() {
            reader.make_durable(*start, offset)?;
        }
        Ok(())
    }

    fn begin(&mut self, reader: &FileReader) {
        self.released = self.released.max(reader.header.released);
        self.known_durable = self.known_durable.max(reader.header.first.previous());
    }

    /// Shows the records of a frame; says where the next one starts.
    fn frame(&mut self, reader: &FileReader, offset: u64, frame: Frame) -> Result<u64, OpenError> {
        let mut payload = frame.payload;
        while !payload.is_empty() {
            let Some((tag, payload)) = split_record(&mut payload) else {
                return Err(reader.corrupt(offset, self.expected, Damage::Records));
            };
            let (position, file) = (self.expected, reader.name.as_str());
            (self.visit)(Record { position, tag, payload, file, offset });
            self.summary.records += 1;
        }
        self.summary.frames += 1;
        self.summary.bytes += frame.bytes;
        self.progress.wrote(self.expected, frame.bytes);
        self.released = self.released.max(frame.released);
        self.known_durable = self.known_durable.max(frame.durable);
        self.expected = self.expected.next();
        Ok(offset + frame.bytes)
    }
}
