//! The header of a journal file: one page that says which life of the file this is.
//!
//! | offset | bytes | what (numbers are little-endian) |
//! | --- | --- | --- |
//! | 0 | 8 | magic `Postroom` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | zero |
//! | 16 | 8 | generation: drawn at random for each life of the file |
//! | 24 | 8 | the file's number, as in its name |
//! | 32 | 8 | first position: the position of the first frame in this file |
//! | 40 | 8 | released: the owner needs nothing before this position any more |
//! | 48 | 8 | zero |
//! | 56 | 8 | XXH3-64 of bytes 0..56 |
//! | 64 | 4,032 | not used |
//!
//! It is written and synced before the file gets its name `journal-<number>`. So a file of that name
//! with a bad header is damaged, never half made; and its first position is a witness: when the header
//! was written, everything before that position was synced, or was lost and will never come back.

use stdx::checksum::checksum;

use super::frame::{ALIGNMENT, FORMAT_VERSION, HEADER_BYTES, number_at};
use crate::position::Position;

/// Where the first frame of a file starts.
pub(crate) const FIRST_FRAME_OFFSET: u64 = ALIGNMENT;

const MAGIC: [u8; 8] = *b"Postroom";

/// What a journal file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) generation: u64,
    pub(crate) number: u64,
    pub(crate) first: Position,
    pub(crate) released: Position,
}

/// What the start of a file turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileHeaderSeen {
    /// No header, or a damaged one.
    Damaged,
    /// A header of a format this code does not know. The magic and the version keep their places
    /// in all versions; whether the rest is whole can't be told.
    Newer(u32),
    /// A header.
    Valid(FileHeader),
}

impl FileHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        let numbers = [self.generation, self.number, self.first.0, self.released.0];
        for (field, number) in bytes[16..48].chunks_exact_mut(8).zip(numbers) {
            field.copy_from_slice(&number.to_le_bytes());
        }
        let sum = checksum(&bytes[..56]);
        bytes[56..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(crate) fn parse(bytes: &[u8; HEADER_BYTES]) -> FileHeaderSeen {
        if bytes[..8] != MAGIC {
            return FileHeaderSeen::Damaged;
        }
        let version = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        if version > FORMAT_VERSION {
            return FileHeaderSeen::Newer(version);
        }
        if version == 0 || checksum(&bytes[..56]) != number_at(bytes, 56) {
            return FileHeaderSeen::Damaged;
        }
        FileHeaderSeen::Valid(FileHeader {
            generation: number_at(bytes, 16),
            number: number_at(bytes, 24),
            first: Position(number_at(bytes, 32)),
            released: Position(number_at(bytes, 40)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_back_and_no_flipped_bit_passes() {
        let header =
            FileHeader { generation: 77, number: 3, first: Position(9), released: Position(4) };
        assert_eq!(FileHeader::parse(&header.encode()), FileHeaderSeen::Valid(header));
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = header.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            match (bit / 8, FileHeader::parse(&bytes)) {
                (8..12, FileHeaderSeen::Newer(_)) | (_, FileHeaderSeen::Damaged) => {}
                (_, seen) => panic!("bit {bit}: {seen:?}"),
            }
        }
    }
}
