//! A block: records of one run side by side, and before them a header that says which.
//!
//! | offset | bytes | what (numbers are little-endian) |
//! | --- | --- | --- |
//! | 0 | 8 | XXH3-64 of bytes 8..40 + n |
//! | 8 | 4 | magic `PoBl` |
//! | 12 | 4 | run: the number of its run in the segment |
//! | 16 | 4 | first: the number of its first record in the run |
//! | 20 | 4 | count: how many records it has |
//! | 24 | 4 | n, the length of the payload |
//! | 28 | 4 | zero |
//! | 32 | 8 | the segment's number |
//! | 40 | n | payload: the records as they were appended, without anything between them |
//!
//! The checksum stands before what it covers, so that header and payload are one piece to compute it
//! over, and says whose block this is: one of another place is never taken for this one.

use stdx::checksum::{Checksum, checksum};
use stdx::fault::{Fault, planted};

use super::error::SegmentDamage;

/// Bytes before a block's payload.
pub(super) const BLOCK_HEADER_BYTES: usize = 40;

/// A block takes no more records when its payload would get longer than this; a record that is
/// longer by itself has a block for itself.
pub(super) const BLOCK_PAYLOAD_BYTES: usize = 64 << 10;

/// Bytes of a header that no checksum of its own covers: the checksum's.
const CHECKSUM_BYTES: usize = 8;

const MAGIC: [u8; 4] = *b"PoBl";

/// Which block it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub(super) segment: u64,
    pub(super) run: u32,
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) payload_bytes: u32,
}

impl BlockHeader {
    /// Everything but the checksum.
    fn fields(&self) -> [u8; BLOCK_HEADER_BYTES] {
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        bytes[8..12].copy_from_slice(&MAGIC);
        let numbers = [self.run, self.first, self.count, self.payload_bytes];
        for (field, number) in bytes[12..28].chunks_exact_mut(4).zip(numbers) {
            field.copy_from_slice(&number.to_le_bytes());
        }
        bytes[32..].copy_from_slice(&self.segment.to_le_bytes());
        bytes
    }

    /// The header that these bytes begin with, if they look like one; the checksum is not looked at.
    pub(super) fn parse(bytes: &[u8]) -> Option<BlockHeader> {
        let fields = bytes.get(CHECKSUM_BYTES..BLOCK_HEADER_BYTES)?;
        if !fields.starts_with(&MAGIC) {
            return None;
        }
        let number = |at: usize| fields.get(at..)?.first_chunk().map(|it| u32::from_le_bytes(*it));
        Some(BlockHeader {
            segment: u64::from_le_bytes(*fields.get(24..)?.first_chunk()?),
            run: number(4)?,
            first: number(8)?,
            count: number(12)?,
            payload_bytes: number(16)?,
        })
    }

    /// Completes a block whose payload stands behind a header's worth of any bytes.
    pub(super) fn seal(&self, block: &mut [u8]) {
        if let Some(header) = block.first_chunk_mut::<BLOCK_HEADER_BYTES>() {
            *header = self.fields();
        }
        if let Some((head, covered)) = block.split_at_mut_checked(CHECKSUM_BYTES) {
            head.copy_from_slice(&checksum(covered).to_le_bytes());
        }
    }

    /// The header of a block whose payload stands elsewhere.
    pub(super) fn encode(&self, payload: &[u8]) -> [u8; BLOCK_HEADER_BYTES] {
        let mut bytes = self.fields();
        let mut sum = Checksum::new();
        sum.update(&bytes[CHECKSUM_BYTES..]);
        sum.update(payload);
        bytes[..CHECKSUM_BYTES].copy_from_slice(&sum.finish().to_le_bytes());
        bytes
    }

    /// Whether `block`, header and payload, is the one this header was written for.
    pub(super) fn check(&self, block: &[u8]) -> Result<(), SegmentDamage> {
        let Some((head, covered)) = block.split_at_checked(CHECKSUM_BYTES) else {
            return Err(SegmentDamage::BlockCut);
        };
        if checksum(covered).to_le_bytes() != head && !planted(Fault::SkippedChecksum) {
            return Err(SegmentDamage::Block);
        }
        if block.get(CHECKSUM_BYTES..BLOCK_HEADER_BYTES) != Some(&self.fields()[CHECKSUM_BYTES..]) {
            return Err(SegmentDamage::BlockHeader);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_agree_and_no_flipped_bit_passes() {
        let payload = [7; 100];
        let header = BlockHeader { segment: 9, run: 1, first: 2, count: 3, payload_bytes: 100 };
        let mut block = [&[0xff; BLOCK_HEADER_BYTES][..], &payload].concat();
        header.seal(&mut block);
        assert_eq!(block[..BLOCK_HEADER_BYTES], header.encode(&payload));
        assert_eq!(header.check(&block), Ok(()));
        for bit in 0..block.len() * 8 {
            block[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(header.check(&block), Err(SegmentDamage::Block), "bit {bit}");
            block[bit / 8] ^= 1 << (bit % 8);
        }
        for other in [
            BlockHeader { segment: 8, ..header },
            BlockHeader { run: 0, ..header },
            BlockHeader { first: 3, ..header },
            BlockHeader { count: 4, ..header },
        ] {
            assert_eq!(other.check(&block), Err(SegmentDamage::BlockHeader), "{other:?}");
        }
    }
}
