//! All that is measured, looked at once for a page.

use std::collections::BTreeSet;
use std::sync::Arc;

use broker::connections::{Connection, ConnectionsSeen};
use broker::traces::SpanCounts;
use broker::views::{ChannelView, ConsumerView, QueueView};
use broker::{Alarms, JournalView, Listing, MessagesMemory, NodeView, Sight, Stats, Totals};

use crate::hall::Hall;

/// Everything that is measured.
pub(super) struct House {
    pub(super) node: NodeView,
    pub(super) alarms: Alarms,
    pub(super) messages_memory: MessagesMemory,
    pub(super) connections: Vec<Arc<Connection>>,
    pub(super) connections_seen: ConnectionsSeen,
    pub(super) spans: SpanCounts,
    pub(super) vhosts: Vec<Room>,
    /// How many queues have series of their own.
    pub(super) queues_max: usize,
}

/// A virtual host.
pub(super) struct Room {
    pub(super) name: String,
    pub(super) queues: Arc<Listing<QueueView>>,
    pub(super) channels: Arc<Listing<ChannelView>>,
    pub(super) consumers: Arc<Listing<ConsumerView>>,
    pub(super) totals: Totals,
    pub(super) stats: Stats,
    pub(super) journal: JournalView,
    pub(super) poisoned: bool,
}

impl Room {
    fn look(sight: &Sight) -> Room {
        Room {
            name: sight.vhost().as_str().to_owned(),
            queues: sight.queues(),
            channels: sight.channels(),
            consumers: sight.consumers(),
            totals: sight.totals(),
            stats: sight.stats(),
            journal: sight.journal(),
            poisoned: sight.is_poisoned(),
        }
    }
}

impl House {
    /// Looks at everything. May wait.
    pub(super) fn look(hall: &Hall) -> House {
        let broker = hall.broker();
        House {
            node: broker.node(),
            alarms: broker.alarms(),
            messages_memory: broker.messages_memory(),
            connections: broker.connections(),
            connections_seen: broker.connections_seen(),
            spans: broker.span_counts(),
            vhosts: broker.sights().iter().map(Room::look).collect(),
            queues_max: hall.settings().metrics_queues_max,
        }
    }

    /// Leaves out what is not asked for; nothing asked for is everything.
    pub(super) fn keep_vhosts(&mut self, asked: &BTreeSet<String>) {
        if !asked.is_empty() {
            self.vhosts.retain(|room| asked.contains(&room.name));
            self.connections.retain(|connection| asked.contains(connection.vhost.as_str()));
        }
    }

    /// The queues that have series of their own, each with its virtual host: the first by name.
    pub(super) fn shown_queues(&self) -> impl Iterator<Item = (&str, &QueueView)> {
        self.queues().take(self.queues_max)
    }

    /// Those that have not.
    pub(super) fn other_queues(&self) -> impl Iterator<Item = &QueueView> {
        self.queues().skip(self.queues_max).map(|(_, queue)| queue)
    }

    fn queues(&self) -> impl Iterator<Item = (&str, &QueueView)> {
        self.vhosts.iter().flat_map(|room| room.queues.iter().map(|it| (room.name.as_str(), it)))
    }
}
