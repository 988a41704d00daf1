//! A copy of a journal that somebody else is writing: from outside, without a word to the writer.
//!
//! Frames are copied, not files: one after the other, each checked, up to the first that is not
//! whole. What comes of it is the journal as it stood at some moment after the copying began, as if
//! the machine had stopped just then; a frame that was being written is left out and leaves no trace.
//!
//! Meanwhile files may go. A frame names the life of its file, so bytes of a later life are not
//! taken for it; the copy then lacks the file's end, and the file and all before it are dropped from
//! the copy. That is right if a later frame says that they were released, which is what let them
//! go. It may stand behind the last frame that was copied, so the copying goes on until it is found.
//!
//! A frame that is not whole ends the copy only if it was never durable. If something behind it knows
//! that it was, and it is still not whole when it is read once more, then it is damaged, and there is no copy.

use std::io::{self, IoSlice};

use super::file_header::{FIRST_FRAME_OFFSET, FileHeader};
use super::file_name::FileName;
use super::frame::{FrameHeader, HEADER_BYTES, PAGE_BYTES};
use super::replay::reader::{FileReader, Frame, FrameSeen, read_header};
use super::{Damage, OpenError};
use crate::disk::{Disk, DiskFile, write_all};
use crate::position::Position;
use stdx::checksum::checksum;

/// So often the end of the journal is looked for again.
const ROUNDS_MAX: usize = 100;

const ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

/// Why a journal was not copied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error(transparent)]
    Read(OpenError),
    #[error("the copy's {file} can't be written: {error}")]
    Write { file: String, error: io::Error },
    #[error("files of the journal went faster than they were copied")]
    Outrun,
}

/// A file of the copy.
struct CopiedFile {
    header: FileHeader,
    copy: Box<dyn DiskFile>,
    /// Where the next frame will be, here as in the original.
    offset: u64,
    /// The position of the next frame.
    expected: Position,
}

struct Copying<'d> {
    from: &'d dyn Disk,
    to: &'d dyn Disk,
    files: Vec<CopiedFile>,
    /// How many files the journal had when it was last looked at.
    listed: usize,
    /// The newest release that a copied frame or header states.
    released: Position,
    bytes: u64,
    /// A frame that had been durable and is not whole; what is copied is from behind it.
    damage: Option<OpenError>,
}

/// Copies the journal in `from` into the empty directory `to` and syncs it; how many bytes it takes.
pub(crate) fn copy_journal(from: &dyn Disk, to: &dyn Disk) -> Result<u64, CopyError> {
    let (files, released) = (Vec::new(), Position(0));
    let mut copying = Copying { from, to, files, listed: 0, released, bytes: 0, damage: None };
    for _ in 0..ROUNDS_MAX {
        copying.round()?;
        if let Some(damage) = copying.damage_at_end(None)? {
            return Err(CopyError::Read(damage));
        }
        if copying.is_complete() {
            copying.sync()?;
            return Ok(copying.bytes);
        }
        if let Some(damage) = copying.damage {
            return Err(CopyError::Read(damage));
        }
    }
    Err(CopyError::Outrun)
}

impl Copying<'_> {
    /// Copies what is there now behind what was copied already.
    fn round(&mut self) -> Result<(), CopyError> {
        let done = self.files.last().map_or(0, |file| file.header.number);
        let numbers = journal_numbers(self.from)?;
        self.listed = numbers.len();
        for number in numbers {
            if number < done {
                continue;
            }
            let Some(header) = header_of(self.from, number)? else {
                // It has gone, and so has everything before it.
                self.drop_all()?;
                continue;
            };
            let ended = self.files.last().map(|last| (last.header, last.expected));
            match ended {
                // The same life of the same file as before.
                Some((last, _)) if last == header => {}
                Some((last, expected)) if last.number + 1 == number && expected == header.first => {
                    self.begin(header)?;
                }
                Some((last, _)) => {
                    if last.number + 1 == number {
                        self.damage = self.damage_at_end(Some(header.first))?;
                    }
                    self.drop_all()?;
                    self.begin(header)?;
                }
                None => self.begin(header)?,
            }
            self.frames(header)?;
        }
        Ok(())
    }

    /// Whether what is not there is not needed.
    fn is_complete(&self) -> bool {
        match self.files.first() {
            Some(oldest) => oldest.header.first <= self.released.max(Position(1)),
            // If there were some, they went before they were copied, and others came.
            None => self.listed == 0,
        }
    }

    fn begin(&mut self, header: FileHeader) -> Result<(), CopyError> {
        let name = FileName::Journal(header.number).to_string();
        let copy = self.to.create(&name).map_err(refused(&name))?;
        let head = header.encode();
        let mut page = [IoSlice::new(&head), IoSlice::new(&ZEROS[HEADER_BYTES..])];
        write_all(&*copy, &mut page, 0).map_err(refused(&name))?;
        self.released = self.released.max(header.released);
        self.bytes += FIRST_FRAME_OFFSET;
        let (offset, expected) = (FIRST_FRAME_OFFSET, header.first);
        self.files.push(CopiedFile { header, copy, offset, expected });
        Ok(())
    }

    /// Copies frames of the newest file up to the first that is not whole.
    fn frames(&mut self, header: FileHeader) -> Result<(), CopyError> {
        let Some(file) = self.files.last_mut() else { return Ok(()) };
        let mut reader = match FileReader::open(self.from, header) {
            Err(error) if is_gone(&error) => return Ok(()),
            opened => opened.map_err(CopyError::Read)?,
        };
        loop {
            let seen = reader.frame(file.offset, file.expected).map_err(CopyError::Read)?;
            let FrameSeen::Whole(frame) = seen else { return Ok(()) };
            file.write(&frame).map_err(refused(&reader.name))?;
            self.released = self.released.max(frame.released);
            self.bytes += frame.bytes;
        }
    }

    /// What is wrong with the frame before which the newest copied file ends, if it had been durable:
    /// because it is before `next_first`, where the next file begins, or because of what a frame
    /// behind it knows.
    fn damage_at_end(&self, next_first: Option<Position>) -> Result<Option<OpenError>, CopyError> {
        let Some(CopiedFile { header, offset, expected, .. }) = self.files.last() else {
            return Ok(None);
        };
        let open = || match FileReader::open(self.from, *header) {
            Err(error) if is_gone(&error) => Ok(None),
            opened => opened.map(Some).map_err(CopyError::Read),
        };
        let Some(mut reader) = open()? else { return Ok(None) };
        let durable = match next_first {
            Some(first) => Some(first.previous()),
            None => reader.claims_from(*offset).map_err(CopyError::Read)?,
        };
        if durable < Some(*expected) {
            return Ok(None);
        }
        // It may have been written since it was read; by now it must be there.
        let Some(mut reader) = open()? else { return Ok(None) };
        let found = match reader.frame(*offset, *expected).map_err(CopyError::Read)? {
            FrameSeen::Whole(_) => return Ok(None),
            FrameSeen::Nothing => Damage::NoFrame,
            FrameSeen::Damaged(damage) => damage,
        };
        let is_there = header_of(self.from, header.number)? == Some(*header);
        Ok(is_there.then(|| reader.corrupt(*offset, *expected, found)))
    }

    fn drop_all(&mut self) -> Result<(), CopyError> {
        for file in self.files.drain(..) {
            let name = FileName::Journal(file.header.number).to_string();
            self.to.remove(&name).map_err(refused(&name))?;
        }
        self.bytes = 0;
        Ok(())
    }

    fn sync(&self) -> Result<(), CopyError> {
        for file in &self.files {
            let name = FileName::Journal(file.header.number).to_string();
            file.copy.sync().map_err(refused(&name))?;
        }
        self.to.sync_dir().map_err(refused("directory"))
    }
}

impl CopiedFile {
    fn write(&mut self, frame: &Frame) -> io::Result<()> {
        let header = FrameHeader {
            generation: self.header.generation,
            position: self.expected,
            durable: frame.durable,
            released: frame.released,
            payload_bytes: frame.payload.len() as u64,
            payload_checksum: checksum(&frame.payload),
        };
        let head = header.encode();
        let used = head.len() as u64 + frame.payload.len() as u64;
        // Less than a page, by the format.
        let padding = usize::try_from(frame.bytes.saturating_sub(used)).unwrap_or(0);
        let padding = ZEROS.get(..padding).unwrap_or(&ZEROS);
        let mut slices = [IoSlice::new(&head), IoSlice::new(&frame.payload), IoSlice::new(padding)];
        write_all(&*self.copy, &mut slices, self.offset)?;
        self.offset += frame.bytes;
        self.expected = self.expected.next();
        Ok(())
    }
}

fn journal_numbers(disk: &dyn Disk) -> Result<Vec<u64>, CopyError> {
    let listed = disk.list().map_err(|error| {
        let (file, operation) = ("its directory".to_owned(), crate::operation::Operation::List);
        CopyError::Read(OpenError::Io { file, operation, error })
    });
    let mut numbers: Vec<u64> = listed?
        .iter()
        .filter_map(|name| match FileName::parse(name) {
            Some(FileName::Journal(number)) => Some(number),
            Some(FileName::Spare(_)) | None => None,
        })
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The header of that file; none if it has gone, or is another file by now.
fn header_of(disk: &dyn Disk, number: u64) -> Result<Option<FileHeader>, CopyError> {
    match read_header(disk, &FileName::Journal(number).to_string()) {
        Ok((header, _)) => Ok((header.number == number).then_some(header)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(CopyError::Read(error)),
    }
}

fn is_gone(error: &OpenError) -> bool {
    matches!(error, OpenError::Io { error, .. } if error.kind() == io::ErrorKind::NotFound)
}

fn refused(file: &str) -> impl FnOnce(io::Error) -> CopyError {
    move |error| CopyError::Write { file: file.to_owned(), error }
}

#[cfg(test)]
mod tests;
