//! Records of what happened to messages: chunk, enqueued, settled, returned, watermark.

use domain::binding::QueueId;
use domain::run::{Counts, Sequence};
use stdx::reader::Reader;
use stdx::varint::{put, take};

use super::{ChunkId, Malformed, finished, tag};

/// The head of a chunk's payload; the messages follow.
pub(crate) fn put_chunk_head(out: &mut Vec<u8>, chunk: ChunkId) {
    put(out, chunk.0);
}

/// Reads the head of a chunk's payload; also how many bytes it took.
pub(crate) fn take_chunk_head(payload: &[u8]) -> Result<(ChunkId, usize), Malformed> {
    let mut reader = Reader::new(payload);
    let chunk = ChunkId(take(&mut reader)?);
    Ok((chunk, payload.len() - reader.rest().len()))
}

/// Messages side by side in a chunk took neighbouring places in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Enqueued {
    pub(crate) queue: QueueId,
    pub(crate) first: Sequence,
    pub(crate) chunk: ChunkId,
    pub(crate) index: u32,
    pub(crate) count: u32,
    pub(crate) mark: Mark,
}

/// What else is true of messages when they come into a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) level: u8,
    /// When they go unread, in milliseconds since 1970.
    pub(crate) deadline_wall_ms: Option<u64>,
}

impl Enqueued {
    /// The record's tag: that of the short form, where it is enough.
    pub(crate) fn tag(&self) -> u8 {
        if self.mark == Mark::default() { tag::ENQUEUED } else { tag::ENQUEUED_MARKED }
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put(out, self.queue.0);
        put(out, self.first.0);
        put(out, self.chunk.0);
        put(out, self.index.into());
        put(out, self.count.into());
        if self.mark != Mark::default() {
            out.push(self.mark.level);
            put(out, self.mark.deadline_wall_ms.unwrap_or(0));
        }
    }

    /// Reads the payload of a record with this tag.
    pub(crate) fn take(payload: &[u8], tag: u8) -> Result<Enqueued, Malformed> {
        let mut reader = Reader::new(payload);
        let mut enqueued = Enqueued {
            queue: QueueId(take(&mut reader)?),
            first: Sequence(take(&mut reader)?),
            chunk: ChunkId(take(&mut reader)?),
            index: take_u32(&mut reader)?,
            count: take_u32(&mut reader)?,
            mark: Mark::default(),
        };
        if tag == tag::ENQUEUED_MARKED {
            let level = reader.u8()?;
            let deadline_wall_ms = Some(take(&mut reader)?).filter(|ms| *ms > 0);
            enqueued.mark = Mark { level, deadline_wall_ms };
        }
        let end = enqueued.first.0.checked_add(enqueued.count.into());
        if enqueued.count == 0
            || end.is_none()
            || enqueued.index.checked_add(enqueued.count).is_none()
        {
            return Err(Malformed);
        }
        finished(&reader).map(|()| enqueued)
    }
}

/// Neighbouring places in a queue.
pub(crate) type Span = (Sequence, u32);

/// Messages left a queue.
pub(crate) fn put_settled(out: &mut Vec<u8>, queue: QueueId, spans: &[Span]) {
    put(out, queue.0);
    for (first, count) in spans {
        put(out, first.0);
        put(out, (*count).into());
    }
}

/// Reads what [`put_settled`] wrote.
pub(crate) fn take_settled(payload: &[u8]) -> Result<(QueueId, Vec<Span>), Malformed> {
    let mut reader = Reader::new(payload);
    let queue = QueueId(take(&mut reader)?);
    let mut spans = Vec::new();
    while !reader.is_empty() {
        let (first, count) = (take(&mut reader)?, take_u32(&mut reader)?);
        first.checked_add(count.into()).ok_or(Malformed)?;
        spans.push((Sequence(first), count));
    }
    Ok((queue, spans))
}

/// Neighbouring places in a queue, and how often the messages there came back.
pub(crate) type CountedSpan = (Sequence, u32, Counts);

/// Messages came back to a queue that counts.
pub(crate) fn put_returned(out: &mut Vec<u8>, queue: QueueId, spans: &[CountedSpan]) {
    put(out, queue.0);
    for (first, count, counts) in spans {
        put(out, first.0);
        for number in [*count, counts.failures, counts.acquisitions] {
            put(out, number.into());
        }
    }
}

/// Reads what [`put_returned`] wrote.
pub(crate) fn take_returned(payload: &[u8]) -> Result<(QueueId, Vec<CountedSpan>), Malformed> {
    let mut reader = Reader::new(payload);
    let queue = QueueId(take(&mut reader)?);
    let mut spans = Vec::new();
    while !reader.is_empty() {
        let (first, count) = (take(&mut reader)?, take_u32(&mut reader)?);
        first.checked_add(count.into()).ok_or(Malformed)?;
        let counts =
            Counts { failures: take_u32(&mut reader)?, acquisitions: take_u32(&mut reader)? };
        spans.push((Sequence(first), count, counts));
    }
    Ok((queue, spans))
}

/// Everything before `sequence` may have been delivered.
pub(crate) fn put_watermark(out: &mut Vec<u8>, queue: QueueId, sequence: Sequence) {
    put(out, queue.0);
    put(out, sequence.0);
}

/// Reads what [`put_watermark`] wrote.
pub(crate) fn take_watermark(payload: &[u8]) -> Result<(QueueId, Sequence), Malformed> {
    let mut reader = Reader::new(payload);
    let watermark = (QueueId(take(&mut reader)?), Sequence(take(&mut reader)?));
    finished(&reader).map(|()| watermark)
}

pub(crate) fn take_u32(reader: &mut Reader<'_>) -> Result<u32, Malformed> {
    u32::try_from(take(reader)?).map_err(|_too_large| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enqueued(mark: Mark) -> Enqueued {
        Enqueued {
            queue: QueueId(300),
            first: Sequence(70_000),
            chunk: ChunkId(5),
            index: 900,
            count: 128,
            mark,
        }
    }

    #[test]
    fn round_trips_and_truncation() {
        for mark in [
            Mark::default(),
            Mark { level: 9, deadline_wall_ms: None },
            Mark { level: 0, deadline_wall_ms: Some(1_700_000_000_000) },
        ] {
            let enqueued = enqueued(mark);
            let mut bytes = Vec::new();
            enqueued.put(&mut bytes);
            let tag = enqueued.tag();
            assert_eq!(Enqueued::take(&bytes, tag), Ok(enqueued));
            for cut in 0..bytes.len() {
                assert_eq!(Enqueued::take(&bytes[..cut], tag), Err(Malformed), "cut at {cut}");
            }
            bytes.push(0);
            assert_eq!(Enqueued::take(&bytes, tag), Err(Malformed));
        }

        let spans = vec![(Sequence(1), 2), (Sequence(1 << 40), 1)];
        let mut bytes = Vec::new();
        put_settled(&mut bytes, QueueId(9), &spans);
        assert_eq!(take_settled(&bytes), Ok((QueueId(9), spans)));
        assert_eq!(take_settled(&bytes[..bytes.len() - 1]), Err(Malformed));

        let counts = Counts { failures: 3, acquisitions: 400 };
        let spans = vec![(Sequence(1), 2, counts), (Sequence(1 << 40), 1, Counts::default())];
        let mut bytes = Vec::new();
        put_returned(&mut bytes, QueueId(9), &spans);
        assert_eq!(take_returned(&bytes), Ok((QueueId(9), spans)));
        assert_eq!(take_returned(&bytes[..bytes.len() - 1]), Err(Malformed));

        let mut bytes = Vec::new();
        put_watermark(&mut bytes, QueueId(9), Sequence(77));
        assert_eq!(take_watermark(&bytes), Ok((QueueId(9), Sequence(77))));
    }

    #[test]
    fn impossible_numbers_are_malformed() {
        let mut bytes = Vec::new();
        for number in [1, u64::MAX, 1, 1, 1] {
            put(&mut bytes, number);
        }
        assert_eq!(Enqueued::take(&bytes, tag::ENQUEUED), Err(Malformed));
    }
}
