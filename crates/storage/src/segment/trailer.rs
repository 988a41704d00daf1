//! The first and the last bytes of a segment file: what it is, and where its index stands.
//!
//! The head, for whoever finds a file without an end; reading a whole segment does not need it:
//!
//! | offset | bytes | what (numbers are little-endian) |
//! | --- | --- | --- |
//! | 0 | 8 | magic `PoSegmnt` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | zero |
//! | 16 | 8 | the segment's number, as in its name |
//! | 24 | 8 | XXH3-64 of bytes 0..24 |
//!
//! The trailer, the last 72 bytes:
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | XXH3-64 of bytes 8..72 |
//! | 8 | 8 | the segment's number, as in its name |
//! | 16 | 8 | where the index starts in the file |
//! | 24 | 8 | n, the length of the index; it ends where the trailer starts |
//! | 32 | 8 | XXH3-64 of the index |
//! | 40 | 8 | records in all runs |
//! | 48 | 4 | runs |
//! | 52 | 4 | blocks in all runs |
//! | 56 | 4 | zero |
//! | 60 | 4 | format version, 1 |
//! | 64 | 8 | magic `PoSegEnd` |
//!
//! It is written last: a file without a whole one is not a segment yet, or not any more.
//! How to change this: see `docs/formats/segment.md`.

use stdx::checksum::checksum;

/// Newest version of the format this code writes and reads.
pub(super) const FORMAT_VERSION: u32 = 1;

/// Bytes before the first block.
pub(super) const HEAD_BYTES: usize = 32;

/// Bytes behind the index.
pub(super) const TRAILER_BYTES: usize = 72;

const HEAD_MAGIC: [u8; 8] = *b"PoSegmnt";
const TRAILER_MAGIC: [u8; 8] = *b"PoSegEnd";

/// What the end of a segment file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) number: u64,
    pub(super) index_offset: u64,
    pub(super) index_bytes: u64,
    pub(super) index_checksum: u64,
    pub(super) records: u64,
    pub(super) runs: u32,
    pub(super) blocks: u32,
}

/// What the last bytes of a file turn out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TrailerSeen {
    /// No trailer.
    Nothing,
    /// One that fails its checksum.
    Damaged,
    /// One of a format this code does not know. The last twelve bytes keep their places in all
    /// versions; whether the rest is whole can't be told.
    Newer(u32),
    /// A trailer.
    Valid(Trailer),
}

/// The first bytes of the file of this number.
pub(super) fn encode_head(number: u64) -> [u8; HEAD_BYTES] {
    let mut bytes = [0; HEAD_BYTES];
    bytes[..8].copy_from_slice(&HEAD_MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&number.to_le_bytes());
    let sum = checksum(&bytes[..24]);
    bytes[24..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

impl Trailer {
    pub(super) fn encode(&self) -> [u8; TRAILER_BYTES] {
        let mut bytes = [0; TRAILER_BYTES];
        let numbers = [
            self.number,
            self.index_offset,
            self.index_bytes,
            self.index_checksum,
            self.records,
            u64::from(self.blocks) << 32 | u64::from(self.runs),
            u64::from(FORMAT_VERSION) << 32,
        ];
        for (field, number) in bytes[8..64].chunks_exact_mut(8).zip(numbers) {
            field.copy_from_slice(&number.to_le_bytes());
        }
        bytes[64..].copy_from_slice(&TRAILER_MAGIC);
        let sum = checksum(&bytes[8..]);
        bytes[..8].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(super) fn parse(bytes: &[u8; TRAILER_BYTES]) -> TrailerSeen {
        let mut numbers = [0; TRAILER_BYTES / 8];
        for (number, field) in numbers.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *number = u64::from_le_bytes(*field);
        }
        let [sum, number, index_offset, index_bytes, index_checksum, records, counts, version, _] =
            numbers;
        if bytes[64..] != TRAILER_MAGIC {
            return TrailerSeen::Nothing;
        }
        let (version, _) = halves(version);
        if version > FORMAT_VERSION {
            return TrailerSeen::Newer(version);
        }
        if version == 0 || checksum(&bytes[8..]) != sum {
            return TrailerSeen::Damaged;
        }
        let (blocks, runs) = halves(counts);
        TrailerSeen::Valid(Trailer {
            number,
            index_offset,
            index_bytes,
            index_checksum,
            records,
            runs,
            blocks,
        })
    }
}

/// The upper and the lower half.
fn halves(number: u64) -> (u32, u32) {
    let half = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    (half(number >> 32), half(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_back_and_no_flipped_bit_passes() {
        let trailer = Trailer {
            number: 7,
            index_offset: 1 << 40,
            index_bytes: 99,
            index_checksum: 0x0123_4567_89ab_cdef,
            records: 1_000_000,
            runs: 12,
            blocks: 345,
        };
        assert_eq!(Trailer::parse(&trailer.encode()), TrailerSeen::Valid(trailer));
        for bit in 0..TRAILER_BYTES * 8 {
            let mut bytes = trailer.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            match (bit / 8, Trailer::parse(&bytes)) {
                (60..64, TrailerSeen::Newer(_))
                | (64.., TrailerSeen::Nothing)
                | (..64, TrailerSeen::Damaged) => {}
                (_, seen) => panic!("bit {bit}: {seen:?}"),
            }
        }
    }
}
