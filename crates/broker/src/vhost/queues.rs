//! A queue in its virtual host: the rules' queue, and what the owner keeps beside it.

use std::sync::Arc;

use domain::binding::QueueId;
use domain::credit::Credit;
use domain::name::Name;
use domain::queue::settings::{QueueSettings, QueueType};
use domain::queue::{Queue, QueueDeclaration};
use domain::run::{Durability, Redelivery, Run, Sequence};
use domain::table::Table;

use super::leases::Waiting;
use super::tallies::{QueueTally, Tallies};
use crate::chunk::Persistence;
use crate::journaled::message_records::Span;
use crate::operation::{Acknowledgement, ChannelId, Sharing};
use crate::session_id::SessionId;
use crate::views::channel::ConsumerCounts;
use crate::views::counts::MessageCounts;
use crate::views::lives::MessageLives;

/// A queue and its bookkeeping.
#[derive(Debug)]
pub(crate) struct QueueSlot {
    pub(crate) name: Name,
    /// Shared with whoever looks at it.
    pub(crate) declaration: Arc<QueueDeclaration>,
    /// The session it belongs to, if it is exclusive.
    pub(crate) owner: Option<SessionId>,
    pub(crate) queue: Queue,
    /// Everything before it may have been delivered, says the journal.
    pub(crate) watermark: Sequence,
    /// Everything before it may have been delivered, in truth.
    pub(crate) delivered: Sequence,
    /// It may be able to deliver, and stands in the turn's list.
    pub(crate) dirty: bool,
    /// A message without an expiration of its own just comes in and waits its turn.
    pub(crate) plain: bool,
    /// How many messages it had when its growth was last told, if it was.
    pub(crate) growth_told: u64,
    /// Journaled messages that left it in this turn.
    pub(crate) settled: Vec<Span>,
    /// When its messages' timer goes off, in milliseconds; never later than the next of them is
    /// due.
    pub(crate) timer_ms: Option<u64>,
    /// When it was last used, in milliseconds, if it expires unused.
    pub(crate) used_ms: u64,
    /// Whether a timer looks after that. None does while it has consumers.
    pub(crate) timed: bool,
    /// What happened to its messages, if anything did.
    pub(crate) tally: Option<Box<QueueTally>>,
    /// Who waits for messages to lease.
    pub(crate) waiting: Option<Box<Waiting>>,
}

impl QueueSlot {
    pub(crate) fn new(
        name: Name,
        declaration: QueueDeclaration,
        owner: Option<SessionId>,
    ) -> QueueSlot {
        let queue = Queue::new(QueueSettings::of(&declaration.arguments));
        QueueSlot {
            name,
            declaration: Arc::new(declaration),
            owner,
            plain: queue.settings().is_plain(),
            queue,
            watermark: Sequence(0),
            delivered: Sequence(0),
            dirty: false,
            growth_told: 0,
            settled: Vec::new(),
            timer_ms: None,
            used_ms: 0,
            timed: false,
            tally: None,
            waiting: None,
        }
    }

    /// Whether the queue itself survives a restart.
    pub(crate) fn is_journaled(&self) -> bool {
        self.declaration.durable && !self.declaration.exclusive
    }

    /// Where something that happens to the queue's messages is counted.
    pub(crate) fn count(
        &mut self,
        queue: QueueId,
        tallies: &mut Tallies,
        now_ms: u64,
    ) -> &mut MessageCounts {
        let it = self.tally.get_or_insert_with(|| {
            let (ready, oldest) = (self.queue.ready_messages(), self.queue.oldest());
            Box::new(QueueTally::of(ready, oldest, tallies))
        });
        it.touched_ms = now_ms;
        if !std::mem::replace(&mut it.tally.listed, true) {
            tallies.list_queue(queue);
        }
        &mut it.tally.counts
    }

    /// Messages are about to come into the queue.
    pub(crate) fn count_arrival(
        &mut self,
        queue: QueueId,
        count: u32,
        tallies: &mut Tallies,
        now_ms: u64,
    ) {
        let next = self.queue.next_sequence();
        self.count(queue, tallies, now_ms).published += u64::from(count);
        if let Some(it) = &mut self.tally
            && it.timeline.wants_mark(now_ms)
        {
            it.timeline.mark(next, now_ms, self.queue.oldest().unwrap_or(next));
        }
    }

    /// How long the next message to go has waited, in milliseconds.
    pub(crate) fn oldest_ms(&self, started_ms: u64, now_ms: u64) -> Option<u64> {
        let front = self.queue.front()?.first;
        Some(self.waited_ms(front, started_ms, now_ms))
    }

    /// Messages go out; how long they have waited is counted if it is the first time.
    pub(crate) fn count_wait(&mut self, run: &Run, tallies: &mut Tallies, now_ms: u64) {
        if run.label.redelivery == Redelivery::First {
            let waited_us = self.waited_ms(run.first, tallies.started_ms, now_ms) * 1_000;
            tallies.lives.queued.record(waited_us, run.count.into());
            if let Some(lives) = self.lives() {
                lives.queued.record(waited_us, run.count.into());
            }
        }
    }

    /// How long its messages take, if that is known of this queue.
    pub(crate) fn lives(&mut self) -> Option<&mut MessageLives> {
        self.tally.as_mut()?.lives.as_deref_mut()
    }

    /// How long a message of the queue has been there, in milliseconds.
    fn waited_ms(&self, message: Sequence, started_ms: u64, now_ms: u64) -> u64 {
        let came_ms = self.tally.as_ref().and_then(|it| it.timeline.came_ms(message));
        now_ms.saturating_sub(came_ms.unwrap_or(started_ms))
    }

    /// What a message in this queue may count on.
    pub(crate) fn durability(&self, persistence: Persistence) -> Durability {
        // A quorum queue keeps whatever it takes, as in RabbitMQ.
        let keeps = persistence == Persistence::Persistent
            || (!self.plain && self.queue.settings().queue_type == QueueType::Quorum);
        if keeps && self.is_journaled() { Durability::Journaled } else { Durability::InMemory }
    }
}

/// A consumer of a queue.
#[derive(Debug)]
pub(crate) struct ConsumerSlot {
    pub(crate) session: SessionId,
    pub(crate) channel: ChannelId,
    pub(crate) tag: Name,
    pub(crate) queue: QueueId,
    pub(crate) acknowledgement: Acknowledgement,
    pub(crate) sharing: Sharing,
    /// As they came; shared with whoever looks at it.
    pub(crate) arguments: Arc<Table>,
    pub(crate) credit: Credit,
    /// How long a delivery of its may be unsettled, in milliseconds.
    pub(crate) timeout_ms: Option<u64>,
    /// Whether a timer looks after that.
    pub(crate) timed: bool,
    /// What became of what it was handed.
    pub(crate) counts: ConsumerCounts,
}
