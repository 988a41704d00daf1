//! Segments: files of records that are written once, in one go, and read in pieces afterwards.
//!
//! A segment holds *runs*, each the records of one owner in order and side by side, so that whoever
//! reads one owner's records reads nobody else's. A run is cut into *blocks* of about 64 KiB, each
//! with its checksum. The index at the end says where which block is, and is all of the file that stays
//! in memory; the records do not know their own lengths, the owner does.
//!
//! ```text
//! ┌──────┬───────────────────────┬─────────────┬─────────────────────┬───────┬─────────┐
//! │ head │ run 0: block block …  │ run 1: block│ run 2: block block …│ index │ trailer │
//! └──────┴───────────────────────┴─────────────┴─────────────────────┴───────┴─────────┘
//! ```
//!
//! A file is a segment when it has a whole trailer, which is written last; nothing may refer to it
//! before. It never changes. Drawn byte by byte in `docs/formats/segment.md`.

mod builder;

mod survey;

mod index;

mod block;

mod error;

mod trailer;

mod file_name;

use std::sync::Arc;

use bytes::Bytes;
use stdx::checksum::checksum;

pub use builder::{SegmentBuilder, SegmentSync};
pub use error::{SegmentDamage, SegmentError};
pub use file_name::{list_segments, remove_segment, segment_file_name, segment_file_number};
pub use index::SegmentRun;
pub use survey::{SegmentPlace, SegmentSight, SegmentSurvey, survey_segment};

use crate::disk::{Disk, DiskFile};
use crate::operation::Operation;
use error::failed;
use index::{BlockPlace, Index};
use trailer::{HEAD_BYTES, TRAILER_BYTES, Trailer, TrailerSeen};

/// So much of the file's end is read at once; the index of most segments is in it.
const END_BYTES: u64 = 16 << 10;

/// A finished segment; a clone is another handle of the same one. It holds no file open.
#[derive(Clone, Debug)]
pub struct Segment(Arc<Contents>);

#[derive(Debug)]
struct Contents {
    disk: Arc<dyn Disk>,
    number: u64,
    file_bytes: u64,
    index: Index,
}

/// Some records of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentBlock {
    /// The number of the first one in the run.
    pub first: u32,
    /// How many there are.
    pub count: u32,
    /// All of them, side by side, as they were appended.
    pub bytes: Bytes,
}

impl Segment {
    /// Opens the segment of this number: reads and checks its index, and none of its records.
    pub fn open(disk: &Arc<dyn Disk>, number: u64) -> Result<Segment, SegmentError> {
        let end = FileEnd::read(&**disk, number)?;
        let (offset, index) = end.index()?;
        let damaged = |found| end.damaged(offset, found);
        if checksum(&index) != end.trailer.index_checksum {
            return Err(damaged(SegmentDamage::Index));
        }
        let index = Index::parse(&index, &end.trailer).map_err(damaged)?;
        Ok(Segment::new(disk, number, end.file_bytes, index))
    }

    fn new(disk: &Arc<dyn Disk>, number: u64, file_bytes: u64, index: Index) -> Segment {
        Segment(Arc::new(Contents { disk: Arc::clone(disk), number, file_bytes, index }))
    }

    /// The number in its name.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// How long its file is.
    pub fn file_bytes(&self) -> u64 {
        self.0.file_bytes
    }

    /// Its runs, in order: the first is run 0.
    pub fn runs(&self) -> &[SegmentRun] {
        &self.0.index.runs
    }

    /// Reads, in one go, the block that holds record `index` of run `run`, and those behind it in
    /// the same run as long as all of them fit into `window_bytes`; at least the one. Every block is
    /// checked; where one behind the first is damaged, the window ends before it.
    pub fn read(
        &self,
        run: u32,
        index: u32,
        window_bytes: usize,
    ) -> Result<Vec<SegmentBlock>, SegmentError> {
        let Contents { disk, number, index: places, .. } = &*self.0;
        let name = segment_file_name(*number);
        let damaged = |offset, found| SegmentError::Damaged { file: name.clone(), offset, found };
        let places = places.find(*number, run, index, window_bytes);
        let (Some(first), Some(last)) = (places.first(), places.last()) else {
            return Err(damaged(0, SegmentDamage::NoSuchRecord { run, index }));
        };
        let start = first.offset;
        let window = last.offset.saturating_sub(start) + last.bytes as u64;
        let file = disk.open(&name).map_err(failed(&name, Operation::Open))?;
        let mut window = Bytes::from(read(&*file, &name, start, window)?);
        let mut blocks = Vec::with_capacity(places.len());
        for place in &places {
            match take_block(&mut window, place) {
                Ok(block) => blocks.push(block),
                Err(found) if blocks.is_empty() => return Err(damaged(place.offset, found)),
                Err(_) => break,
            }
        }
        Ok(blocks)
    }
}

/// Splits the next block off what was read.
fn take_block(window: &mut Bytes, place: &BlockPlace) -> Result<SegmentBlock, SegmentDamage> {
    if window.len() < place.bytes {
        return Err(SegmentDamage::BlockCut);
    }
    let block = window.split_to(place.bytes);
    place.header.check(&block)?;
    let (first, count) = (place.header.first, place.header.count);
    Ok(SegmentBlock { first, count, bytes: block.slice(block::BLOCK_HEADER_BYTES..) })
}

/// So many bytes from `offset` on; fewer if the file is shorter.
fn read(file: &dyn DiskFile, name: &str, offset: u64, bytes: u64) -> Result<Vec<u8>, SegmentError> {
    let mut buffer = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
    let read = file.read_at(&mut buffer, offset).map_err(failed(name, Operation::Read))?;
    buffer.truncate(read);
    Ok(buffer)
}

/// The end of a segment file.
struct FileEnd {
    name: String,
    file: Box<dyn DiskFile>,
    file_bytes: u64,
    trailer: Trailer,
    /// The file's last bytes.
    bytes: Vec<u8>,
}

impl FileEnd {
    fn read(disk: &dyn Disk, number: u64) -> Result<FileEnd, SegmentError> {
        let name = segment_file_name(number);
        let file = disk.open(&name).map_err(failed(&name, Operation::Open))?;
        let file_bytes = file.bytes().map_err(failed(&name, Operation::Read))?;
        let bytes_read = file_bytes.min(END_BYTES);
        let bytes = read(&*file, &name, file_bytes - bytes_read, bytes_read)?;
        let seen = match bytes.last_chunk::<TRAILER_BYTES>() {
            Some(trailer) if bytes.len() as u64 == bytes_read => Trailer::parse(trailer),
            _ => TrailerSeen::Nothing,
        };
        let offset = file_bytes.saturating_sub(TRAILER_BYTES as u64);
        let damaged = |found| Err(SegmentError::Damaged { file: name.clone(), offset, found });
        let trailer = match seen {
            TrailerSeen::Nothing => return damaged(SegmentDamage::Unfinished),
            TrailerSeen::Damaged => return damaged(SegmentDamage::Trailer),
            TrailerSeen::Newer(version) => return Err(SegmentError::Newer { file: name, version }),
            TrailerSeen::Valid(trailer) => trailer,
        };
        if trailer.number != number {
            return damaged(SegmentDamage::Number(trailer.number));
        }
        Ok(FileEnd { name, file, file_bytes, trailer, bytes })
    }

    /// Where the index starts, and its bytes.
    fn index(&self) -> Result<(u64, Vec<u8>), SegmentError> {
        let Trailer { index_offset: offset, index_bytes: bytes, .. } = self.trailer;
        let end = self.file_bytes - TRAILER_BYTES as u64;
        if offset < HEAD_BYTES as u64 || offset.checked_add(bytes) != Some(end) {
            return Err(self.damaged(end, SegmentDamage::IndexContents));
        }
        let have = self.bytes.len() - TRAILER_BYTES;
        let in_sight = usize::try_from(bytes).ok().and_then(|bytes| have.checked_sub(bytes));
        let index = match in_sight {
            Some(start) => self.bytes[start..have].to_vec(),
            None => read(&*self.file, &self.name, offset, bytes)?,
        };
        Ok((offset, index))
    }

    fn damaged(&self, offset: u64, found: SegmentDamage) -> SegmentError {
        SegmentError::Damaged { file: self.name.clone(), offset, found }
    }
}
