//! Messages are taken out of the middle of a queue: dropped, or put into another queue. Leaving the one
//! and entering the other is one commit of the journal, so that a message is never in neither and never
//! in both.

use domain::binding::QueueId;
use domain::name::Name;
use domain::properties::Properties;
use domain::queue::settings::Overflow;
use domain::refusal::{Kind, Refusal};

use super::Vhost;
use super::chunks::{BatchChunk, Incoming};
use super::ending::Ending;
use crate::chunk::{Chunk, Message};
use crate::done::DoneOutcome;
use crate::event::Event;
use crate::message_id::MessageId;
use crate::removal::{Fate, Removal, RemovalAnswer, Removed};
use crate::session_id::SessionId;

impl Vhost {
    /// Does it; the answer leaves when the journal has it.
    pub(crate) fn remove(&mut self, session: SessionId, removal: Removal) {
        let Removal { ticket, queue, ids, fate } = removal;
        let outcome = match fate {
            Fate::Dropped => self.drop_messages(session, &queue, &ids),
            Fate::Moved { to, copies } => self.move_messages(session, (&queue, &to), &ids, copies),
        };
        if outcome.is_ok() {
            self.gate(session);
        }
        self.tell(session, Event::RemovalAnswer(Box::new(RemovalAnswer { ticket, outcome })));
    }

    fn drop_messages(
        &mut self,
        session: SessionId,
        queue: &Name,
        ids: &[MessageId],
    ) -> Result<Removed, Refusal> {
        self.permit_removal(session, queue)?;
        let queue = self.queue_to_use(session, queue)?;
        let mut removed = Removed::default();
        let mut left = ids;
        while let Some(first) = left.first() {
            let next = |(at, id): (&MessageId, u32)| {
                *at == MessageId { message: first.message.plus(id), ..*first }
            };
            let side_by_side = left.iter().zip(0..).take_while(|(at, id)| next((at, *id))).count();
            let count = u32::try_from(side_by_side).unwrap_or(u32::MAX);
            let taken = if first.queue == queue {
                self.take_out(*first, count, DoneOutcome::Purged)
            } else {
                0
            };
            removed.removed += taken;
            removed.gone += u64::from(count) - taken;
            left = left.get(side_by_side.max(1)..).unwrap_or_default();
        }
        self.count_purged(queue, removed.removed);
        Ok(removed)
    }

    /// Takes ready messages out, with all that hangs on them; returns how many.
    fn take_out(&mut self, first: MessageId, count: u32, outcome: DoneOutcome) -> u64 {
        let mut gone = std::mem::take(&mut self.gone);
        if let Some(slot) = self.queues.get_mut(&first.queue) {
            slot.queue.take_out(first.message, count, &self.chunks, &mut gone);
        }
        let mut taken = 0;
        for run in gone.drain(..) {
            taken += u64::from(run.count);
            self.note_end(first.queue, &run, &Ending::plain(outcome));
            self.left(first.queue, &run);
        }
        self.gone = gone;
        taken
    }

    fn count_purged(&mut self, queue: QueueId, count: u64) {
        self.stats.purged += count;
        self.tallies.totals.counts.purged += count;
        if let Some(counts) = self.count_in_queue(queue) {
            counts.purged += count;
        }
    }

    fn move_messages(
        &mut self,
        session: SessionId,
        (from, to): (&Name, &Name),
        ids: &[MessageId],
        copies: Chunk,
    ) -> Result<Removed, Refusal> {
        self.permit_removal(session, from)?;
        self.permit_move(session)?;
        let from = self.queue_to_use(session, from)?;
        let to = self.queue_to_use(session, to)?;
        let mut copies = BatchChunk::new(copies);
        let mut removed = Removed::default();
        for (id, index) in ids.iter().zip(0..) {
            let slot = self.queues.get(&from).filter(|_| id.queue == from && from != to);
            if !slot.is_some_and(|slot| slot.queue.has_ready(id.message)) {
                removed.gone += 1;
                continue;
            }
            let chunk = std::sync::Arc::clone(&copies.chunk);
            let Some(message) = chunk.message(index) else { continue };
            if self.has_no_room(to, &message) {
                removed.refused += 1;
                continue;
            }
            self.enqueue(to, incoming(&message, index), &mut copies);
            removed.removed += self.take_out(*id, 1, DoneOutcome::Moved);
        }
        self.chunks.leave(&mut copies);
        Ok(removed)
    }

    /// Whether a queue refuses a message for want of room.
    fn has_no_room(&self, queue: QueueId, message: &Message<'_>) -> bool {
        let Some(slot) = self.queues.get(&queue) else { return true };
        slot.queue.settings().overflow != Overflow::DropHead
            && slot.queue.would_overflow(1, message.body.len() as u64)
    }

    fn queue_to_use(&self, session: SessionId, name: &Name) -> Result<QueueId, Refusal> {
        let found = self.topology.queue(name.as_str());
        let found = found.and_then(|id| Some((id, self.queues.get(&id)?)));
        let (id, slot) = found.ok_or_else(|| Refusal::NotFound(Kind::Queue, name.clone()))?;
        slot.check_owner(session)?;
        Ok(id)
    }
}

/// A message on its way into a queue, as its properties have it.
fn incoming(message: &Message<'_>, index: u32) -> Incoming {
    let properties = Properties(message.properties);
    let expiration = properties.expiration().and_then(|text| std::str::from_utf8(text).ok());
    Incoming {
        first: index,
        count: 1,
        persistence: message.persistence,
        priority: properties.priority(),
        // It was checked when it came in; it waits anew.
        expiration_ms: expiration.and_then(|text| text.parse().ok()),
    }
}
