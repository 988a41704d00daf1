//! Segments that nothing refers to, in a journal that does not say any more what was there before
//! it. Elsewhere they are left over from a crash; here they may hold whole queues.

use std::collections::BTreeMap;

use domain::binding::QueueId;
use domain::run::{Durability, Label, Place, Run, Sequence};
use storage::Position;

use super::Recovery;
use crate::journaled::tag;

/// A run of such a segment: everything in it counts as alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Orphan {
    pub(crate) queue: QueueId,
    /// The place in the queue that the first of its messages had.
    pub(crate) first: u64,
    pub(crate) segment: u64,
    pub(crate) segment_run: u32,
    pub(crate) messages: u32,
}

/// Whether it is known what everything in a journal is based on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Basis {
    /// There is no journal, or no record in it.
    #[default]
    Unread,
    /// What was before the first record is lost.
    Lost,
    /// The journal is there from its beginning, or from a checkpoint on.
    Known,
}

/// The position of the first frame that ever was in a journal.
const BEGINNING: u64 = 1;

impl Basis {
    /// What it is once a record has been read.
    pub(super) fn after(self, position: u64, tag: u8) -> Basis {
        match (self, position, tag) {
            (_, _, tag::CHECKPOINT) | (Basis::Known, ..) => Basis::Known,
            (Basis::Unread, BEGINNING, tag) if tag != tag::VOID => Basis::Known,
            (Basis::Unread | Basis::Lost, ..) => Basis::Lost,
        }
    }
}

impl Recovery {
    /// Whether what nothing refers to is known to be needed by nobody, in a journal whose oldest file
    /// begins with that position. One without a record may have lost all that were not synced.
    pub(crate) fn has_basis(&self, first: Option<Position>) -> bool {
        match self.basis {
            Basis::Known => true,
            Basis::Unread => first == Some(Position(BEGINNING)),
            Basis::Lost => false,
        }
    }

    /// The messages of these runs come back to their queues, in order, before those that are known;
    /// behind them where there are not so many places before. Which of them were settled is lost.
    /// Returns, of each queue, where what may have been delivered before ends.
    pub(crate) fn adopt(&mut self, orphans: &[Orphan]) -> BTreeMap<QueueId, Sequence> {
        if orphans.is_empty() {
            return BTreeMap::new();
        }
        let mut orphans = orphans.to_vec();
        orphans.sort_unstable();
        let mut totals: BTreeMap<QueueId, u64> = BTreeMap::new();
        for orphan in &orphans {
            *totals.entry(orphan.queue).or_default() += u64::from(orphan.messages);
        }
        let mut next: BTreeMap<QueueId, Sequence> = BTreeMap::new();
        for (queue, total) in totals {
            let known = self.messages.entry(queue).or_default();
            let first = known.first().map(|run| run.first.0);
            let end = known.iter().last().map_or(Sequence(0), Run::end);
            let before = first.map_or(Some(0), |first| first.checked_sub(total));
            next.insert(queue, before.map_or(end, Sequence));
        }
        // Its queues have no names any more, which is no mistake of the journal's.
        self.after_loss.void_records += 1;
        for Orphan { queue, segment, segment_run, messages, .. } in orphans {
            self.next_queue = self.next_queue.max(queue.0.saturating_add(1));
            let slot = self.run(segment, segment_run);
            let first = next.get(&queue).copied().unwrap_or_default();
            let run = Run {
                first,
                count: messages,
                place: Place { chunk: slot, index: 0 },
                label: Label::plain(Durability::Journaled),
            };
            self.messages.entry(queue).or_default().insert(run);
            self.live_in(slot, u64::from(messages));
            next.insert(queue, run.end());
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_basis_is_a_beginning_or_a_checkpoint() {
        let after = |records: &[(u64, u8)]| {
            records.iter().fold(Basis::default(), |basis, (at, tag)| basis.after(*at, *tag))
        };
        let cases = [
            (&[][..], Basis::Unread),
            (&[(1, tag::QUEUE_DECLARED), (2, tag::VOID)], Basis::Known),
            (&[(1, tag::VOID), (2, tag::QUEUE_DECLARED)], Basis::Lost),
            (&[(7, tag::QUEUE_DECLARED), (8, tag::ENQUEUED)], Basis::Lost),
            (&[(7, tag::VOID), (8, tag::CHECKPOINT), (9, tag::VOID)], Basis::Known),
        ];
        for (records, basis) in cases {
            assert_eq!(after(records), basis, "{records:?}");
        }
    }
}
