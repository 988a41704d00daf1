//! Queues of limited length: which message goes when there is one too many.

use domain::binding::QueueId;
use domain::dead_letter::Reason;
use domain::queue::settings::Overflow;
use domain::run::{Durability, Label, Place, Run};

use super::Vhost;
use super::chunks::{BatchChunk, Incoming};
use super::ending::NEVER_ENQUEUED;

impl Vhost {
    /// Messages for a queue of limited length. What it refuses is noted in `refused`.
    ///
    /// Only what waits counts: whoever could take a message has it before it is one too many.
    pub(crate) fn enqueue_limited(
        &mut self,
        queue: QueueId,
        incoming: Incoming,
        chunk: &mut BatchChunk,
    ) {
        let Some(slot) = self.queues.get(&queue) else { return };
        let overflow = slot.queue.settings().overflow;
        if overflow == Overflow::DropHead {
            self.enqueue_all(queue, incoming, chunk);
            self.deliver(queue);
            self.drop_excess(queue);
            return;
        }
        for offset in 0..incoming.count {
            let one = Incoming { first: incoming.first + offset, count: 1, ..incoming };
            let message = chunk.chunk.message(one.first);
            let bytes = message.map_or(0, |message| message.body.len() as u64);
            let Some(slot) = self.queues.get(&queue) else { return };
            if slot.queue.would_overflow(1, bytes) {
                self.refused.push(offset);
                if let Some(counts) = self.count_in_queue(queue) {
                    counts.refused += 1;
                }
                if overflow == Overflow::RejectPublishDeadLetter {
                    let run = self.never_enqueued(one.first, chunk);
                    self.bury(queue, run, Reason::MaxLength);
                }
            } else {
                self.enqueue_all(queue, one, chunk);
                self.deliver(queue);
            }
        }
    }

    /// A message that a queue gives up before it was in it: nothing of it is journaled there.
    fn never_enqueued(&mut self, index: u32, chunk: &mut BatchChunk) -> Run {
        let place = Place { chunk: self.chunks.hold(chunk, 1), index };
        let label = Label::plain(Durability::InMemory);
        Run { first: NEVER_ENQUEUED, count: 1, place, label }
    }

    /// Gives up the messages in front that are too many.
    pub(crate) fn drop_excess(&mut self, queue: QueueId) {
        loop {
            let Some(slot) = self.queues.get_mut(&queue) else { return };
            if slot.queue.settings().overflow != Overflow::DropHead {
                return;
            }
            let excess = slot.queue.excess();
            if excess == 0 {
                return;
            }
            let Some(run) = slot.queue.take(excess, &self.chunks) else { return };
            self.stats.overflowed += u64::from(run.count);
            self.bury(queue, run, Reason::MaxLength);
        }
    }
}
