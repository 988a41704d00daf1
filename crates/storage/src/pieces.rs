//! Encoded records on their way into a frame: one buffer, and the bodies that were not copied into it.
//!
//! A record is a word and a payload:
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | little-endian: the tag in the low byte, the payload's length in the seven above |
//! | 8 | n | the payload |

use std::io::IoSlice;

use bytes::Bytes;

/// Bytes of a record before its payload.
pub(crate) const RECORD_HEAD_BYTES: usize = 8;

/// A body shorter than this is copied: that costs less than one more slice to write.
const BODY_BYTES_BY_REFERENCE: usize = 512;

/// Encoded records, in order.
#[derive(Default)]
pub(crate) struct Pieces {
    buffer: Vec<u8>,
    bodies: Vec<Body>,
    body_bytes: usize,
}

/// Bytes kept by reference, and the place in the buffer they stand before.
struct Body {
    at: usize,
    bytes: Bytes,
}

/// The word before a payload.
pub(crate) fn record_head(tag: u8, payload_bytes: usize) -> [u8; RECORD_HEAD_BYTES] {
    ((payload_bytes as u64) << 8 | u64::from(tag)).to_le_bytes()
}

/// What a record's word says: the tag and the length of the payload.
pub(crate) fn parse_record_head(head: [u8; RECORD_HEAD_BYTES]) -> (u8, u64) {
    (head[0], u64::from_le_bytes(head) >> 8)
}

impl Pieces {
    pub(crate) fn record(&mut self, tag: u8, payload: impl FnOnce(&mut Vec<u8>)) {
        let start = self.open_record(payload);
        self.close_record(start, tag, 0);
    }

    pub(crate) fn record_with(&mut self, tag: u8, head: impl FnOnce(&mut Vec<u8>), body: Bytes) {
        let start = self.open_record(head);
        if body.len() < BODY_BYTES_BY_REFERENCE {
            self.buffer.extend_from_slice(&body);
            self.close_record(start, tag, 0);
        } else {
            self.close_record(start, tag, body.len());
            self.body_bytes += body.len();
            self.bodies.push(Body { at: self.buffer.len(), bytes: body });
        }
    }

    /// Leaves room for the word, lets `payload` write behind it, and says where the word goes.
    fn open_record(&mut self, payload: impl FnOnce(&mut Vec<u8>)) -> usize {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; RECORD_HEAD_BYTES]);
        payload(&mut self.buffer);
        start
    }

    fn close_record(&mut self, start: usize, tag: u8, body_bytes: usize) {
        // A payload writer that took bytes away instead of adding some has spoilt its own record
        // only: what is left of it is closed where it stands.
        let written = self.buffer.len().saturating_sub(start + RECORD_HEAD_BYTES);
        self.buffer.resize(start + RECORD_HEAD_BYTES + written, 0);
        let head = record_head(tag, written + body_bytes);
        self.buffer[start..start + RECORD_HEAD_BYTES].copy_from_slice(&head);
    }

    /// Moves everything from `other` to the end; `other` keeps its buffers for the next time.
    pub(crate) fn append(&mut self, other: &mut Pieces) {
        let base = self.buffer.len();
        self.buffer.extend_from_slice(&other.buffer);
        self.bodies.extend(
            other.bodies.drain(..).map(|body| Body { at: base + body.at, bytes: body.bytes }),
        );
        self.body_bytes += other.body_bytes;
        other.buffer.clear();
        other.body_bytes = 0;
    }

    pub(crate) fn len(&self) -> usize {
        self.buffer.len() + self.body_bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.buffer.clear();
        self.bodies.clear();
        self.body_bytes = 0;
    }

    /// Gives memory back that one large frame needed and small ones don't.
    pub(crate) fn shrink(&mut self, bytes_max: usize) {
        self.buffer.shrink_to(bytes_max);
        self.bodies.shrink_to(bytes_max / size_of::<Body>());
    }

    /// How many slices [`Pieces::slices`] yields at most.
    pub(crate) fn slice_count(&self) -> usize {
        2 * self.bodies.len() + 1
    }

    /// The bytes in order, none of the slices empty.
    pub(crate) fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.bodies.iter().map(|body| body.at));
        let ends = self.bodies.iter().map(|body| body.at).chain([self.buffer.len()]);
        let bodies = self.bodies.iter().map(|body| &body.bytes[..]).chain([&[][..]]);
        starts
            .zip(ends)
            .zip(bodies)
            .flat_map(|((start, end), body)| [&self.buffer[start..end], body])
            .filter(|slice| !slice.is_empty())
    }

    /// Appends the slices to those of a write.
    pub(crate) fn io_slices<'a>(&'a self, out: &mut Vec<IoSlice<'a>>) {
        out.extend(self.slices().map(IoSlice::new));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(pieces: &Pieces) -> Vec<u8> {
        pieces.slices().flatten().copied().collect()
    }

    fn encoded(records: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (tag, payload) in records {
            bytes.extend_from_slice(&record_head(*tag, payload.len()));
            bytes.extend_from_slice(payload);
        }
        bytes
    }

    #[test]
    fn bodies_by_reference_read_like_copied_ones() {
        let long = vec![7; 600];
        let mut first = Pieces::default();
        first.record(1, |out| out.extend_from_slice(b"one"));
        first.record_with(2, |out| out.push(9), Bytes::from(long.clone()));
        first.record_with(3, |_| {}, Bytes::from(long.clone()));
        let mut second = Pieces::default();
        second.record_with(4, |out| out.push(1), Bytes::from_static(b"short"));
        second.record_with(5, |_| {}, Bytes::from(long.clone()));
        second.record(6, |_| {});

        let mut all = Pieces::default();
        all.append(&mut first);
        all.append(&mut second);
        assert!(first.is_empty() && second.is_empty() && second.body_bytes == 0);
        let with_head = [&[9][..], &long].concat();
        let expected = encoded(&[
            (1, b"one"),
            (2, &with_head),
            (3, &long),
            (4, b"\x01short"),
            (5, &long),
            (6, b""),
        ]);
        assert_eq!(joined(&all), expected);
        assert_eq!(all.len(), expected.len());
        assert!(all.slices().count() <= all.slice_count());
        assert_eq!(all.bodies.len(), 3, "the short body was copied");
    }

    #[test]
    fn heads_hold_any_tag_and_length() {
        for (tag, bytes) in [(0, 0), (255, 1), (1, 255), (7, 16 << 20), (9, (1 << 56) - 1)] {
            assert_eq!(parse_record_head(record_head(tag, bytes)), (tag, bytes as u64));
        }
    }
}
