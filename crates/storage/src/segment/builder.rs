//! Writes a segment file, front to back, in pieces of about a mebibyte: whole pages from memory that
//! is aligned as they are, so that the disk can take them without a copy in the system's cache.

use std::io::{self, IoSlice};
use std::sync::Arc;

use stdx::fault::{Fault, planted};

use super::Segment;
use super::block::{BLOCK_HEADER_BYTES, BLOCK_PAYLOAD_BYTES, BlockHeader};
use super::error::{SegmentError, failed};
use super::file_name::segment_file_name;
use super::index::{Index, SegmentRun};
use super::trailer::{Trailer, encode_head};
use crate::disk::{Disk, DiskFile, PAGE_BYTES, write_all};
use crate::operation::Operation;

/// So much is gathered before it is written.
const GATHERED_BYTES: usize = 1 << 20;

/// Whether a segment has to outlive a power loss from the moment it is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentSync {
    /// The file and its name are durable.
    Synced,
    /// The system writes them when it likes.
    Unsynced,
}

/// A segment file that is being written. One that is dropped before it is finished, for whatever
/// reason, takes its file with it.
#[derive(Debug)]
pub struct SegmentBuilder {
    file: Unfinished,
    /// What fills the page before the first, then whole blocks, and behind them the open one.
    buffer: Vec<u8>,
    /// Where in the buffer the first page starts.
    start: usize,
    /// Where in the file the buffer starts.
    written: u64,
    index: Index,
    /// The run that is being written; counted among the others when it is complete.
    run: Option<SegmentRun>,
    block: Option<OpenBlock>,
}

/// A block that takes more records.
#[derive(Clone, Copy, Debug)]
struct OpenBlock {
    /// Where in the buffer it starts.
    start: usize,
    /// The number of its first record in the run.
    first: u32,
    /// How many bytes it still takes.
    room: usize,
}

/// A file that goes unless it is kept.
#[derive(Debug)]
struct Unfinished {
    disk: Arc<dyn Disk>,
    number: u64,
    name: String,
    file: Box<dyn DiskFile>,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Goes,
    Stays,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.fate == Fate::Goes {
            // Nothing refers to it; if it can't be deleted now, it is at the next start.
            let _ = self.disk.remove(&self.name);
        }
    }
}

impl SegmentBuilder {
    /// Creates the file `segment-<number>`. Numbers are given once and never again: an existing
    /// file of that name is an error.
    pub fn create(disk: &Arc<dyn Disk>, number: u64) -> Result<SegmentBuilder, SegmentError> {
        let name = segment_file_name(number);
        let file = disk.create_streamed(&name).map_err(failed(&name, Operation::Create))?;
        let file = Unfinished { disk: Arc::clone(disk), number, name, file, fate: Fate::Goes };
        let mut buffer: Vec<u8> = Vec::with_capacity(2 * GATHERED_BYTES);
        let start = buffer.as_ptr().addr().next_multiple_of(PAGE_BYTES) - buffer.as_ptr().addr();
        buffer.resize(start, 0);
        buffer.extend_from_slice(&encode_head(number));
        let index = Index::new();
        Ok(SegmentBuilder { file, buffer, start, written: 0, index, run: None, block: None })
    }

    /// Begins the next run and says its number: 0, 1, 2 … A run that gets no record is none: the
    /// next one gets its number. `owner` is for whoever looks at the file later.
    pub fn begin_run(&mut self, owner: u64) -> u32 {
        self.complete_run();
        self.run = Some(SegmentRun::begin(owner, &self.index));
        u32::try_from(self.index.runs.len()).unwrap_or(u32::MAX)
    }

    /// Appends a record to the run begun last. Records of a run are numbered from 0; their ids
    /// Appends a record to the run begun last. Records of a run are numbered from 0; their ids
    /// ascend. After an error nothing more can be done with the segment than to drop it.
    #[inline]
    pub fn append(&mut self, id: u64, record: &[u8]) -> Result<(), SegmentError> {
        if let (Some(run), Some(block)) = (&mut self.run, &mut self.block)
            && record.len() <= block.room
            && run.records < u32::MAX
        {
            self.buffer.extend_from_slice(record);
            block.room -= record.len();
            run.records += 1;
            run.last_id = id;
            return Ok(());
        }
        self.append_in_next_block(id, record)
    }

    /// How long the file would be if it were finished now, without its index.
    pub fn bytes(&self) -> u64 {
        self.written + (self.buffer.len() - self.start) as u64
    }

    /// Writes what is left, the index and the trailer. Nothing may refer to the segment before this
    /// has returned.
    pub fn finish(mut self, sync: SegmentSync) -> Result<Segment, SegmentError> {
        self.complete_run();
        let index_bytes = self.index.encode();
        let trailer = Trailer {
            number: self.file.number,
            index_offset: self.index.end(),
            index_bytes: index_bytes.len() as u64,
            index_checksum: stdx::checksum::checksum(&index_bytes),
            records: self.index.runs.iter().map(|run| u64::from(run.records)).sum(),
            runs: u32::try_from(self.index.runs.len()).unwrap_or(u32::MAX),
            blocks: self.index.blocks(),
        };
        let trailer = trailer.encode();
        self.buffer.extend_from_slice(&index_bytes);
        self.buffer.extend_from_slice(&trailer);
        self.write_pages()?;
        self.write_rest()?;
        if sync == SegmentSync::Synced {
            let file = &self.file;
            file.file.sync().map_err(failed(&file.name, Operation::Sync))?;
            if !planted(Fault::ForgottenDirectorySync) {
                file.disk.sync_dir().map_err(failed(&file.name, Operation::SyncDirectory))?;
            }
        }
        self.file.fate = Fate::Stays;
        let mut index = self.index;
        index.shrink();
        Ok(Segment::new(&self.file.disk, self.file.number, self.written, index))
    }

    /// The first record of a block.
    #[cold]
    fn append_in_next_block(&mut self, id: u64, record: &[u8]) -> Result<(), SegmentError> {
        self.complete_block();
        let Some(mut run) = self.run else {
            return Err(self.refused("no run is begun"));
        };
        let Ok(payload_bytes) = u32::try_from(record.len()) else {
            return Err(self.refused("a record is longer than 4 GiB"));
        };
        let first = run.records;
        let Some(records) = first.checked_add(1).filter(|_| self.index.blocks() < u32::MAX) else {
            return Err(self.refused("a run has more records than can be counted"));
        };
        if self.buffer.len() >= GATHERED_BYTES {
            self.write_pages()?;
        }
        let start = self.buffer.len();
        if record.len() >= BLOCK_PAYLOAD_BYTES {
            let header = BlockHeader {
                segment: self.file.number,
                run: self.run_number(),
                first,
                count: 1,
                payload_bytes,
            };
            self.buffer.extend_from_slice(&header.encode(record));
            self.push_long(record)?;
            run.payload_bytes += u64::from(payload_bytes);
            self.index.push_block(first, payload_bytes);
        } else {
            self.buffer.extend_from_slice(&[0; BLOCK_HEADER_BYTES]);
            self.buffer.extend_from_slice(record);
            let room = BLOCK_PAYLOAD_BYTES.saturating_sub(record.len());
            self.block = Some(OpenBlock { start, first, room });
        }
        if first == 0 {
            run.first_id = id;
        }
        run.last_id = id;
        run.records = records;
        self.run = Some(run);
        Ok(())
    }

    fn run_number(&self) -> u32 {
        u32::try_from(self.index.runs.len()).unwrap_or(u32::MAX)
    }

    fn complete_run(&mut self) {
        self.complete_block();
        if let Some(run) = self.run.take().filter(|run| run.records > 0) {
            self.index.runs.push(run);
        }
    }

    /// Puts the header before the open block's records.
    fn complete_block(&mut self) {
        let number = self.run_number();
        let (Some(block), Some(run)) = (self.block.take(), &mut self.run) else { return };
        let bytes = &mut self.buffer[block.start..];
        let payload_bytes = u32::try_from(bytes.len() - BLOCK_HEADER_BYTES).unwrap_or(u32::MAX);
        let header = BlockHeader {
            segment: self.file.number,
            run: number,
            first: block.first,
            count: run.records - block.first,
            payload_bytes,
        };
        header.seal(bytes);
        run.payload_bytes += u64::from(payload_bytes);
        self.index.push_block(block.first, payload_bytes);
    }

    /// Copies a record into the buffer in pieces, and writes the buffer where it is full. After an
    /// error the segment can't be finished: a part of it may be missing.
    fn push_long(&mut self, record: &[u8]) -> Result<(), SegmentError> {
        for piece in record.chunks(GATHERED_BYTES / 2) {
            self.buffer.extend_from_slice(piece);
            if self.buffer.len() >= GATHERED_BYTES {
                self.write_pages()?;
            }
        }
        Ok(())
    }

    /// Writes the whole pages of the buffer; what is left begins the next.
    fn write_pages(&mut self) -> Result<(), SegmentError> {
        let whole = (self.buffer.len() - self.start) / PAGE_BYTES * PAGE_BYTES;
        self.write(whole)?;
        let end = self.start + whole;
        self.buffer.copy_within(end.., self.start);
        self.buffer.truncate(self.buffer.len() - whole);
        Ok(())
    }

    /// Writes what is left of the buffer: less than a page.
    fn write_rest(&mut self) -> Result<(), SegmentError> {
        self.write(self.buffer.len() - self.start)?;
        self.buffer.truncate(self.start);
        Ok(())
    }

    fn write(&mut self, bytes: usize) -> Result<(), SegmentError> {
        if bytes == 0 {
            return Ok(());
        }
        let mut slices = [IoSlice::new(&self.buffer[self.start..self.start + bytes])];
        write_all(&*self.file.file, &mut slices, self.written)
            .map_err(failed(&self.file.name, Operation::Write))?;
        self.written += bytes as u64;
        Ok(())
    }

    /// What can't be said in the format.
    fn refused(&self, why: &'static str) -> SegmentError {
        failed(&self.file.name, Operation::Write)(io::Error::new(io::ErrorKind::InvalidInput, why))
    }
}
