//! What is told about bytes that make no sense, in RabbitMQ's words.

use std::fmt;

use crate::reply_code::{Fault, MethodId, ReplyCode};
use crate::wire::field::Malformed;
use crate::wire::frame::{END, Frame, TooLarge};

/// Octets shown of a frame that can't be read.
const SHOWN_OCTETS_MAX: usize = 16;

/// Bytes as Erlang prints a binary: text in quotes if all of it is printable, else numbers.
struct Octets<'a>(&'a [u8]);

impl fmt::Display for Octets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let printable = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r');
        f.write_str("<<")?;
        if !self.0.is_empty() && self.0.iter().all(printable) {
            write!(f, "{:?}", String::from_utf8_lossy(self.0))?;
        } else {
            for (at, byte) in self.0.iter().enumerate() {
                write!(f, "{}{byte}", if at == 0 { "" } else { "," })?;
            }
        }
        f.write_str(">>")
    }
}

/// A frame as RabbitMQ describes it.
fn described(kind: u8, payload: &[u8]) -> String {
    match payload.get(..SHOWN_OCTETS_MAX) {
        Some(first) if payload.len() > SHOWN_OCTETS_MAX => {
            format!("type {kind}, first 16 octets = {}", Octets(first))
        }
        _all => format!("type {kind}, all octets = {}", Octets(payload)),
    }
}

/// A frame is larger than agreed.
pub(crate) fn too_large(frame: TooLarge) -> Fault {
    let TooLarge { kind, announced, limit } = frame;
    let frame = described(kind, &[]);
    let text = format!("{frame}: {{frame_too_large,{announced},{limit}}}");
    Fault::new(ReplyCode::FrameError, (0, 0), text)
}

/// A frame must end where it says.
#[inline]
pub(crate) fn check_end(frame: &Frame<'_>) -> Result<(), Fault> {
    if frame.end == END { Ok(()) } else { Err(no_end(frame)) }
}

#[cold]
fn no_end(frame: &Frame<'_>) -> Fault {
    let text = described(frame.kind, frame.payload);
    let text = format!("{text}: {{invalid_frame_end_marker,{}}}", frame.end);
    Fault::new(ReplyCode::FrameError, (0, 0), text)
}

/// A frame of a type nobody knows, or whose payload can't be one of that type.
pub(crate) fn unknown_frame(frame: &Frame<'_>) -> Fault {
    let text = format!("{}: unknown_frame", described(frame.kind, frame.payload));
    Fault::new(ReplyCode::FrameError, (0, 0), text)
}

/// A frame on a channel where frames of its type have no business.
pub(crate) fn misplaced_frame(frame: &Frame<'_>) -> Fault {
    Fault::new(ReplyCode::UnexpectedFrame, (0, 0), described(frame.kind, frame.payload))
}

/// The fields of a method are no such fields.
pub(crate) fn fields(method: MethodId, fields: &[u8], malformed: Malformed) -> Fault {
    match malformed {
        Malformed::Truncated | Malformed::Trailing => {
            let text = format!("cannot decode {}", Octets(fields));
            Fault::new(ReplyCode::FrameError, method, text)
        }
        Malformed::NotUtf8 => Fault::new(ReplyCode::FrameError, method, malformed),
        Malformed::Table(error) => Fault::new(ReplyCode::SyntaxError, method, error),
    }
}

/// The properties of a message are no such properties.
pub(crate) fn properties(method: MethodId, malformed: Malformed) -> Fault {
    let code = match malformed {
        Malformed::Table(_) => ReplyCode::SyntaxError,
        Malformed::Truncated | Malformed::Trailing | Malformed::NotUtf8 => ReplyCode::FrameError,
    };
    Fault::new(code, method, format!("cannot decode the content's properties: {malformed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts as RabbitMQ 3.10.8 sent them.
    #[test]
    fn frames_in_rabbitmqs_words() {
        let frame = |kind, payload, end| Frame { kind, channel: 1, payload, end };
        for (fault, text) in [
            (
                no_end(&frame(8, b"", 205)),
                "FRAME_ERROR - type 8, all octets = <<>>: {invalid_frame_end_marker,205}",
            ),
            (
                no_end(&frame(1, &[0, 60, 0, 10], 0)),
                "FRAME_ERROR - type 1, all octets = <<0,60,0,10>>: {invalid_frame_end_marker,0}",
            ),
            (
                unknown_frame(&frame(9, b"abc", 206)),
                "FRAME_ERROR - type 9, all octets = <<\"abc\">>: unknown_frame",
            ),
            (
                unknown_frame(&frame(8, &[0; 17], 206)),
                "FRAME_ERROR - type 8, first 16 octets = <<0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0>>: \
                 unknown_frame",
            ),
            (
                too_large(TooLarge { kind: 3, announced: u32::MAX, limit: 131_064 }),
                "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,4294967295,131064}",
            ),
            (
                misplaced_frame(&frame(3, b"x", 206)),
                "UNEXPECTED_FRAME - type 3, all octets = <<\"x\">>",
            ),
            (
                fields((50, 10), &[0, 0, 5, 97, 98], Malformed::Truncated),
                "FRAME_ERROR - cannot decode <<0,0,5,97,98>>",
            ),
            (
                fields((50, 10), b"", Malformed::NotUtf8),
                "FRAME_ERROR - Malformed UTF-8 in shortstr",
            ),
        ] {
            assert_eq!(fault.text, text);
        }
    }
}
