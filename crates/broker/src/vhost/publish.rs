//! Publishing: routing decides which queues take a message; each takes a reference to it.

use domain::binding::QueueId;
use domain::properties::Properties;
use domain::queue::Arrival;
use domain::refusal::Refusal;
use domain::run::{Deadline, Durability, Place, Run};
use domain::topology::routing::{Routed, Sameness, Sender};

use super::Vhost;
use super::chunks::{BatchChunk, Incoming};
use crate::chunk::Message;
use crate::event::Event;
use crate::journaled::message_records::{Enqueued, Mark, put_chunk_head};
use crate::journaled::tag;
use crate::message_id::MessageId;
use crate::operation::{Ids, PublishRun, Unroutable, Verb};
use crate::session_id::SessionId;
use crate::traces::Taking;
use crate::views::counts::MessageCounts;

/// When a publish takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Now,
    AtCommit,
}

/// What routing looks at in a message.
pub(crate) fn routed<'a>(message: &Message<'a>, also: &'a [Box<[u8]>]) -> Routed<'a> {
    Routed {
        exchange: message.exchange,
        routing_key: message.routing_key,
        also,
        properties: Properties(message.properties),
        sender: Sender::Client,
    }
}

impl Vhost {
    pub(crate) fn publish(
        &mut self,
        session: SessionId,
        run: PublishRun,
        also: &[Box<[u8]>],
        chunks: &mut [BatchChunk],
    ) {
        let Some(chunk) = chunks.get_mut(run.chunk as usize) else { return };
        let state = self.sessions.get(session.index());
        let state = state.and_then(|state| state.channels.get(&run.channel));
        let effect = match state {
            Some(channel) if channel.failed => return,
            Some(channel) if channel.transaction.is_some() => Effect::AtCommit,
            Some(_) => Effect::Now,
            None => return,
        };
        if let Err(refusal) = self.route_run(session, run, also, (chunk, effect)) {
            self.refuse(session, run.channel, Verb::Publish, refusal);
        }
    }

    fn route_run(
        &mut self,
        session: SessionId,
        run: PublishRun,
        also: &[Box<[u8]>],
        (chunk, effect): (&mut BatchChunk, Effect),
    ) -> Result<(), Refusal> {
        let mut left = run;
        while left.count > 0 {
            let Some(message) = chunk.chunk.message(left.first) else { return Ok(()) };
            let routed = routed(&message, also);
            self.permit_publish(session, &routed)?;
            let sameness = self.topology.route(&routed, &mut self.route)?;
            let count = match sameness {
                Sameness::ByKey => left.count,
                Sameness::ByHeaders => 1,
            };
            let part = PublishRun { count, ..left };
            match effect {
                Effect::Now => {
                    let queues = std::mem::take(&mut self.route.queues);
                    self.tallies.count_routed(self.route.source, count, queues.len());
                    self.publish_to(session, (part, also), &queues, chunk);
                    self.route.queues = queues;
                }
                Effect::AtCommit => self.collect_publishes(session, part, also, &chunk.chunk)?,
            }
            left.first += count;
            left.count -= count;
        }
        Ok(())
    }

    /// These queues take messages that lie in one chunk and are alike in what queues look at.
    pub(crate) fn publish_to(
        &mut self,
        session: SessionId,
        (run, also): (PublishRun, &[Box<[u8]>]),
        queues: &[QueueId],
        chunk: &mut BatchChunk,
    ) {
        let incoming = Incoming {
            first: run.first,
            count: run.count,
            persistence: run.persistence,
            priority: run.priority,
            expiration_ms: run.expiration_ms,
        };
        let mut durability = Durability::InMemory;
        let mut found = false;
        let tells_ids =
            self.sessions.get(session.index()).is_some_and(|it| it.traits.ids == Ids::Told);
        for queue in queues {
            let before = if tells_ids { self.next_id(*queue) } else { None };
            let refused = self.refused.len();
            // In a transaction a queue may have gone since the message was routed.
            let taken = self.enqueue(*queue, incoming, chunk);
            found |= taken.is_some();
            if let Some(before) = before {
                self.tell_ids(session, run, before, refused);
            }
            if taken == Some(Durability::Journaled) {
                durability = Durability::Journaled;
            }
        }
        if queues.is_empty() || !also.is_empty() {
            found |= self.deliver_replies(run, also, chunk);
        }
        if !found {
            self.unroutable(session, run, chunk);
        }
        if self.residences.is_some() {
            let taking = if found { Taking::Taken } else { Taking::Unroutable };
            self.trace_publish(run, durability, taking, &chunk.chunk);
        }
        self.count_publishes(session, run, durability);
    }

    fn next_id(&self, queue: QueueId) -> Option<MessageId> {
        let slot = self.queues.get(&queue)?;
        Some(MessageId { queue, message: slot.queue.next_sequence() })
    }

    /// A queue took messages of a run, but for what was refused since there were so many refused; their
    /// ids begin with this one.
    fn tell_ids(
        &mut self,
        session: SessionId,
        run: PublishRun,
        mut id: MessageId,
        refused_before: usize,
    ) {
        let refused = self.refused.get(refused_before..).unwrap_or_default().to_vec();
        let mut from = 0;
        for offset in refused.into_iter().chain([run.count]) {
            let count = offset.saturating_sub(from);
            if count > 0 {
                let (persistence, index) = (run.persistence, run.first + from);
                self.tell(session, Event::Taken { persistence, index, count, id });
                id = id.plus(count);
            }
            from = offset.saturating_add(1);
        }
    }

    /// Offers messages to a queue; what it refuses is noted in `refused`. Returns what those that
    /// it takes may count on; `None`: there is no such queue.
    pub(crate) fn enqueue(
        &mut self,
        queue: QueueId,
        incoming: Incoming,
        chunk: &mut BatchChunk,
    ) -> Option<Durability> {
        let slot = self.queues.get_mut(&queue)?;
        if slot.plain && incoming.expiration_ms.is_none() {
            // Nearly all messages of the world.
            let place =
                Place { chunk: self.chunks.hold(chunk, incoming.count), index: incoming.first };
            let durability = slot.durability(incoming.persistence);
            let (count, deadline, level) = (incoming.count, Deadline::NEVER, 0);
            let arrival = Arrival { place, count, durability, deadline, level };
            slot.count_arrival(queue, count, &mut self.tallies, self.now.ms);
            let entry = slot.queue.enqueue(&arrival, &self.chunks);
            if !std::mem::replace(&mut slot.dirty, true) {
                self.turn.dirty.push(queue);
            }
            if let Some(residences) = &mut self.residences {
                residences.enter(queue, &slot.name, &entry, &chunk.chunk);
            }
            if durability == Durability::Journaled {
                self.journal_enqueued(queue, &entry);
            }
            return Some(durability);
        }
        let durability = slot.durability(incoming.persistence);
        if slot.queue.settings().is_limited() {
            self.enqueue_limited(queue, incoming, chunk);
        } else {
            self.enqueue_all(queue, incoming, chunk);
        }
        Some(durability)
    }

    /// Puts messages into a queue.
    pub(crate) fn enqueue_all(
        &mut self,
        queue: QueueId,
        incoming: Incoming,
        chunk: &mut BatchChunk,
    ) {
        let Some(mut slot) = self.queues.get_mut(&queue) else { return };
        let ttl_ms = slot.queue.settings().ttl_ms(incoming.expiration_ms);
        if ttl_ms == Some(0) {
            // What came back too late must not go out with it.
            if self.may_be_due(queue) {
                self.expire_messages(queue);
            }
            let Some(again) = self.queues.get_mut(&queue) else { return };
            slot = again;
        }
        let index = self.chunks.hold(chunk, incoming.count);
        let settings = slot.queue.settings();
        let arrival = Arrival {
            place: Place { chunk: index, index: incoming.first },
            count: incoming.count,
            durability: slot.durability(incoming.persistence),
            deadline: ttl_ms.map_or(Deadline::NEVER, |ms| Deadline(self.now.ms.saturating_add(ms))),
            level: settings.level(incoming.priority),
        };
        slot.count_arrival(queue, arrival.count, &mut self.tallies, self.now.ms);
        let entry = slot.queue.enqueue(&arrival, &self.chunks);
        if !std::mem::replace(&mut slot.dirty, true) {
            self.turn.dirty.push(queue);
        }
        if let Some(residences) = &mut self.residences {
            residences.enter(queue, &slot.name, &entry, &chunk.chunk);
        }
        if arrival.durability == Durability::Journaled {
            self.journal_enqueued(queue, &entry);
        }
        if ttl_ms.is_some() {
            self.time_messages(queue);
            if ttl_ms == Some(0) {
                // It goes to whoever can take it now, or not at all.
                self.hand_out(queue);
                self.expire_messages(queue);
            }
        }
    }

    fn journal_enqueued(&mut self, queue: QueueId, run: &Run) {
        let Some((id, new)) = self.chunks.journal(run.place.chunk) else { return };
        if let Some(new) = new {
            let tag = if new.is_dead_lettered() { tag::DEAD_CHUNK } else { tag::CHUNK };
            let bytes = new.bytes().clone();
            self.turn.staged.record_with(tag, |out| put_chunk_head(out, id), bytes);
            self.turn.staged.urge();
        }
        let mark =
            Mark { level: run.label.level, deadline_wall_ms: self.on_the_wall(run.label.deadline) };
        let (first, index, count) = (run.first, run.place.index, run.count);
        let enqueued = Enqueued { queue, first, chunk: id, index, count, mark };
        self.turn.staged.record(enqueued.tag(), |out| enqueued.put(out));
    }

    fn unroutable(&mut self, session: SessionId, run: PublishRun, chunk: &BatchChunk) {
        match run.unroutable {
            Unroutable::Dropped => {
                self.stats.unroutable_dropped += u64::from(run.count);
                self.count_unroutable(session, run, |counts| &mut counts.unroutable_dropped);
            }
            Unroutable::Returned => {
                self.stats.unroutable_returned += u64::from(run.count);
                self.count_unroutable(session, run, |counts| &mut counts.returned);
                for index in run.first..run.first + run.count {
                    let (channel, chunk) = (run.channel, chunk.chunk.clone());
                    self.tell(session, Event::Returned { channel, chunk, index });
                }
            }
        }
    }

    fn count_unroutable(
        &mut self,
        session: SessionId,
        run: PublishRun,
        field: fn(&mut MessageCounts) -> &mut u64,
    ) {
        *field(&mut self.tallies.totals.counts) += u64::from(run.count);
        if let Some(counts) = self.count_in_channel(session, run.channel) {
            *field(counts) += u64::from(run.count);
        }
    }

    fn count_publishes(&mut self, session: SessionId, run: PublishRun, durability: Durability) {
        let count = u64::from(run.count);
        let refused = self.refused.len();
        self.stats.published += count;
        if !self.refused.is_empty() {
            self.tell_refused(session, run);
        }
        let state = self.sessions.get_mut(session.index());
        let Some(channel) = state.and_then(|state| state.channels.get_mut(&run.channel)) else {
            return;
        };
        let confirmed = if channel.confirms.is_some() { count - refused as u64 } else { 0 };
        let counts = channel.count((session, run.channel), &mut self.tallies);
        counts.published += count;
        counts.confirmed += confirmed;
        let totals = &mut self.tallies.totals.counts;
        totals.published += count;
        totals.confirmed += confirmed;
        let Some(confirms) = channel.confirms.as_mut() else { return };
        if !confirms.is_due() {
            self.turn.confirming.push((session, run.channel));
        }
        confirms.published += count;
        confirms.journaled |= durability == Durability::Journaled;
    }

    /// Publishers learn at once what a full queue refused, whatever others have taken.
    fn tell_refused(&mut self, session: SessionId, run: PublishRun) {
        let mut refused = std::mem::take(&mut self.refused);
        refused.sort_unstable();
        refused.dedup();
        let count = refused.len() as u64;
        self.stats.refused += count;
        self.tallies.totals.counts.refused += count;
        if let Some(counts) = self.count_in_channel(session, run.channel) {
            counts.refused += count;
        }
        let channel = self.channel_mut(session, run.channel);
        if let Some(confirms) = channel.and_then(|channel| channel.confirms.as_mut()) {
            let (channel, before) = (run.channel, confirms.published);
            let numbers: Vec<u64> =
                refused.iter().map(|offset| before + u64::from(*offset) + 1).collect();
            confirms.refused.extend(&numbers);
            for number in numbers {
                self.tell(session, Event::Nacked { channel, first: number, last: number });
            }
        }
        refused.clear();
        self.refused = refused;
    }
}
