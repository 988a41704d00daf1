//! Requests about deliveries: consuming, settling, giving back.

use std::collections::BTreeMap;

use broker::operation::{Answer, Consume, Outcome, Sharing, Tags};
use domain::refusal::Refusal;

use super::queue::{Known, QueueKey};
use super::sessions::{Consumer, Told, Unsettled};
use super::{ChannelKey, Checker, ConsumerKey, SessionKey, named};

impl Checker {
    pub(super) fn consume(
        &mut self,
        session: SessionKey,
        channel: ChannelKey,
        consume: &Consume,
        answer: Answer,
    ) -> Result<Told, Refusal> {
        let queue = self.usable_queue(session, channel, consume.queue.as_str())?;
        let is_exclusive = consume.sharing == Sharing::Exclusive;
        let Some(state) = self.queues.get(&queue) else { return Err(Refusal::NoQueueDeclaredYet) };
        if state.has_exclusive || (is_exclusive && !state.consumers.is_empty()) {
            return Err(Refusal::ExclusiveUse(named(&state.name)));
        }
        let key = self.key();
        // A tag that the broker makes is known when it is told.
        let tag = match consume.consumer_tag.as_str() {
            "" => format!("?{key}"),
            tag => tag.to_owned(),
        };
        let acknowledgement = consume.acknowledgement;
        let state = self.channel(channel);
        if state.consumers.contains_key(&tag) {
            return Err(Refusal::ConsumerTagTaken(named(&tag)));
        }
        state.consumers.insert(tag.clone(), key);
        if answer == Answer::Unwanted {
            state.seen_consumers.insert(tag.clone(), key);
        }
        let limit = state.prefetch;
        self.session(session).may_get_unseen(queue, acknowledgement);
        let consumer =
            Consumer { session, channel, tag, queue, acknowledgement, limit, is_exclusive };
        self.consumers.insert(key, consumer);
        if let Some(queue) = self.queues.get_mut(&queue) {
            queue.consumers.push(key);
            queue.has_exclusive |= is_exclusive;
            queue.used = true;
        }
        Ok(Told::Consuming(key))
    }

    pub(super) fn cancel(
        &mut self,
        session: SessionKey,
        channel: ChannelKey,
        tag: &str,
        answer: Answer,
    ) -> Told {
        if let Some(consumer) = self.channel(channel).consumers.remove(tag) {
            if answer == Answer::Unwanted {
                self.channel(channel).seen_consumers.remove(tag);
                let state = self.session(session);
                if state.held.is_some() {
                    state.quietly_cancelled.insert((channel, tag.to_owned()), consumer);
                }
            }
            if let Some(queue) = self.leave(consumer) {
                self.remove_if_abandoned(queue);
            }
        }
        Told::Cancelled(tag.to_owned())
    }

    /// A consumer leaves its queue; says which.
    pub(super) fn leave(&mut self, consumer: ConsumerKey) -> Option<QueueKey> {
        let known = self.consumers.get(&consumer)?;
        let (queue, was_exclusive) = (known.queue, known.is_exclusive);
        let state = self.queues.get_mut(&queue)?;
        state.consumers.retain(|one| *one != consumer);
        state.has_exclusive &= !was_exclusive;
        Some(queue)
    }

    /// An auto-delete queue goes with its last consumer.
    pub(super) fn remove_if_abandoned(&mut self, queue: QueueKey) {
        let abandoned = self.queues.get(&queue).is_some_and(|state| {
            state.declaration.auto_delete && state.used && state.consumers.is_empty()
        });
        if abandoned {
            self.remove_queue(queue);
        }
    }

    /// Everything that the channel has not settled returns.
    pub(super) fn requeue_all(&mut self, channel: ChannelKey) {
        for delivery in std::mem::take(&mut self.channel(channel).unsettled).into_values() {
            self.end_delivery(delivery, Outcome::Requeued);
        }
    }

    pub(super) fn settle(
        &mut self,
        channel: ChannelKey,
        tags: Tags,
        outcome: Outcome,
    ) -> Result<(), Refusal> {
        let state = self.channel(channel);
        let unsettled = &mut state.unsettled;
        let taken: BTreeMap<u64, Unsettled> = match tags {
            Tags::One(tag) => {
                let one = unsettled.remove(&tag).ok_or(Refusal::UnknownDeliveryTag(tag))?;
                BTreeMap::from([(tag, one)])
            }
            Tags::UpTo(0) => std::mem::take(unsettled),
            Tags::UpTo(tag) => {
                if !unsettled.contains_key(&tag) {
                    return Err(Refusal::UnknownDeliveryTag(tag));
                }
                let later = unsettled.split_off(&(tag + 1));
                std::mem::replace(unsettled, later)
            }
        };
        if let Some(transaction) = &mut state.transaction {
            let collected = taken.into_iter().map(|(tag, delivery)| (tag, delivery, outcome));
            transaction.settlements.extend(collected);
            return Ok(());
        }
        for delivery in taken.into_values() {
            self.end_delivery(delivery, outcome);
        }
        Ok(())
    }

    pub(super) fn end_delivery(&mut self, delivery: Unsettled, outcome: Outcome) {
        let now_ms = self.now_ms;
        if outcome == Outcome::Rejected
            && self.queues.get(&delivery.queue).is_some_and(|queue| !queue.deleted)
        {
            return self.give_up(delivery.queue, delivery.place, "rejected", Known::Yes);
        }
        let Some(queue) = self.queues.get_mut(&delivery.queue) else { return };
        match outcome {
            Outcome::Acknowledged | Outcome::Rejected => queue.remove(delivery.place),
            Outcome::Requeued | Outcome::Failed => queue.requeue(delivery.place, now_ms),
        }
    }
}
