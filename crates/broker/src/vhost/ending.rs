//! Messages end: queues that tell of done messages note what became of each, in the commit in which it
//! leaves, so that nobody is told of an end that a restart takes back, and no end is forgotten that was
//! told.

use std::sync::Arc;

use domain::binding::QueueId;
use domain::name::Name;
use domain::refusal::{Kind, Refusal};
use domain::run::{Run, Sequence};
use stdx::fault::{Fault, planted};

use super::Vhost;
use super::queues::QueueSlot;
use super::timers::Timer;
use super::turn::Dead;
use crate::done::{
    DoneAnswer, DoneMessage, DoneOutcome, DoneReply, DoneRequest, DoneWish, LastWords,
};
use crate::event::Event;
use crate::journaled::done_records::{put_done, put_forgotten};
use crate::journaled::tag;
use crate::limits;
use crate::message_id::MessageId;
use crate::session_id::SessionId;

/// What stands for the place of a message that its queue refused: it has none.
pub(crate) const NEVER_ENQUEUED: Sequence = Sequence(u64::MAX - 1);

/// How messages leave their queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending<'e> {
    pub(crate) outcome: DoneOutcome,
    pub(crate) dead_lettered: bool,
    pub(crate) said: Option<&'e LastWords>,
}

impl Ending<'_> {
    /// Nobody said anything, and they go nowhere.
    pub(crate) fn plain(outcome: DoneOutcome) -> Ending<'static> {
        Ending { outcome, dead_lettered: false, said: None }
    }
}

impl Vhost {
    /// Messages are about to leave their queue for good.
    #[inline]
    pub(crate) fn note_end(&mut self, queue: QueueId, run: &Run, ending: &Ending<'_>) {
        if !self.done.is_unused() {
            self.note_done(queue, run, ending);
        }
    }

    fn note_done(&mut self, queue: QueueId, run: &Run, ending: &Ending<'_>) {
        let Some(limits) = self.done.limits(queue) else { return };
        if run.first == NEVER_ENQUEUED {
            return;
        }
        // Those before would have to make room at once.
        let most = u32::try_from(limits.messages_max).unwrap_or(u32::MAX);
        let skipped = run.count.saturating_sub(most);
        let attempts = run.label.attempts() - u32::from(!ending.outcome.ends_delivery());
        let until_ms = self.now.ms.saturating_add(limits.ttl_ms);
        for offset in skipped..run.count {
            let sequence = run.first.plus(offset);
            let message = DoneMessage {
                id: MessageId { queue, message: sequence },
                outcome: ending.outcome,
                dead_lettered: ending.dead_lettered,
                attempts,
                published_wall_ms: self.published_wall_ms(queue, sequence),
                done_wall_ms: self.now.wall_ms,
                said: ending.said.cloned().unwrap_or_default(),
            };
            self.done.add(message, run.label.durability, until_ms);
        }
        self.time_done(queue);
    }

    /// When a message was published, as far as that is known.
    fn published_wall_ms(&self, queue: QueueId, message: Sequence) -> Option<u64> {
        let tally = self.queues.get(&queue)?.tally.as_deref()?;
        // What was there at the start is marked with that.
        let came_ms = tally.timeline.came_ms(message).filter(|ms| *ms > self.tallies.started_ms)?;
        Some(self.now.wall_ms.saturating_sub(self.now.ms.saturating_sub(came_ms)))
    }

    /// Sees to it that somebody looks when a queue's first done message is to be forgotten.
    pub(crate) fn time_done(&mut self, queue: QueueId) {
        if let Some(until_ms) = self.done.time(queue) {
            self.timers.set(until_ms, Timer::Done(queue));
        }
    }

    /// Those that a queue has told of for long enough are forgotten, as many as one turn may.
    pub(crate) fn expire_done(&mut self, queue: QueueId) {
        let goes_on = self.done.expire(queue, self.now.ms, limits::TURN_MESSAGES_MAX);
        if goes_on {
            self.timers.set(self.now.ms, Timer::Done(queue));
        } else {
            self.time_done(queue);
        }
    }

    /// Puts what became of messages into the turn's commit.
    pub(crate) fn write_done(&mut self) {
        for (queue, messages) in self.done.take_fresh() {
            let messages: Vec<&DoneMessage> = messages.iter().map(AsRef::as_ref).collect();
            self.put_done_records(queue, &messages);
        }
    }

    /// Says of a checkpoint's queues again what they tell of.
    pub(crate) fn write_done_again(&mut self) {
        if planted(Fault::CheckpointWithoutDone) {
            return;
        }
        for queue in self.done.queues() {
            let messages: Vec<Arc<DoneMessage>> = self.done.lasting(queue).cloned().collect();
            let messages: Vec<&DoneMessage> = messages.iter().map(AsRef::as_ref).collect();
            self.put_done_records(queue, &messages);
        }
    }

    /// Writes records of a moderate length each.
    fn put_done_records(&mut self, queue: QueueId, messages: &[&DoneMessage]) {
        let mut left = messages;
        while !left.is_empty() {
            let mut bytes = 0;
            let fit = left.iter().take_while(|message| {
                let before = bytes;
                bytes += message.cost_bytes();
                before < limits::DONE_RECORD_BYTES
            });
            let (record, rest) = left.split_at(fit.count());
            self.turn.staged.record(tag::DONE, |out| put_done(out, queue, record.iter().copied()));
            left = rest;
        }
    }

    /// Somebody asks what became of messages; the answer waits until it is on disk.
    pub(crate) fn answer_done(&mut self, session: SessionId, request: DoneRequest) {
        let DoneRequest { ticket, wish } = request;
        let outcome = match wish {
            DoneWish::One(id) => self.tell_of_one(session, id),
            DoneWish::Page { queue, behind, direction, messages_max } => {
                self.telling_queue(session, &queue).map(|queue| {
                    if behind.is_some_and(|behind| behind.queue != queue) {
                        return DoneReply::OtherQueue;
                    }
                    let behind = behind.map(|behind| behind.message);
                    let mut all = self.done.behind(queue, behind, direction, self.now);
                    let (mut messages, mut bytes) = (Vec::new(), 0);
                    while messages.len() < messages_max && bytes < limits::DONE_PAGE_BYTES {
                        let Some(next) = all.next() else { break };
                        bytes += next.message.cost_bytes();
                        messages.push(next);
                    }
                    let goes_on = all.next().is_some();
                    DoneReply::Page { messages, goes_on }
                })
            }
            DoneWish::Forget(queue) => self.forget_done(session, &queue),
        };
        if self.done.staged || self.done.position > self.journal.durable() {
            self.gate(session);
        }
        self.tell(session, Event::DoneAnswer(Box::new(DoneAnswer { ticket, outcome })));
    }

    fn tell_of_one(&self, session: SessionId, id: MessageId) -> Result<DoneReply, Refusal> {
        let Some(name) = self.queue_name(id.queue) else { return Ok(DoneReply::One(None)) };
        self.permit_lease(session, name)?;
        let is_meant = |dead: &Dead| {
            dead.queue == id.queue && (dead.run.first..dead.run.end()).contains(&id.message)
        };
        if self.turn.dead.iter().any(is_meant) {
            return Ok(DoneReply::OnItsWay);
        }
        let found = self.done.find(id.queue, id.message, self.now);
        Ok(DoneReply::One(found.map(|message| (name.clone(), message))))
    }

    /// A queue that the session may read from.
    fn telling_queue(&self, session: SessionId, name: &Name) -> Result<QueueId, Refusal> {
        self.permit_lease(session, name)?;
        let found = self.topology.queue(name.as_str());
        found.ok_or_else(|| Refusal::NotFound(Kind::Queue, name.clone()))
    }

    fn forget_done(&mut self, session: SessionId, name: &Name) -> Result<DoneReply, Refusal> {
        self.permit_removal(session, name)?;
        let queue = self.telling_queue(session, name)?;
        let forgotten = self.done.clear(queue);
        let is_journaled = self.queues.get(&queue).is_some_and(QueueSlot::is_journaled);
        if forgotten > 0 && is_journaled {
            self.turn.staged.record(tag::DONE_FORGOTTEN, |out| put_forgotten(out, queue));
            self.done.staged = true;
        }
        Ok(DoneReply::Forgotten(forgotten))
    }
}
