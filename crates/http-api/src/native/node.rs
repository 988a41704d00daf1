//! Looking at the node as a whole.

use axum::extract::State;
use axum::response::Response;
use broker::Sight;
use broker::views::MessageCounts;
use serde::Serialize;
use utoipa::ToSchema;

use super::queues::{CountsOut, RatesOut};
use crate::gate::Guest;
use crate::hall::Hall;
use crate::looking::{self, rfc3339};
use crate::problem::Problem;
use crate::routes::{Need, Routes};

pub(super) fn routes(routes: Routes) -> Routes {
    routes.get("/v1/overview", Need::Login, get_overview).get(
        "/v1/node",
        Need::Monitoring,
        get_node,
    )
}

/// What there is, in all virtual hosts that the user may see.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OverviewOut {
    version: &'static str,
    uptime_ms: u64,
    vhosts: usize,
    queues: usize,
    exchanges: usize,
    bindings: usize,
    /// The user's own, unless it watches over the node.
    connections: usize,
    ready: u64,
    unacked: u64,
    /// The longest that a message that is next in its queue has waited. Left out while none is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_age_ms: Option<u64>,
    /// Queues with ready messages and no consumers.
    queues_without_consumers: usize,
    counts: CountsOut,
    rates: RatesOut,
    /// Whether publishers are blocked because memory or disk space is low.
    publishers_blocked: bool,
}

/// What is in the queues of virtual hosts.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) queues: usize,
    queues_without_consumers: usize,
    pub(super) ready: u64,
    pub(super) unacked: u64,
    oldest_ms: Option<u64>,
}

impl Contents {
    pub(super) fn add(&mut self, sight: &Sight) {
        let listing = sight.queues();
        self.queues += listing.len();
        for view in listing.iter() {
            self.ready += view.ready;
            self.unacked += view.unacked;
            self.oldest_ms = self.oldest_ms.max(view.oldest_ms);
            self.queues_without_consumers += usize::from(view.ready > 0 && view.consumers == 0);
        }
    }
}

/// The whole at a glance.
#[utoipa::path(
    get, path = "/v1/overview", tag = "node",
    responses((status = 200, body = OverviewOut))
)]
pub(super) async fn get_overview(
    State(hall): State<Hall>,
    Guest(user): Guest,
) -> Result<Response, Problem> {
    looking::at_many(&hall, user, |looker| {
        let sights = looker.sights();
        let mut contents = Contents::default();
        let (mut counts, mut rates) = (MessageCounts::default(), MessageCounts::<f64>::default());
        for sight in &sights {
            contents.add(sight);
            let totals = sight.totals();
            counts.add(&totals.counts);
            rates.add(&totals.rates);
        }
        let connections = looker.broker.connections();
        looking::json(&OverviewOut {
            version: env!("CARGO_PKG_VERSION"),
            uptime_ms: looker.broker.node().uptime_ms,
            vhosts: sights.len(),
            queues: contents.queues,
            exchanges: sights.iter().map(|sight| sight.exchanges().len()).sum(),
            bindings: sights.iter().map(|sight| sight.bindings().len()).sum(),
            connections: connections.iter().filter(|it| looker.sees_user(&it.user)).count(),
            ready: contents.ready,
            unacked: contents.unacked,
            oldest_age_ms: contents.oldest_ms,
            queues_without_consumers: contents.queues_without_consumers,
            counts: CountsOut::of(&counts),
            rates: RatesOut::of(&rates),
            publishers_blocked: !looker.broker.alarms().are_clear(),
        })
    })
    .await
}

/// The node, and what it has of its machine.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NodeOut {
    version: &'static str,
    started_at: String,
    uptime_ms: u64,
    processors: u64,
    memory_bytes: u64,
    /// More than this, and publishers are blocked.
    memory_max_bytes: u64,
    /// What messages take of the memory.
    messages_memory_bytes: u64,
    messages_memory_max_bytes: u64,
    disk_free_bytes: u64,
    /// Less than this, and publishers are blocked.
    disk_free_min_bytes: u64,
    open_files: u64,
    open_files_max: u64,
    connections: usize,
    connections_opened: u64,
    connections_closed: u64,
    memory_alarm: bool,
    disk_alarm: bool,
}

/// The node: its memory, its disk, its alarms. Needs the tag `monitoring`.
#[utoipa::path(
    get, path = "/v1/node", tag = "node",
    responses((status = 200, body = NodeOut))
)]
pub(super) async fn get_node(
    State(hall): State<Hall>,
    Guest(user): Guest,
) -> Result<Response, Problem> {
    looking::at_one(&hall, user, |looker| {
        let broker = looker.broker;
        let (view, memory, seen) =
            (broker.node(), broker.messages_memory(), broker.connections_seen());
        looking::json(&NodeOut {
            version: env!("CARGO_PKG_VERSION"),
            started_at: rfc3339(view.started_wall_ms),
            uptime_ms: view.uptime_ms,
            processors: view.machine.processors,
            memory_bytes: view.machine.memory_bytes,
            memory_max_bytes: view.machine.memory_bytes_max,
            messages_memory_bytes: memory.used_bytes,
            messages_memory_max_bytes: memory.max_bytes,
            disk_free_bytes: view.machine.disk_free_bytes,
            disk_free_min_bytes: view.machine.disk_free_bytes_min,
            open_files: view.machine.open_files,
            open_files_max: view.machine.open_files_max,
            connections: broker.connections().len(),
            connections_opened: seen.opened,
            connections_closed: seen.closed,
            memory_alarm: broker.is_blocked(broker::Resource::Memory),
            disk_alarm: broker.is_blocked(broker::Resource::Disk),
        })
    })
    .await
}
