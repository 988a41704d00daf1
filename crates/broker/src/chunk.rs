//! A chunk: messages side by side as they arrived, laid down once in the shape that storage writes.
//!
//! One message:
//!
//! ```text
//!  0        1         2        3        4               8            12
//! ┌────────┬─────────┬────────┬────────┬───────────────┬────────────┬──────────┬─────┬────────────┬──────┐
//! │ flags  │exchange │  key   │   0    │ properties    │ body       │ exchange │ key │ properties │ body │
//! │        │ bytes   │ bytes  │        │ bytes, u32 LE │ bytes, LE  │          │     │            │      │
//! └────────┴─────────┴────────┴────────┴───────────────┴────────────┴──────────┴─────┴────────────┴──────┘
//! ```
//!
//! `flags` bit 0: persistent; bit 1: dead-lettered here, its `x-death` is the broker's. `properties` are in the encoding of [`domain::properties`]. A change
//! of this shape takes a new record tag in [`crate::journaled`].

use bytes::Bytes;
use domain::dead_letter::Author;
use stdx::reader::{Reader, Truncated};

const HEAD_BYTES: usize = 12;
const PERSISTENT: u8 = 1;
const DEAD_LETTERED: u8 = 2;

/// Whether a message asks to survive a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It may go with the process (AMQP's delivery mode 1, or none).
    Transient,
    /// It stays, if its queue does (AMQP's delivery mode 2).
    Persistent,
}

/// A message, seen where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Whether it asks to survive a restart.
    pub persistence: Persistence,
    /// The exchange it was published to.
    pub exchange: &'a str,
    /// Its routing key.
    pub routing_key: &'a [u8],
    /// Its properties, encoded.
    pub properties: &'a [u8],
    /// Its body.
    pub body: &'a [u8],
    /// Who wrote its `x-death`.
    pub author: Author,
}

/// Messages side by side. Immutable.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    bytes: Bytes,
    /// Where each message starts, and the end of the last: one more entry than messages.
    starts: Vec<u32>,
}

/// The bytes are no messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored chunk is not made of whole messages")]
pub struct NotMessages;

impl Chunk {
    /// Finds the messages in stored bytes.
    pub fn parse(bytes: Bytes) -> Result<Chunk, NotMessages> {
        let mut starts = vec![0];
        let mut reader = Reader::new(&bytes);
        while !reader.is_empty() {
            read_message(&mut reader).map_err(|Malformed| NotMessages)?;
            let at = bytes.len() - reader.rest().len();
            starts.push(u32::try_from(at).map_err(|_too_long| NotMessages)?);
        }
        Ok(Chunk { bytes, starts })
    }

    /// How many messages.
    pub fn count(&self) -> u32 {
        u32::try_from(self.starts.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// The stored bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether some of its messages are dead letters.
    pub fn is_dead_lettered(&self) -> bool {
        let flags = |start: &u32| self.bytes.get(*start as usize).copied().unwrap_or(0);
        let (Some(first), count) = (self.starts.first(), self.count()) else { return false };
        // Dead letters share no chunk with others.
        count > 0 && flags(first) & DEAD_LETTERED != 0
    }

    /// The message at `index`, counted from 0; `None` past the end.
    pub fn message(&self, index: u32) -> Option<Message<'_>> {
        let start = *self.starts.get(index as usize)? as usize;
        let bytes = self.bytes.get(start..)?;
        read_message(&mut Reader::new(bytes)).ok()
    }

    /// The stored bytes of the message at `index`; empty past the end.
    pub fn message_bytes(&self, index: u32) -> &[u8] {
        let at = index as usize;
        let bounds = self.starts.get(at).zip(self.starts.get(at + 1));
        let bytes = bounds.and_then(|(start, end)| self.bytes.get(*start as usize..*end as usize));
        bytes.unwrap_or_default()
    }

    /// Bytes of the body of a message in its stored bytes.
    pub fn body_bytes(message: &[u8]) -> u32 {
        let body = message.get(8..HEAD_BYTES).and_then(|bytes| bytes.first_chunk());
        body.map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    /// What the chunk takes in memory, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.starts.len() * size_of::<u32>() + size_of::<Chunk>()
    }

    /// Bytes of `count` messages from `first` on.
    pub fn span_bytes(&self, first: u32, count: u32) -> usize {
        let at = |index: u32| {
            self.starts.get(index as usize).map_or(self.bytes.len(), |at| *at as usize)
        };
        at(first.saturating_add(count)).saturating_sub(at(first))
    }
}

struct Malformed;

impl From<Truncated> for Malformed {
    fn from(Truncated: Truncated) -> Malformed {
        Malformed
    }
}

#[inline]
fn read_message<'a>(reader: &mut Reader<'a>) -> Result<Message<'a>, Malformed> {
    let [flags, exchange_bytes, key_bytes, zero] = reader.array::<4>()?;
    let properties_bytes = reader.u32_le()? as usize;
    let body_bytes = reader.u32_le()? as usize;
    if zero != 0 || flags & !(PERSISTENT | DEAD_LETTERED) != 0 {
        return Err(Malformed);
    }
    let exchange = reader.bytes(exchange_bytes.into())?;
    Ok(Message {
        persistence: if flags & PERSISTENT == 0 {
            Persistence::Transient
        } else {
            Persistence::Persistent
        },
        exchange: std::str::from_utf8(exchange).map_err(|_not_utf8| Malformed)?,
        routing_key: reader.bytes(key_bytes.into())?,
        properties: reader.bytes(properties_bytes)?,
        body: reader.bytes(body_bytes)?,
        author: if flags & DEAD_LETTERED == 0 { Author::Publisher } else { Author::Broker },
    })
}

/// Lays messages down, one after the other.
#[derive(Debug)]
pub struct ChunkBuilder {
    bytes: Vec<u8>,
    starts: Vec<u32>,
}

impl Default for ChunkBuilder {
    fn default() -> ChunkBuilder {
        ChunkBuilder { bytes: Vec::new(), starts: vec![0] }
    }
}

impl ChunkBuilder {
    /// Starts a message whose body of `body_bytes` follows by [`ChunkBuilder::body`].
    ///
    /// `exchange` and `routing_key` have at most 255 bytes each; a longer one is cut.
    #[inline]
    pub fn message(&mut self, head: &MessageHead<'_>, body_bytes: u32) {
        let whole =
            HEAD_BYTES + head.exchange.len() + head.routing_key.len() + head.properties.len();
        self.bytes.reserve(whole + body_bytes as usize);
        self.message_unreserved(head, body_bytes);
    }

    /// As [`ChunkBuilder::message`], without taking memory for a body that may never come.
    #[inline]
    pub fn message_unreserved(&mut self, head: &MessageHead<'_>, body_bytes: u32) {
        let exchange = cut(head.exchange.as_bytes());
        let key = cut(head.routing_key);
        let mut flags = match head.persistence {
            Persistence::Transient => 0,
            Persistence::Persistent => PERSISTENT,
        };
        if head.author == Author::Broker {
            flags |= DEAD_LETTERED;
        }
        let properties_bytes = u32::try_from(head.properties.len()).unwrap_or(u32::MAX);
        let mut fixed = [0; HEAD_BYTES];
        fixed[0] = flags;
        fixed[1] = exchange.1;
        fixed[2] = key.1;
        fixed[4..8].copy_from_slice(&properties_bytes.to_le_bytes());
        fixed[8..12].copy_from_slice(&body_bytes.to_le_bytes());
        self.bytes.extend_from_slice(&fixed);
        self.bytes.extend_from_slice(exchange.0);
        self.bytes.extend_from_slice(key.0);
        self.bytes.extend_from_slice(head.properties);
    }

    /// Appends a piece of the started message's body.
    #[inline]
    pub fn body(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }

    /// Ends the started message.
    #[inline]
    pub fn end(&mut self) {
        self.starts.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }

    /// Whether the last message ended has this exchange and routing key.
    #[inline]
    pub fn last_route_is(&self, exchange: &str, routing_key: &[u8]) -> bool {
        let [.., start, _end] = self.starts[..] else { return false };
        let Some([_, exchange_bytes, key_bytes, rest @ ..]) = self.bytes.get(start as usize..)
        else {
            return false;
        };
        let exchange_bytes = usize::from(*exchange_bytes);
        let route = exchange_bytes + usize::from(*key_bytes);
        let Some(route) = rest.get(HEAD_BYTES - 3..HEAD_BYTES - 3 + route) else { return false };
        let (last_exchange, last_key) = route.split_at(exchange_bytes);
        last_exchange == exchange.as_bytes() && last_key == routing_key
    }

    /// Messages ended so far.
    pub fn count(&self) -> u32 {
        u32::try_from(self.starts.len() - 1).unwrap_or(u32::MAX)
    }

    /// Bytes laid down so far.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The chunk, without spare room.
    pub fn finish(mut self) -> Chunk {
        // Chunks live as long as their last message; spare room would live with them.
        if self.bytes.capacity() - self.bytes.len() > self.bytes.len() / 8 {
            self.bytes.shrink_to_fit();
        }
        self.starts.shrink_to_fit();
        Chunk { bytes: Bytes::from(self.bytes), starts: self.starts }
    }
}

/// All of a message but its body.
#[derive(Clone, Copy, Debug)]
pub struct MessageHead<'a> {
    /// Whether it asks to survive a restart.
    pub persistence: Persistence,
    /// The exchange it is published to; at most 255 bytes.
    pub exchange: &'a str,
    /// Its routing key; at most 255 bytes.
    pub routing_key: &'a [u8],
    /// Its properties, in the encoding of [`domain::properties`].
    pub properties: &'a [u8],
    /// Its priority, as the properties have it.
    pub priority: Option<u8>,
    /// Its expiration in milliseconds, as the properties have it.
    pub expiration_ms: Option<u64>,
    /// Who wrote its `x-death`.
    pub author: Author,
}

impl Default for MessageHead<'_> {
    /// A transient message without properties for the default exchange.
    fn default() -> Self {
        MessageHead {
            persistence: Persistence::Transient,
            exchange: "",
            routing_key: b"",
            properties: &[0, 0],
            priority: None,
            expiration_ms: None,
            author: Author::Publisher,
        }
    }
}

/// The first 255 bytes, and how many there are.
fn cut(bytes: &[u8]) -> (&[u8], u8) {
    let len = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    (&bytes[..len.into()], len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Chunk {
        let mut builder = ChunkBuilder::default();
        for (persistence, exchange, key, properties, body) in [
            (Persistence::Persistent, "", &b"q"[..], &[0x10, 0, 2][..], &b"hello"[..]),
            (Persistence::Transient, "amq.topic", b"a.b", &[0, 0], b""),
            (Persistence::Persistent, "x", b"\xff\x00", &[0, 0], &[7; 300]),
        ] {
            let head = MessageHead {
                persistence,
                exchange,
                routing_key: key,
                properties,
                ..MessageHead::default()
            };
            builder.message(&head, u32::try_from(body.len()).unwrap());
            builder.body(body);
            builder.end();
        }
        builder.finish()
    }

    #[test]
    fn messages_come_back_as_laid_down() {
        let chunk = sample();
        assert_eq!(chunk.count(), 3);
        let second = chunk.message(1).unwrap();
        assert_eq!(
            (second.exchange, second.routing_key, second.body),
            ("amq.topic", &b"a.b"[..], &b""[..])
        );
        assert_eq!(second.persistence, Persistence::Transient);
        assert_eq!(chunk.message(2).unwrap().body, &[7; 300]);
        assert_eq!(chunk.message(3), None);
        assert_eq!(chunk.span_bytes(0, 3), chunk.bytes().len());
    }

    #[test]
    fn stored_bytes_parse_to_the_same_messages_and_a_cut_is_refused() {
        let chunk = sample();
        let parsed = Chunk::parse(chunk.bytes().clone()).unwrap();
        for index in 0..3 {
            assert_eq!(parsed.message(index), chunk.message(index));
        }
        let whole: Vec<usize> = chunk.starts.iter().map(|at| *at as usize).collect();
        for cut in 0..chunk.bytes().len() {
            let parsed = Chunk::parse(chunk.bytes().slice(..cut));
            assert_eq!(parsed.is_ok(), whole.contains(&cut), "cut at {cut}");
        }
    }
}
