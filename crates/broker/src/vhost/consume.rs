//! Consumers: starting, stopping, and taking a single message.

use domain::binding::QueueId;
use domain::credit::Credit;
use domain::name::Name;
use domain::queue::consumers::ConsumerId;
use domain::refusal::Refusal;
use domain::run::Redelivery;

use super::queues::ConsumerSlot;
use super::sessions::Unsettled;
use super::{Vhost, tags};
use crate::event::{Event, Reply};
use crate::operation::{Acknowledgement, ChannelId, Consume, Sharing};
use crate::session_id::SessionId;

impl Vhost {
    pub(crate) fn consume(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        consume: Consume,
    ) -> Result<Reply, Refusal> {
        let (queue, name) = self.usable_queue(session, channel, &consume.queue)?;
        let priority = consume.arguments.get("x-priority");
        if priority.is_some_and(|priority| priority.as_integer() != Some(0)) {
            return Err(Refusal::NotBuilt("x-priority"));
        }
        let Some(slot) = self.queues.get(&queue) else { return Err(not_found(&name)) };
        let alone = slot.queue.consumers.count() == 0;
        if slot.queue.consumers.has_exclusive() || (consume.sharing == Sharing::Exclusive && !alone)
        {
            return Err(Refusal::ExclusiveUse(name));
        }
        let tag = if consume.consumer_tag.is_empty() {
            tags::make("amq.ctag-", &mut self.entropy)
        } else {
            consume.consumer_tag
        };
        let id = ConsumerId(self.next_consumer);
        let Some(state) = self.channel_mut(session, channel) else { return Err(not_found(&name)) };
        if state.consumers.contains_key(&tag) {
            return Err(Refusal::ConsumerTagTaken(tag));
        }
        state.consumers.insert(tag.clone(), id);
        let credit = Credit::new(state.prefetch);
        self.next_consumer += 1;
        let acknowledgement = consume.acknowledgement;
        let consumer =
            ConsumerSlot { session, channel, tag: tag.clone(), queue, acknowledgement, credit };
        self.consumers.insert(id, consumer);
        if let Some(slot) = self.queues.get_mut(&queue) {
            match consume.sharing {
                Sharing::Shared => slot.queue.consumers.add(id),
                Sharing::Exclusive => slot.queue.consumers.add_exclusive(id),
            }
        }
        self.mark_dirty(queue);
        Ok(Reply::Consuming { consumer_tag: tag })
    }

    /// Cancelling what is not there works, as in RabbitMQ.
    pub(crate) fn cancel(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        consumer_tag: Name,
    ) -> Reply {
        let state = self.channel_mut(session, channel);
        let consumer = state.and_then(|state| state.consumers.remove(&consumer_tag));
        if let Some(queue) = consumer.and_then(|consumer| self.remove_consumer(consumer)) {
            self.delete_if_abandoned(queue);
        }
        Reply::Cancelled { consumer_tag }
    }

    /// A consumer leaves its queue; returns which. What it had not settled stays with its channel.
    pub(crate) fn remove_consumer(&mut self, consumer: ConsumerId) -> Option<QueueId> {
        let slot = self.consumers.remove(&consumer)?;
        self.queues.get_mut(&slot.queue)?.queue.consumers.remove(consumer);
        // Whoever is left may be able to take what this one could not.
        self.mark_dirty(slot.queue);
        Some(slot.queue)
    }

    /// An auto-delete queue goes with its last consumer.
    pub(crate) fn delete_if_abandoned(&mut self, queue: QueueId) {
        let abandoned = self
            .queues
            .get(&queue)
            .is_some_and(|slot| slot.declaration.auto_delete && slot.queue.consumers.all_left());
        if abandoned {
            self.remove_queue(queue);
        }
    }

    pub(crate) fn get(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        queue: &Name,
        acknowledgement: Acknowledgement,
    ) -> Result<(), Refusal> {
        let (id, _) = self.usable_queue(session, channel, queue)?;
        // What was published before is delivered before: consumers come first.
        self.deliver(id);
        let Some(slot) = self.queues.get_mut(&id) else { return Ok(()) };
        let taken = match acknowledgement {
            Acknowledgement::Manual => slot.queue.lease(1),
            Acknowledgement::Automatic => slot.queue.take(1),
        };
        let Some(run) = taken else {
            self.tell(session, Event::GotNothing { channel });
            return Ok(());
        };
        slot.delivered = slot.delivered.max(run.end());
        let remaining = slot.queue.ready_messages();
        let Some(chunk) = self.chunks.get(run.place.chunk).cloned() else { return Ok(()) };
        let unsettled = Unsettled { count: 1, queue: id, first: run.first, consumer: None };
        let Some(tag) = self.number(session, channel, acknowledgement, unsettled) else {
            return Ok(());
        };
        self.stats.delivered += 1;
        let redelivered = run.redelivery == Redelivery::Repeated;
        let index = run.place.index;
        self.tell(session, Event::Got { channel, tag, redelivered, remaining, chunk, index });
        self.after_delivery(id, &run, acknowledgement);
        Ok(())
    }
}

fn not_found(name: &Name) -> Refusal {
    Refusal::NotFound(domain::refusal::Kind::Queue, name.clone())
}
