//! Leasing: messages are handed out without a connection that would have to stay. A request that
//! finds nothing waits like a consumer that wants to be served once, and takes turns with those.

use domain::binding::QueueId;
use domain::name::Name;
use domain::refusal::{Kind, Refusal};
use domain::run::{Durability, Redelivery, Run, Sequence};
use stdx::fault::{Fault, planted};

use super::Vhost;
use super::chunks::Here;
use super::handing::Handing;
use super::leases::{Held, Turn, Waiter, WaiterId};
use super::queues::QueueSlot;
use crate::event::Event;
use crate::journaled::lease_records::{Leased, put_progress};
use crate::journaled::tag;
use crate::lease::{LeaseAnswer, LeaseRefusal, LeaseReply, LeaseRequest, LeaseToken, LeasedRun};
use crate::limits;
use crate::operation::Acknowledgement;
use crate::session_id::SessionId;

impl Vhost {
    /// Somebody wants messages: has them in this turn, if there are any.
    pub(crate) fn lease(&mut self, session: SessionId, request: &LeaseRequest) {
        if let Err(refusal) = self.stand_in_line(session, request) {
            self.answer_lease(session, request.ticket, Err(refusal));
        }
    }

    fn stand_in_line(
        &mut self,
        session: SessionId,
        request: &LeaseRequest,
    ) -> Result<(), LeaseRefusal> {
        let queue = self.leasable_queue(session, &request.queue).map_err(LeaseRefusal::Refused)?;
        if self.leases.messages() >= limits::LEASES_MAX {
            return Err(LeaseRefusal::TooManyLeases);
        }
        if self.leases.waiters() >= limits::LEASE_WAITERS_MAX {
            return Err(LeaseRefusal::TooManyWaiting);
        }
        self.use_queue(queue);
        let wait_ms = request.wait_ms.min(limits::LEASE_WAIT_MS_MAX);
        let id = self.leases.add_waiter(Waiter {
            session,
            ticket: request.ticket,
            queue,
            messages_max: request.messages_max.max(1),
            lease_ms: request.lease_ms.clamp(1, limits::LEASE_MS_MAX),
            until_ms: self.now.ms.saturating_add(wait_ms),
        });
        if let Some(state) = self.session_mut(session) {
            state.waiters.push(id);
        }
        if let Some(slot) = self.queues.get_mut(&queue) {
            let waiting = slot.waiting.get_or_insert_default();
            waiting.line.insert(id);
            if wait_ms == 0 {
                waiting.impatient.insert(id);
            }
        }
        self.mark_dirty(queue);
        self.time_leases();
        Ok(())
    }

    fn leasable_queue(&self, session: SessionId, name: &Name) -> Result<QueueId, Refusal> {
        self.permit_lease(session, name)?;
        let found = self.topology.queue(name.as_str());
        let found = found.and_then(|id| Some((id, self.queues.get(&id)?)));
        let (id, slot) = found.ok_or_else(|| Refusal::NotFound(Kind::Queue, name.clone()))?;
        slot.check_owner(session)?;
        Ok(id)
    }

    /// Whoever waits at the queue and whose turn it is; with how many messages, at most, others
    /// have something too.
    pub(crate) fn waiter_in_turn(&self, queue: QueueId) -> Option<(WaiterId, u32)> {
        let slot = self.queues.get(&queue)?;
        let waiting = slot.waiting.as_deref()?;
        let first = *waiting.line.first()?;
        let consumers = &slot.queue.consumers;
        let mut takers = waiting.line.len() as u64;
        if consumers.front().is_some() {
            if waiting.turn == Turn::Consumers {
                return None;
            }
            takers += u64::from(consumers.count());
        }
        let share = slot.queue.ready_messages().div_ceil(takers.max(1));
        Some((first, u32::try_from(share).unwrap_or(u32::MAX)))
    }

    /// A consumer had its turn, or somebody who waits had.
    pub(crate) fn pass_turn(&mut self, queue: QueueId, turn: Turn) {
        let slot = self.queues.get_mut(&queue);
        if let Some(waiting) = slot.and_then(|slot| slot.waiting.as_deref_mut()) {
            waiting.turn = turn;
        }
    }

    /// Leases up to `count` messages to whoever waits, who then waits no more; returns how many.
    pub(crate) fn serve_waiter(&mut self, queue: QueueId, id: WaiterId, count: u32) -> u32 {
        let Some(waiter) = self.leave_line(id) else { return 0 };
        let epoch = (self.entropy)();
        let until_ms = self.now.ms.saturating_add(waiter.lease_ms);
        let until_wall_ms = self.now.wall_ms.saturating_add(waiter.lease_ms);
        let wanted = count.min(waiter.messages_max);
        let mut left_bytes = limits::LEASE_BYTES_MAX;
        let (mut runs, mut leased) = (Vec::new(), 0);
        let mut answer = Vec::new();
        while leased < wanted
            && let Some((run, here)) =
                self.lease_run(queue, wanted - leased, &mut left_bytes, leased == 0)
        {
            leased += run.count;
            self.handed_out(run.place, run.count);
            answer.push(LeasedRun {
                token: LeaseToken { queue, message: run.first, epoch },
                redelivered: run.label.redelivery == Redelivery::Repeated,
                counts: run.label.counts,
                chunk: here.chunk,
                first: here.index,
                count: run.count,
                until_wall_ms,
            });
            self.after_delivery(queue, &run, Acknowledgement::Manual);
            runs.push(run);
        }
        self.stats.delivered += u64::from(leased);
        self.stats.leased += u64::from(leased);
        let lease = Held {
            count: 0,
            epoch,
            until_ms,
            length_ms: waiter.lease_ms,
            since_ms: Some(self.now.ms),
            durability: Durability::Journaled,
            holder: self.user_of(waiter.session),
            progress: None,
        };
        self.book(queue, &runs, &lease);
        if runs.iter().any(|run| run.label.durability == Durability::Journaled) {
            // Neither the messages nor the lease may be news to a broker that starts again.
            self.gate_lease(waiter.session);
        }
        self.answer_lease(waiter.session, waiter.ticket, Ok(LeaseReply::Leased(answer)));
        leased
    }

    /// Leases messages that lie side by side and can be read at once.
    fn lease_run(
        &mut self,
        queue: QueueId,
        count: u32,
        left_bytes: &mut usize,
        at_least_one: bool,
    ) -> Option<(Run, Here)> {
        let count = count.min(self.readable(queue)?);
        let slot = self.queues.get_mut(&queue)?;
        let front = slot.queue.front()?;
        let here = self.chunks.find(front.place)?;
        let mut fit = count.min(front.count);
        while fit > 0 && here.chunk.span_bytes(here.index, fit) > *left_bytes {
            fit /= 2;
        }
        if fit == 0 && !at_least_one {
            return None;
        }
        let run = slot.queue.lease(fit.max(1), &self.chunks)?;
        let acknowledgement = Acknowledgement::Manual;
        let handing = Handing { redelivery: run.label.redelivery, acknowledgement };
        handing.count(run.count, slot.count(queue, &mut self.tallies, self.now.ms));
        handing.count(run.count, &mut self.tallies.totals.counts);
        slot.count_wait(&run, &mut self.tallies, self.now.ms);
        slot.delivered = slot.delivered.max(run.end());
        *left_bytes = left_bytes.saturating_sub(here.chunk.span_bytes(here.index, run.count));
        Some((run, here))
    }

    /// What the session is told of leases waits for the journal.
    pub(crate) fn gate_lease(&mut self, session: SessionId) {
        if !planted(Fault::LeaseToldBeforeSync) {
            self.gate(session);
        }
    }

    /// Messages are nobody's until a delay is over. What was told of them before is good for nothing
    /// any more.
    pub(crate) fn rest(&mut self, queue: QueueId, runs: &[Run], delay_ms: u64) {
        let delay_ms = delay_ms.min(limits::RETURN_DELAY_MS_MAX);
        let resting = Held {
            count: 0,
            epoch: (self.entropy)(),
            until_ms: self.now.ms.saturating_add(delay_ms),
            length_ms: delay_ms,
            since_ms: None,
            durability: Durability::Journaled,
            holder: Name::default(),
            progress: None,
        };
        self.book(queue, runs, &resting);
    }

    /// Keeps a lease of messages, in memory and, as far as they are, in the journal.
    fn book(&mut self, queue: QueueId, runs: &[Run], lease: &Held) {
        let mut spans: Vec<(Sequence, u32)> = Vec::new();
        for run in runs {
            let durability = run.label.durability;
            self.leases.hold(
                queue,
                run.first,
                Held { count: run.count, durability, ..lease.clone() },
            );
            if durability == Durability::Journaled {
                spans.push((run.first, run.count));
            }
        }
        self.journal_lease(queue, lease, spans);
        self.time_leases();
    }

    /// Journals that messages are leased.
    pub(crate) fn journal_lease(
        &mut self,
        queue: QueueId,
        lease: &Held,
        spans: Vec<(Sequence, u32)>,
    ) {
        if spans.is_empty() {
            return;
        }
        let leased = self.leased_record(queue, lease, spans);
        self.turn.staged.record(tag::LEASED, |out| leased.put(out));
    }

    /// Journals how far the holder of a lease is, if it said.
    pub(crate) fn journal_progress(&mut self, queue: QueueId, first: Sequence, held: &Held) {
        if let Some(text) = &held.progress {
            let count = held.count;
            self.turn.staged.record(tag::PROGRESS, |out| {
                put_progress(out, queue, (first, count), text);
            });
        }
    }

    fn leased_record(&self, queue: QueueId, lease: &Held, spans: Vec<(Sequence, u32)>) -> Leased {
        let left_ms = lease.until_ms.saturating_sub(self.now.ms);
        Leased {
            queue,
            epoch: lease.epoch,
            until_wall_ms: self.now.wall_ms.saturating_add(left_ms),
            length_ms: lease.length_ms,
            holder: lease.holder.clone(),
            spans,
        }
    }

    /// Says of a checkpoint's queues again what is leased of them.
    pub(crate) fn write_leases(&mut self) {
        if planted(Fault::CheckpointWithoutLeases) {
            return;
        }
        let mut records: Vec<(Held, Leased)> = Vec::new();
        let mut progress = Vec::new();
        for (queue, first, held) in self.leases.held() {
            if held.durability == Durability::InMemory {
                continue;
            }
            progress.extend(held.progress.is_some().then(|| (queue, first, held.clone())));
            match records.last_mut() {
                Some((last, record)) if record.queue == queue && last.is_alike(held) => {
                    record.spans.push((first, held.count));
                }
                _another => {
                    let record = self.leased_record(queue, held, vec![(first, held.count)]);
                    records.push((held.clone(), record));
                }
            }
        }
        for (_, record) in records {
            self.turn.staged.record(tag::LEASED, |out| record.put(out));
        }
        for (queue, first, held) in progress {
            self.journal_progress(queue, first, &held);
        }
    }

    pub(crate) fn answer_lease(
        &mut self,
        session: SessionId,
        ticket: u64,
        outcome: Result<LeaseReply, LeaseRefusal>,
    ) {
        self.tell(session, Event::LeaseAnswer(Box::new(LeaseAnswer { ticket, outcome })));
    }

    fn user_of(&self, session: SessionId) -> Name {
        let state = self.sessions.get(session.index());
        state.map(|state| state.access.user.clone()).unwrap_or_default()
    }

    /// Somebody waits no longer, wherever it stood.
    pub(crate) fn leave_line(&mut self, id: WaiterId) -> Option<Waiter> {
        let waiter = self.leases.remove_waiter(id)?;
        if let Some(slot) = self.queues.get_mut(&waiter.queue)
            && let Some(waiting) = slot.waiting.as_deref_mut()
        {
            waiting.line.remove(&id);
            waiting.impatient.remove(&id);
            if waiting.line.is_empty() {
                slot.waiting = None;
            }
        }
        if let Some(state) = self.session_mut(waiter.session) {
            state.waiters.retain(|known| *known != id);
        }
        Some(waiter)
    }

    /// Whoever has waited for long enough learns that there is nothing, unless there is something
    /// that is still being read.
    pub(crate) fn answer_impatient(&mut self, queue: QueueId) {
        let Some(slot) = self.queues.get(&queue) else { return };
        let Some(waiting) = slot.waiting.as_deref() else { return };
        if waiting.impatient.is_empty() || slot.queue.ready_messages() > 0 {
            return;
        }
        let impatient: Vec<WaiterId> = waiting.impatient.iter().copied().collect();
        self.send_away(&impatient, &Ok(LeaseReply::Leased(Vec::new())));
    }

    /// These wait no longer, and are told why.
    pub(crate) fn send_away(
        &mut self,
        waiters: &[WaiterId],
        outcome: &Result<LeaseReply, LeaseRefusal>,
    ) {
        for id in waiters {
            if let Some(waiter) = self.leave_line(*id) {
                self.answer_lease(waiter.session, waiter.ticket, outcome.clone());
            }
        }
    }

    /// The queue is gone: whoever waits at it learns that.
    pub(crate) fn forget_leases(&mut self, queue: QueueId, slot: &mut QueueSlot) {
        self.leases.forget(queue);
        let Some(waiting) = slot.waiting.take() else { return };
        let waiting: Vec<WaiterId> = waiting.line.into_iter().collect();
        let gone = Refusal::NotFound(Kind::Queue, slot.name.clone());
        self.send_away(&waiting, &Err(LeaseRefusal::Refused(gone)));
    }
}
