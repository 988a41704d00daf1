//! Publishing: routing decides which queues take a message; each takes a reference to it.

use domain::binding::QueueId;
use domain::properties::Properties;
use domain::refusal::Refusal;
use domain::run::{Durability, Place};
use domain::topology::routing::{Routed, Sameness};

use super::Vhost;
use super::chunks::BatchChunk;
use crate::event::Event;
use crate::journaled::message_records::{Enqueued, put_chunk_head};
use crate::journaled::tag;
use crate::operation::{PublishRun, Unroutable, Verb};
use crate::session_id::SessionId;

impl Vhost {
    pub(crate) fn publish(
        &mut self,
        session: SessionId,
        run: PublishRun,
        also: &[Box<[u8]>],
        chunks: &mut [BatchChunk],
    ) {
        let Some(chunk) = chunks.get_mut(run.chunk as usize) else { return };
        if !self.is_open(session, run.channel) {
            return;
        }
        if let Err(refusal) = self.route_run(session, run, also, chunk) {
            self.refuse(session, run.channel, Verb::Publish, refusal);
        }
    }

    fn route_run(
        &mut self,
        session: SessionId,
        run: PublishRun,
        also: &[Box<[u8]>],
        chunk: &mut BatchChunk,
    ) -> Result<(), Refusal> {
        let mut left = run;
        while left.count > 0 {
            let Some(message) = chunk.chunk.message(left.first) else { return Ok(()) };
            let routed = Routed {
                exchange: message.exchange,
                routing_key: message.routing_key,
                also,
                properties: Properties(message.properties),
            };
            let persistence = message.persistence;
            self.permit_publish(session, &routed)?;
            let sameness = self.topology.route(&routed, &mut self.route)?;
            let count = match sameness {
                Sameness::ByKey => left.count,
                Sameness::ByHeaders => 1,
            };
            let part = PublishRun { count, ..left };
            let queues = std::mem::take(&mut self.route.queues);
            let mut journaled = false;
            for queue in &queues {
                let durability = self.queues.get(queue).map(|slot| slot.durability(persistence));
                if let Some(durability) = durability {
                    self.enqueue(*queue, durability, part, chunk);
                    journaled |= durability == Durability::Journaled;
                }
            }
            if queues.is_empty() {
                self.unroutable(session, part, chunk);
            }
            self.route.queues = queues;
            self.count_publishes(session, part, journaled);
            left.first += count;
            left.count -= count;
        }
        Ok(())
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
