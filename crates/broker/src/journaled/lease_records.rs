//! Records of leases without a connection: leased, lease ended. That a leased message was settled
//! or returned says that its lease is over too.

use domain::binding::QueueId;
use domain::name::Name;
use domain::run::Sequence;
use stdx::reader::Reader;
use stdx::varint::{put, take};

use super::message_records::{Span, put_settled, take_settled, take_u32};
use super::{Malformed, finished, put_short, put_text, take_name, take_text};

/// Messages of a queue are leased until a moment, from now on and whatever was said before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leased {
    pub(crate) queue: QueueId,
    pub(crate) epoch: u64,
    /// In milliseconds since 1970.
    pub(crate) until_wall_ms: u64,
    /// How long that was, when it was said.
    pub(crate) length_ms: u64,
    /// Whose name it was asked in. Nobody's, which is empty: the messages wait until then, and come
    /// back without another failure.
    pub(crate) holder: Name,
    pub(crate) spans: Vec<Span>,
}

impl Leased {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put(out, self.queue.0);
        out.extend_from_slice(&self.epoch.to_le_bytes());
        put(out, self.until_wall_ms);
        put(out, self.length_ms);
        put_short(out, self.holder.as_str().as_bytes());
        for (first, count) in &self.spans {
            put(out, first.0);
            put(out, (*count).into());
        }
    }

    pub(crate) fn take(payload: &[u8]) -> Result<Leased, Malformed> {
        let mut reader = Reader::new(payload);
        let queue = QueueId(take(&mut reader)?);
        let epoch = u64::from_le_bytes(reader.array()?);
        let (until_wall_ms, length_ms) = (take(&mut reader)?, take(&mut reader)?);
        let holder = take_name(&mut reader)?;
        let mut spans = Vec::new();
        while !reader.is_empty() {
            let (first, count) = (take(&mut reader)?, take_u32(&mut reader)?);
            first.checked_add(count.into()).filter(|_| count > 0).ok_or(Malformed)?;
            spans.push((Sequence(first), count));
        }
        Ok(Leased { queue, epoch, until_wall_ms, length_ms, holder, spans })
    }
}

/// Leases are over, and their messages neither returned nor gone yet.
pub(crate) fn put_ended(out: &mut Vec<u8>, queue: QueueId, spans: &[Span]) {
    put_settled(out, queue, spans);
}

/// Reads what [`put_ended`] wrote.
pub(crate) fn take_ended(payload: &[u8]) -> Result<(QueueId, Vec<Span>), Malformed> {
    take_settled(payload)
}

/// The holder of messages that are leased is so far.
pub(crate) fn put_progress(out: &mut Vec<u8>, queue: QueueId, (first, count): Span, text: &str) {
    put(out, queue.0);
    put(out, first.0);
    put(out, count.into());
    put_text(out, text);
}

/// Reads what [`put_progress`] wrote.
pub(crate) fn take_progress(payload: &[u8]) -> Result<(QueueId, Span, Box<str>), Malformed> {
    let mut reader = Reader::new(payload);
    let queue = QueueId(take(&mut reader)?);
    let (first, count) = (take(&mut reader)?, take_u32(&mut reader)?);
    first.checked_add(count.into()).filter(|_| count > 0).ok_or(Malformed)?;
    let text = take_text(&mut reader)?;
    finished(&reader).map(|()| (queue, (Sequence(first), count), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_truncation() {
        let leased = Leased {
            queue: QueueId(300),
            epoch: 0x0123_4567_89ab_cdef,
            until_wall_ms: 1_700_000_000_000,
            length_ms: 30_000,
            holder: Name::new("worker").unwrap(),
            spans: vec![(Sequence(1), 2), (Sequence(1 << 40), 1_000)],
        };
        let mut bytes = Vec::new();
        leased.put(&mut bytes);
        assert_eq!(Leased::take(&bytes), Ok(leased.clone()));
        let mut whole = Vec::new();
        Leased { spans: Vec::new(), ..leased.clone() }.put(&mut whole);
        let mut one = Vec::new();
        Leased { spans: leased.spans[..1].to_vec(), ..leased }.put(&mut one);
        for cut in 0..bytes.len() {
            let fits = [whole.len(), one.len()].contains(&cut);
            assert_eq!(Leased::take(&bytes[..cut]).is_ok(), fits, "cut at {cut}");
        }
        let mut bytes = Vec::new();
        put_ended(&mut bytes, QueueId(9), &[(Sequence(7), 3)]);
        assert_eq!(take_ended(&bytes), Ok((QueueId(9), vec![(Sequence(7), 3)])));
        let mut bytes = Vec::new();
        put_progress(&mut bytes, QueueId(9), (Sequence(7), 3), "{\"step\":2}");
        let told = (QueueId(9), (Sequence(7), 3), "{\"step\":2}".into());
        assert_eq!(take_progress(&bytes), Ok(told));
        for cut in 0..bytes.len() {
            assert_eq!(take_progress(&bytes[..cut]), Err(Malformed), "cut at {cut}");
        }
    }

    #[test]
    fn impossible_numbers_are_malformed() {
        for (first, count) in [(u64::MAX, 1), (4, 0)] {
            let leased = Leased {
                queue: QueueId(1),
                epoch: 1,
                until_wall_ms: 1,
                length_ms: 1,
                holder: Name::default(),
                spans: vec![(Sequence(first), count)],
            };
            let mut bytes = Vec::new();
            leased.put(&mut bytes);
            assert_eq!(Leased::take(&bytes), Err(Malformed));
        }
    }
}
