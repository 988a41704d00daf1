//! Delivering: a ready message is leased to the consumer whose turn it is, as long as it has
//! credit and its session room.

use domain::binding::QueueId;
use domain::queue::consumers::ConsumerId;
use domain::run::{Durability, Run, Sequence};

use super::Vhost;
use super::ending::Ending;
use super::handing::Handing;
use super::leases::Turn;
use super::queues::ConsumerSlot;
use super::sessions::Unsettled;
use crate::done::DoneOutcome;
use crate::event::{DeliveryRun, Event};
use crate::journaled::message_records::put_watermark;
use crate::journaled::tag;
use crate::limits;
use crate::operation::{Acknowledgement, ChannelId};
use crate::session_id::SessionId;
use crate::traces::Leaving;

/// What the consumer in front can take.
enum Offer {
    /// Up to so many messages.
    Messages(u32),
    /// Nothing before it settles something.
    NoCredit,
    /// Nothing before its session has written something.
    NoRoom,
}

/// Deliveries that nothing times are dated to so many milliseconds: those of a moment make one entry.
pub(crate) const SINCE_STEP_MS: u64 = 4;

impl Vhost {
    /// The queue may be able to deliver.
    pub(crate) fn mark_dirty(&mut self, queue: QueueId) {
        if let Some(slot) = self.queues.get_mut(&queue)
            && !slot.dirty
        {
            slot.dirty = true;
            self.turn.dirty.push(queue);
        }
    }

    /// Hands out what the queue has to whoever can take it. Returns whether there is more that
    /// could go: it had its turn.
    pub(crate) fn deliver(&mut self, queue: QueueId) -> bool {
        if self.may_be_due(queue) {
            self.expire_messages(queue);
            if self.may_be_due(queue) {
                return true;
            }
        }
        self.hand_out(queue)
    }

    /// As [`Vhost::deliver`], whatever is due.
    pub(crate) fn hand_out(&mut self, queue: QueueId) -> bool {
        let more = self.hand_out_ready(queue);
        self.answer_impatient(queue);
        more
    }

    fn hand_out_ready(&mut self, queue: QueueId) -> bool {
        let mut left = limits::TURN_MESSAGES_MAX;
        while left > 0 {
            let Some(slot) = self.queues.get_mut(&queue) else { return false };
            if slot.queue.ready_messages() == 0 {
                return false;
            }
            if slot.waiting.is_some()
                && let Some((waiter, share)) = self.waiter_in_turn(queue)
            {
                if self.readable(queue).is_none() {
                    return false;
                }
                left = left.saturating_sub(self.serve_waiter(queue, waiter, share.min(left)));
                self.pass_turn(queue, Turn::Consumers);
                continue;
            }
            let Some(slot) = self.queues.get_mut(&queue) else { return false };
            let Some(front) = slot.queue.consumers.front() else { return false };
            let alone = slot.queue.consumers.front_is_alone() && slot.waiting.is_none();
            match self.offer(front) {
                Offer::Messages(count) => {
                    let Some(readable) = self.readable(queue) else { return false };
                    let count = count.min(readable);
                    // One each while several take turns; all it can take if it is alone.
                    let count = if alone { count.min(left) } else { 1 };
                    left -= self.deliver_run(queue, front, count);
                    self.pass_turn(queue, Turn::Waiters);
                }
                Offer::NoCredit => self.wait(queue),
                Offer::NoRoom => {
                    self.starve(front);
                    self.wait(queue);
                }
            }
        }
        true
    }

    fn wait(&mut self, queue: QueueId) {
        if let Some(slot) = self.queues.get_mut(&queue) {
            slot.queue.consumers.wait();
        }
    }

    fn starve(&mut self, consumer: ConsumerId) {
        let Some(consumer) = self.consumers.get(&consumer) else { return };
        if let Some(session) = self.sessions.get(consumer.session.index()) {
            session.outbox.starve();
            self.turn.starved.push(consumer.session);
        }
    }

    fn offer(&self, consumer: ConsumerId) -> Offer {
        let Some(consumer) = self.consumers.get(&consumer) else { return Offer::NoCredit };
        let Some(session) = self.sessions.get(consumer.session.index()) else {
            return Offer::NoCredit;
        };
        if session.outbox.room_bytes() <= session.events_bytes {
            return Offer::NoRoom;
        }
        let Some(channel) = session.channels.get(&consumer.channel) else { return Offer::NoCredit };
        let credit = match consumer.acknowledgement {
            Acknowledgement::Automatic => u32::MAX,
            Acknowledgement::Manual => consumer.credit.available().min(channel.credit.available()),
        };
        if credit == 0 { Offer::NoCredit } else { Offer::Messages(credit) }
    }

    /// Delivers up to `count` messages; returns how many went.
    fn deliver_run(&mut self, queue: QueueId, consumer: ConsumerId, count: u32) -> u32 {
        let Some(slot) = self.queues.get_mut(&queue) else { return 0 };
        let Some(state) = self.consumers.get_mut(&consumer) else { return 0 };
        let taken = match state.acknowledgement {
            Acknowledgement::Manual => slot.queue.lease(count, &self.chunks),
            Acknowledgement::Automatic => slot.queue.take(count, &self.chunks),
        };
        let Some(run) = taken else { return 0 };
        let handing =
            Handing { redelivery: run.label.redelivery, acknowledgement: state.acknowledgement };
        handing.count(run.count, slot.count(queue, &mut self.tallies, self.now.ms));
        handing.count(run.count, &mut self.tallies.totals.counts);
        slot.count_wait(&run, &mut self.tallies, self.now.ms);
        slot.queue.consumers.turn();
        let counts = run.label.counts.if_any();
        slot.delivered = slot.delivered.max(run.end());
        let (session, channel, tag) = (state.session, state.channel, state.tag.clone());
        if state.acknowledgement == Acknowledgement::Manual {
            state.credit.take(run.count);
        }
        state.counts.delivered += u64::from(run.count);
        if handing.is_repeated() {
            state.counts.redelivered += u64::from(run.count);
        }
        let acknowledgement = state.acknowledgement;
        let since_ms = match (acknowledgement, state.timeout_ms) {
            (Acknowledgement::Manual, Some(_)) => {
                self.time_consumer(consumer);
                self.now.ms
            }
            _untimed => self.now.ms / SINCE_STEP_MS * SINCE_STEP_MS,
        };
        let Some(here) = self.chunks.find(run.place) else { return run.count };
        self.handed_out(run.place, run.count);
        let unsettled = Unsettled {
            count: run.count,
            queue,
            first: run.first,
            consumer: Some(consumer),
            since_ms,
        };
        let Some(first_tag) = self.number(session, channel, handing, unsettled) else {
            return run.count;
        };
        self.stats.delivered += u64::from(run.count);
        self.tell(
            session,
            Event::Delivered(DeliveryRun {
                channel,
                consumer_tag: tag,
                first_tag,
                redelivered: handing.is_repeated(),
                counts,
                chunk: here.chunk,
                first: here.index,
                count: run.count,
            }),
        );
        self.after_delivery(queue, &run, acknowledgement);
        run.count
    }

    /// Gives deliveries their tags, and books them if they are to be settled.
    pub(crate) fn number(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        handing: Handing,
        unsettled: Unsettled,
    ) -> Option<u64> {
        let number = channel;
        let channel = self.sessions.get_mut(session.index())?.channels.get_mut(&number)?;
        let counts = channel.count((session, number), &mut self.tallies);
        match unsettled.consumer {
            Some(_) => handing.count(unsettled.count, counts),
            None => handing.count_got(counts),
        }
        let first_tag = channel.last_tag + 1;
        channel.last_tag += u64::from(unsettled.count);
        if handing.acknowledgement == Acknowledgement::Manual {
            if unsettled.consumer.is_some() {
                channel.credit.take(unsettled.count);
            }
            // A consumer that is served in small pieces still makes one entry.
            if let Some((tag, last)) = channel.unsettled.iter_mut().next_back()
                && tag + u64::from(last.count) == first_tag
                && last.is_followed_by(&unsettled)
            {
                last.count += unsettled.count;
            } else {
                channel.unsettled.insert(first_tag, unsettled);
            }
        }
        Some(first_tag)
    }

    /// What a delivery means for the journal: one that settles itself leaves its queue.
    pub(crate) fn after_delivery(
        &mut self,
        queue: QueueId,
        run: &Run,
        acknowledgement: Acknowledgement,
    ) {
        self.trace_delivery(queue, run);
        match acknowledgement {
            Acknowledgement::Manual => {
                if run.label.durability == Durability::Journaled {
                    self.turn.delivered.push(queue);
                }
            }
            Acknowledgement::Automatic => {
                self.stats.acknowledged += u64::from(run.count);
                self.trace_end(queue, run, Leaving::Sent);
                self.note_end(queue, run, &Ending::plain(DoneOutcome::Acknowledged));
                self.left(queue, run);
            }
        }
    }

    /// Journals how far queues have delivered, without delay: what is delivered again after a crash
    /// is to be marked. When many go at once the mark runs ahead of them, so that it is mostly on
    /// disk before they are and a drain writes few; when few go it is exact.
    pub(crate) fn write_watermarks(&mut self) {
        let mut delivered = std::mem::take(&mut self.turn.delivered);
        delivered.sort_unstable();
        delivered.dedup();
        for queue in delivered.drain(..) {
            let Some(slot) = self.queues.get_mut(&queue) else { continue };
            if slot.delivered <= slot.watermark || !slot.is_journaled() {
                continue;
            }
            let went = slot.delivered.0 - slot.watermark.0;
            let many = went >= limits::WATERMARK_STEP_MIN;
            let ahead = if many { went * limits::WATERMARK_STEPS_AHEAD } else { 0 };
            slot.watermark = Sequence(slot.delivered.0 + ahead);
            let watermark = slot.watermark;
            self.turn.staged.record(tag::WATERMARK, |out| put_watermark(out, queue, watermark));
            self.turn.staged.urge();
        }
        self.turn.delivered = delivered;
    }

    /// Journals exactly how far every queue has delivered: the process stops cleanly.
    pub(crate) fn write_exact_watermarks(&mut self) {
        for (queue, slot) in &mut self.queues {
            if slot.is_journaled() && slot.watermark != slot.delivered {
                slot.watermark = slot.delivered;
                let watermark = slot.watermark;
                self.turn
                    .staged
                    .record(tag::WATERMARK, |out| put_watermark(out, *queue, watermark));
            }
        }
    }

    /// The session has room again.
    pub(crate) fn resume_deliveries(&mut self, session: SessionId) {
        let Some(state) = self.sessions.get(session.index()) else { return };
        let channels: Vec<ChannelId> = state.channels.keys().copied().collect();
        for channel in channels {
            self.resume_channel(session, channel);
        }
    }

    /// The consumers of the channel may be able to take something again.
    pub(crate) fn resume_channel(&mut self, session: SessionId, channel: ChannelId) {
        let Some(state) = self.channel_mut(session, channel) else { return };
        let mut consumers: Vec<ConsumerId> = state.consumers.values().copied().collect();
        consumers.sort_unstable();
        for consumer in consumers {
            self.resume(consumer);
        }
    }

    /// The consumer may be able to take something again.
    pub(crate) fn resume(&mut self, consumer: ConsumerId) {
        let Some(ConsumerSlot { queue, .. }) = self.consumers.get(&consumer) else { return };
        let queue = *queue;
        if let Some(slot) = self.queues.get_mut(&queue)
            && slot.queue.consumers.resume(consumer)
        {
            self.mark_dirty(queue);
        }
    }
}
