//! Looking at a virtual host: what there is, and how fast it goes. Whoever looks waits for slices of
//! the owner's time, so looks are for threads that may wait.

use std::sync::Arc;

use domain::name::Name;
use stdx::clock::Clock;

use crate::hub::Hub;
use crate::looks::{self, Listing, Looks};
use crate::times::JournalTimes;
use crate::vhost::stats::Stats;
use crate::vhost::views::Totals;
use crate::views::{BindingView, ChannelView, ConsumerView, ExchangeView, QueueView};

/// A virtual host's journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalView {
    /// Its files.
    pub live_files: u64,
    /// How long they are together.
    pub live_bytes: u64,
    /// How long the files are together that wait to be written again.
    pub spare_bytes: u64,
    /// Everything that was written since the start.
    pub written_bytes: u64,
    /// How long it takes.
    pub times: JournalTimes,
}

/// A virtual host to be looked at. Lists are shared and may be a little old, the older the longer
/// they take to make; single things are as they are now.
#[derive(Clone, Debug)]
pub struct Sight {
    pub(crate) hub: Arc<Hub>,
    pub(crate) looks: Arc<Looks>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Sight {
    /// The virtual host.
    pub fn vhost(&self) -> &Name {
        &self.hub.name
    }

    /// All queues, by name.
    pub fn queues(&self) -> Arc<Listing<QueueView>> {
        self.looks.queues.show(&*self.clock, || looks::queues(&self.hub))
    }

    /// The queue of that name, as it is now.
    pub fn queue(&self, name: &str) -> Option<QueueView> {
        self.hub.look(|vhost, now| vhost.queue_view(name, now))
    }

    /// All exchanges, by name, the default exchange first.
    pub fn exchanges(&self) -> Arc<Listing<ExchangeView>> {
        self.looks.exchanges.show(&*self.clock, || looks::exchanges(&self.hub))
    }

    /// The exchange of that name, as it is now; the empty name is the default exchange's.
    pub fn exchange(&self, name: &str) -> Option<ExchangeView> {
        self.hub.look(|vhost, _| vhost.exchange_view(name))
    }

    /// All bindings, by source, destination and key, with those of queues to the default exchange.
    pub fn bindings(&self) -> Arc<Listing<BindingView>> {
        self.looks.bindings.show(&*self.clock, || looks::bindings(&self.hub))
    }

    /// The bindings that lead to a queue, as they are now.
    pub fn bindings_to_queue(&self, name: &str) -> Option<Vec<BindingView>> {
        looks::sorted(self.hub.look(|vhost, _| vhost.bindings_to_queue(name)))
    }

    /// The bindings that lead to an exchange, as they are now.
    pub fn bindings_to_exchange(&self, name: &str) -> Option<Vec<BindingView>> {
        looks::sorted(self.hub.look(|vhost, _| vhost.bindings_to_exchange(name)))
    }

    /// The bindings that come from an exchange, as they are now.
    pub fn bindings_from(&self, name: &str) -> Option<Vec<BindingView>> {
        if name.is_empty() {
            let all = self.bindings();
            return Some(all.iter().filter(|it| it.source.is_empty()).cloned().collect());
        }
        looks::sorted(self.hub.look(|vhost, _| vhost.bindings_from(name)))
    }

    /// All channels of who is connected, by connection and number.
    pub fn channels(&self) -> Arc<Listing<ChannelView>> {
        self.looks.channels.show(&*self.clock, || looks::channels(&self.hub))
    }

    /// All consumers of who is connected, by connection, channel and tag.
    pub fn consumers(&self) -> Arc<Listing<ConsumerView>> {
        self.looks.consumers.show(&*self.clock, || looks::consumers(&self.hub))
    }

    /// What was counted of all messages, and how fast it goes.
    pub fn totals(&self) -> Totals {
        self.hub.look(|vhost, _| vhost.totals())
    }

    /// Whether it can't write any more, and takes nothing.
    pub fn is_poisoned(&self) -> bool {
        self.hub.look(|vhost, _| vhost.is_poisoned())
    }

    /// What its journal takes of the disk, and how long it takes.
    pub fn journal(&self) -> JournalView {
        let disk = self.hub.look(|vhost, _| vhost.journal_disk_use());
        JournalView {
            live_files: disk.live_files as u64,
            live_bytes: disk.live_bytes,
            spare_bytes: disk.spare_bytes,
            written_bytes: disk.written_bytes,
            times: self.hub.times.read(),
        }
    }

    /// What else was counted, and what storage takes.
    pub fn stats(&self) -> Stats {
        self.hub.stats()
    }
}
