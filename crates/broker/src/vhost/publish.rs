//! Publishing: routing decides which queues take a message; each takes a reference to it.

use domain::binding::QueueId;
use domain::properties::Properties;
use domain::refusal::Refusal;
use domain::run::{Durability, Place};
use domain::topology::routing::{Routed, Sameness};

use super::Vhost;
use super::chunks::BatchChunk;
use crate::chunk::Message;
use crate::event::Event;
use crate::journaled::message_records::{Enqueued, put_chunk_head};
use crate::journaled::tag;
use crate::operation::{PublishRun, Unroutable, Verb};
use crate::session_id::SessionId;

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
            let sameness = self.topology.route(&routed, &mut self.route)?;
            let count = match sameness {
                Sameness::ByKey => left.count,
                Sameness::ByHeaders => 1,
            };
            let part = PublishRun { count, ..left };
            match effect {
                Effect::Now => {
                    let queues = std::mem::take(&mut self.route.queues);
                    self.publish_to(session, part, &queues, chunk);
                    self.route.queues = queues;
                }
                Effect::AtCommit => self.collect_publishes(session, part, also, &chunk.chunk)?,
            }
            left.first += count;
            left.count -= count;
        }
        Ok(())
    }

    /// These queues take messages that lie in one chunk and are alike in persistence.
    pub(crate) fn publish_to(
        &mut self,
        session: SessionId,
        run: PublishRun,
        queues: &[QueueId],
        chunk: &mut BatchChunk,
    ) {
        let Some(persistence) = chunk.chunk.message(run.first).map(|it| it.persistence) else {
            return;
        };
        let mut journaled = false;
        let mut taken = false;
        for queue in queues {
            let durability = self.queues.get(queue).map(|slot| slot.durability(persistence));
            if let Some(durability) = durability {
                self.enqueue(*queue, durability, run, chunk);
                journaled |= durability == Durability::Journaled;
                taken = true;
            }
        }
        if !taken {
            self.unroutable(session, run, chunk);
        }
        self.count_publishes(session, run, journaled);
    }

    fn enqueue(
        &mut self,
        queue: QueueId,
        durability: Durability,
        run: PublishRun,
        chunk: &mut BatchChunk,
    ) {
        let Some(slot) = self.queues.get_mut(&queue) else { return };
        let index = self.chunks.hold(chunk, run.count);
        let place = Place { chunk: index, index: run.first };
        let entry = slot.queue.enqueue(place, run.count, durability);
        if !slot.dirty {
            slot.dirty = true;
            self.turn.dirty.push(queue);
        }
        if durability == Durability::InMemory {
            return;
        }
        let Some((id, new)) = self.chunks.journal(index) else { return };
        if let Some(new) = new {
            let bytes = new.bytes().clone();
            self.turn.staged.record_with(tag::CHUNK, |out| put_chunk_head(out, id), bytes);
            self.turn.staged.urge();
        }
        let enqueued =
            Enqueued { queue, first: entry.first, chunk: id, index: run.first, count: run.count };
        self.turn.staged.record(tag::ENQUEUED, |out| enqueued.put(out));
    }

    fn unroutable(&mut self, session: SessionId, run: PublishRun, chunk: &BatchChunk) {
        match run.unroutable {
            Unroutable::Dropped => self.stats.unroutable_dropped += u64::from(run.count),
            Unroutable::Returned => {
                self.stats.unroutable_returned += u64::from(run.count);
                for index in run.first..run.first + run.count {
                    let (channel, chunk) = (run.channel, chunk.chunk.clone());
                    self.tell(session, Event::Returned { channel, chunk, index });
                }
            }
        }
    }

    fn count_publishes(&mut self, session: SessionId, run: PublishRun, journaled: bool) {
        self.stats.published += u64::from(run.count);
        let state = self.sessions.get_mut(session.index());
        let channel = state.and_then(|state| state.channels.get_mut(&run.channel));
        let Some(confirms) = channel.and_then(|channel| channel.confirms.as_mut()) else { return };
        if confirms.published == confirms.told {
            self.turn.confirming.push((session, run.channel));
        }
        confirms.published += u64::from(run.count);
        confirms.journaled |= journaled;
    }
}
