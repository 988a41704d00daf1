//! Messages are taken out of the middle of a queue: dropped, or put into another queue. Leaving the one
//! and entering the other is one commit of the journal, so that a message is never in neither and never
//! in both.

use domain::binding::QueueId;
use domain::name::Name;
use domain::properties::Properties;
use domain::queue::settings::Overflow;
use domain::refusal::{Kind, Refusal};
use domain::run::{Sequence, Span};

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
        let mut wanted: Vec<Sequence> =
            ids.iter().filter(|id| id.queue == queue).map(|id| id.message).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let removed = self.take_out(queue, &Span::of(wanted), DoneOutcome::Purged);
        self.count_purged(queue, removed);
        let gone = (ids.len() as u64).saturating_sub(removed);
        Ok(Removed { removed, gone, refused: 0 })
    }

    /// Takes ready messages out, with all that hangs on them; returns how many. All at once: what lies
    /// behind them in a long queue is moved once.
    fn take_out(&mut self, queue: QueueId, spans: &[Span], outcome: DoneOutcome) -> u64 {
        let mut gone = std::mem::take(&mut self.gone);
        if let Some(slot) = self.queues.get_mut(&queue) {
            slot.queue.take_out(spans, &self.chunks, &mut gone);
        }
        let mut taken = 0;
        for run in gone.drain(..) {
            taken += u64::from(run.count);
            self.note_end(queue, &run, &Ending::plain(outcome));
            self.left(queue, &run);
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
        let chunk = std::sync::Arc::clone(&copies.chunk);
        let (moving, refused) = self.movable((from, to), ids, &chunk);
        let spans = Span::of(moving.iter().map(|(message, _)| *message));
        let removed = self.take_out(from, &spans, DoneOutcome::Moved);
        for (_, index) in moving {
            if let Some(message) = chunk.message(index) {
                self.enqueue(to, incoming(&message, index), &mut copies);
            }
        }
        self.chunks.leave(&mut copies);
        let gone = (ids.len() as u64).saturating_sub(removed + refused);
        Ok(Removed { removed, gone, refused })
    }

    /// Which messages can move, in order, each with the index of its copy; and for how many the other
    /// queue has no room.
    fn movable(
        &self,
        (from, to): (QueueId, QueueId),
        ids: &[MessageId],
        copies: &Chunk,
    ) -> (Vec<(Sequence, u32)>, u64) {
        let here = ids.iter().zip(0..).filter(|(id, _)| id.queue == from && from != to);
        let mut wanted: Vec<_> = here.map(|(id, index)| (id.message, index)).collect();
        wanted.sort_unstable();
        wanted.dedup_by_key(|(message, _)| *message);
        let (mut moving, mut bytes, mut refused) = (Vec::new(), 0, 0);
        for (message, index) in wanted {
            let slot = self.queues.get(&from);
            let Some(copy) = copies.message(index) else { continue };
            if !slot.is_some_and(|slot| slot.queue.has_ready(message)) {
                continue;
            }
            let with_it = bytes + copy.body.len() as u64;
            let count = u32::try_from(moving.len()).unwrap_or(u32::MAX).saturating_add(1);
            if self.has_no_room(to, count, with_it) {
                refused += 1;
                continue;
            }
            bytes = with_it;
            moving.push((message, index));
        }
        (moving, refused)
    }

    /// Whether a queue refuses so many messages with so many bytes of bodies for want of room.
    fn has_no_room(&self, queue: QueueId, count: u32, bytes: u64) -> bool {
        let Some(slot) = self.queues.get(&queue) else { return true };
        slot.queue.settings().overflow != Overflow::DropHead
            && slot.queue.would_overflow(count, bytes)
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
