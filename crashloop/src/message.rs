//! Messages that say who they are, so that every one can be accounted for.
//!
//! ```text
//! body = publisher u16 · number u32 · random bytes, at least 16 in all          little-endian
//! ```

use std::fmt;

use powerloss::Random;
use xxhash_rust::xxh3::xxh3_64;

/// The smallest body.
pub(crate) const BODY_BYTES_MIN: usize = 16;

/// Who published a message, and its place among all that this publisher sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MessageId {
    pub(crate) publisher: u16,
    pub(crate) number: u32,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.publisher, self.number)
    }
}

/// What is published: everything that must come back unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) length: usize,
    pub(crate) checksum: u64,
    pub(crate) persistent: bool,
}

/// What arrived, as far as it could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// None if the message doesn't say who it is.
    pub(crate) id: Option<MessageId>,
    pub(crate) content: Content,
    pub(crate) redelivered: bool,
}

impl Content {
    pub(crate) fn of(body: &[u8], persistent: bool) -> Self {
        Self { length: body.len(), checksum: xxh3_64(body), persistent }
    }
}

/// A body for this message.
pub(crate) fn body_of(id: MessageId, length: usize, random: &mut Random) -> Vec<u8> {
    let mut body = Vec::with_capacity(length + 8);
    body.extend_from_slice(&id.publisher.to_le_bytes());
    body.extend_from_slice(&id.number.to_le_bytes());
    while body.len() < length.max(BODY_BYTES_MIN) {
        body.extend_from_slice(&random.next().to_le_bytes());
    }
    body.truncate(length.max(BODY_BYTES_MIN));
    body
}

/// Who a body says it is.
pub(crate) fn id_in(body: &[u8]) -> Option<MessageId> {
    let (publisher, rest) = body.split_first_chunk::<2>()?;
    let (number, _) = rest.split_first_chunk::<4>()?;
    (body.len() >= BODY_BYTES_MIN).then_some(MessageId {
        publisher: u16::from_le_bytes(*publisher),
        number: u32::from_le_bytes(*number),
    })
}

/// How long bodies are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lengths {
    /// Mostly small, sometimes as large as 300 KiB.
    Usual,
    /// At most a kibibyte.
    Small,
    /// Every order of magnitude as often as any other, up to the largest that a broker takes.
    Any,
}

/// The largest body that a broker takes unless told otherwise.
const BODY_BYTES_MAX: usize = 16 << 20;

impl Lengths {
    /// A body's length.
    pub(crate) fn any(self, random: &mut Random) -> usize {
        let (from, to) = match (self, random.below(100)) {
            (Self::Any, 99) => return BODY_BYTES_MAX,
            (Self::Any, _) => {
                let from = BODY_BYTES_MIN << random.below(20);
                (from, 2 * from)
            }
            (Self::Small, 0..80) | (Self::Usual, 0..60) => (16, 256),
            (Self::Small, _) => (256, 1 << 10),
            (Self::Usual, 60..88) => (256, 8 << 10),
            (Self::Usual, 88..98) => (8 << 10, 64 << 10),
            (Self::Usual, _) => (64 << 10, 300 << 10),
        };
        from + random.index(to - from + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_says_who_it_is_at_every_length() {
        let mut random = Random::new(1);
        let id = MessageId { publisher: 513, number: 70_000 };
        for length in (0..200).chain([Lengths::Usual.any(&mut random)]) {
            let body = body_of(id, length, &mut random);
            assert_eq!(body.len(), length.max(BODY_BYTES_MIN));
            assert_eq!(id_in(&body), Some(id));
            assert_eq!(id_in(&body[..BODY_BYTES_MIN - 1]), None);
        }
    }
    #[test]
    fn bodies_are_as_long_as_they_are_meant_to_be() {
        let mut random = Random::new(2);
        for (lengths, longest) in
            [(Lengths::Small, 1 << 10), (Lengths::Usual, 300 << 10), (Lengths::Any, BODY_BYTES_MAX)]
        {
            let drawn: Vec<usize> = (0..2_000).map(|_| lengths.any(&mut random)).collect();
            assert!(drawn.iter().all(|length| (BODY_BYTES_MIN..=longest).contains(length)));
            assert!(drawn.iter().any(|length| *length > longest / 2), "{lengths:?}");
        }
    }
}
