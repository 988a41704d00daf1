//! Records of a checkpoint. A checkpoint is one commit: this record, then the whole topology and
//! the state of every queue. It makes what older files say about topology needless, so that they
//! can go when the messages in them are gone.

use domain::binding::QueueId;
use domain::run::Sequence;
use stdx::reader::Reader;
use stdx::varint::{put, take};

use super::{Malformed, finished};

/// The numbers that must never be given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) next_queue: u64,
    pub(crate) next_chunk: u64,
}

impl Checkpoint {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put(out, self.next_queue);
        put(out, self.next_chunk);
    }

    pub(crate) fn take(payload: &[u8]) -> Result<Checkpoint, Malformed> {
        let mut reader = Reader::new(payload);
        let checkpoint =
            Checkpoint { next_queue: take(&mut reader)?, next_chunk: take(&mut reader)? };
        finished(&reader).map(|()| checkpoint)
    }
}

/// Where a queue's numbering stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueState {
    pub(crate) queue: QueueId,
    pub(crate) next: Sequence,
    pub(crate) watermark: Sequence,
}

impl QueueState {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put(out, self.queue.0);
        put(out, self.next.0);
        put(out, self.watermark.0);
    }

    pub(crate) fn take(payload: &[u8]) -> Result<QueueState, Malformed> {
        let mut reader = Reader::new(payload);
        let state = QueueState {
            queue: QueueId(take(&mut reader)?),
            next: Sequence(take(&mut reader)?),
            watermark: Sequence(take(&mut reader)?),
        };
        finished(&reader).map(|()| state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_truncation() {
        let checkpoint = Checkpoint { next_queue: 300, next_chunk: 1 << 50 };
        let mut bytes = Vec::new();
        checkpoint.put(&mut bytes);
        assert_eq!(Checkpoint::take(&bytes), Ok(checkpoint));
        for cut in 0..bytes.len() {
            assert_eq!(Checkpoint::take(&bytes[..cut]), Err(Malformed));
        }
        let state =
            QueueState { queue: QueueId(3), next: Sequence(9_000), watermark: Sequence(8_000) };
        let mut bytes = Vec::new();
        state.put(&mut bytes);
        assert_eq!(QueueState::take(&bytes), Ok(state));
        for cut in 0..bytes.len() {
            assert_eq!(QueueState::take(&bytes[..cut]), Err(Malformed));
        }
    }
}
