//! Looking at queues.

use axum::extract::State;
use axum::response::Response;
use broker::Sight;
use broker::views::{MessageCounts, QueueView};
use domain::name::Name;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use utoipa::{IntoParams, ToSchema};

use super::cursor::{Page, PageParameters, Part, key_of_number_down};
use crate::gate::Guest;
use crate::hall::Hall;
use crate::json_table;
use crate::looking::{self, Looker};
use crate::problem::Problem;
use crate::query::{InVhost, Parameters, Places};
use crate::routes::{Need, Routes};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/v1/queues", Need::Login, list_queues)
        .get("/v1/queues/{queue}", Need::Login, get_queue)
        .get("/v1/queues/{queue}/scale", Need::Login, get_scale)
}

/// A queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueOut {
    name: String,
    vhost: String,
    /// `classic` or `quorum`: what it was declared as.
    r#type: &'static str,
    durable: bool,
    auto_delete: bool,
    exclusive: bool,
    #[schema(value_type = Object)]
    arguments: Map<String, Json>,
    /// Messages that could be delivered.
    ready: u64,
    /// Messages delivered and not settled, and those that were given back for later.
    unacked: u64,
    /// Of these: how many were given back for later, and wait until their delay is over.
    delayed: u64,
    /// Bytes of ready bodies; told where they are limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    ready_bytes: Option<u64>,
    /// Done messages that it tells of; told where it was declared for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<u64>,
    /// What it tells of them, in bytes, with what that takes besides: 256 for each.
    #[serde(skip_serializing_if = "Option::is_none")]
    done_bytes: Option<u64>,
    consumers: u32,
    /// Consumers that would take another message at once.
    consumers_with_room: u32,
    /// The tag of the consumer that is served, where only one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    single_active_consumer: Option<String>,
    /// The connection that an exclusive queue belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    /// How long the next message to go has waited; counted anew from a restart. Left out while none
    /// is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_age_ms: Option<u64>,
    /// How long nothing has happened to its messages. Left out if nothing ever did.
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_ms: Option<u64>,
    counts: CountsOut,
    rates: RatesOut,
}

/// What happened to messages since the start.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct CountsOut {
    published: u64,
    /// Handed out, repeated ones included.
    delivered: u64,
    redelivered: u64,
    acknowledged: u64,
    /// Came back unsettled.
    requeued: u64,
    /// Rejected for good.
    rejected: u64,
    /// Waited too long.
    expired: u64,
    /// Went because there were too many.
    overflowed: u64,
    /// Refused because there were too many.
    refused: u64,
    /// Left as dead letters.
    dead_lettered: u64,
    purged: u64,
}

/// What happens to messages per second, lately.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "units stand last")]
pub(crate) struct RatesOut {
    published_per_s: f64,
    delivered_per_s: f64,
    acknowledged_per_s: f64,
    requeued_per_s: f64,
}

impl CountsOut {
    pub(super) fn of(counts: &MessageCounts) -> CountsOut {
        CountsOut {
            published: counts.published,
            delivered: counts.handed_out(),
            redelivered: counts.redelivered,
            acknowledged: counts.acknowledged,
            requeued: counts.requeued,
            rejected: counts.rejected,
            expired: counts.expired,
            overflowed: counts.overflowed,
            refused: counts.refused,
            dead_lettered: counts.dead_lettered,
            purged: counts.purged,
        }
    }
}

impl RatesOut {
    pub(super) fn of(rates: &MessageCounts<f64>) -> RatesOut {
        RatesOut {
            published_per_s: rates.published,
            delivered_per_s: rates.handed_out(),
            acknowledged_per_s: rates.acknowledged,
            requeued_per_s: rates.requeued,
        }
    }
}

fn shown(vhost: &Name, view: &QueueView) -> QueueOut {
    let traffic = view.traffic();
    let active = view.single_active_consumer.as_ref();
    QueueOut {
        name: view.name.as_str().to_owned(),
        vhost: vhost.as_str().to_owned(),
        r#type: view.queue_type.as_str(),
        durable: view.declaration.durable,
        auto_delete: view.declaration.auto_delete,
        exclusive: view.declaration.exclusive,
        arguments: json_table::shown(&view.declaration.arguments),
        ready: view.ready,
        unacked: view.unacked,
        delayed: view.delayed,
        ready_bytes: view.ready_bytes,
        done: view.done.map(|done| done.messages),
        done_bytes: view.done.map(|done| done.bytes),
        consumers: view.consumers,
        consumers_with_room: view.consumers_with_room,
        single_active_consumer: active.map(|active| active.consumer_tag.as_str().to_owned()),
        owner: view.owner.as_ref().map(|owner| owner.name.clone().into_string()),
        oldest_age_ms: view.oldest_ms,
        idle_ms: view.idle_ms,
        counts: CountsOut::of(&traffic.counts),
        rates: RatesOut::of(&traffic.rates),
    }
}

/// By what queues are sorted.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum QueueOrder {
    /// By virtual host and name.
    #[default]
    Name,
    /// Those with the most messages first.
    Depth,
    /// Those with the oldest waiting message first.
    Age,
    /// Those with the most published per second first.
    Rate,
}

/// How queues are sorted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueuesParameters {
    /// The virtual host; all that the user may see if not said.
    vhost: Option<String>,
    /// At most so many; 100 if not said.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<usize>,
    /// Go on behind this: `next` of the page before.
    after: Option<String>,
    /// Only those whose name begins with this.
    name: Option<String>,
    /// Only those whose name matches this regular expression somewhere.
    pattern: Option<String>,
    #[serde(default)]
    #[param(inline)]
    sort: QueueOrder,
}

#[expect(clippy::cast_precision_loss, reason = "it is for sorting")]
fn key(order: QueueOrder, vhost: &Name, view: &QueueView, wall_ms: u64) -> String {
    let name = format!("{vhost}\0{}", view.name);
    match order {
        QueueOrder::Name => name,
        QueueOrder::Depth => format!("{}\0{name}", key_of_number_down(view.messages() as f64)),
        // Ages grow; since when something waits stays the same from page to page.
        QueueOrder::Age => {
            let since_s = view.oldest_ms.map_or(u64::MAX, |ms| wall_ms.saturating_sub(ms) / 1_000);
            format!("{since_s:016x}\0{name}")
        }
        QueueOrder::Rate => {
            format!("{}\0{name}", key_of_number_down(view.traffic().rates.published))
        }
    }
}

/// The virtual hosts that are asked for: one, or all that he may see.
pub(super) fn asked(looker: &Looker<'_>, vhost: Option<&String>) -> Result<Vec<Sight>, Problem> {
    match vhost {
        Some(vhost) => Ok(vec![looker.sight(vhost)?]),
        None => Ok(looker.sights()),
    }
}

/// Lists queues with their depths, ages and rates. In another order than by name, what changes its place
/// between two pages may be missed or come twice.
#[utoipa::path(
    get, path = "/v1/queues", tag = "queues",
    params(QueuesParameters),
    responses((status = 200, body = Page<QueueOut>))
)]
pub(super) async fn list_queues(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Parameters(parameters): Parameters<QueuesParameters>,
) -> Result<Response, Problem> {
    let QueuesParameters { vhost, limit, after, name, pattern, sort } = parameters;
    let part = Part::of(&PageParameters { vhost: None, limit, after, name, pattern })?;
    looking::at_many(&hall, user, move |looker| {
        let sights = asked(looker, vhost.as_ref())?;
        let listings: Vec<_> = sights.iter().map(|it| (it.vhost(), it.queues())).collect();
        let views = listings.iter().flat_map(|(vhost, all)| {
            let row = |it| (*vhost, it, all.wall_ms);
            all.iter().map(row)
        });
        part.answer(
            views.collect(),
            |(_, it, _): &(_, &QueueView, _)| it.name.as_str(),
            |(vhost, it, wall_ms)| key(sort, vhost, it, *wall_ms),
            |(vhost, it, _)| shown(vhost, it),
        )
    })
    .await
}

fn known(sight: &Sight, queue: &str) -> Result<QueueView, Problem> {
    let vhost = sight.vhost();
    sight.queue(queue).ok_or_else(|| {
        Problem::not_found(format!("there is no queue '{queue}' in vhost '{vhost}'"))
            .remedy("GET /v1/queues lists those there are; ?vhost=NAME asks in another vhost")
    })
}

/// A queue as it is now.
#[utoipa::path(
    get, path = "/v1/queues/{queue}", tag = "queues",
    params(("queue" = String, Path), InVhost),
    responses((status = 200, body = QueueOut))
)]
pub(super) async fn get_queue(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(queue): Places<String>,
    Parameters(place): Parameters<InVhost>,
) -> Result<Response, Problem> {
    looking::at_one(&hall, user, move |looker| {
        let sight = looker.sight(place.name())?;
        looking::json(&shown(sight.vhost(), &known(&sight, &queue)?))
    })
    .await
}

/// What an autoscaler needs to know of a queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScaleOut {
    /// Ready and unacknowledged: what is to be done. Scale by this, so that a message that is being
    /// worked on keeps its worker.
    messages: u64,
    ready: u64,
    unacked: u64,
    consumers: u32,
    /// How long the next message to go has waited, in seconds; 0 if none is ready.
    oldest_age_s: f64,
    published_per_s: f64,
    delivered_per_s: f64,
    acknowledged_per_s: f64,
}

/// What an autoscaler needs to know of a queue, as it is now.
#[utoipa::path(
    get, path = "/v1/queues/{queue}/scale", tag = "queues",
    params(("queue" = String, Path), InVhost),
    responses((status = 200, body = ScaleOut))
)]
pub(super) async fn get_scale(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(queue): Places<String>,
    Parameters(place): Parameters<InVhost>,
) -> Result<Response, Problem> {
    looking::at_one(&hall, user, move |looker| {
        let view = known(&looker.sight(place.name())?, &queue)?;
        let RatesOut { published_per_s, delivered_per_s, acknowledged_per_s, .. } =
            RatesOut::of(&view.traffic().rates);
        #[expect(clippy::cast_precision_loss, reason = "nobody scales by less than a second")]
        let oldest_age_s = view.oldest_ms.map_or(0.0, |ms| ms as f64 / 1e3);
        looking::json(&ScaleOut {
            messages: view.messages(),
            ready: view.ready,
            unacked: view.unacked,
            consumers: view.consumers,
            oldest_age_s,
            published_per_s,
            delivered_per_s,
            acknowledged_per_s,
        })
    })
    .await
}
