//! Looking at what there is: one thing now, or everything in slices between which others have their
//! turn. What comes or goes between two slices is seen or not.

use std::ops::Bound;
use std::sync::Arc;

use domain::binding::{BindingArguments, ExchangeId, QueueId, Target};
use domain::exchange::{ExchangeSettings, ExchangeType};
use domain::name::Name;
use domain::table::Table;

use super::Vhost;
use super::queues::QueueSlot;
use super::sessions::{Channel, SessionState};
use super::tallies::{QueueTally, Source, TotalsSample};
use super::timers::Moment;
use crate::connections::Connection;
use crate::event::{Closing, Event};
use crate::limits;
use crate::operation::ChannelId;
use crate::views::counts::MessageCounts;
use crate::views::lives::MessageLives;
use crate::views::queue::ActiveConsumer;
use crate::views::{BindingEnd, BindingView, ChannelView, ConsumerView, ExchangeView, QueueView};

/// Where a look goes on.
pub(crate) type Next<T> = Option<T>;

/// Sessions that are looked at in one slice; each has some channels.
const SESSIONS_SLICE: usize = limits::LOOK_SLICE / 8;

/// All that a virtual host has counted.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Since the start.
    pub counts: MessageCounts,
    /// Per second, lately.
    pub rates: MessageCounts<f64>,
    /// The last minute's samples, oldest first.
    pub samples: Vec<TotalsSample>,
    /// How long messages take.
    pub lives: MessageLives,
}

impl Vhost {
    pub(crate) fn queue_view(&self, name: &str, now: Moment) -> Option<QueueView> {
        let id = self.topology.queue(name)?;
        Some(self.view_queue(id, self.queues.get(&id)?, now))
    }

    /// The next queues behind `after`; returns where to go on.
    pub(crate) fn queue_views(
        &self,
        after: Option<QueueId>,
        now: Moment,
        out: &mut Vec<QueueView>,
    ) -> Next<QueueId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut last = None;
        for id in self.roster.range((from, Bound::Unbounded)).take(limits::LOOK_SLICE) {
            last = Some(*id);
            out.extend(self.queues.get(id).map(|slot| self.view_queue(*id, slot, now)));
        }
        last
    }

    fn view_queue(&self, id: QueueId, slot: &QueueSlot, now: Moment) -> QueueView {
        let queue = &slot.queue;
        let owner = slot.owner.and_then(|owner| self.sessions.get(owner.index()));
        let tally = slot.tally.as_deref();
        let active = queue.consumers.single_active().and_then(|it| self.consumers.get(&it));
        let exclusive = queue.consumers.exclusive().and_then(|it| self.consumers.get(&it));
        QueueView {
            name: slot.name.clone(),
            declaration: Arc::clone(&slot.declaration),
            queue_type: queue.settings().queue_type,
            ready: queue.ready_messages(),
            unacked: queue.leased_messages(),
            delayed: self.leases.resting(id),
            ready_bytes: queue.ready_bytes(),
            done: self.done.totals(id),
            consumers: queue.consumers.count(),
            consumers_with_room: queue.consumers.count_with_room(),
            exclusive_consumer_tag: exclusive.map(|consumer| consumer.tag.clone()),
            single_active_consumer: active.map(|consumer| ActiveConsumer {
                consumer_tag: consumer.tag.clone(),
                channel: consumer.channel,
                connection: (self.sessions.get(consumer.session.index()))
                    .and_then(|session| session.connection.clone()),
            }),
            owner: owner.and_then(|session| session.connection.clone()),
            oldest_ms: slot.oldest_ms(self.tallies.started_ms, now.ms),
            idle_ms: tally.map(|tally| now.ms.saturating_sub(tally.touched_ms)),
            traffic: tally.map(|tally| Box::new(tally.traffic())),
            lives: tally.and_then(|tally| tally.lives.clone()),
            errors: tally.map_or_else(Vec::new, QueueTally::errors),
        }
    }

    /// The numbers of all exchanges; [`Vhost::exchange_views`] shows them.
    pub(crate) fn exchange_numbers(&self) -> Vec<ExchangeId> {
        self.topology.exchange_numbers().collect()
    }

    pub(crate) fn exchange_view(&self, name: &str) -> Option<ExchangeView> {
        if name.is_empty() {
            return Some(self.default_exchange());
        }
        self.view_exchange(self.topology.exchange_id(name)?)
    }

    pub(crate) fn exchange_views(&self, numbers: &[ExchangeId], out: &mut Vec<ExchangeView>) {
        out.extend(numbers.iter().filter_map(|id| self.view_exchange(*id)));
    }

    fn view_exchange(&self, id: ExchangeId) -> Option<ExchangeView> {
        let exchange = self.topology.exchange_at(id)?;
        Some(self.with_counts(exchange.name.clone(), exchange.settings.clone(), Some(id)))
    }

    pub(crate) fn default_exchange(&self) -> ExchangeView {
        let settings = ExchangeSettings {
            exchange_type: ExchangeType::Direct,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: Table::default(),
        };
        self.with_counts(Name::default(), settings, None)
    }

    fn with_counts(&self, name: Name, settings: ExchangeSettings, source: Source) -> ExchangeView {
        let tally = self.tallies.exchanges.get(&source).copied().unwrap_or_default();
        ExchangeView { name, settings, counts: tally.counts, rates: tally.rates }
    }

    /// The bindings to the next queues behind `after`; returns where to go on.
    pub(crate) fn queue_binding_views(
        &self,
        after: Option<QueueId>,
        out: &mut Vec<BindingView>,
    ) -> Next<QueueId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut last = None;
        for id in self.roster.range((from, Bound::Unbounded)).take(limits::LOOK_SLICE) {
            last = Some(*id);
            self.view_queue_bindings(*id, out);
        }
        last
    }

    /// The bindings to one queue; `None`: there is none of that name.
    pub(crate) fn bindings_to_queue(&self, name: &str) -> Option<Vec<BindingView>> {
        let mut found = Vec::new();
        self.view_queue_bindings(self.topology.queue(name)?, &mut found);
        Some(found)
    }

    /// Every queue is bound to the default exchange by its name.
    fn view_queue_bindings(&self, id: QueueId, out: &mut Vec<BindingView>) {
        let Some(name) = self.queue_name(id) else { return };
        out.push(BindingView {
            source: Name::default(),
            destination: BindingEnd::Queue(name.clone()),
            routing_key: name.as_str().as_bytes().into(),
            arguments: BindingArguments::default(),
        });
        self.view_bindings_to(Target::Queue(id), &BindingEnd::Queue(name.clone()), out);
    }

    /// The bindings to some exchanges.
    pub(crate) fn exchange_binding_views(
        &self,
        numbers: &[ExchangeId],
        out: &mut Vec<BindingView>,
    ) {
        for id in numbers {
            let Some(name) = self.topology.exchange_name(*id) else { continue };
            let end = BindingEnd::Exchange(name.clone());
            self.view_bindings_to(Target::Exchange(*id), &end, out);
        }
    }

    /// The bindings to one exchange; `None`: there is none of that name.
    pub(crate) fn bindings_to_exchange(&self, name: &str) -> Option<Vec<BindingView>> {
        let mut found = Vec::new();
        if !name.is_empty() {
            self.exchange_binding_views(&[self.topology.exchange_id(name)?], &mut found);
        }
        Some(found)
    }

    /// The bindings from one exchange, but not the default one; `None`: there is none of that name.
    pub(crate) fn bindings_from(&self, name: &str) -> Option<Vec<BindingView>> {
        let exchange = self.topology.exchange(name)?;
        let end = |target| match target {
            Target::Queue(id) => self.queue_name(id).cloned().map(BindingEnd::Queue),
            Target::Exchange(id) => {
                self.topology.exchange_name(id).cloned().map(BindingEnd::Exchange)
            }
        };
        let found = exchange.bindings.iter().filter_map(|(target, key, arguments)| {
            Some(BindingView {
                source: exchange.name.clone(),
                destination: end(target)?,
                routing_key: key.into(),
                arguments: arguments.clone(),
            })
        });
        Some(found.collect())
    }

    fn view_bindings_to(&self, target: Target, end: &BindingEnd, out: &mut Vec<BindingView>) {
        out.extend(self.topology.bindings_to(target).map(|(source, key, arguments)| BindingView {
            source: source.clone(),
            destination: end.clone(),
            routing_key: key.into(),
            arguments: arguments.clone(),
        }));
    }

    /// Channels of the next sessions from `from` on; returns where to go on.
    pub(crate) fn channel_views(&self, from: usize, out: &mut Vec<ChannelView>) -> Next<usize> {
        self.each_connected(from, |connection, session| {
            let channels = session.channels.iter();
            out.extend(channels.map(|(number, it)| self.view_channel(connection, *number, it)));
        })
    }

    /// Consumers of the next sessions from `from` on; returns where to go on.
    pub(crate) fn consumer_views(&self, from: usize, out: &mut Vec<ConsumerView>) -> Next<usize> {
        self.each_connected(from, |connection, session| {
            for channel in session.channels.values() {
                for id in channel.consumers.values() {
                    out.extend(self.view_consumer(connection, *id, channel));
                }
            }
        })
    }

    fn each_connected(
        &self,
        from: usize,
        mut each: impl FnMut(&Arc<Connection>, &SessionState),
    ) -> Next<usize> {
        let end = from.saturating_add(SESSIONS_SLICE);
        for session in (from..end).filter_map(|at| self.sessions.get(at)) {
            if let Some(connection) = &session.connection {
                each(connection, session);
            }
        }
        (end < self.sessions.capacity()).then_some(end)
    }

    fn view_channel(
        &self,
        connection: &Arc<Connection>,
        number: ChannelId,
        channel: &Channel,
    ) -> ChannelView {
        let durable = self.journal.durable();
        let unsettled = channel.unsettled.values().map(|it| u64::from(it.count)).sum();
        let transaction = channel.transaction.as_deref();
        let collected = |it: &super::sessions::Transaction| {
            let publishes = it.publishes.iter().map(|it| u64::from(it.run.count)).sum();
            let settlements = it.settlements.iter().map(|it| u64::from(it.delivery.count)).sum();
            (publishes, settlements)
        };
        let (uncommitted, uncommitted_settlements) = transaction.map_or((0, 0), collected);
        ChannelView {
            connection: Arc::clone(connection),
            number,
            prefetch: channel.prefetch,
            prefetch_global: channel.credit.limit(),
            consumers: u32::try_from(channel.consumers.len()).unwrap_or(u32::MAX),
            unacked: unsettled,
            confirms: channel.confirms.is_some(),
            unconfirmed: (channel.confirms.as_ref()).map_or(0, |it| it.outstanding(durable)),
            transactional: transaction.is_some(),
            uncommitted,
            uncommitted_settlements,
            closing: channel.failed,
            counts: channel.tally.counts,
            rates: channel.tally.rates,
        }
    }

    fn view_consumer(
        &self,
        connection: &Arc<Connection>,
        id: domain::queue::consumers::ConsumerId,
        channel: &Channel,
    ) -> Option<ConsumerView> {
        let consumer = self.consumers.get(&id)?;
        let slot = self.queues.get(&consumer.queue)?;
        let held = channel.unsettled.values().filter(|it| it.consumer == Some(id));
        Some(ConsumerView {
            connection: Arc::clone(connection),
            channel: consumer.channel,
            consumer_tag: consumer.tag.clone(),
            queue: slot.name.clone(),
            acknowledgement: consumer.acknowledgement,
            sharing: consumer.sharing,
            prefetch: consumer.credit.limit(),
            unacked: held.map(|it| u64::from(it.count)).sum(),
            active: slot.queue.consumers.is_active(id),
            single_active: slot.queue.consumers.single_active() == Some(id),
            timeout_ms: consumer.timeout_ms,
            arguments: Arc::clone(&consumer.arguments),
            counts: consumer.counts,
        })
    }

    /// Ends the session of a connection, if it is still there.
    pub(crate) fn close_connection(&mut self, connection: &Arc<Connection>, why: &str) {
        let Some(session) = connection.session.get().copied() else { return };
        let state = self.sessions.get(session.index());
        let known = state.and_then(|state| state.connection.as_ref());
        // The number may be another's by now.
        if known.is_some_and(|known| Arc::ptr_eq(known, connection)) {
            self.tell(session, Event::Closing(Closing::Forced(why.into())));
        }
    }

    pub(crate) fn journal_disk_use(&self) -> storage::DiskUse {
        self.journal.disk_use()
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            counts: self.tallies.totals.counts,
            rates: self.tallies.totals.rates,
            samples: self.tallies.samples.iter().copied().collect(),
            lives: *self.tallies.lives,
        }
    }
}
