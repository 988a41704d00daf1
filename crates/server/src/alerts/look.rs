//! What alerts look at, taken from the broker at a moment: plain values, and of queues only those
//! that may be worth a second look.

use broker::views::QueueView;
use broker::{Broker, Histogram, Machine, Resource, Sight};

/// The broker at a moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// On a clock that never steps.
    pub(super) now_ms: u64,
    pub(super) machine: Machine,
    /// Why publishers are blocked.
    pub(super) blocked: Vec<&'static str>,
    pub(super) vhosts: Vec<VhostLook>,
}

/// A virtual host.
#[derive(Clone, Debug, Default)]
pub(super) struct VhostLook {
    pub(super) name: String,
    pub(super) poisoned: bool,
    /// In microseconds.
    pub(super) handling: Histogram,
    pub(super) writes: Histogram,
    pub(super) consumers_timed_out: u64,
    pub(super) dead_letters_dropped: u64,
    pub(super) queues: Vec<QueueLook>,
}

/// A queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct QueueLook {
    pub(super) name: String,
    pub(super) ready: u64,
    pub(super) consumers: u32,
    pub(super) oldest_ms: u64,
    pub(super) delivered: u64,
    pub(super) redelivered: u64,
    /// Per second, lately.
    pub(super) delivered_rate: f64,
    pub(super) redelivered_rate: f64,
}

impl Look {
    /// Looks. May wait.
    pub(super) fn take(broker: &Broker) -> Look {
        let node = broker.node();
        let alarms = [("disk", Resource::Disk), ("memory", Resource::Memory)];
        let raised = broker.alarms();
        let blocked = alarms.into_iter().filter(|(_, it)| raised == raised.with(*it));
        Look {
            now_ms: node.uptime_ms,
            machine: node.machine,
            blocked: blocked.map(|(name, _)| name).collect(),
            vhosts: broker.sights().iter().map(VhostLook::take).collect(),
        }
    }
}

impl VhostLook {
    fn take(sight: &Sight) -> VhostLook {
        let stats = sight.stats();
        VhostLook {
            name: sight.vhost().as_str().to_owned(),
            poisoned: sight.is_poisoned(),
            handling: sight.totals().lives.handling,
            writes: sight.journal().times.writes,
            consumers_timed_out: stats.consumers_timed_out,
            dead_letters_dropped: stats.dead_lettered_dropped,
            queues: sight.queues().iter().filter_map(QueueLook::take).collect(),
        }
    }
}

impl QueueLook {
    /// Nothing for a queue where nothing waits and nothing comes again.
    fn take(view: &QueueView) -> Option<QueueLook> {
        let traffic = view.traffic.as_deref();
        let (counts, rates) = traffic.map(|it| (it.counts, it.rates)).unwrap_or_default();
        if view.ready == 0 && counts.redelivered == 0 {
            return None;
        }
        Some(QueueLook {
            name: view.name.as_str().to_owned(),
            ready: view.ready,
            consumers: view.consumers,
            oldest_ms: view.oldest_ms.unwrap_or(0),
            delivered: counts.handed_out(),
            redelivered: counts.redelivered,
            delivered_rate: rates.handed_out(),
            redelivered_rate: rates.redelivered,
        })
    }
}
