//! What time does: messages go unread, unused queues go, consumers that leave deliveries unsettled
//! for too long lose them.

use domain::binding::QueueId;
use domain::dead_letter::Reason;
use domain::queue::Return;
use domain::queue::consumers::ConsumerId;
use domain::queue::settings::QueueType;
use domain::refusal::Refusal;
use domain::run::Deadline;

use super::Vhost;
use super::sessions::Unsettled;
use super::timers::{Moment, Timer};
use crate::event::Event;
use crate::limits;
use crate::operation::{CancelNotify, ChannelId, Outcome, Verb};
use crate::session_id::SessionId;

impl Vhost {
    /// A turn begins: what is due happens first.
    pub(crate) fn begin_turn(&mut self, now: Moment) {
        self.now = now;
        self.chunks.arrivals.set_now_ms(now.ms);
        if self.is_poisoned() {
            return;
        }
        for timer in self.timers.take_due(now.ms) {
            match timer {
                Timer::Messages(queue) => {
                    if let Some(slot) = self.queues.get_mut(&queue) {
                        slot.timer_ms = None;
                        self.expire_messages(queue);
                    }
                }
                Timer::Queue(queue) => self.expire_queue(queue),
                Timer::Consumer(consumer) => self.look_after(consumer),
                Timer::Leases => self.look_after_leases(),
                Timer::Done(queue) => self.expire_done(queue),
                Timer::Storage => self.storage_timer(),
            }
        }
        self.bury_dead();
    }

    /// Sets the timers of everything that was restored.
    pub(crate) fn start_timers(&mut self) {
        let queues: Vec<QueueId> = self.queues.keys().copied().collect();
        for queue in queues {
            self.use_queue(queue);
            self.time_queue(queue);
            self.time_messages(queue);
            self.time_done(queue);
        }
    }

    /// A deadline on the clock that outlives the process.
    pub(crate) fn on_the_wall(&self, deadline: Deadline) -> Option<u64> {
        let left_ms = deadline.0.saturating_sub(self.now.ms);
        (deadline != Deadline::NEVER).then(|| self.now.wall_ms.saturating_add(left_ms))
    }

    /// Sees to it that the queue's timer goes off when its next message is due.
    pub(crate) fn time_messages(&mut self, queue: QueueId) {
        let Some(slot) = self.queues.get_mut(&queue) else { return };
        let deadline = slot.queue.next_deadline();
        if deadline != Deadline::NEVER && slot.timer_ms.is_none_or(|at_ms| deadline.0 < at_ms) {
            slot.timer_ms = Some(deadline.0);
            self.timers.set(deadline.0, Timer::Messages(queue));
        }
    }

    /// Whether messages of the queue may be due.
    pub(crate) fn may_be_due(&self, queue: QueueId) -> bool {
        // The timer alone proves nothing: what it was set for may have gone in this very turn.
        self.queues.get(&queue).is_some_and(|slot| {
            slot.timer_ms.is_some_and(|at_ms| at_ms <= self.now.ms)
                && slot.queue.next_deadline().is_over(self.now.ms)
        })
    }

    /// Takes out what is due, so much as one turn may.
    pub(crate) fn expire_messages(&mut self, queue: QueueId) {
        let mut left = limits::TURN_MESSAGES_MAX;
        while left > 0 {
            let Some(slot) = self.queues.get_mut(&queue) else { return };
            let Some(run) = slot.queue.take_due(self.now.ms, left, &self.chunks) else { break };
            left -= run.count;
            self.stats.expired += u64::from(run.count);
            self.bury(queue, run, Reason::Expired);
        }
        self.time_messages(queue);
    }

    /// The queue is used now; one that expires does so later.
    pub(crate) fn use_queue(&mut self, queue: QueueId) {
        if let Some(slot) = self.queues.get_mut(&queue) {
            slot.used_ms = self.now.ms;
        }
    }

    /// A redeclaration is a use too, but not of a quorum queue (RabbitMQ).
    pub(crate) fn use_queue_by_declaring(&mut self, queue: QueueId) {
        let slot = self.queues.get(&queue);
        if slot.is_some_and(|slot| slot.queue.settings().queue_type == QueueType::Classic) {
            self.use_queue(queue);
        }
    }

    /// Sets the timer that looks whether the queue was used, if it expires at all.
    pub(crate) fn time_queue(&mut self, queue: QueueId) {
        let Some(slot) = self.queues.get_mut(&queue) else { return };
        if let Some(expires_ms) = slot.queue.settings().expires_ms
            && !slot.timed
            && slot.queue.consumers.count() == 0
        {
            slot.timed = true;
            self.timers.set(slot.used_ms.saturating_add(expires_ms), Timer::Queue(queue));
        }
    }

    fn expire_queue(&mut self, queue: QueueId) {
        let Some(slot) = self.queues.get_mut(&queue) else { return };
        slot.timed = false;
        let Some(expires_ms) = slot.queue.settings().expires_ms else { return };
        let unused = slot.queue.consumers.count() == 0
            && slot.waiting.is_none()
            && slot.used_ms.saturating_add(expires_ms) <= self.now.ms;
        if unused {
            self.stats.queues_expired += 1;
            self.remove_queue(queue);
        } else {
            if slot.waiting.is_some() {
                // Whoever waits for a message uses the queue all the while.
                slot.used_ms = self.now.ms;
            }
            self.time_queue(queue);
        }
    }

    /// The consumer was handed something: its timer goes off when that was too long ago.
    pub(crate) fn time_consumer(&mut self, consumer: ConsumerId) {
        let Some(slot) = self.consumers.get_mut(&consumer) else { return };
        if let (Some(timeout_ms), false) = (slot.timeout_ms, slot.timed) {
            slot.timed = true;
            let at_ms = self.now.ms.saturating_add(timeout_ms);
            self.timers.set(at_ms, Timer::Consumer(consumer));
        }
    }

    /// Looks at the oldest delivery that a consumer has not settled.
    fn look_after(&mut self, consumer: ConsumerId) {
        let Some(slot) = self.consumers.get_mut(&consumer) else { return };
        let Some(timeout_ms) = slot.timeout_ms else { return };
        slot.timed = false;
        let (session, channel) = (slot.session, slot.channel);
        let Some(state) = self.channel_mut(session, channel) else { return };
        let of_consumer = state.unsettled.values().filter(|it| it.consumer == Some(consumer));
        let Some(since_ms) = of_consumer.map(|delivery| delivery.since_ms).min() else { return };
        let at_ms = since_ms.saturating_add(timeout_ms);
        if at_ms <= self.now.ms {
            self.time_out(session, channel, consumer, timeout_ms);
        } else if let Some(slot) = self.consumers.get_mut(&consumer) {
            slot.timed = true;
            self.timers.set(at_ms, Timer::Consumer(consumer));
        }
    }

    /// A consumer loses all it has not settled, and its place.
    fn time_out(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        consumer: ConsumerId,
        timeout_ms: u64,
    ) {
        self.stats.consumers_timed_out += 1;
        let heard = self
            .session_mut(session)
            .is_some_and(|state| state.traits.cancel_notify == CancelNotify::Heard);
        let Some(state) = self.channel_mut(session, channel) else { return };
        let held: Vec<(u64, Unsettled)> = (state.unsettled.iter())
            .filter(|(_, delivery)| delivery.consumer == Some(consumer))
            .map(|(tag, delivery)| (*tag, *delivery))
            .collect();
        for (tag, delivery) in &held {
            state.unsettled.remove(tag);
            state.expired.insert(*tag, delivery.count);
        }
        for (_, delivery) in held {
            self.requeue(&delivery, Return::Released);
            self.give_credit(session, channel, &delivery, Outcome::Failed);
        }
        if heard {
            let tag = self.consumers.get(&consumer).map(|slot| slot.tag.clone());
            let queue = self.remove_consumer(consumer);
            if let Some(consumer_tag) = tag {
                if let Some(state) = self.channel_mut(session, channel) {
                    state.consumers.remove(&consumer_tag);
                }
                self.tell(session, Event::ConsumerCancelled { channel, consumer_tag });
            }
            if let Some(queue) = queue {
                self.delete_if_abandoned(queue);
            }
        } else {
            let refusal = Refusal::ConsumerTimedOut { channel, timeout_ms };
            self.refuse(session, channel, Verb::Unasked, refusal);
        }
    }
}
