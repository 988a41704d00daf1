//! Reads frames out of one journal file, believing nothing before its checksum is right.

use std::io::{self, IoSlice};

use bytes::Bytes;

use super::{Damage, OpenError};
use crate::disk::write_all;
use crate::disk::{Disk, DiskFile};
use crate::journal::file_header::{FileHeader, FileHeaderSeen};
use crate::journal::file_name::FileName;
use crate::journal::frame::{ALIGNMENT, FrameHeader, HEADER_BYTES, HeaderSeen, frame_bytes};
use crate::operation::Operation;
use crate::position::Position;

/// How much is read ahead.
const WINDOW_BYTES: usize = 256 << 10;

/// One journal file, read from front to back.
pub(in crate::journal) struct FileReader {
    pub(in crate::journal) name: String,
    pub(in crate::journal) header: FileHeader,
    file: Box<dyn DiskFile>,
    pub(super) file_bytes: u64,
    /// Bytes of the file from `window_at` on.
    window: Vec<u8>,
    window_at: u64,
}

/// A whole frame.
pub(in crate::journal) struct Frame {
    pub(in crate::journal) payload: Bytes,
    pub(in crate::journal) durable: Position,
    pub(in crate::journal) released: Position,
    /// What it takes of the file.
    pub(in crate::journal) bytes: u64,
}

/// What is at a place where the next frame should start.
pub(in crate::journal) enum FrameSeen {
    /// The frame.
    Whole(Frame),
    /// Nothing of the file's present life.
    Nothing,
    /// Something of this life that is not the whole frame.
    Damaged(Damage),
}

/// What the file of this name says of itself, and how long it is.
pub(in crate::journal) fn read_header(
    disk: &dyn Disk,
    name: &str,
) -> Result<(FileHeader, u64), OpenError> {
    let (file, file_bytes) = open_file(disk, name)?;
    let mut bytes = [0; HEADER_BYTES];
    let read = file.read_at(&mut bytes, 0).map_err(failed(name, Operation::Read))?;
    match FileHeader::parse(&bytes) {
        FileHeaderSeen::Valid(header) if read == HEADER_BYTES => Ok((header, file_bytes)),
        FileHeaderSeen::Newer(version) => Err(OpenError::Newer { file: name.to_owned(), version }),
        FileHeaderSeen::Valid(_) | FileHeaderSeen::Damaged => Err(OpenError::Corrupt {
            file: name.to_owned(),
            offset: 0,
            position: Position(0),
            found: Damage::FileHeader,
        }),
    }
}

/// How long the file of this name is.
pub(super) fn file_bytes(disk: &dyn Disk, name: &str) -> Result<u64, OpenError> {
    Ok(open_file(disk, name)?.1)
}

pub(super) fn open_file(
    disk: &dyn Disk,
    name: &str,
) -> Result<(Box<dyn DiskFile>, u64), OpenError> {
    let file = disk.open(name).map_err(failed(name, Operation::Open))?;
    let file_bytes = file.bytes().map_err(failed(name, Operation::Read))?;
    Ok((file, file_bytes))
}

fn failed(name: &str, operation: Operation) -> impl FnOnce(io::Error) -> OpenError {
    move |error| OpenError::Io { file: name.to_owned(), operation, error }
}

impl FileReader {
    pub(in crate::journal) fn open(
        disk: &dyn Disk,
        header: FileHeader,
    ) -> Result<FileReader, OpenError> {
        let name = FileName::Journal(header.number).to_string();
        let (file, file_bytes) = open_file(disk, &name)?;
        Ok(FileReader { name, header, file, file_bytes, window: Vec::new(), window_at: 0 })
    }

    pub(in crate::journal) fn corrupt(
        &self,
        offset: u64,
        position: Position,
        found: Damage,
    ) -> OpenError {
        OpenError::Corrupt { file: self.name.clone(), offset, position, found }
    }

    /// The frame of `position` at `offset`, or what is there instead.
    pub(in crate::journal) fn frame(
        &mut self,
        offset: u64,
        position: Position,
    ) -> Result<FrameSeen, OpenError> {
        let header = match self.frame_header(offset)? {
            HeaderSeen::Nothing => return Ok(FrameSeen::Nothing),
            HeaderSeen::Damaged => return Ok(FrameSeen::Damaged(Damage::FrameHeader)),
            HeaderSeen::Newer(version) => return Err(self.newer(version)),
            HeaderSeen::Valid(header) => header,
        };
        if header.position != position {
            return Ok(FrameSeen::Damaged(Damage::WrongPosition(header.position)));
        }
        let Some((bytes, payload_bytes)) = self.extent(offset, &header) else {
            return Ok(FrameSeen::Damaged(Damage::FrameCut));
        };
        let payload = self.read(offset + HEADER_BYTES as u64, payload_bytes)?;
        if payload.len() < payload_bytes {
            return Ok(FrameSeen::Damaged(Damage::FrameCut));
        }
        if !header.covers(&payload) {
            return Ok(FrameSeen::Damaged(Damage::Payload));
        }
        let (durable, released) = (header.durable, header.released);
        Ok(FrameSeen::Whole(Frame { payload, durable, released, bytes }))
    }

    /// The newest position that a frame at or behind `offset` knows as durable; none if there is no
    /// sign of any frame. A whole header is enough to be heard: what it knows does not depend on
    /// its payload. Payloads are passed over, so that nothing inside one is taken for a frame.
    pub(in crate::journal) fn claims_from(
        &mut self,
        offset: u64,
    ) -> Result<Option<Position>, OpenError> {
        let mut newest = None;
        let mut at = offset;
        while at < self.file_bytes {
            let step = match self.frame_header(at)? {
                HeaderSeen::Nothing => ALIGNMENT,
                HeaderSeen::Damaged => {
                    newest = newest.max(Some(Position(0)));
                    ALIGNMENT
                }
                HeaderSeen::Newer(version) => return Err(self.newer(version)),
                HeaderSeen::Valid(header) => {
                    newest = newest.max(Some(header.durable));
                    self.extent(at, &header).map_or(ALIGNMENT, |(bytes, _)| bytes)
                }
            };
            at = at.saturating_add(step);
        }
        Ok(newest)
    }

    /// Where to look on behind a frame that is not whole: behind its end if its header can be believed,
    /// so that its payload is passed over.
    pub(super) fn behind(&mut self, offset: u64, position: Position) -> Result<u64, OpenError> {
        let bytes = match self.frame_header(offset)? {
            HeaderSeen::Valid(header) if header.position == position => {
                self.extent(offset, &header).map(|(bytes, _)| bytes)
            }
            HeaderSeen::Valid(_)
            | HeaderSeen::Nothing
            | HeaderSeen::Damaged
            | HeaderSeen::Newer(_) => None,
        };
        Ok(offset.saturating_add(bytes.unwrap_or(ALIGNMENT)))
    }

    /// The next whole frame at or behind `from` that is past `position` and, if that is known,
    /// before `until`: where it is, and its position. The frames that are missing before it must
    /// have had room from `offset` on, or it is a misplaced one.
    pub(super) fn whole_frame_from(
        &mut self,
        from: u64,
        offset: u64,
        position: Position,
        until: Option<Position>,
    ) -> Result<Option<(u64, Position)>, OpenError> {
        let mut at = from;
        while at < self.file_bytes {
            if let HeaderSeen::Valid(header) = self.frame_header(at)? {
                let pages = at.saturating_sub(offset) / ALIGNMENT;
                let wanted = header.position > position
                    && header.position.0 - position.0 <= pages
                    && until.is_none_or(|until| header.position < until);
                if wanted && let FrameSeen::Whole(_) = self.frame(at, header.position)? {
                    return Ok(Some((at, header.position)));
                }
                at = self.extent(at, &header).map_or(at + ALIGNMENT, |(bytes, _)| at + bytes);
            } else {
                at += ALIGNMENT;
            }
        }
        Ok(None)
    }

    /// Writes the bytes from `start` to `end` once more and syncs them. That a frame can be read does
    /// not mean that it is on the disk: the process may have died before its sync, and where a sync
    /// failed, the system shows pages it will never write. What is shown to the owner must stay.
    pub(super) fn make_durable(&mut self, start: u64, end: u64) -> Result<(), OpenError> {
        let mut bytes = vec![0; WINDOW_BYTES];
        let mut at = start;
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX).min(WINDOW_BYTES);
            let read = self
                .file
                .read_at(&mut bytes[..left], at)
                .map_err(failed(&self.name, Operation::Read))?;
            if read == 0 {
                break;
            }
            write_all(&*self.file, &mut [IoSlice::new(&bytes[..read])], at)
                .map_err(failed(&self.name, Operation::Write))?;
            at += read as u64;
        }
        self.file.sync().map_err(failed(&self.name, Operation::Sync))
    }

    /// How much of the file a frame takes, and how long its payload is; none if it doesn't fit.
    /// The padding of the last frame may be missing.
    fn extent(&self, offset: u64, header: &FrameHeader) -> Option<(u64, usize)> {
        let bytes = frame_bytes(header.payload_bytes)?;
        let payload_end =
            offset.checked_add(HEADER_BYTES as u64)?.checked_add(header.payload_bytes)?;
        let payload_bytes = usize::try_from(header.payload_bytes).ok()?;
        (payload_end <= self.file_bytes).then_some((bytes, payload_bytes))
    }

    fn frame_header(&mut self, offset: u64) -> Result<HeaderSeen, OpenError> {
        let end = offset.saturating_add(HEADER_BYTES as u64);
        if end > self.file_bytes {
            return Ok(HeaderSeen::Nothing);
        }
        self.move_window(offset, end)?;
        let ahead = self.ahead(offset);
        let generation = self.header.generation;
        Ok(ahead
            .first_chunk::<HEADER_BYTES>()
            .map_or(HeaderSeen::Nothing, |bytes| FrameHeader::parse(bytes, generation)))
    }

    /// `len` bytes from `offset` on, in a buffer of their own; fewer if the file shrank meanwhile.
    /// The caller knows that so many bytes are in the file.
    fn read(&mut self, offset: u64, len: usize) -> Result<Bytes, OpenError> {
        if len <= WINDOW_BYTES / 2 {
            self.move_window(offset, offset.saturating_add(len as u64))?;
        }
        let ahead = self.ahead(offset);
        if let Some(all) = ahead.get(..len) {
            return Ok(Bytes::copy_from_slice(all));
        }
        let mut bytes = vec![0; len];
        let have = ahead.len();
        bytes[..have].copy_from_slice(ahead);
        let read = self
            .file
            .read_at(&mut bytes[have..], offset + have as u64)
            .map_err(failed(&self.name, Operation::Read))?;
        bytes.truncate(have + read);
        Ok(bytes.into())
    }

    /// What the window has from `offset` on.
    fn ahead(&self, offset: u64) -> &[u8] {
        offset
            .checked_sub(self.window_at)
            .and_then(|skip| usize::try_from(skip).ok())
            .and_then(|skip| self.window.get(skip..))
            .unwrap_or(&[])
    }

    /// Reads ahead from `start`, unless everything up to `end` is there already.
    fn move_window(&mut self, start: u64, end: u64) -> Result<(), OpenError> {
        let window_end = self.window_at + self.window.len() as u64;
        if self.window_at <= start && end <= window_end {
            return Ok(());
        }
        let left = self.file_bytes.saturating_sub(start);
        self.window
            .resize(usize::try_from(left).map_or(WINDOW_BYTES, |left| left.min(WINDOW_BYTES)), 0);
        self.window_at = start;
        let read = self
            .file
            .read_at(&mut self.window, start)
            .map_err(failed(&self.name, Operation::Read))?;
        self.window.truncate(read);
        Ok(())
    }

    fn newer(&self, version: u32) -> OpenError {
        OpenError::Newer { file: self.name.clone(), version }
    }
}
