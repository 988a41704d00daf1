//! A frame: what one write puts down and one sync makes durable. All of it survives a crash, or none.
//!
//! A frame starts at a multiple of 4,096 bytes. So no write ever touches a page that holds an older,
//! confirmed frame, and a search for frames in damaged bytes has few places to look at.
//!
//! | offset | bytes | what (numbers are little-endian) |
//! | --- | --- | --- |
//! | 0 | 4 | magic `PoFr` |
//! | 4 | 4 | format version, 1 |
//! | 8 | 8 | generation: the random id of the file in its present life |
//! | 16 | 8 | position of this frame |
//! | 24 | 8 | durable: the newest position known to be synced when this was written |
//! | 32 | 8 | released: the owner needs nothing before this position any more |
//! | 40 | 8 | payload length n |
//! | 48 | 8 | XXH3-64 of the payload |
//! | 56 | 8 | XXH3-64 of bytes 0..56 |
//! | 64 | n | payload: records one behind the other (see `pieces`) |
//! | 64 + n | | zeros up to the next multiple of 4,096 |
//!
//! The header has its own checksum, so that no length is believed, and no memory allocated for it,
//! before it is known to be ours; it covers the payload's checksum, so the two are one chain.
//! How to change this: see `docs/formats/journal.md`.

use stdx::checksum::{Checksum, checksum};
use stdx::fault::{Fault, planted};

use crate::pieces::Pieces;
use crate::position::Position;

/// Newest version of the format this code writes and reads.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// Bytes before a frame's payload.
pub(crate) const HEADER_BYTES: usize = 64;

/// Frames start at multiples of this many bytes.
pub(crate) const PAGE_BYTES: usize = 4096;

/// The same, where offsets are computed.
pub(crate) const ALIGNMENT: u64 = PAGE_BYTES as u64;

const MAGIC: [u8; 4] = *b"PoFr";

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) generation: u64,
    pub(crate) position: Position,
    pub(crate) durable: Position,
    pub(crate) released: Position,
    pub(crate) payload_bytes: u64,
    pub(crate) payload_checksum: u64,
}

/// What the bytes at a place where a frame could start turn out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderSeen {
    /// Nothing of this file's present life: never written, or left from an earlier one.
    Nothing,
    /// It claims to be of this life, but its checksum is wrong.
    Damaged,
    /// It is whole, and of a format this code does not know.
    Newer(u32),
    /// A header.
    Valid(FrameHeader),
}

impl FrameHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        let numbers = [
            self.generation,
            self.position.0,
            self.durable.0,
            self.released.0,
            self.payload_bytes,
            self.payload_checksum,
        ];
        for (field, number) in bytes[8..56].chunks_exact_mut(8).zip(numbers) {
            field.copy_from_slice(&number.to_le_bytes());
        }
        let sum = checksum(&bytes[..56]);
        bytes[56..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a header of the file whose present life is `generation`.
    pub(crate) fn parse(bytes: &[u8; HEADER_BYTES], generation: u64) -> HeaderSeen {
        if bytes[..4] != MAGIC || number_at(bytes, 8) != generation {
            return HeaderSeen::Nothing;
        }
        let whole = checksum(&bytes[..56]) == number_at(bytes, 56);
        if !whole && !planted(Fault::SkippedChecksum) {
            return HeaderSeen::Damaged;
        }
        let version = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        if version != FORMAT_VERSION {
            return HeaderSeen::Newer(version);
        }
        HeaderSeen::Valid(FrameHeader {
            generation,
            position: Position(number_at(bytes, 16)),
            durable: Position(number_at(bytes, 24)),
            released: Position(number_at(bytes, 32)),
            payload_bytes: number_at(bytes, 40),
            payload_checksum: number_at(bytes, 48),
        })
    }

    /// Whether `payload` is what this header was written for.
    pub(crate) fn covers(&self, payload: &[u8]) -> bool {
        checksum(payload) == self.payload_checksum || planted(Fault::SkippedChecksum)
    }
}

/// The little-endian number at `offset` of a header.
pub(crate) fn number_at(bytes: &[u8; HEADER_BYTES], offset: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(number)
}

/// How much of a file a frame takes, padding included; none if the length can't be a real one.
pub(crate) fn frame_bytes(payload_bytes: u64) -> Option<u64> {
    payload_bytes.checked_add(HEADER_BYTES as u64)?.checked_next_multiple_of(ALIGNMENT)
}

/// The checksum of a payload that is still in pieces.
pub(crate) fn payload_checksum(pieces: &Pieces) -> u64 {
    let mut slices = pieces.slices();
    match (slices.next(), slices.next()) {
        (None, _) => checksum(&[]),
        (Some(only), None) => checksum(only),
        (Some(first), Some(second)) => {
            let mut sum = Checksum::new();
            sum.update(first);
            sum.update(second);
            slices.for_each(|slice| sum.update(slice));
            sum.finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: FrameHeader = FrameHeader {
        generation: 0x0123_4567_89ab_cdef,
        position: Position(7),
        durable: Position(6),
        released: Position(2),
        payload_bytes: 1_000,
        payload_checksum: 42,
    };

    #[test]
    fn headers_are_read_back() {
        let bytes = HEADER.encode();
        assert_eq!(FrameHeader::parse(&bytes, HEADER.generation), HeaderSeen::Valid(HEADER));
        assert_eq!(FrameHeader::parse(&bytes, 1), HeaderSeen::Nothing);
    }

    #[test]
    fn no_flipped_bit_passes() {
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = HEADER.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let seen = FrameHeader::parse(&bytes, HEADER.generation);
            let in_magic_or_generation = matches!(bit / 8, 0..4 | 8..16);
            let expected =
                if in_magic_or_generation { HeaderSeen::Nothing } else { HeaderSeen::Damaged };
            assert_eq!(seen, expected, "bit {bit}");
        }
    }

    #[test]
    fn a_whole_header_of_another_format_is_told_apart_from_damage() {
        let mut bytes = HEADER.encode();
        bytes[4] = 2;
        let sum = checksum(&bytes[..56]);
        bytes[56..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(FrameHeader::parse(&bytes, HEADER.generation), HeaderSeen::Newer(2));
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        assert_eq!(frame_bytes(0), Some(4096));
        assert_eq!(frame_bytes(4032), Some(4096));
        assert_eq!(frame_bytes(4033), Some(8192));
        assert_eq!(frame_bytes(u64::MAX), None);
        assert_eq!(frame_bytes(u64::MAX - 64), None);
    }
}
