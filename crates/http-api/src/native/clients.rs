//! Looking at who is connected: connections, channels, consumers. Who does not watch over the node
//! sees his own.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use broker::connections::Connection;
use broker::operation::{Acknowledgement, Sharing};
use broker::views::{ChannelView, ConsumerView};
use serde::Serialize;
use serde_json::{Map, Value as Json};
use utoipa::ToSchema;

use super::cursor::{Page, PageParameters, Part};
use super::queues::{CountsOut, RatesOut};
use crate::gate::Guest;
use crate::hall::Hall;
use crate::json_table;
use crate::looking::{self, Looker, rfc3339};
use crate::problem::Problem;
use crate::query::Parameters;
use crate::routes::{Need, Routes};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/v1/connections", Need::Login, list_connections)
        .get("/v1/channels", Need::Login, list_channels)
        .get("/v1/consumers", Need::Login, list_consumers)
}

/// A connection.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionOut {
    name: String,
    /// What the client calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_provided_name: Option<String>,
    user: String,
    vhost: String,
    protocol: &'static str,
    /// Where it comes from.
    peer: String,
    /// The version of TLS, if it is encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<String>,
    /// `running`, `flow`, `blocking`, `blocked` or `closing`.
    state: &'static str,
    connected_at: String,
    heartbeat_s: u16,
    channel_max: u16,
    frame_max_bytes: u32,
    #[schema(value_type = Object)]
    client_properties: Map<String, Json>,
    received_bytes: u64,
    sent_bytes: u64,
    received_bytes_per_s: f64,
    sent_bytes_per_s: f64,
}

fn shown_connection(connection: &Connection) -> ConnectionOut {
    let told = &connection.introduction;
    let (traffic, rates) = (connection.traffic(), connection.rates());
    ConnectionOut {
        name: connection.name.clone().into_string(),
        client_provided_name: connection.client_provided_name().map(str::to_owned),
        user: connection.user.as_str().to_owned(),
        vhost: connection.vhost.as_str().to_owned(),
        protocol: told.protocol,
        peer: told.peer.to_string(),
        tls: told.tls.as_ref().map(|tls| tls.version.clone().into_string()),
        state: connection.state().as_str(),
        connected_at: rfc3339(connection.connected_wall_ms),
        heartbeat_s: told.heartbeat_seconds,
        channel_max: told.channel_max,
        frame_max_bytes: told.frame_bytes_max,
        client_properties: json_table::shown(&told.client_properties),
        received_bytes: traffic.read_bytes,
        sent_bytes: traffic.written_bytes,
        received_bytes_per_s: rates.read_bytes,
        sent_bytes_per_s: rates.written_bytes,
    }
}

/// Those that he may know of, of the virtual host that is asked for.
fn visible(looker: &Looker<'_>, vhost: Option<&String>) -> Result<Vec<Arc<Connection>>, Problem> {
    let vhost = vhost.map(|vhost| looker.sight(vhost)).transpose()?;
    let mut connections = looker.broker.connections();
    connections.retain(|connection| {
        let is_there = vhost.as_ref().is_none_or(|sight| *sight.vhost() == connection.vhost);
        is_there && looker.sees_user(&connection.user)
    });
    Ok(connections)
}

/// Lists connections.
#[utoipa::path(
    get, path = "/v1/connections", tag = "clients",
    params(PageParameters),
    responses((status = 200, body = Page<ConnectionOut>))
)]
pub(super) async fn list_connections(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Parameters(parameters): Parameters<PageParameters>,
) -> Result<Response, Problem> {
    let part = Part::of(&parameters)?;
    looking::at_many(&hall, user, move |looker| {
        part.answer(
            visible(looker, parameters.vhost.as_ref())?,
            |it| &it.name,
            |it| it.name.clone().into_string(),
            |it| shown_connection(it),
        )
    })
    .await
}

/// A channel.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChannelOut {
    connection: String,
    number: u16,
    user: String,
    vhost: String,
    /// How many deliveries a consumer that starts now may have unsettled; 0: any number.
    prefetch: u16,
    /// How many all its consumers may have unsettled together; 0: any number.
    prefetch_global: u16,
    consumers: u32,
    unacked: u64,
    /// Whether it confirms publishes.
    confirms: bool,
    unconfirmed: u64,
    transactional: bool,
    /// Publishes that wait for a commit.
    uncommitted: u64,
    counts: CountsOut,
    rates: RatesOut,
}

fn shown_channel(view: &ChannelView) -> ChannelOut {
    ChannelOut {
        connection: view.connection.name.clone().into_string(),
        number: view.number,
        user: view.connection.user.as_str().to_owned(),
        vhost: view.connection.vhost.as_str().to_owned(),
        prefetch: view.prefetch,
        prefetch_global: view.prefetch_global,
        consumers: view.consumers,
        unacked: view.unacked,
        confirms: view.confirms,
        unconfirmed: view.unconfirmed,
        transactional: view.transactional,
        uncommitted: view.uncommitted,
        counts: CountsOut::of(&view.counts),
        rates: RatesOut::of(&view.rates),
    }
}

/// Lists channels; `name` and `pattern` are about their connections.
#[utoipa::path(
    get, path = "/v1/channels", tag = "clients",
    params(PageParameters),
    responses((status = 200, body = Page<ChannelOut>))
)]
pub(super) async fn list_channels(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Parameters(parameters): Parameters<PageParameters>,
) -> Result<Response, Problem> {
    let part = Part::of(&parameters)?;
    looking::at_many(&hall, user, move |looker| {
        let sights = match &parameters.vhost {
            Some(vhost) => vec![looker.sight(vhost)?],
            None => looker.broker.sights(),
        };
        let listings: Vec<_> = sights.iter().map(broker::Sight::channels).collect();
        let views = listings.iter().flat_map(|listing| listing.iter());
        part.answer(
            views.filter(|it| looker.sees_user(&it.connection.user)).collect(),
            |it: &&ChannelView| &it.connection.name,
            |it| format!("{}\0{:05}", it.connection.name, it.number),
            |it| shown_channel(it),
        )
    })
    .await
}

/// A consumer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConsumerOut {
    consumer_tag: String,
    queue: String,
    vhost: String,
    connection: String,
    channel: u16,
    user: String,
    /// Whether it settles its deliveries; else being sent settles them.
    acknowledges: bool,
    /// Whether nobody else may consume beside it.
    exclusive: bool,
    /// Whether it is served; false while it stands by.
    active: bool,
    /// How many deliveries it may have unsettled; 0: any number.
    prefetch: u16,
    unacked: u64,
    /// How long a delivery may be unsettled. Left out if for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[schema(value_type = Object)]
    arguments: Map<String, Json>,
}

fn shown_consumer(view: &ConsumerView) -> ConsumerOut {
    ConsumerOut {
        consumer_tag: view.consumer_tag.as_str().to_owned(),
        queue: view.queue.as_str().to_owned(),
        vhost: view.connection.vhost.as_str().to_owned(),
        connection: view.connection.name.clone().into_string(),
        channel: view.channel,
        user: view.connection.user.as_str().to_owned(),
        acknowledges: view.acknowledgement == Acknowledgement::Manual,
        exclusive: view.sharing == Sharing::Exclusive,
        active: view.active,
        prefetch: view.prefetch,
        unacked: view.unacked,
        timeout_ms: view.timeout_ms,
        arguments: json_table::shown(&view.arguments),
    }
}

/// Lists consumers; `name` and `pattern` are about their queues.
#[utoipa::path(
    get, path = "/v1/consumers", tag = "clients",
    params(PageParameters),
    responses((status = 200, body = Page<ConsumerOut>))
)]
pub(super) async fn list_consumers(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Parameters(parameters): Parameters<PageParameters>,
) -> Result<Response, Problem> {
    let part = Part::of(&parameters)?;
    looking::at_many(&hall, user, move |looker| {
        let sights = super::queues::asked(looker, parameters.vhost.as_ref())?;
        let listings: Vec<_> = sights.iter().map(broker::Sight::consumers).collect();
        let views = listings.iter().flat_map(|listing| listing.iter());
        part.answer(
            views.filter(|it| looker.sees_user(&it.connection.user)).collect(),
            |it: &&ConsumerView| it.queue.as_str(),
            |it| format!("{}\0{:05}\0{}", it.connection.name, it.channel, it.consumer_tag),
            |it| shown_consumer(it),
        )
    })
    .await
}
