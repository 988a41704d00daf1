//! The node: `/api/nodes`. There is one.

use axum::extract::State;
use axum::response::Response;
use broker::Resource;
use serde::Serialize;

use super::listing::Wish;
use crate::gate::Guest;
use crate::hall::Hall;
use crate::looking::{self, Looker};
use crate::problem::Problem;
use crate::query::Places;
use crate::routes::{Need, Routes};

/// Its name.
pub(super) const NODE: &str = "postroom";

pub(super) fn routes(routes: Routes) -> Routes {
    routes.get("/api/nodes", Need::Monitoring, list).get("/api/nodes/{name}", Need::Monitoring, one)
}

/// A kind of something there is to choose.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) enabled: bool,
}

pub(super) const EXCHANGE_TYPES: [Kind; 4] = [
    Kind { name: "direct", description: "To the queues bound with this key", enabled: true },
    Kind { name: "fanout", description: "To all queues bound", enabled: true },
    Kind { name: "headers", description: "To the queues whose headers match", enabled: true },
    Kind { name: "topic", description: "To the queues whose pattern matches", enabled: true },
];

/// The node.
#[derive(Serialize)]
struct NodeOut {
    name: &'static str,
    running: bool,
    r#type: &'static str,
    os_pid: String,
    uptime: u64,
    processors: u64,
    mem_used: u64,
    mem_limit: u64,
    mem_alarm: bool,
    disk_free: u64,
    disk_free_limit: u64,
    disk_free_alarm: bool,
    fd_used: u64,
    fd_total: u64,
    sockets_used: usize,
    sockets_total: u64,
    connection_created: u64,
    connection_closed: u64,
    rates_mode: &'static str,
    exchange_types: [Kind; 4],
    auth_mechanisms: [Kind; 3],
    partitions: [(); 0],
    cluster_links: [(); 0],
    config_files: [(); 0],
    log_files: [(); 0],
    enabled_plugins: [(); 0],
    applications: [Application; 1],
}

/// What runs there.
#[derive(Serialize)]
struct Application {
    name: &'static str,
    description: &'static str,
    version: &'static str,
}

const AUTH_MECHANISMS: [Kind; 3] = [
    Kind { name: "PLAIN", description: "Name and password", enabled: true },
    Kind { name: "AMQPLAIN", description: "Name and password in a table", enabled: true },
    Kind { name: "EXTERNAL", description: "The certificate of a TLS client", enabled: true },
];

fn node(looker: &Looker<'_>) -> NodeOut {
    let broker = looker.broker;
    let view = broker.node();
    let machine = view.machine;
    let seen = broker.connections_seen();
    NodeOut {
        name: NODE,
        running: true,
        r#type: "disc",
        os_pid: std::process::id().to_string(),
        uptime: view.uptime_ms,
        processors: machine.processors,
        mem_used: machine.memory_bytes,
        mem_limit: machine.memory_bytes_max,
        mem_alarm: broker.is_blocked(Resource::Memory),
        disk_free: machine.disk_free_bytes,
        disk_free_limit: machine.disk_free_bytes_min,
        disk_free_alarm: broker.is_blocked(Resource::Disk),
        fd_used: machine.open_files,
        fd_total: machine.open_files_max,
        sockets_used: broker.connections().len(),
        sockets_total: machine.open_files_max,
        connection_created: seen.opened,
        connection_closed: seen.closed,
        rates_mode: "basic",
        exchange_types: EXCHANGE_TYPES,
        auth_mechanisms: AUTH_MECHANISMS,
        partitions: [],
        cluster_links: [],
        config_files: [],
        log_files: [],
        enabled_plugins: [],
        applications: [Application {
            name: "postroom",
            description: "Postroom",
            version: env!("CARGO_PKG_VERSION"),
        }],
    }
}

async fn list(
    State(hall): State<Hall>,
    Guest(user): Guest,
    wish: Wish,
) -> Result<Response, Problem> {
    looking::at_one(&hall, user, move |looker| wish.answer(vec![()], |()| NODE, |()| node(looker)))
        .await
}

/// Whether this is the node of that name.
pub(super) fn is_this(name: &str) -> Result<(), Problem> {
    if name == NODE {
        return Ok(());
    }
    Err(Problem::not_found(format!("there is no node '{name}': this is '{NODE}'")))
}

async fn one(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(name): Places<String>,
    wish: Wish,
) -> Result<Response, Problem> {
    is_this(&name)?;
    looking::at_one(&hall, user, move |looker| wish.show(&node(looker))).await
}
