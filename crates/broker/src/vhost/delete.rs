//! Deleting and purging: what goes takes its messages, bindings and consumers along.

use domain::binding::QueueId;
use domain::name::Name;
use domain::refusal::{Kind, Refusal};
use domain::run::Durability;
use domain::topology::{Change, Orphans};
use stdx::fault::{Fault, planted};

use super::Vhost;
use super::ending::Ending;
use crate::done::DoneOutcome;
use crate::event::{Event, Reply};
use crate::journaled::{exchange_records, queue_records, tag};
use crate::operation::ChannelId;
use crate::session_id::SessionId;
use crate::traces::Leaving;

impl Vhost {
    pub(crate) fn delete_exchange(
        &mut self,
        session: SessionId,
        exchange: &Name,
        only_if_unused: bool,
    ) -> Result<Reply, Refusal> {
        let change = self.topology.may_delete_exchange(exchange, only_if_unused)?;
        if change == Change::Made {
            let found = self.topology.exchange(exchange.as_str());
            let durable = found.is_some_and(|exchange| exchange.settings.durable);
            let mut gone = self.topology.remove_exchange(exchange.as_str());
            if durable {
                gone.insert(0, exchange.clone());
            }
            self.journal_orphans(gone);
        }
        self.gate_topology(session);
        Ok(Reply::ExchangeDeleted)
    }

    /// Deleting a queue that is not there works, as in RabbitMQ.
    pub(crate) fn delete_queue(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        queue: &Name,
        only_if_unused: bool,
        only_if_empty: bool,
    ) -> Result<Reply, Refusal> {
        let (id, name) = match self.usable_queue(session, channel, queue) {
            Ok(found) => found,
            Err(Refusal::NotFound(..)) => {
                self.gate_topology(session);
                return Ok(Reply::QueueDeleted { messages: 0 });
            }
            Err(refusal) => return Err(refusal),
        };
        let Some(slot) = self.queues.get(&id) else {
            return Ok(Reply::QueueDeleted { messages: 0 });
        };
        let messages = slot.queue.ready_messages();
        if only_if_unused && slot.queue.consumers.count() > 0 {
            return Err(Refusal::InUse(Kind::Queue, name));
        }
        if only_if_empty && messages > 0 {
            return Err(Refusal::NotEmpty(name));
        }
        self.remove_queue(id);
        self.gate_topology(session);
        Ok(Reply::QueueDeleted { messages })
    }

    pub(crate) fn purge_queue(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        queue: &Name,
    ) -> Result<Reply, Refusal> {
        let (id, name) = self.usable_queue(session, channel, queue)?;
        let mut gone = std::mem::take(&mut self.gone);
        let Some(slot) = self.queues.get_mut(&id) else {
            return Err(Refusal::NotFound(Kind::Queue, name));
        };
        slot.queue.purge(&mut gone);
        let mut messages = 0;
        for run in gone.drain(..) {
            messages += u64::from(run.count);
            if run.label.durability == Durability::Journaled {
                self.gate(session);
            }
            if planted(Fault::PurgeForgotten) {
                self.chunks.release(&run);
                continue;
            }
            self.trace_end(id, &run, Leaving::Purged);
            self.note_end(id, &run, &Ending::plain(DoneOutcome::Purged));
            self.left(id, &run);
        }
        self.gone = gone;
        self.stats.purged += messages;
        self.tallies.totals.counts.purged += messages;
        if let Some(counts) = self.count_in_queue(id) {
            counts.purged += messages;
        }
        Ok(Reply::QueuePurged { messages })
    }

    /// A queue goes: its consumers are told, its messages dropped, its bindings removed.
    pub(crate) fn remove_queue(&mut self, id: QueueId) {
        // What it has given up is no message of its any more, and goes its way.
        self.bury_all_dead();
        let Some(mut slot) = self.queues.remove(&id) else { return };
        self.roster.remove(&id);
        self.stats.queues_deleted += 1;
        self.tallies.queue_goes(slot.tally.as_deref());
        for consumer in slot.queue.consumers.iter() {
            let Some(consumer) = self.consumers.remove(&consumer) else { continue };
            let (session, channel) = (consumer.session, consumer.channel);
            if let Some(state) = self.channel_mut(session, channel) {
                state.consumers.remove(&consumer.tag);
            }
            let event = Event::ConsumerCancelled { channel, consumer_tag: consumer.tag };
            self.turn.cancelled.push_back((session, event));
        }
        self.forget_leases(id, &mut slot);
        self.done.forget_queue(id);
        let mut gone = std::mem::take(&mut self.gone);
        slot.queue.clear(&mut gone);
        for run in gone.drain(..) {
            let count = u64::from(run.count);
            self.stats.purged += count;
            self.tallies.totals.counts.purged += count;
            self.trace_end(id, &run, Leaving::Purged);
            self.chunks.release(&run);
        }
        self.gone = gone;
        if let Some(owner) = slot.owner.and_then(|owner| self.session_mut(owner)) {
            owner.exclusive_queues.retain(|known| *known != id);
        }
        if slot.is_journaled() {
            self.topology_record(tag::QUEUE_DELETED, |out| queue_records::put_deleted(out, id));
            self.turn.staged.urge();
        }
        let orphans = self.topology.remove_queue(slot.name.as_str());
        self.journal_orphans(orphans);
    }

    /// Exchanges went. Those that were not durable are journaled too: unknown names do no harm.
    pub(crate) fn journal_orphans(&mut self, orphans: Orphans) {
        for exchange in orphans {
            self.topology_record(tag::EXCHANGE_DELETED, |out| {
                exchange_records::put_deleted(out, &exchange);
            });
        }
    }
}
