//! Queues: `/api/queues`.

use axum::extract::State;
use axum::response::Response;
use broker::views::{ConsumerView, QueueView};
use broker::{Listing, Sight};
use domain::name::Name;
use domain::queue::settings::QueueType;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::channels::{ConsumerOut, shown_consumer};
use super::connections::ConnectionDetails;
use super::listing::{Detail, Wish};
use super::message_stats::{Details, MessageStats};
use super::nodes::NODE;
use crate::gate::Guest;
use crate::hall::Hall;
use crate::json_table;
use crate::looking::{self, rfc3339, wall_ms};
use crate::problem::Problem;
use crate::query::Places;
use crate::routes::{Need, Routes};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/queues", Need::Management, list)
        .get("/api/queues/{vhost}", Need::Management, of_vhost)
        .get("/api/queues/{vhost}/{name}", Need::Management, one)
}

/// A queue.
#[derive(Serialize)]
struct QueueOut<'a> {
    arguments: Map<String, Json>,
    auto_delete: bool,
    durable: bool,
    exclusive: bool,
    name: &'a str,
    node: &'static str,
    state: &'static str,
    r#type: &'static str,
    vhost: &'a str,
    #[serde(flatten)]
    replicas: Option<Replicas>,
    #[serde(flatten)]
    totals: Option<Totals>,
    #[serde(flatten)]
    stats: Option<Stats<'a>>,
    #[serde(flatten)]
    details: Option<QueueDetails<'a>>,
}

/// Where the copies of a quorum queue are: here.
#[derive(Serialize)]
struct Replicas {
    leader: &'static str,
    members: [&'static str; 1],
    online: [&'static str; 1],
}

/// How many messages are in it.
#[derive(Serialize)]
struct Totals {
    messages: u64,
    messages_ready: u64,
    messages_unacknowledged: u64,
}

/// How it is doing.
#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "they are RabbitMQ's")]
struct Stats<'a> {
    consumer_capacity: f64,
    consumer_utilisation: f64,
    consumers: u32,
    effective_policy_definition: Map<String, Json>,
    exclusive_consumer_tag: Option<&'a str>,
    head_message_timestamp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_bytes_ready: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_stats: Option<MessageStats>,
    messages_details: Details,
    messages_ready_details: Details,
    messages_unacknowledged_details: Details,
    operator_policy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_pid_details: Option<ConnectionDetails<'a>>,
    policy: Option<&'a str>,
    recoverable_slaves: Option<()>,
    single_active_consumer_tag: Option<&'a str>,
}

/// What is told of single queues only.
#[derive(Serialize)]
struct QueueDetails<'a> {
    consumer_details: Vec<ConsumerOut<'a>>,
    /// RabbitMQ tells whom its messages come from and go to, if it is told to keep that.
    deliveries: [(); 0],
    incoming: [(); 0],
}

fn stats(view: &QueueView, now_ms: u64) -> Stats<'_> {
    let traffic = view.traffic();
    let capacity = match view.consumers {
        0 => 0.0,
        consumers => f64::from(view.consumers_with_room) / f64::from(consumers),
    };
    let details = |rate: f64| Details { rate };
    // RabbitMQ calls idle what has been so for a moment.
    let idle_ms = view.idle_ms.filter(|idle_ms| *idle_ms >= IDLE_MS_MIN);
    let active = view.single_active_consumer.as_ref();
    Stats {
        consumer_capacity: capacity,
        consumer_utilisation: capacity,
        consumers: view.consumers,
        effective_policy_definition: Map::new(),
        // Where one is served at a time, RabbitMQ tells of that one only.
        exclusive_consumer_tag: (view.exclusive_consumer_tag.as_ref())
            .filter(|_| active.is_none())
            .map(Name::as_str),
        head_message_timestamp: None,
        idle_since: idle_ms.map(|idle_ms| rfc3339(now_ms.saturating_sub(idle_ms))),
        message_bytes_ready: view.ready_bytes,
        message_stats: MessageStats::of_queue(&traffic.counts, &traffic.rates),
        messages_details: details(traffic.ready_rate + traffic.unacked_rate),
        messages_ready_details: details(traffic.ready_rate),
        messages_unacknowledged_details: details(traffic.unacked_rate),
        operator_policy: None,
        owner_pid_details: view.owner.as_deref().map(ConnectionDetails::of),
        policy: None,
        recoverable_slaves: None,
        single_active_consumer_tag: active.map(|active| active.consumer_tag.as_str()),
    }
}

/// As long as RabbitMQ's processes wait before they say that they are idle.
const IDLE_MS_MIN: u64 = 5_000;

fn shown<'a>(vhost: &'a Name, view: &'a QueueView, detail: Detail, now_ms: u64) -> QueueOut<'a> {
    let replicas = Replicas { leader: NODE, members: [NODE], online: [NODE] };
    let totals = Totals {
        messages: view.messages(),
        messages_ready: view.ready,
        messages_unacknowledged: view.unacked,
    };
    QueueOut {
        arguments: json_table::shown(&view.declaration.arguments),
        auto_delete: view.declaration.auto_delete,
        durable: view.declaration.durable,
        exclusive: view.declaration.exclusive,
        name: view.name.as_str(),
        node: NODE,
        state: if detail == Detail::Declaration { "live" } else { "running" },
        r#type: view.queue_type.as_str(),
        vhost: vhost.as_str(),
        replicas: (view.queue_type == QueueType::Quorum).then_some(replicas),
        totals: (detail != Detail::Declaration).then_some(totals),
        stats: (detail == Detail::Everything).then(|| stats(view, now_ms)),
        details: None,
    }
}

/// The queue that a path names.
pub(super) fn known(sight: &Sight, name: &str) -> Result<QueueView, Problem> {
    looking::spelled(name, |name| sight.queue(name)).ok_or_else(|| {
        Problem::not_found(format!("there is no queue '{name}' in vhost '{}'", sight.vhost()))
    })
}

fn answer(sights: &[Sight], wish: &Wish) -> Result<Response, Problem> {
    let listings: Vec<_> = sights.iter().map(|sight| (sight.vhost(), sight.queues())).collect();
    let rows = listings.iter().flat_map(|(vhost, listing)| {
        let row = |it| (*vhost, it, listing.wall_ms);
        listing.iter().map(row)
    });
    wish.answer(
        rows.collect(),
        |(_, it, _): &(_, &QueueView, _)| it.name.as_str(),
        |(vhost, it, now_ms)| shown(vhost, it, wish.detail, *now_ms),
    )
}

async fn list(
    State(hall): State<Hall>,
    Guest(user): Guest,
    wish: Wish,
) -> Result<Response, Problem> {
    looking::at_many(&hall, user, move |looker| answer(&looker.sights(), &wish)).await
}

async fn of_vhost(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(vhost): Places<String>,
    wish: Wish,
) -> Result<Response, Problem> {
    looking::at_many(&hall, user, move |looker| answer(&[looker.sight(&vhost)?], &wish)).await
}

async fn one(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places((vhost, name)): Places<(String, String)>,
    wish: Wish,
) -> Result<Response, Problem> {
    looking::at_one(&hall, user, move |looker| {
        let sight = looker.sight(&vhost)?;
        let view = known(&sight, &name)?;
        let consumers = consumers(&sight, &view, wish.detail);
        let its = consumers.iter().flat_map(|all| all.iter()).filter(|it| it.queue == view.name);
        let details = QueueDetails {
            consumer_details: its.map(shown_consumer).collect(),
            deliveries: [],
            incoming: [],
        };
        let details = (wish.detail == Detail::Everything).then_some(details);
        wish.show(&QueueOut { details, ..shown(sight.vhost(), &view, wish.detail, wall_ms()) })
    })
    .await
}

/// The list of consumers, if there is anything in it that is looked for.
fn consumers(
    sight: &Sight,
    view: &QueueView,
    detail: Detail,
) -> Option<std::sync::Arc<Listing<ConsumerView>>> {
    (detail == Detail::Everything && view.consumers > 0).then(|| sight.consumers())
}
