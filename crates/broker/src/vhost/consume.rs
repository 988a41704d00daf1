//! Consumers: starting, stopping, and taking a single message.

use std::sync::Arc;

use domain::binding::QueueId;
use domain::credit::Credit;
use domain::name::Name;
use domain::queue::consumers::ConsumerId;
use domain::queue::settings::{ConsumerTimeout, QueueType, SingleActiveConsumer};
use domain::refusal::{ArgumentProblem, Kind, Refusal};

use super::chunks::Here;
use super::deliver::SINCE_STEP_MS;
use super::handing::Handing;
use super::queues::ConsumerSlot;
use super::sessions::Unsettled;
use super::{Vhost, tags};
use crate::event::{Event, Reply};
use crate::operation::{Acknowledgement, ChannelId, Consume, Sharing};
use crate::session_id::SessionId;
use crate::views::channel::ConsumerCounts;

impl Vhost {
    pub(crate) fn consume(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        consume: Consume,
    ) -> Result<Reply, Refusal> {
        let (queue, name) = self.usable_queue(session, channel, &consume.queue)?;
        let priority = integer_argument(&name, &consume, PRIORITY)?.unwrap_or(0);
        let timeout = integer_argument(&name, &consume, TIMEOUT)?;
        let Some(slot) = self.queues.get(&queue) else { return Err(not_found(&name)) };
        let settings = slot.queue.settings();
        let quorum = settings.queue_type == QueueType::Quorum;
        if quorum && self.channel(session, channel).is_some_and(|it| it.credit.is_limited()) {
            return Err(Refusal::NoGlobalPrefetch(name));
        }
        let alone = slot.queue.consumers.count() == 0
            && settings.single_active_consumer == SingleActiveConsumer::No;
        if slot.queue.consumers.has_exclusive() || (consume.sharing == Sharing::Exclusive && !alone)
        {
            return Err(Refusal::ExclusiveUse(name));
        }
        // The consumer's own word first, then the queue's, then the broker's; 0 is no timeout.
        let timeout_ms = match (timeout.map(u64::try_from), settings.consumer_timeout) {
            (Some(ms), _) => ms.ok().filter(|ms| *ms > 0),
            (None, ConsumerTimeout::Ms(ms)) => Some(ms),
            (None, ConsumerTimeout::Default) => self.consumer_timeout_ms,
            (None, ConsumerTimeout::Never) => None,
        };
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
        let consumer = ConsumerSlot {
            session,
            channel,
            tag: tag.clone(),
            queue,
            acknowledgement,
            sharing: consume.sharing,
            arguments: Arc::new(consume.arguments),
            credit,
            timeout_ms,
            timed: false,
            counts: ConsumerCounts::default(),
        };
        self.consumers.insert(id, consumer);
        if let Some(slot) = self.queues.get_mut(&queue) {
            let priority = clamped(priority);
            match consume.sharing {
                Sharing::Shared => slot.queue.consumers.add(id, priority),
                Sharing::Exclusive => slot.queue.consumers.add_exclusive(id, priority),
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
        if self.cancel_replies(session, channel, &consumer_tag) {
            return Reply::Cancelled { consumer_tag };
        }
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
        self.use_queue(slot.queue);
        self.time_queue(slot.queue);
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
        self.use_queue(id);
        self.deliver(id);
        while self.may_be_due(id) {
            self.expire_messages(id);
        }
        let Some(slot) = self.queues.get_mut(&id) else { return Ok(()) };
        let taken = match acknowledgement {
            Acknowledgement::Manual => slot.queue.lease(1, &self.chunks),
            Acknowledgement::Automatic => slot.queue.take(1, &self.chunks),
        };
        let Some(run) = taken else {
            slot.count(id, &mut self.tallies, self.now.ms).got_nothing += 1;
            self.tallies.totals.counts.got_nothing += 1;
            if let Some(counts) = self.count_in_channel(session, channel) {
                counts.got_nothing += 1;
            }
            self.tell(session, Event::GotNothing { channel });
            return Ok(());
        };
        let handing = Handing { redelivery: run.label.redelivery, acknowledgement };
        handing.count_got(slot.count(id, &mut self.tallies, self.now.ms));
        handing.count_got(&mut self.tallies.totals.counts);
        slot.count_wait(&run, &mut self.tallies, self.now.ms);
        slot.delivered = slot.delivered.max(run.end());
        let counts = run.label.counts.if_any();
        let remaining = slot.queue.ready_messages();
        let Some(Here { chunk, index, .. }) = self.chunks.find(run.place) else { return Ok(()) };
        self.handed_out(run.place, 1);
        let since_ms = self.now.ms / SINCE_STEP_MS * SINCE_STEP_MS;
        let unsettled =
            Unsettled { count: 1, queue: id, first: run.first, consumer: None, since_ms };
        let Some(tag) = self.number(session, channel, handing, unsettled) else {
            return Ok(());
        };
        self.stats.delivered += 1;
        let redelivered = handing.is_repeated();
        let got = Event::Got { channel, tag, redelivered, counts, remaining, chunk, index };
        self.tell(session, got);
        self.after_delivery(id, &run, acknowledgement);
        Ok(())
    }
}

const PRIORITY: &str = "x-priority";
const TIMEOUT: &str = "x-consumer-timeout";

fn integer_argument(
    queue: &Name,
    consume: &Consume,
    argument: &str,
) -> Result<Option<i128>, Refusal> {
    let Some(value) = consume.arguments.get(argument) else { return Ok(None) };
    let invalid = || Refusal::InvalidArgument {
        kind: Kind::Queue,
        name: queue.clone(),
        argument: argument.into(),
        problem: ArgumentProblem::UnacceptableType(value.type_name()),
    };
    value.as_integer().map(Some).ok_or_else(invalid)
}

fn clamped(priority: i128) -> i32 {
    i32::try_from(priority).unwrap_or(if priority < 0 { i32::MIN } else { i32::MAX })
}

fn not_found(name: &Name) -> Refusal {
    Refusal::NotFound(Kind::Queue, name.clone())
}
