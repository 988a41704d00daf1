//! Looks at a journal without changing anything: every whole frame is shown, also those behind
//! damage, and every place where a frame is missing.
//!
//! The verdicts are those of an opening; but where an opening refuses, a scan goes on with the next
//! whole frame of the file's life, or with the next file.

use std::ops::Range;

use bytes::Bytes;

use super::reader::{FileReader, Frame, FrameSeen, open_file, read_header};
use super::{Damage, OpenError, Place, Verdict, failed_to_list, first_gap, split_record, verdict};
use crate::disk::Disk;
use crate::journal::file_header::{FIRST_FRAME_OFFSET, FileHeader};
use crate::journal::file_name::FileName;
use crate::journal::frame::{ALIGNMENT, FrameHeader, HEADER_BYTES, HeaderSeen, number_at};
use crate::operation::Operation;
use crate::position::Position;

/// Something that is to be seen in a journal's directory.
#[derive(Clone, Debug)]
pub enum Sight<'a> {
    /// A journal file, oldest first; its frames follow.
    File {
        /// Its name.
        file: &'a str,
        /// How long it is.
        file_bytes: u64,
        /// The position its first frame has, or should have.
        first: Position,
        /// What its header says is not needed before this.
        released: Position,
    },
    /// A file that waits to be written again.
    Spare {
        /// Its name.
        file: &'a str,
    },
    /// A whole frame; its records follow.
    Frame {
        /// The file it is in.
        file: &'a str,
        /// Where it starts.
        offset: u64,
        /// What it takes of the file.
        bytes: u64,
        /// Its position.
        position: Position,
        /// The newest position that was durable when it was written.
        durable: Position,
        /// The owner needs nothing before this.
        released: Position,
    },
    /// A record of the frame before.
    Record {
        /// Its frame's position.
        position: Position,
        /// The owner's tag.
        tag: u8,
        /// The owner's bytes.
        payload: Bytes,
    },
    /// Something that had been durable is not there.
    Gap(&'a Gap),
    /// What was being written when the process or the machine stopped: no damage.
    TornEnd {
        /// The file it is in.
        file: &'a str,
        /// Where it starts.
        offset: u64,
        /// The position it would have had.
        position: Position,
        /// What is there.
        found: Damage,
    },
}

/// A place where something that had been durable is not there any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The damaged file; or, where files are missing, the one behind them.
    pub file: String,
    /// Where the damage starts.
    pub offset: u64,
    /// Where the next whole frame of the file is; none if there is none.
    pub end: Option<u64>,
    /// What is there instead.
    pub found: Damage,
    /// The positions that are missing; none of them if only the file's header is damaged.
    pub missing: Range<u64>,
    /// What makes it whole, but for what is lost.
    pub(super) cure: Cure,
}

/// What a repair does about a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cure {
    /// Writes the file's header again.
    Header(FileHeader),
    /// Puts void frames into the gap.
    Frames { generation: u64 },
    /// Puts files of void frames in place of the missing ones.
    Files { numbers: Range<u64> },
}

/// What a scan came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Journal files, spare ones not counted.
    pub files: u64,
    /// Whole frames.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// The position that the oldest file begins with; none if there are none.
    pub first: Option<Position>,
    /// Where something is missing, in the order of the journal.
    pub gaps: Vec<Gap>,
    /// The owner needs nothing before this.
    pub released: Position,
}

/// Shows everything in a journal's directory to `visit`, oldest first, and changes nothing. Fails
/// only if the disk does, or if a newer program wrote the journal.
pub fn scan(disk: &dyn Disk, visit: &mut dyn FnMut(Sight<'_>)) -> Result<Scan, OpenError> {
    let names = disk.list().map_err(failed_to_list)?;
    let mut names: Vec<FileName> = names.iter().filter_map(|name| FileName::parse(name)).collect();
    names.sort_unstable();
    let mut files = Vec::new();
    for name in names {
        match name {
            FileName::Journal(number) => files.push(FoundFile::read(disk, number)?),
            FileName::Spare(_) => visit(Sight::Spare { file: &name.to_string() }),
        }
    }
    find_witnesses(disk, &mut files)?;
    let numbers: Vec<u64> = files.iter().map(|file| file.number).collect();
    let start = first_gap(&numbers);
    // What is in front of the gap matters only if nobody behind it says that it is not needed.
    let mut look_away = |_sight: Sight<'_>| {};
    let mut silent = Scanner::new(&mut look_away);
    silent.files(disk, &files[start..])?;
    let oldest = files.get(start).map_or(Position(1), |file| file.first(Position(1)));
    let needed = silent.released.max(Position(1));
    let mut scanner = Scanner::new(visit);
    scanner.released = silent.released;
    if oldest > needed {
        scanner.expected = needed;
        if let Some(first) = files.first()
            && first.first(needed) > needed
        {
            scanner.missing_files(first, first.number.saturating_sub(1));
        }
        scanner.files(disk, &files)?;
    } else {
        scanner.files(disk, &files[start..])?;
    }
    scanner.scan.files = files.len() as u64;
    scanner.scan.first = (!files.is_empty()).then_some(oldest);
    scanner.scan.released = scanner.released;
    Ok(scanner.scan)
}

/// A journal file, and what of its header could be read or guessed.
#[derive(Debug)]
struct FoundFile {
    number: u64,
    name: String,
    header: Result<FileHeader, Damage>,
    /// Of a damaged header: what the first frame that is whole says.
    witness: Option<FrameHeader>,
    /// Whether that frame stands where a file's first one does.
    witness_offset: u64,
}

impl FoundFile {
    fn read(disk: &dyn Disk, number: u64) -> Result<FoundFile, OpenError> {
        let name = FileName::Journal(number).to_string();
        let header = match read_header(disk, &name) {
            Ok((header, _)) if header.number == number => Ok(header),
            Ok((header, _)) => Err(Damage::FileNumber(header.number)),
            Err(OpenError::Corrupt { found, .. }) => Err(found),
            Err(error) => return Err(error),
        };
        Ok(FoundFile { number, name, header, witness: None, witness_offset: 0 })
    }

    /// Looks for the first whole frame header whose position can be in this file, and whose
    /// generation is no other file's: a page that strayed here from elsewhere is no witness.
    fn find_witness(
        &mut self,
        disk: &dyn Disk,
        positions: &Range<Position>,
        generations: &[u64],
    ) -> Result<(), OpenError> {
        let (file, file_bytes) = open_file(disk, &self.name)?;
        let mut offset = FIRST_FRAME_OFFSET;
        while offset < file_bytes {
            let mut bytes = [0; HEADER_BYTES];
            file.read_at(&mut bytes, offset).map_err(|error| OpenError::Io {
                file: self.name.clone(),
                operation: Operation::Read,
                error,
            })?;
            let generation = number_at(&bytes, 8);
            if let HeaderSeen::Valid(header) = FrameHeader::parse(&bytes, generation)
                && positions.contains(&header.position)
                && !generations.contains(&generation)
            {
                self.witness = Some(header);
                self.witness_offset = offset;
                return Ok(());
            }
            offset += ALIGNMENT;
        }
        Ok(())
    }

    /// The position of its first frame, as far as can be told; `before` is where the file before
    /// it ended.
    fn first(&self, before: Position) -> Position {
        match (&self.header, self.witness) {
            (Ok(header), _) => header.first,
            (Err(_), Some(witness)) if self.witness_offset == FIRST_FRAME_OFFSET => {
                witness.position
            }
            (Err(_), Some(_) | None) => before,
        }
    }

    /// Its header, rebuilt where it is damaged.
    fn header(&self, before: Position) -> FileHeader {
        self.header.unwrap_or_else(|_damaged| FileHeader {
            generation: self.witness.map_or(0, |witness| witness.generation),
            number: self.number,
            first: self.first(before),
            released: Position(0),
        })
    }
}

/// Finds out about files whose header is damaged what their frames and their neighbours say.
fn find_witnesses(disk: &dyn Disk, files: &mut [FoundFile]) -> Result<(), OpenError> {
    let headers: Vec<Option<FileHeader>> = files.iter().map(|file| file.header.ok()).collect();
    let mut generations: Vec<u64> = headers.iter().flatten().map(|it| it.generation).collect();
    let mut from = Position(1);
    for (index, file) in files.iter_mut().enumerate() {
        if let Ok(header) = file.header {
            from = from.max(header.first);
            continue;
        }
        let next = headers.get(index + 1..).and_then(|after| after.iter().flatten().next());
        let until = next.map_or(Position(u64::MAX), |header| header.first);
        file.find_witness(disk, &(from..until), &generations)?;
        if let Some(witness) = file.witness {
            from = witness.position.next();
            generations.push(witness.generation);
        }
    }
    Ok(())
}

/// A scan between two frames.
struct Scanner<'v> {
    visit: &'v mut dyn FnMut(Sight<'_>),
    scan: Scan,
    /// The position of the next frame.
    expected: Position,
    released: Position,
}

impl Scanner<'_> {
    fn new(visit: &mut dyn FnMut(Sight<'_>)) -> Scanner<'_> {
        Scanner { visit, scan: Scan::default(), expected: Position(1), released: Position(0) }
    }

    fn files(&mut self, disk: &dyn Disk, files: &[FoundFile]) -> Result<(), OpenError> {
        for (index, file) in files.iter().enumerate() {
            let next = files.get(index + 1);
            if index == 0 {
                self.expected = file.first(self.expected);
            } else if let Some(before) = files.get(index - 1)
                && before.number.saturating_add(1) < file.number
            {
                self.missing_files(file, before.number + 1);
            }
            self.file(disk, file, next)?;
        }
        Ok(())
    }

    /// The files from this number up to `after` are missing.
    fn missing_files(&mut self, after: &FoundFile, from: u64) {
        let first = after.first(self.expected).max(self.expected);
        let cure = Cure::Files { numbers: from..after.number };
        self.gap(Gap {
            file: after.name.clone(),
            offset: 0,
            end: None,
            found: Damage::FileMissing,
            missing: self.expected.0..first.0,
            cure,
        });
        self.expected = first;
    }

    fn file(
        &mut self,
        disk: &dyn Disk,
        file: &FoundFile,
        next: Option<&FoundFile>,
    ) -> Result<(), OpenError> {
        let header = file.header(self.expected);
        let mut reader = FileReader::open(disk, header)?;
        let (first, released) = (header.first, header.released);
        self.released = self.released.max(released);
        let file_bytes = reader.file_bytes;
        (self.visit)(Sight::File { file: &file.name, file_bytes, first, released });
        if let Err(found) = file.header {
            let (file, missing) = (file.name.clone(), first.0..first.0);
            let (end, cure) = (Some(FIRST_FRAME_OFFSET), Cure::Header(header));
            self.gap(Gap { file, offset: 0, end, found, missing, cure });
        }
        // Where the next file is missing, or is said to begin nobody knows where, this one ends
        // where its frames do.
        let contiguous = next.filter(|next| file.number.checked_add(1) == Some(next.number));
        let until = match (next, contiguous) {
            (None, _) => Until::End,
            (Some(_), None) => Until::LastWhole,
            (Some(_), Some(next)) => match (&next.header, next.first(Position(0))) {
                (Err(_), Position(0)) => Until::LastWhole,
                (_, first) => Until::Position(first),
            },
        };
        self.frames(&mut reader, until)
    }

    fn frames(&mut self, reader: &mut FileReader, until: Until) -> Result<(), OpenError> {
        let mut offset = FIRST_FRAME_OFFSET;
        loop {
            if let Until::Position(until) = until
                && self.expected >= until
            {
                return Ok(());
            }
            let (found, behind) = match reader.frame(offset, self.expected)? {
                FrameSeen::Whole(frame) => {
                    offset = self.frame(reader, offset, frame);
                    continue;
                }
                FrameSeen::Nothing => (Damage::NoFrame, offset + ALIGNMENT),
                FrameSeen::Damaged(found) => (found, reader.behind(offset, self.expected)?),
            };
            let mut missing_until = None;
            if until == Until::End {
                let claimed = reader.claims_from(offset)?;
                if verdict(Place::LastFile, self.expected, claimed) == Verdict::End {
                    if found != Damage::NoFrame || claimed.is_some() {
                        let (file, position) = (&*reader.name, self.expected);
                        (self.visit)(Sight::TornEnd { file, offset, position, found });
                    }
                    return Ok(());
                }
                missing_until = claimed.map(Position::next);
            } else if let Until::Position(until) = until {
                missing_until = Some(until);
            }
            // In the newest file a whole frame counts although nothing vouches for it.
            let bound = missing_until.filter(|_| until != Until::End);
            let next = reader.whole_frame_from(behind, offset, self.expected, bound)?;
            let Some(until) = next.map(|(_, position)| position).or(missing_until) else {
                return Ok(());
            };
            let end = next.map(|(offset, _)| offset);
            let (file, missing) = (reader.name.clone(), self.expected.0..until.0);
            let cure = Cure::Frames { generation: reader.header.generation };
            self.gap(Gap { file, offset, end, found, missing, cure });
            self.expected = until;
            match end {
                Some(end) => offset = end,
                None => return Ok(()),
            }
        }
    }

    fn frame(&mut self, reader: &FileReader, offset: u64, frame: Frame) -> u64 {
        let Frame { mut payload, durable, released, bytes } = frame;
        let (file, position) = (&*reader.name, self.expected);
        (self.visit)(Sight::Frame { file, offset, bytes, position, durable, released });
        self.scan.frames += 1;
        while !payload.is_empty() {
            let Some((tag, payload)) = split_record(&mut payload) else {
                let (file, found) = (reader.name.clone(), Damage::Records);
                let missing = position.0..position.next().0;
                let cure = Cure::Frames { generation: reader.header.generation };
                self.gap(Gap { file, offset, end: Some(offset + bytes), found, missing, cure });
                break;
            };
            self.scan.records += 1;
            (self.visit)(Sight::Record { position, tag, payload });
        }
        self.released = self.released.max(released);
        self.expected = position.next();
        offset + bytes
    }

    fn gap(&mut self, gap: Gap) {
        (self.visit)(Sight::Gap(&gap));
        self.scan.gaps.push(gap);
    }
}

/// How far a file's frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// Those before this position: the next file begins with it.
    Position(Position),
    /// As far as there are whole ones.
    LastWhole,
    /// It is the newest file.
    End,
}
