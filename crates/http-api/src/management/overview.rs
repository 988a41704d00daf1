//! The whole at a glance: `/api/overview`.

use axum::extract::State;
use axum::response::Response;
use broker::Sight;
use serde::Serialize;
use serde_json::Value as Json;

use super::connections;
use super::depths::{self, Depths};
use super::listing::Wish;
use super::message_stats::MessageStats;
use super::nodes::{EXCHANGE_TYPES, Kind, NODE};
use super::parameters;
use crate::gate::Guest;
use crate::hall::Hall;
use crate::listener::Listener;
use crate::looking::{self, Looker};
use crate::problem::Problem;
use crate::routes::{Need, Routes};

pub(super) fn routes(routes: Routes) -> Routes {
    routes.get("/api/overview", Need::Management, overview)
}

/// The version of RabbitMQ whose management API this follows: its clients look at it before they
/// ask for what came later.
const RABBITMQ_VERSION: &str = "3.10.8";

#[derive(Serialize)]
struct Overview {
    management_version: &'static str,
    rates_mode: &'static str,
    exchange_types: [Kind; 4],
    product_name: &'static str,
    product_version: &'static str,
    rabbitmq_version: &'static str,
    cluster_name: Json,
    disable_stats: bool,
    enable_queue_totals: bool,
    /// Left out as long as nothing has happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_stats: Option<MessageStats>,
    churn_rates: Churn,
    queue_totals: Depths,
    object_totals: Objects,
    statistics_db_event_queue: u64,
    node: &'static str,
    listeners: Vec<ListenerOut>,
    contexts: Vec<Context>,
}

/// What came and went.
#[derive(Serialize)]
struct Churn {
    connection_created: u64,
    connection_closed: u64,
}

/// How much there is.
#[derive(Serialize)]
struct Objects {
    channels: usize,
    connections: usize,
    consumers: usize,
    exchanges: usize,
    queues: usize,
}

#[derive(Serialize)]
struct ListenerOut {
    node: &'static str,
    protocol: &'static str,
    ip_address: String,
    port: u16,
}

/// Where HTTP is answered.
#[derive(Serialize)]
struct Context {
    node: &'static str,
    description: &'static str,
    path: &'static str,
    ip: String,
    port: String,
}

fn listener(it: &Listener) -> ListenerOut {
    let ip_address = it.address.to_string();
    ListenerOut { node: NODE, protocol: it.protocol, ip_address, port: it.port }
}

fn context(it: &Listener) -> Context {
    let (ip, port) = (it.address.to_string(), it.port.to_string());
    Context { node: NODE, description: "Postroom", path: "/", ip, port }
}

fn objects(looker: &Looker<'_>, sights: &[Sight]) -> Objects {
    let count = |of: fn(&Sight) -> usize| sights.iter().map(of).sum();
    Objects {
        channels: count(|sight| sight.channels().len()),
        connections: connections::visible(looker).len(),
        consumers: count(|sight| sight.consumers().len()),
        exchanges: count(|sight| sight.exchanges().len()),
        queues: count(|sight| sight.queues().len()),
    }
}

async fn overview(
    State(hall): State<Hall>,
    Guest(user): Guest,
    wish: Wish,
) -> Result<Response, Problem> {
    let listeners = hall.settings().listeners.clone();
    let cluster_name = parameters::cluster_name_of(&hall);
    looking::at_many(&hall, user, move |looker| {
        let sights = looker.sights();
        // Who does not watch over the node is not told where it listens.
        let listeners: Vec<_> = if looker.watches() { listeners } else { Vec::new() };
        let seen = looker.broker.connections_seen();
        let http = listeners.iter().filter(|it| it.protocol.starts_with("http"));
        wish.show(&Overview {
            management_version: RABBITMQ_VERSION,
            rates_mode: "basic",
            exchange_types: EXCHANGE_TYPES,
            product_name: "Postroom",
            product_version: env!("CARGO_PKG_VERSION"),
            rabbitmq_version: RABBITMQ_VERSION,
            cluster_name,
            disable_stats: false,
            enable_queue_totals: false,
            message_stats: depths::message_stats(&sights),
            churn_rates: Churn { connection_created: seen.opened, connection_closed: seen.closed },
            queue_totals: Depths::of(&sights),
            object_totals: objects(looker, &sights),
            statistics_db_event_queue: 0,
            node: NODE,
            contexts: http.map(context).collect(),
            listeners: listeners.iter().map(listener).collect(),
        })
    })
    .await
}
