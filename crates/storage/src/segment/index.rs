//! Where in a segment file which records are: the runs, and the blocks of each.
//!
//! On disk, per run, in order; all numbers are varints (seven bits a byte, the lowest first):
//!
//! | what |
//! | --- |
//! | owner |
//! | id of the first record |
//! | id of the last record, less that of the first (modulo 2^64) |
//! | b, how many blocks, at least one |
//! | b times: how many records the block has, at least one; how many bytes its payload has |
//!
//! Nothing else is needed: the first block stands behind the file's head, and every other one, of
//! whatever run, right behind the one before; the last ends where the index starts.
//!
//! In memory a block costs twelve bytes, so a record of a hundred bytes one fiftieth of a byte.

use stdx::reader::{Reader, Truncated};
use stdx::varint;

use super::block::{BLOCK_HEADER_BYTES, BlockHeader};
use super::error::SegmentDamage;
use super::trailer::{HEAD_BYTES, Trailer};

/// Records of one owner, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentRun {
    /// Whoever the writer said.
    pub owner: u64,
    /// How many records, at least one.
    pub records: u32,
    /// The id of the first.
    pub first_id: u64,
    /// The id of the last.
    pub last_id: u64,
    /// What all records have together, without the blocks' headers.
    pub payload_bytes: u64,
    /// The number, in the segment, of its first block.
    first_block: u32,
}

impl SegmentRun {
    /// A run without records, yet.
    pub(super) fn begin(owner: u64, index: &Index) -> SegmentRun {
        let first_block = index.blocks();
        SegmentRun { owner, records: 0, first_id: 0, last_id: 0, payload_bytes: 0, first_block }
    }
}

/// Where in a segment file which records are.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) runs: Vec<SegmentRun>,
    /// Of each block, the number of its first record in its run.
    firsts: Vec<u32>,
    /// Of each block, where it starts; and, one more, where the last one ends.
    offsets: Vec<u64>,
}

/// A block of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockPlace {
    pub(super) offset: u64,
    pub(super) bytes: usize,
    pub(super) header: BlockHeader,
}

impl Index {
    pub(super) fn new() -> Index {
        Index { runs: Vec::new(), firsts: Vec::new(), offsets: vec![HEAD_BYTES as u64] }
    }

    /// How many blocks there are.
    pub(super) fn blocks(&self) -> u32 {
        u32::try_from(self.firsts.len()).unwrap_or(u32::MAX)
    }

    /// Where the last block ends.
    pub(super) fn end(&self) -> u64 {
        self.offsets.last().copied().unwrap_or(HEAD_BYTES as u64)
    }

    /// One more block of the last run, which begins with its record `first`.
    pub(super) fn push_block(&mut self, first: u32, payload_bytes: u32) {
        self.firsts.push(first);
        self.offsets.push(self.end() + BLOCK_HEADER_BYTES as u64 + u64::from(payload_bytes));
    }

    /// Gives back what was reserved and not needed.
    pub(super) fn shrink(&mut self) {
        self.runs.shrink_to_fit();
        self.firsts.shrink_to_fit();
        self.offsets.shrink_to_fit();
    }

    /// The block that holds record `index` of run `run`, and those behind it in the run, as long as
    /// all end within `window_bytes`; at least the one. None if there is no such record.
    pub(super) fn find(
        &self,
        segment: u64,
        run: u32,
        index: u32,
        window_bytes: usize,
    ) -> Vec<BlockPlace> {
        let number = run;
        let blocks = self.blocks_of(number);
        let Some(run) = self.run(number).filter(|run| index < run.records) else {
            return Vec::new();
        };
        let firsts = self.firsts.get(blocks.clone()).unwrap_or(&[]);
        let before = firsts.partition_point(|first| *first <= index).saturating_sub(1);
        let start = blocks.start + before;
        let window_end = self.offset(start).saturating_add(window_bytes as u64);
        (start..blocks.end)
            .take_while(|block| *block == start || self.offset(block + 1) <= window_end)
            .map(|block| self.place(segment, number, run.records, block, blocks.end))
            .collect()
    }

    fn run(&self, run: u32) -> Option<&SegmentRun> {
        self.runs.get(usize::try_from(run).ok()?)
    }

    /// The numbers of a run's blocks.
    fn blocks_of(&self, run: u32) -> std::ops::Range<usize> {
        let first = |run: u32| self.run(run).and_then(|run| usize::try_from(run.first_block).ok());
        let end = run.checked_add(1).and_then(first).unwrap_or(self.firsts.len());
        first(run).unwrap_or(end)..end
    }

    fn offset(&self, block: usize) -> u64 {
        self.offsets.get(block).copied().unwrap_or_else(|| self.end())
    }

    fn place(
        &self,
        segment: u64,
        run: u32,
        records: u32,
        block: usize,
        run_end: usize,
    ) -> BlockPlace {
        let first = self.firsts.get(block).copied().unwrap_or(0);
        let next = self.firsts.get(..run_end).and_then(|firsts| firsts.get(block + 1));
        let count = next.copied().unwrap_or(records).saturating_sub(first);
        let offset = self.offset(block);
        let bytes = self.offset(block + 1).saturating_sub(offset);
        let payload_bytes =
            u32::try_from(bytes.saturating_sub(BLOCK_HEADER_BYTES as u64)).unwrap_or(u32::MAX);
        let header = BlockHeader { segment, run, first, count, payload_bytes };
        BlockPlace { offset, bytes: usize::try_from(bytes).unwrap_or(usize::MAX), header }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.runs.len() * 16 + self.firsts.len() * 6);
        for (number, run) in (0u32..).zip(&self.runs) {
            varint::put(&mut out, run.owner);
            varint::put(&mut out, run.first_id);
            varint::put(&mut out, run.last_id.wrapping_sub(run.first_id));
            let blocks = self.blocks_of(number);
            varint::put(&mut out, blocks.len() as u64);
            let end = blocks.end;
            for block in blocks {
                let header = self.place(0, number, run.records, block, end).header;
                varint::put(&mut out, header.count.into());
                varint::put(&mut out, header.payload_bytes.into());
            }
        }
        out
    }

    /// Reads the index that `trailer` announces; the checksum is the caller's.
    pub(super) fn parse(bytes: &[u8], trailer: &Trailer) -> Result<Index, SegmentDamage> {
        let index = parse_runs(&mut Reader::new(bytes), trailer)
            .map_err(|Truncated: Truncated| SegmentDamage::IndexContents)?;
        let records: u64 = index.runs.iter().map(|run| u64::from(run.records)).sum();
        let counted = (index.blocks(), records, index.end());
        if counted == (trailer.blocks, trailer.records, trailer.index_offset) {
            Ok(index)
        } else {
            Err(SegmentDamage::IndexContents)
        }
    }
}

fn parse_runs(reader: &mut Reader<'_>, trailer: &Trailer) -> Result<Index, Truncated> {
    // However many there are said to be, each takes its bytes of the index.
    let room = |count: u32, bytes: usize| {
        usize::try_from(count).map_or(0, |count| count.min(reader.rest().len() / bytes))
    };
    let (runs, blocks) = (room(trailer.runs, 6), room(trailer.blocks, 2));
    let mut index = Index {
        runs: Vec::with_capacity(runs),
        firsts: Vec::with_capacity(blocks),
        offsets: Vec::with_capacity(blocks + 1),
    };
    index.offsets.push(HEAD_BYTES as u64);
    for _ in 0..trailer.runs {
        let mut run = SegmentRun::begin(varint::take(reader)?, &index);
        run.first_id = varint::take(reader)?;
        run.last_id = run.first_id.wrapping_add(varint::take(reader)?);
        let blocks = take_u32(reader)?;
        for _ in 0..blocks {
            let (count, payload_bytes) = (take_u32(reader)?, take_u32(reader)?);
            index.push_block(run.records, payload_bytes);
            run.payload_bytes += u64::from(payload_bytes);
            run.records = run.records.checked_add(count).filter(|_| count > 0).ok_or(Truncated)?;
        }
        if blocks == 0 {
            return Err(Truncated);
        }
        index.runs.push(run);
    }
    if reader.is_empty() { Ok(index) } else { Err(Truncated) }
}

fn take_u32(reader: &mut Reader<'_>) -> Result<u32, Truncated> {
    u32::try_from(varint::take(reader)?).map_err(|_too_large| Truncated)
}
