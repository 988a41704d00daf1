//! Settling: a delivery ends, by its consumer's word or because its channel is gone.

use domain::binding::QueueId;
use domain::dead_letter::Reason;
use domain::queue::{Return, Returned};
use domain::refusal::Refusal;
use domain::run::{Durability, Run};

use super::Vhost;
use super::ending::Ending;
use super::queues::QueueSlot;
use super::sessions::{Channel, Unsettled};
use crate::done::{DoneOutcome, LastWords};
use crate::journaled::message_records::{CountedSpan, put_returned};
use crate::journaled::tag;
use crate::operation::{ChannelId, Outcome, Tags, Verb};
use crate::session_id::SessionId;
use crate::traces::Leaving;
use crate::views::channel::ConsumerCounts;
use crate::views::counts::MessageCounts;

impl Vhost {
    pub(crate) fn settle(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        tags: Tags,
        outcome: Outcome,
        verb: Verb,
    ) {
        if !self.is_open(session, channel) {
            return;
        }
        let state = self.sessions.get_mut(session.index());
        let Some(state) = state.and_then(|state| state.channels.get_mut(&channel)) else { return };
        if state.transaction.is_some() {
            if let Err(refusal) = self.collect_settlements(session, channel, tags, outcome) {
                self.refuse(session, channel, verb, refusal);
            }
            return;
        }
        match state.take_unsettled(tags) {
            Ok(taken) => {
                self.stats.settled_late += taken.late;
                let count = taken.deliveries.iter().map(|(_, it)| u64::from(it.count)).sum();
                outcome.count(count, state.count((session, channel), &mut self.tallies));
                for (_, delivery) in taken.deliveries {
                    self.settle_delivery(session, channel, &delivery, outcome);
                }
            }
            Err(unknown) => {
                self.refuse(session, channel, verb, Refusal::UnknownDeliveryTag(unknown));
            }
        }
    }

    pub(crate) fn settle_delivery(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        delivery: &Unsettled,
        outcome: Outcome,
    ) {
        self.count_handling(delivery.queue, Some(delivery.since_ms), delivery.count);
        match outcome {
            Outcome::Acknowledged => {
                self.stats.acknowledged += self.drop_leased(delivery, None, &LastWords::default());
            }
            Outcome::Rejected => {
                self.drop_leased(delivery, Some(Reason::Rejected), &LastWords::default());
            }
            Outcome::Requeued => self.requeue(delivery, Return::Released),
            Outcome::Failed => self.requeue(delivery, Return::Failed),
        }
        self.give_credit(session, channel, delivery, outcome);
    }

    /// Deliveries of a queue ended; how long they took is counted, where it is known when they were
    /// made.
    pub(crate) fn count_handling(&mut self, queue: QueueId, since_ms: Option<u64>, count: u32) {
        let Some(since_ms) = since_ms else { return };
        let handled_us = self.now.ms.saturating_sub(since_ms) * 1_000;
        self.tallies.lives.handling.record(handled_us, count.into());
        if let Some(lives) = self.queues.get_mut(&queue).and_then(QueueSlot::lives) {
            lives.handling.record(handled_us, count.into());
        }
    }

    pub(crate) fn give_credit(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        delivery: &Unsettled,
        outcome: Outcome,
    ) {
        let Some(consumer) = delivery.consumer else { return };
        let was_full = match self.channel_mut(session, channel) {
            Some(state) => {
                let full = state.credit.available() == 0;
                state.credit.give(delivery.count);
                full
            }
            None => false,
        };
        if let Some(slot) = self.consumers.get_mut(&consumer) {
            slot.credit.give(delivery.count);
            outcome.count_for_consumer(delivery.count, &mut slot.counts);
            self.resume(consumer);
        }
        if was_full {
            self.resume_channel(session, channel);
        }
    }

    /// Leased messages leave their queue, done with or given up for a reason; returns how many.
    pub(crate) fn drop_leased(
        &mut self,
        delivery: &Unsettled,
        given_up: Option<Reason>,
        said: &LastWords,
    ) -> u64 {
        let mut gone = std::mem::take(&mut self.gone);
        if let Some(slot) = self.queues.get_mut(&delivery.queue) {
            slot.queue.settle(delivery.first, delivery.count, &mut gone);
            if given_up.is_none() {
                let mut count = 0;
                for run in &gone {
                    count += u64::from(run.count);
                    let attempts = run.label.attempts();
                    self.tallies.lives.attempts.record(attempts.into(), run.count.into());
                    if let Some(lives) = slot.lives() {
                        lives.attempts.record(attempts.into(), run.count.into());
                    }
                }
                slot.count(delivery.queue, &mut self.tallies, self.now.ms).acknowledged += count;
                self.tallies.totals.counts.acknowledged += count;
            }
        }
        let mut count = 0;
        for run in gone.drain(..) {
            count += u64::from(run.count);
            match given_up {
                None => {
                    self.trace_end(delivery.queue, &run, Leaving::Acknowledged);
                    let (outcome, said) = (DoneOutcome::Acknowledged, Some(said));
                    let ending = Ending { outcome, dead_lettered: false, said };
                    self.note_end(delivery.queue, &run, &ending);
                    self.left(delivery.queue, &run);
                }
                Some(reason) => self.bury_for(delivery.queue, run, reason, said),
            }
        }
        self.gone = gone;
        count
    }

    /// Messages have left their queue for good.
    pub(crate) fn left(&mut self, queue: QueueId, run: &Run) {
        self.chunks.release(run);
        if run.label.durability == Durability::InMemory {
            return;
        }
        let Some(slot) = self.queues.get_mut(&queue) else { return };
        if slot.settled.is_empty() {
            self.turn.settled.push(queue);
        }
        match slot.settled.last_mut() {
            Some((first, count)) if first.plus(*count) == run.first => *count += run.count,
            _apart => slot.settled.push((run.first, run.count)),
        }
    }

    /// Leased messages return to their place, or are given up because they failed too often.
    pub(crate) fn requeue(&mut self, delivery: &Unsettled, how: Return) {
        self.requeue_for(delivery, how, &LastWords::default(), 0);
    }

    /// As [`Vhost::requeue`], with what the consumer said of it, and perhaps not at once. Only leases
    /// may come back later: they are counted by every queue.
    pub(crate) fn requeue_for(
        &mut self,
        delivery: &Unsettled,
        how: Return,
        said: &LastWords,
        delay_ms: u64,
    ) {
        let queue = delivery.queue;
        let Some(slot) = self.queues.get_mut(&queue) else { return };
        let mut returned = Returned::default();
        let span = (delivery.first, delivery.count);
        if delay_ms == 0 {
            slot.queue.release(span, how, &self.chunks, &mut returned);
        } else {
            slot.queue.set_aside(span, how, &mut returned);
        }
        let limited = slot.queue.settings().is_limited();
        let count = u64::from(delivery.count);
        slot.count(queue, &mut self.tallies, self.now.ms).requeued += count;
        self.stats.requeued += count;
        self.tallies.totals.counts.requeued += count;
        let counted: Vec<CountedSpan> = (returned.counted.iter())
            .filter(|run| run.label.durability == Durability::Journaled)
            .map(|run| (run.first, run.count, run.label.counts))
            .collect();
        if !counted.is_empty() {
            self.turn.staged.record(tag::RETURNED, |out| put_returned(out, queue, &counted));
        }
        if delay_ms > 0 {
            self.rest(queue, &returned.counted, delay_ms);
        }
        for run in returned.over {
            self.bury_for(queue, run, Reason::DeliveryLimit, said);
        }
        self.time_messages(queue);
        if limited {
            self.drop_excess(queue);
        }
        self.mark_dirty(queue);
    }

    /// Messages that rested are ready again. They were counted when they were set aside.
    pub(crate) fn come_back(&mut self, rested: &Unsettled) {
        let Some(slot) = self.queues.get_mut(&rested.queue) else { return };
        let span = (rested.first, rested.count);
        slot.queue.release(span, Return::Rested, &self.chunks, &mut Returned::default());
        let limited = slot.queue.settings().is_limited();
        self.time_messages(rested.queue);
        if limited {
            self.drop_excess(rested.queue);
        }
        self.mark_dirty(rested.queue);
    }

    /// Returns everything the channel has not settled (AMQP's `basic.recover`).
    pub(crate) fn recover(&mut self, session: SessionId, channel: ChannelId) {
        let Some(state) = self.channel_mut(session, channel) else { return };
        for delivery in std::mem::take(&mut state.unsettled).into_values() {
            self.requeue(&delivery, Return::Released);
            self.give_credit(session, channel, &delivery, Outcome::Requeued);
        }
    }
}

impl Outcome {
    /// Counts what a channel has settled.
    fn count(self, count: u64, counts: &mut MessageCounts) {
        match self {
            Outcome::Acknowledged => counts.acknowledged += count,
            Outcome::Rejected => counts.rejected += count,
            Outcome::Requeued | Outcome::Failed => counts.requeued += count,
        }
    }

    /// Counts what a consumer has settled.
    fn count_for_consumer(self, count: u32, counts: &mut ConsumerCounts) {
        let count = u64::from(count);
        match self {
            Outcome::Acknowledged => counts.acknowledged += count,
            Outcome::Rejected => counts.rejected += count,
            Outcome::Requeued | Outcome::Failed => counts.requeued += count,
        }
    }
}

/// Deliveries taken out of a channel's list.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Oldest first, each with its first tag.
    pub(crate) deliveries: Vec<(u64, Unsettled)>,
    /// How many of those meant had been taken back before.
    pub(crate) late: u64,
}

impl Channel {
    /// Takes out the deliveries meant; `Err` is the tag that is not outstanding.
    pub(crate) fn take_unsettled(&mut self, tags: Tags) -> Result<Taken, u64> {
        let late = self.take_expired(tags);
        match self.take_held(tags) {
            Ok(deliveries) => Ok(Taken { deliveries, late }),
            Err(_) if late > 0 => {
                let deliveries = match tags {
                    Tags::One(_) => Vec::new(),
                    // The last one meant is gone; those before it are meant all the same.
                    Tags::UpTo(tag) => {
                        let rest = self.unsettled.split_off(&tag);
                        std::mem::replace(&mut self.unsettled, rest).into_iter().collect()
                    }
                };
                Ok(Taken { deliveries, late })
            }
            Err(unknown) => Err(unknown),
        }
    }

    /// Forgets those of the deliveries meant that were taken back; returns how many.
    fn take_expired(&mut self, tags: Tags) -> u64 {
        if self.expired.is_empty() {
            return 0;
        }
        let (first, last) = match tags {
            Tags::One(tag) => (tag, tag),
            Tags::UpTo(0) => (0, u64::MAX),
            Tags::UpTo(tag) => (0, tag),
        };
        let mut late = 0;
        let mut kept = Vec::new();
        self.expired.retain(|at, count| {
            let end = *at + u64::from(*count);
            if *at > last || end <= first {
                return true;
            }
            for tag in *at..end {
                if (first..=last).contains(&tag) {
                    late += 1;
                } else {
                    kept.push(tag);
                }
            }
            false
        });
        self.expired.extend(kept.into_iter().map(|tag| (tag, 1)));
        late
    }

    fn take_held(&mut self, tags: Tags) -> Result<Vec<(u64, Unsettled)>, u64> {
        match tags {
            Tags::One(tag) => self.take_one(tag).map(|one| vec![(tag, one)]).ok_or(tag),
            Tags::UpTo(0) => Ok(std::mem::take(&mut self.unsettled).into_iter().collect()),
            Tags::UpTo(tag) => {
                let Some((&first, _)) = self.holding(tag) else { return Err(tag) };
                // Everything before the entry that holds the tag, and the part of it up to the tag.
                let rest = self.unsettled.split_off(&first);
                let mut taken: Vec<(u64, Unsettled)> =
                    std::mem::replace(&mut self.unsettled, rest).into_iter().collect();
                if let Some(entry) = self.unsettled.remove(&first) {
                    let (front, rest) = entry.split(offset(first, tag) + 1);
                    self.unsettled.extend(rest.map(|rest| (tag + 1, rest)));
                    taken.push((first, front));
                }
                Ok(taken)
            }
        }
    }

    fn take_one(&mut self, tag: u64) -> Option<Unsettled> {
        let (&first, _) = self.holding(tag)?;
        let entry = self.unsettled.remove(&first)?;
        let before = offset(first, tag);
        let (front, rest) = if before == 0 {
            (None, Some(entry))
        } else {
            let (front, rest) = entry.split(before);
            (Some(front), rest)
        };
        self.unsettled.extend(front.map(|front| (first, front)));
        let (one, rest) = rest?.split(1);
        self.unsettled.extend(rest.map(|rest| (tag + 1, rest)));
        Some(one)
    }

    /// The entry that holds this tag.
    fn holding(&self, tag: u64) -> Option<(&u64, &Unsettled)> {
        let found = self.unsettled.range(..=tag).next_back()?;
        (tag - found.0 < u64::from(found.1.count)).then_some(found)
    }
}

fn offset(first: u64, tag: u64) -> u32 {
    u32::try_from(tag - first).unwrap_or(u32::MAX)
}

impl Unsettled {
    /// Whether `next` is of the messages right behind these, delivered to the same consumer.
    pub(crate) fn is_followed_by(&self, next: &Unsettled) -> bool {
        next.queue == self.queue
            && next.consumer == self.consumer
            && next.since_ms == self.since_ms
            && next.first == self.first.plus(self.count)
    }

    /// The first `count` deliveries, at least one, and what is left, if anything.
    fn split(self, count: u32) -> (Unsettled, Option<Unsettled>) {
        if count >= self.count {
            return (self, None);
        }
        let rest = Unsettled { count: self.count - count, first: self.first.plus(count), ..self };
        (Unsettled { count, ..self }, Some(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::run::Sequence;

    fn check(tags: &[Tags], expected: &str) {
        let mut channel = Channel::default();
        for (tag, count, queue) in [(1, 3, 1), (4, 1, 2), (7, 5, 1)] {
            let unsettled = Unsettled {
                count,
                queue: QueueId(queue),
                first: Sequence(tag * 10),
                consumer: None,
                since_ms: 0,
            };
            channel.unsettled.insert(tag, unsettled);
        }
        let mut said = Vec::new();
        for tags in tags {
            said.push(match channel.take_unsettled(*tags) {
                Ok(taken) => {
                    let runs = taken
                        .deliveries
                        .iter()
                        .map(|(_, run)| format!("{}+{}", run.first.0, run.count));
                    runs.collect::<Vec<_>>().join(" ")
                }
                Err(tag) => format!("unknown {tag}"),
            });
        }
        let left: Vec<String> = channel
            .unsettled
            .iter()
            .map(|(tag, run)| format!("{tag}:{}+{}", run.first.0, run.count))
            .collect();
        said.push(format!("left {}", left.join(" ")));
        assert_eq!(said.join("; "), expected, "{tags:?}");
    }

    #[test]
    fn tags_name_what_is_outstanding() {
        use Tags::{One, UpTo};
        check(
            &[One(2), One(2), One(5)],
            "11+1; unknown 2; unknown 5; left 1:10+1 3:12+1 4:40+1 7:70+5",
        );
        check(&[UpTo(2)], "10+2; left 3:12+1 4:40+1 7:70+5");
        check(&[UpTo(8), UpTo(8)], "10+3 40+1 70+2; unknown 8; left 9:72+3");
        check(&[UpTo(0), UpTo(0)], "10+3 40+1 70+5; ; left ");
        check(
            &[UpTo(6), One(11), One(7), UpTo(10)],
            "unknown 6; 74+1; 70+1; 10+3 40+1 71+3; left ",
        );
    }
}
