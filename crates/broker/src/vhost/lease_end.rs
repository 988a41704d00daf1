//! The end of a lease without a connection: its holder settles it, or its time is over.

use std::sync::Arc;

use domain::binding::QueueId;
use domain::dead_letter::Reason;
use domain::queue::Return;
use domain::refusal::Refusal;
use domain::run::{Durability, Sequence};
use hashbrown::HashSet;

use super::Vhost;
use super::queues::QueueSlot;
use super::sessions::Unsettled;
use super::timers::Timer;
use crate::done::LastWords;
use crate::journaled::lease_records::put_ended;
use crate::journaled::tag;
use crate::lease::{
    LeaseEnd, LeaseError, LeaseRefusal, LeaseReply, LeaseSettlement, LeaseSettlements, LeaseStatus,
    LeaseToken,
};
use crate::limits;
use crate::session_id::SessionId;

/// Neighbouring messages of one lease that end alike.
struct Group<'e> {
    first: LeaseToken,
    count: u32,
    end: &'e LeaseEnd,
}

impl<'e> Group<'e> {
    fn continues_with(&self, item: &LeaseSettlement) -> bool {
        let LeaseToken { queue, message, epoch } = self.first;
        *self.end == item.end
            && item.token == LeaseToken { queue, message: message.plus(self.count), epoch }
    }

    fn of(item: &'e LeaseSettlement) -> Group<'e> {
        Group { first: item.token, count: 1, end: &item.end }
    }
}

impl Vhost {
    /// Leases end, or go on for longer. All or, if one may not be asked, none; the answer leaves when
    /// the journal has it.
    pub(crate) fn settle_leases(&mut self, session: SessionId, settlements: &LeaseSettlements) {
        let LeaseSettlements { ticket, items } = settlements;
        if let Err(refusal) = self.permit_settlements(session, items) {
            self.answer_lease(session, *ticket, Err(LeaseRefusal::Refused(refusal)));
            return;
        }
        let mut statuses = Vec::with_capacity(items.len());
        let mut group: Option<Group<'_>> = None;
        for item in items {
            match &mut group {
                Some(group)
                    if group.continues_with(item)
                        && self.leases.is_valid(item.token, self.now.ms) =>
                {
                    group.count += 1;
                }
                _another => {
                    // First, so that what is named twice ends once.
                    if let Some(group) = group.take() {
                        self.end_group(&group);
                    }
                    if self.leases.is_valid(item.token, self.now.ms) {
                        group = Some(Group::of(item));
                    } else {
                        statuses.push(self.why_not(item.token));
                        continue;
                    }
                }
            }
            statuses.push(self.done(item));
        }
        if let Some(group) = group {
            self.end_group(&group);
        }
        // That a lease is lost may itself be news that the journal has not got yet.
        self.gate_lease(session);
        self.answer_lease(session, *ticket, Ok(LeaseReply::Settled(statuses)));
    }

    fn permit_settlements(
        &self,
        session: SessionId,
        items: &[LeaseSettlement],
    ) -> Result<(), Refusal> {
        let mut seen: HashSet<QueueId, foldhash::fast::FixedState> = HashSet::default();
        for item in items {
            if seen.insert(item.token.queue)
                && let Some(name) = self.queue_name(item.token.queue)
            {
                self.permit_lease(session, name)?;
            }
        }
        Ok(())
    }

    fn done(&self, item: &LeaseSettlement) -> LeaseStatus {
        let until_wall_ms = match &item.end {
            LeaseEnd::Extended { lease_ms, .. } => {
                let lease_ms = (*lease_ms).clamp(1, limits::LEASE_MS_MAX);
                Some(self.now.wall_ms.saturating_add(lease_ms))
            }
            LeaseEnd::Acknowledged { .. }
            | LeaseEnd::Failed { .. }
            | LeaseEnd::Rejected(_)
            | LeaseEnd::Released { .. } => None,
        };
        let is_told = self.done.limits(item.token.queue).is_some();
        LeaseStatus::Done { until_wall_ms, is_told }
    }

    fn why_not(&mut self, token: LeaseToken) -> LeaseStatus {
        self.stats.leases_lost += 1;
        let slot = self.queues.get(&token.queue);
        if slot.is_some_and(|slot| slot.queue.has(token.message)) {
            LeaseStatus::Lost
        } else {
            LeaseStatus::Gone
        }
    }

    fn end_group(&mut self, group: &Group<'_>) {
        let LeaseToken { queue, message, .. } = group.first;
        match group.end {
            LeaseEnd::Extended { lease_ms, progress } => {
                self.extend(queue, (message, group.count), *lease_ms, progress.as_deref());
            }
            LeaseEnd::Acknowledged { result } => {
                for (ended, progress) in self.take_lease(queue, message, group.count) {
                    let result = result.clone();
                    let said = LastWords { progress, result, error: None };
                    self.stats.acknowledged += self.drop_leased(&ended, None, &said);
                }
            }
            LeaseEnd::Rejected(error) => {
                self.count_errors(queue, error.as_ref(), group.count);
                // The message may stay until it is read from the disk and dead-lettered.
                self.journal_end(queue, message, group.count);
                for (ended, progress) in self.take_lease(queue, message, group.count) {
                    let said = LastWords { progress, result: None, error: error.clone() };
                    self.drop_leased(&ended, Some(Reason::Rejected), &said);
                }
            }
            LeaseEnd::Failed { error, delay_ms } => {
                self.count_errors(queue, error.as_ref(), group.count);
                self.stats.leases_failed += u64::from(group.count);
                for (ended, progress) in self.take_lease(queue, message, group.count) {
                    let said = LastWords { progress, result: None, error: error.clone() };
                    self.return_failed(&ended, &said, *delay_ms);
                }
            }
            LeaseEnd::Released { delay_ms } => {
                for (ended, _) in self.take_lease(queue, message, group.count) {
                    let nothing = LastWords::default();
                    self.requeue_for(&ended, Return::LeaseReleased, &nothing, *delay_ms);
                }
            }
        }
    }

    /// The lease is over; how long it took is counted. Returns what was held, and how far its holder
    /// was.
    fn take_lease(
        &mut self,
        queue: QueueId,
        first: Sequence,
        count: u32,
    ) -> Vec<(Unsettled, Option<Arc<str>>)> {
        let taken = self.leases.take(queue, first, count);
        let ended = taken.into_iter().map(|(first, held)| {
            self.count_handling(queue, held.since_ms, held.count);
            (Unsettled::of_lease(queue, first, held.count), held.progress)
        });
        ended.collect()
    }

    /// Holders say what went wrong.
    fn count_errors(&mut self, queue: QueueId, error: Option<&Arc<LeaseError>>, count: u32) {
        let Some(slot) = self.queues.get_mut(&queue) else { return };
        // Whatever happens to a queue's messages makes it count.
        slot.count(queue, &mut self.tallies, self.now.ms);
        if let Some(tally) = &mut slot.tally {
            tally.count_errors(error.map_or("", |error| &error.kind), count);
        }
    }

    fn return_failed(&mut self, ended: &Unsettled, said: &LastWords, delay_ms: u64) {
        // As with what is rejected: it may be over its limit.
        self.journal_end(ended.queue, ended.first, ended.count);
        self.requeue_for(ended, Return::LeaseFailed, said, delay_ms);
    }

    fn journal_end(&mut self, queue: QueueId, first: Sequence, count: u32) {
        if self.queues.get(&queue).is_some_and(QueueSlot::is_journaled) {
            self.turn.staged.record(tag::LEASE_ENDED, |out| {
                put_ended(out, queue, &[(first, count)]);
            });
        }
    }

    fn extend(
        &mut self,
        queue: QueueId,
        (first, count): (Sequence, u32),
        lease_ms: u64,
        progress: Option<&str>,
    ) {
        let lease_ms = lease_ms.clamp(1, limits::LEASE_MS_MAX);
        let until_ms = self.now.ms.saturating_add(lease_ms);
        let kept = progress.filter(|text| text.len() <= limits::PROGRESS_BYTES_MAX);
        for (first, mut held) in self.leases.take(queue, first, count) {
            (held.until_ms, held.length_ms) = (until_ms, lease_ms);
            if let Some(progress) = kept {
                held.progress = Some(progress.into());
            }
            if held.durability == Durability::Journaled {
                self.journal_lease(queue, &held, vec![(first, held.count)]);
                self.journal_progress(queue, first, &held);
            }
            self.leases.hold(queue, first, held);
        }
        self.time_leases();
    }

    /// Sees to it that somebody looks when the next lease ends, or the next wait.
    pub(crate) fn time_leases(&mut self) {
        let Some(next_ms) = self.leases.next_ms() else { return };
        if self.leases.timer_ms.is_none_or(|set_ms| next_ms < set_ms) {
            self.leases.timer_ms = Some(next_ms);
            self.timers.set(next_ms, Timer::Leases);
        }
    }

    /// Leases whose time is over end as if their holder had failed, what rested comes back, and whoever
    /// has waited for long enough is answered; as many as one turn may.
    pub(crate) fn look_after_leases(&mut self) {
        self.leases.timer_ms = None;
        for _ in 0..limits::TURN_LEASES_MAX {
            let Some((queue, first, held)) = self.leases.take_due(self.now.ms) else { break };
            let ended = Unsettled::of_lease(queue, first, held.count);
            if held.is_resting() {
                // However the clock on the wall is set: they do not rest again after a restart.
                self.journal_end(queue, first, held.count);
                self.come_back(&ended);
                continue;
            }
            self.stats.leases_expired += u64::from(held.count);
            self.count_handling(queue, held.since_ms, held.count);
            let said = LastWords { progress: held.progress, ..LastWords::default() };
            self.return_failed(&ended, &said, 0);
        }
        while let Some((waiter, queue)) = self.leases.take_impatient(self.now.ms) {
            let slot = self.queues.get_mut(&queue);
            if let Some(waiting) = slot.and_then(|slot| slot.waiting.as_deref_mut()) {
                waiting.impatient.insert(waiter);
            }
            self.mark_dirty(queue);
        }
        self.time_leases();
    }
}

impl Unsettled {
    /// Messages whose lease has ended, for what all deliveries have in common.
    fn of_lease(queue: QueueId, first: Sequence, count: u32) -> Unsettled {
        Unsettled { count, queue, first, consumer: None, since_ms: 0 }
    }
}
