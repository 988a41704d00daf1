//! Frames: what the stream of bytes is cut into (§4.2.3).
//!
//! ```text
//!  0      1         3             7                 7+length
//! ┌──────┬─────────┬─────────────┬─────────────────┬──────┐
//! │ type │ channel │ length, u32 │ payload         │ 0xCE │
//! └──────┴─────────┴─────────────┴─────────────────┴──────┘
//! ```
//!
//! Type 1: a method, 2: a content's header, 3: a piece of a content's body, 8: a heartbeat.

#![deny(clippy::indexing_slicing)]

use stdx::reader::{Reader, Truncated};

/// What a client sends first.
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\0\0\x09\x01";

/// The type of a frame with a method.
pub const METHOD: u8 = 1;
/// The type of a frame with a content's header.
pub const HEADER: u8 = 2;
/// The type of a frame with a piece of a content's body.
pub const BODY: u8 = 3;
/// The type of a heartbeat.
pub const HEARTBEAT: u8 = 8;
/// The last byte of every frame.
pub const END: u8 = 0xCE;

/// Bytes of a frame in front of its payload.
pub const PREFIX_BYTES: usize = 7;
/// Bytes of a frame besides its payload.
pub const OVERHEAD_BYTES: u32 = 8;
/// So much longer than agreed a payload is taken all the same: clients that take `frame_max` for the
/// greatest payload forget the overhead (AMQPStorm does), and RabbitMQ lets them (`FRAME_SIZE_FUDGE`).
pub const SLACK_BYTES: u32 = OVERHEAD_BYTES;
/// The smallest `frame_max` that both sides must take (§4.2.3, constant `frame-min-size`).
pub const FRAME_BYTES_MIN: u32 = 4096;

/// One frame, where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The type's number, whether known or not.
    pub kind: u8,
    /// The channel it belongs to; 0 is the connection itself.
    pub channel: u16,
    /// What it carries.
    pub payload: &'a [u8],
    /// Its last byte, which should be [`END`].
    pub end: u8,
}

/// A frame announces more than was agreed. What follows can't be told apart any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {announced} bytes, where at most {limit} were agreed")]
pub struct TooLarge {
    /// The frame's type.
    pub kind: u8,
    /// The payload's length.
    pub announced: u32,
    /// The greatest length that was agreed.
    pub limit: u32,
}

/// Takes one whole frame off the front: the frame, and what follows it. `None`: the bytes end
/// before it does. `payload_bytes_max` was agreed; up to [`SLACK_BYTES`] more do no harm.
#[inline]
pub fn take(bytes: &[u8], payload_bytes_max: u32) -> Result<Option<(Frame<'_>, &[u8])>, TooLarge> {
    let mut reader = Reader::new(bytes);
    let Ok((kind, channel, length)) = prefix(&mut reader) else { return Ok(None) };
    if length > payload_bytes_max.saturating_add(SLACK_BYTES) {
        return Err(TooLarge { kind, announced: length, limit: payload_bytes_max });
    }
    let whole = reader.bytes(length as usize).and_then(|payload| Ok((payload, reader.u8()?)));
    Ok(whole.ok().map(|(payload, end)| (Frame { kind, channel, payload, end }, reader.rest())))
}

/// A frame to be recognised where it comes again: publishers send the same method over and over.
#[derive(Clone, Copy, Debug)]
pub struct Pattern<'a> {
    prefix: [u8; PREFIX_BYTES],
    payload: &'a [u8],
    end: u8,
}

impl<'a> Pattern<'a> {
    /// The bytes of this frame.
    pub fn of(frame: &Frame<'a>) -> Pattern<'a> {
        let [c1, c0] = frame.channel.to_be_bytes();
        let length = u32::try_from(frame.payload.len()).unwrap_or(u32::MAX);
        let [l3, l2, l1, l0] = length.to_be_bytes();
        let prefix = [frame.kind, c1, c0, l3, l2, l1, l0];
        Pattern { prefix, payload: frame.payload, end: frame.end }
    }

    /// What follows the frame, if it is at the front of `bytes`.
    #[inline]
    pub fn strip<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let (prefix, rest) = bytes.split_first_chunk::<PREFIX_BYTES>()?;
        if *prefix != self.prefix {
            return None;
        }
        let (payload, rest) = rest.split_at_checked(self.payload.len())?;
        let (end, rest) = rest.split_first()?;
        (*end == self.end && payload == self.payload).then_some(rest)
    }
}

/// How many bytes must follow these before [`take`] can say more; 0: it can already.
pub fn missing_bytes(bytes: &[u8], payload_bytes_max: u32) -> usize {
    match prefix(&mut Reader::new(bytes)) {
        Err(Truncated) => PREFIX_BYTES - bytes.len(),
        Ok((_, _, length)) if length > payload_bytes_max.saturating_add(SLACK_BYTES) => 0,
        Ok((_, _, length)) => (PREFIX_BYTES + length as usize + 1).saturating_sub(bytes.len()),
    }
}

#[inline]
fn prefix(reader: &mut Reader<'_>) -> Result<(u8, u16, u32), Truncated> {
    Ok((reader.u8()?, reader.u16()?, reader.u32()?))
}

/// Starts a frame whose payload is appended next; [`end`] finishes it.
pub fn begin(out: &mut Vec<u8>, kind: u8, channel: u16) -> Begun {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    Begun { payload_at: out.len() }
}

/// A frame whose length and end are missing.
#[derive(Debug)]
#[must_use = "a frame has an end"]
pub struct Begun {
    payload_at: usize,
}

/// Writes the length and the end.
pub fn end(out: &mut Vec<u8>, begun: &Begun) {
    let length = u32::try_from(out.len() - begun.payload_at).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(begun.payload_at - 4..begun.payload_at) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    out.push(END);
}

/// A heartbeat, whole.
pub const HEARTBEAT_FRAME: [u8; 8] = [HEARTBEAT, 0, 0, 0, 0, 0, 0, END];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_truncation_at_every_byte() {
        let mut bytes = Vec::new();
        let begun = begin(&mut bytes, BODY, 513);
        bytes.extend(b"payload");
        end(&mut bytes, &begun);
        let frame = Frame { kind: BODY, channel: 513, payload: b"payload", end: END };
        assert_eq!(take(&bytes, 7), Ok(Some((frame, &b""[..]))));
        for cut in 0..bytes.len() {
            let front = bytes.get(..cut).unwrap();
            assert_eq!(take(front, 7), Ok(None), "cut at {cut}");
            let missing = missing_bytes(front, 7);
            let known = if cut < PREFIX_BYTES { PREFIX_BYTES } else { bytes.len() };
            assert_eq!(missing, known - cut, "cut at {cut}");
        }
        assert_eq!(missing_bytes(&bytes, 7), 0);
        let pattern = Pattern::of(&frame);
        for cut in 0..bytes.len() {
            assert_eq!(pattern.strip(bytes.get(..cut).unwrap()), None, "cut at {cut}");
            let mut other = bytes.clone();
            *other.get_mut(cut).unwrap() ^= 1;
            assert_eq!(pattern.strip(&other), None, "changed at {cut}");
        }
        let more = [bytes.as_slice(), b"next"].concat();
        assert_eq!(pattern.strip(&more), Some(&b"next"[..]));
        assert_eq!(take(&more, 7), Ok(Some((frame, &b"next"[..]))));
    }

    #[test]
    fn too_large_is_told_by_the_first_seven_bytes() {
        let bytes = [BODY, 0, 1, 0xff, 0xff, 0xff, 0xff];
        let limit = 131_064;
        let expected = TooLarge { kind: BODY, announced: u32::MAX, limit };
        assert_eq!(take(&bytes, limit), Err(expected));
        assert_eq!(missing_bytes(&bytes, limit), 0);
        assert_eq!(take(bytes.get(..6).unwrap(), limit), Ok(None));
    }

    #[test]
    fn a_heartbeat_is_a_frame() {
        let frame = Frame { kind: HEARTBEAT, channel: 0, payload: b"", end: END };
        assert_eq!(take(&HEARTBEAT_FRAME, 0), Ok(Some((frame, &b""[..]))));
    }
}
