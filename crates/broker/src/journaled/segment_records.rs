//! Records of what lies in segments: kept, next segment.

use domain::binding::QueueId;
use domain::run::{Counts, Sequence};
use stdx::reader::Reader;
use stdx::varint::{put, take};

use super::message_records::{Mark, take_u32};
use super::{Malformed, finished};

/// Neighbouring messages of a queue, and the index of the first of them in its run of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) first: Sequence,
    pub(crate) count: u32,
    pub(crate) index: u32,
}

fn put_head(out: &mut Vec<u8>, segment: u64, run: u32, queue: QueueId) {
    put(out, segment);
    put(out, run.into());
    put(out, queue.0);
}

fn take_head(reader: &mut Reader<'_>) -> Result<(u64, u32, QueueId), Malformed> {
    Ok((take(reader)?, take_u32(reader)?, QueueId(take(reader)?)))
}

fn put_kept(out: &mut Vec<u8>, kept: &Kept, before: &mut Sequence) {
    put(out, kept.first.0.saturating_sub(before.0));
    put(out, kept.count.into());
    put(out, kept.index.into());
    *before = kept.first.plus(kept.count);
}

fn take_kept(reader: &mut Reader<'_>, before: &mut Sequence) -> Result<Kept, Malformed> {
    let first = before.0.checked_add(take(reader)?).ok_or(Malformed)?;
    let kept = Kept { first: Sequence(first), count: take_u32(reader)?, index: take_u32(reader)? };
    let end = first.checked_add(kept.count.into()).ok_or(Malformed)?;
    if kept.count == 0 || kept.index.checked_add(kept.count).is_none() {
        return Err(Malformed);
    }
    *before = Sequence(end);
    Ok(kept)
}

/// What is true of messages that wait in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alive {
    pub(crate) kept: Kept,
    pub(crate) mark: Mark,
    pub(crate) counts: Counts,
}

impl Alive {
    /// Whether `next` is alike and lies right behind these, in the queue as in the run.
    pub(crate) fn continues_with(&self, next: &Alive) -> bool {
        let Kept { first, count, index } = self.kept;
        next.kept.first == first.plus(count)
            && index.checked_add(count) == Some(next.kept.index)
            && (next.mark, next.counts) == (self.mark, self.counts)
    }
}

/// Messages of a queue that are alive are read from a run of a segment from now on. In a checkpoint
/// these are all there are in the run; elsewhere they were just copied there. The record says all
/// that is to be known of them, because the files they came in with may be gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptRecord {
    pub(crate) segment: u64,
    pub(crate) run: u32,
    pub(crate) queue: QueueId,
    /// Ascending sequences.
    pub(crate) alive: Vec<Alive>,
}

/// A mark follows.
const MARKED: u8 = 1;
/// Counts follow.
const COUNTED: u8 = 2;

impl KeptRecord {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_head(out, self.segment, self.run, self.queue);
        let mut before = Sequence(0);
        for alive in &self.alive {
            let marked = alive.mark != Mark::default();
            let counted = alive.counts != Counts::default();
            out.push((u8::from(marked) * MARKED) | (u8::from(counted) * COUNTED));
            put_kept(out, &alive.kept, &mut before);
            if marked {
                out.push(alive.mark.level);
                put(out, alive.mark.deadline_wall_ms.unwrap_or(0));
            }
            if counted {
                put(out, alive.counts.failures.into());
                put(out, alive.counts.acquisitions.into());
            }
        }
    }

    pub(crate) fn take(payload: &[u8]) -> Result<KeptRecord, Malformed> {
        let mut reader = Reader::new(payload);
        let (segment, run, queue) = take_head(&mut reader)?;
        let mut alive = Vec::new();
        let mut before = Sequence(0);
        while !reader.is_empty() {
            let flags = reader.u8()?;
            if flags & !(MARKED | COUNTED) != 0 {
                return Err(Malformed);
            }
            let kept = take_kept(&mut reader, &mut before)?;
            let (mut mark, mut counts) = (Mark::default(), Counts::default());
            if flags & MARKED != 0 {
                let level = reader.u8()?;
                let deadline_wall_ms = Some(take(&mut reader)?).filter(|ms| *ms > 0);
                mark = Mark { level, deadline_wall_ms };
            }
            if flags & COUNTED != 0 {
                counts.failures = take_u32(&mut reader)?;
                counts.acquisitions = take_u32(&mut reader)?;
            }
            alive.push(Alive { kept, mark, counts });
        }
        Ok(KeptRecord { segment, run, queue, alive })
    }
}

/// In a checkpoint: the number that the next segment gets.
pub(crate) fn put_next_segment(out: &mut Vec<u8>, number: u64) {
    put(out, number);
}

/// Reads what [`put_next_segment`] wrote.
pub(crate) fn take_next_segment(payload: &[u8]) -> Result<u64, Malformed> {
    let mut reader = Reader::new(payload);
    let number = take(&mut reader)?;
    finished(&reader).map(|()| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(first: u64, count: u32, index: u32) -> Kept {
        Kept { first: Sequence(first), count, index }
    }

    #[test]
    fn round_trips_and_truncation() {
        let counts = Counts { failures: 1, acquisitions: 300 };
        let mark = Mark { level: 9, deadline_wall_ms: Some(1_700_000_000_000) };
        let alive = |kept, mark, counts| Alive { kept, mark, counts };
        let state = KeptRecord {
            segment: 1 << 40,
            run: 0,
            queue: QueueId(0),
            alive: vec![
                alive(kept(0, 1, 4), Mark::default(), Counts::default()),
                alive(kept(1, 70_000, 9), mark, Counts::default()),
                alive(kept(99_999, 1, 99_999), mark, counts),
            ],
        };
        let mut bytes = Vec::new();
        state.put(&mut bytes);
        assert_eq!(KeptRecord::take(&bytes), Ok(state));
        assert_eq!(KeptRecord::take(&bytes[..bytes.len() - 1]), Err(Malformed));

        let mut bytes = Vec::new();
        put_next_segment(&mut bytes, 1 << 33);
        assert_eq!(take_next_segment(&bytes), Ok(1 << 33));
        bytes.push(0);
        assert_eq!(take_next_segment(&bytes), Err(Malformed));
    }

    #[test]
    fn impossible_numbers_are_malformed() {
        for numbers in [
            [1, 0, 1, 0, u64::MAX, 2, 0],
            [1, 0, 1, 0, 4, 0, 0],
            [1, u64::MAX, 1, 0, 4, 1, 0],
            [1, 0, 1, 4, 4, 1, 0],
        ] {
            let mut bytes = Vec::new();
            for number in numbers {
                put(&mut bytes, number);
            }
            assert_eq!(KeptRecord::take(&bytes), Err(Malformed), "{numbers:?}");
        }
    }
}
