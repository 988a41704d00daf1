//! Reply codes (§1.1 of the specification's reference): what kind of mistake it was, and whether it
//! ends the channel or the whole connection.

use std::fmt;

/// How much ends with a mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The channel ("soft error").
    Channel,
    /// The connection ("hard error").
    Connection,
}

/// A reply code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ReplyCode {
    AccessRefused,
    NotFound,
    ResourceLocked,
    PreconditionFailed,
    ConnectionForced,
    FrameError,
    SyntaxError,
    CommandInvalid,
    ChannelError,
    UnexpectedFrame,
    NotAllowed,
    NotImplemented,
    InternalError,
}

impl ReplyCode {
    /// The code's number, its name in texts, and what it ends.
    fn row(self) -> (u16, &'static str, Scope) {
        use Scope::{Channel, Connection};
        match self {
            ReplyCode::ConnectionForced => (320, "CONNECTION_FORCED", Connection),
            ReplyCode::AccessRefused => (403, "ACCESS_REFUSED", Channel),
            ReplyCode::NotFound => (404, "NOT_FOUND", Channel),
            ReplyCode::ResourceLocked => (405, "RESOURCE_LOCKED", Channel),
            ReplyCode::PreconditionFailed => (406, "PRECONDITION_FAILED", Channel),
            ReplyCode::FrameError => (501, "FRAME_ERROR", Connection),
            ReplyCode::SyntaxError => (502, "SYNTAX_ERROR", Connection),
            ReplyCode::CommandInvalid => (503, "COMMAND_INVALID", Connection),
            ReplyCode::ChannelError => (504, "CHANNEL_ERROR", Connection),
            ReplyCode::UnexpectedFrame => (505, "UNEXPECTED_FRAME", Connection),
            ReplyCode::NotAllowed => (530, "NOT_ALLOWED", Connection),
            ReplyCode::NotImplemented => (540, "NOT_IMPLEMENTED", Connection),
            ReplyCode::InternalError => (541, "INTERNAL_ERROR", Connection),
        }
    }

    /// The number.
    pub(crate) fn number(self) -> u16 {
        self.row().0
    }

    /// What it ends.
    pub(crate) fn scope(self) -> Scope {
        self.row().2
    }
}

/// The class and method of the request at fault; 0 and 0 if it was none.
pub(crate) type MethodId = (u16, u16);

/// Why a channel or a connection is closed, ready to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The kind of mistake.
    pub(crate) code: ReplyCode,
    /// The code's name and what is wrong, at most 255 bytes.
    pub(crate) text: String,
    /// The request at fault.
    pub(crate) method: MethodId,
}

/// The longest reply text: a short string.
const TEXT_BYTES_MAX: usize = 255;

impl Fault {
    /// A fault of that kind; the code's name is put before `explanation`.
    pub(crate) fn new(code: ReplyCode, method: MethodId, explanation: impl fmt::Display) -> Fault {
        let mut text = format!("{} - {explanation}", code.row().1);
        if text.len() > TEXT_BYTES_MAX {
            let dots = "...";
            text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX - dots.len()));
            text.push_str(dots);
        }
        Fault { code, text, method }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fit_a_short_string() {
        let fault = |explanation: &str| Fault::new(ReplyCode::NotFound, (50, 10), explanation);
        assert_eq!(fault("no queue 'q'").text, "NOT_FOUND - no queue 'q'");
        let room = TEXT_BYTES_MAX - "NOT_FOUND - ".len();
        assert_eq!(fault(&"x".repeat(room)).text.len(), TEXT_BYTES_MAX);
        assert!(!fault(&"x".repeat(room)).text.ends_with("..."));
        assert_eq!(fault(&"x".repeat(room + 1)).text.len(), TEXT_BYTES_MAX);
        assert!(fault(&"x".repeat(room + 1)).text.ends_with("x..."));
        // Characters are never cut in two.
        for pad in 0..4 {
            let text = fault(&("x".repeat(pad) + &"é€".repeat(90))).text;
            assert!(text.len() <= TEXT_BYTES_MAX && text.ends_with("..."), "{text}");
        }
    }
}
