//! Looking at a broker: what there is in each virtual host, who is connected, how fast it goes.
//! Whoever looks waits for slices of the owner's time, so looks are for threads that may wait.

use std::sync::Arc;

use domain::name::Name;
use stdx::clock::Clock;

use crate::broker::Broker;
use crate::connections::{Connection, ConnectionsSeen};
use crate::hub::Hub;
use crate::looks::{self, Listing, Looks};
use crate::vhost::stats::Stats;
use crate::vhost::tallies::Sampling;
use crate::vhost::views::Totals;
use crate::views::{BindingView, ChannelView, ConsumerView, ExchangeView, QueueView};

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
        self.sorted(self.hub.look(|vhost, _| vhost.bindings_to_queue(name)))
    }

    /// The bindings that lead to an exchange, as they are now.
    pub fn bindings_to_exchange(&self, name: &str) -> Option<Vec<BindingView>> {
        self.sorted(self.hub.look(|vhost, _| vhost.bindings_to_exchange(name)))
    }

    /// The bindings that come from an exchange, as they are now.
    pub fn bindings_from(&self, name: &str) -> Option<Vec<BindingView>> {
        if name.is_empty() {
            let all = self.bindings();
            return Some(all.iter().filter(|it| it.source.is_empty()).cloned().collect());
        }
        self.sorted(self.hub.look(|vhost, _| vhost.bindings_from(name)))
    }

    #[expect(clippy::unused_self, reason = "it is read as a step of the look")]
    fn sorted(&self, found: Option<Vec<BindingView>>) -> Option<Vec<BindingView>> {
        let mut found = found?;
        looks::sort_bindings(&mut found);
        Some(found)
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

    /// What else was counted, and what storage takes.
    pub fn stats(&self) -> Stats {
        self.hub.stats()
    }
}

impl Broker {
    /// A virtual host to be looked at.
    pub fn sight(&self, vhost: &str) -> Option<Sight> {
        self.sights().into_iter().find(|sight| sight.vhost().as_str() == vhost)
    }

    /// Who is connected, oldest first.
    pub fn connections(&self) -> Vec<Arc<Connection>> {
        self.connections.all()
    }

    /// The connection of that name.
    pub fn connection(&self, name: &str) -> Option<Arc<Connection>> {
        self.connections.find(name)
    }

    /// How many connections came and went since the start.
    pub fn connections_seen(&self) -> ConnectionsSeen {
        self.connections.seen()
    }

    /// Ends a connection: its client is told why.
    pub fn close_connection(&self, connection: &Arc<Connection>, why: &str) {
        if let Some(hub) = self.hub(connection.vhost.as_str()) {
            hub.close_connection(connection, why);
        }
    }

    /// Takes a sample of everything that has changed since the last one: rates are of the time
    /// between two samples. To be called every few seconds, on a thread that may wait.
    pub fn sample(&self) {
        let elapsed_ms = self.connections_elapsed_ms();
        for connection in self.connections.all() {
            connection.sample(elapsed_ms);
        }
        for sight in self.sights() {
            sight.hub.begin_sample();
            while sight.hub.sample_slice() == Sampling::More {}
            sight.looks.forget_old(&*sight.clock);
        }
    }
}
