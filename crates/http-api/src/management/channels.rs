//! Channels and consumers: `/api/channels`, `/api/consumers`. Who does not watch over the node sees
//! his own.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use broker::Sight;
use broker::connections::ConnectionState;
use broker::operation::{Acknowledgement, Sharing};
use broker::views::{ChannelView, ConsumerView};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::connections::{self, ConnectionDetails};
use super::listing::Wish;
use super::message_stats::MessageStats;
use super::nodes::NODE;
use crate::gate::Guest;
use crate::hall::Hall;
use crate::json_table;
use crate::looking::{self, Looker};
use crate::problem::Problem;
use crate::query::Places;
use crate::routes::{Need, Routes};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/channels", Need::Management, list)
        .get("/api/channels/{name}", Need::Management, one)
        .get("/api/vhosts/{vhost}/channels", Need::Management, of_vhost)
        .get("/api/connections/{name}/channels", Need::Management, of_connection)
        .get("/api/consumers", Need::Management, consumers)
        .get("/api/consumers/{vhost}", Need::Management, consumers_of_vhost)
}

/// A channel.
#[derive(Serialize)]
struct ChannelOut<'a> {
    acks_uncommitted: u64,
    confirm: bool,
    connection_details: ConnectionDetails<'a>,
    consumer_count: u32,
    global_prefetch_count: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_stats: Option<MessageStats>,
    messages_unacknowledged: u64,
    messages_uncommitted: u64,
    messages_unconfirmed: u64,
    name: &'a str,
    node: &'static str,
    number: u16,
    prefetch_count: u16,
    state: &'static str,
    transactional: bool,
    user: &'a str,
    user_who_performed_action: &'a str,
    vhost: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer_details: Option<Vec<ConsumerOut<'a>>>,
}

/// A channel, as it is named beside its consumers.
#[derive(Serialize)]
struct ChannelDetails<'a> {
    connection_name: &'a str,
    name: String,
    node: &'static str,
    number: u16,
    peer_host: String,
    peer_port: u16,
    user: &'a str,
}

/// What consumers are at.
#[derive(Serialize)]
struct QueueDetails<'a> {
    name: &'a str,
    vhost: &'a str,
}

/// A consumer.
#[derive(Serialize)]
pub(super) struct ConsumerOut<'a> {
    arguments: Map<String, Json>,
    ack_required: bool,
    active: bool,
    activity_status: &'static str,
    channel_details: ChannelDetails<'a>,
    consumer_tag: &'a str,
    exclusive: bool,
    prefetch_count: u16,
    queue: QueueDetails<'a>,
}

/// A channel with its name.
struct Named<'a> {
    view: &'a ChannelView,
    name: String,
}

fn channel_name(connection: &str, number: u16) -> String {
    format!("{connection} ({number})")
}

impl<'a> Named<'a> {
    fn new(view: &'a ChannelView) -> Named<'a> {
        Named { view, name: channel_name(&view.connection.name, view.number) }
    }

    fn shown(&self, consumer_details: Option<Vec<ConsumerOut<'a>>>) -> ChannelOut<'_> {
        let Named { view, name } = self;
        let connection = &*view.connection;
        let state = match connection.state() {
            _ if view.closing => "closing",
            ConnectionState::Flow => "flow",
            ConnectionState::Running
            | ConnectionState::Blocking
            | ConnectionState::Blocked
            | ConnectionState::Closing => "running",
        };
        ChannelOut {
            acks_uncommitted: view.uncommitted_settlements,
            confirm: view.confirms,
            connection_details: ConnectionDetails::of(connection),
            consumer_count: view.consumers,
            global_prefetch_count: view.prefetch_global,
            message_stats: MessageStats::of_channel(&view.counts, &view.rates),
            messages_unacknowledged: view.unacked,
            messages_uncommitted: view.uncommitted,
            messages_unconfirmed: view.unconfirmed,
            name,
            node: NODE,
            number: view.number,
            prefetch_count: view.prefetch,
            state,
            transactional: view.transactional,
            user: connection.user.as_str(),
            user_who_performed_action: connection.user.as_str(),
            vhost: connection.vhost.as_str(),
            consumer_details,
        }
    }
}

pub(super) fn shown_consumer(view: &ConsumerView) -> ConsumerOut<'_> {
    let connection = &*view.connection;
    let peer = connection.introduction.peer;
    let activity_status = match (view.active, view.single_active) {
        (true, true) => "single_active",
        (true, false) => "up",
        (false, _) => "waiting",
    };
    ConsumerOut {
        arguments: json_table::shown(&view.arguments),
        ack_required: view.acknowledgement == Acknowledgement::Manual,
        active: view.active,
        activity_status,
        channel_details: ChannelDetails {
            connection_name: &connection.name,
            name: channel_name(&connection.name, view.channel),
            node: NODE,
            number: view.channel,
            peer_host: peer.ip().to_string(),
            peer_port: peer.port(),
            user: connection.user.as_str(),
        },
        consumer_tag: view.consumer_tag.as_str(),
        exclusive: view.sharing == Sharing::Exclusive,
        prefetch_count: view.prefetch,
        queue: QueueDetails { name: view.queue.as_str(), vhost: connection.vhost.as_str() },
    }
}

/// The channels of some virtual hosts that he may know of.
fn answer(
    looker: &Looker<'_>,
    sights: &[Sight],
    wish: &Wish,
    wanted: impl Fn(&ChannelView) -> bool,
) -> Result<Response, Problem> {
    let listings: Vec<_> = sights.iter().map(Sight::channels).collect();
    let views = listings.iter().flat_map(|listing| listing.iter());
    let views = views.filter(|it| looker.sees_user(&it.connection.user) && wanted(it));
    let named = views.map(Named::new).collect();
    wish.answer(named, |it: &Named<'_>| it.name.as_str(), |it| Rendered::of(it, None))
}

/// A channel in JSON: what is shown borrows from what is listed, which a list can't say.
#[derive(Serialize)]
#[serde(transparent)]
struct Rendered(Json);

impl Rendered {
    fn of(named: &Named<'_>, consumers: Option<Vec<ConsumerOut<'_>>>) -> Rendered {
        Rendered(serde_json::to_value(named.shown(consumers)).unwrap_or_default())
    }
}

async fn list(
    State(hall): State<Hall>,
    Guest(user): Guest,
    wish: Wish,
) -> Result<Response, Problem> {
    looking::at_many(&hall, user, move |looker| {
        // His own channels, wherever they are.
        answer(looker, &looker.broker.sights(), &wish, |_| true)
    })
    .await
}

async fn of_vhost(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(vhost): Places<String>,
    wish: Wish,
) -> Result<Response, Problem> {
    looking::at_many(&hall, user, move |looker| {
        let sight = looker.sight(&vhost)?;
        answer(looker, &[sight], &wish, |_| true)
    })
    .await
}

async fn of_connection(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(name): Places<String>,
    wish: Wish,
) -> Result<Response, Problem> {
    looking::at_many(&hall, user, move |looker| {
        let connection = connections::known(looker, &name)?;
        let sight = looker.broker.sight(connection.vhost.as_str());
        let sights: Vec<_> = sight.into_iter().collect();
        answer(looker, &sights, &wish, |it| Arc::ptr_eq(&it.connection, &connection))
    })
    .await
}

async fn one(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(name): Places<String>,
    wish: Wish,
) -> Result<Response, Problem> {
    looking::at_one(&hall, user, move |looker| {
        let none = || Problem::not_found(format!("there is no channel '{name}'"));
        // A channel is named by its connection, and its number in brackets.
        let (connection, number) = name.rsplit_once(" (").ok_or_else(none)?;
        let number: u16 =
            number.strip_suffix(')').and_then(|it| it.parse().ok()).ok_or_else(none)?;
        let connection = connections::known(looker, connection)?;
        let sight = looker.broker.sight(connection.vhost.as_str()).ok_or_else(none)?;
        let (channels, consumers) = (sight.channels(), sight.consumers());
        let wanted =
            |it: &&ChannelView| it.number == number && Arc::ptr_eq(&it.connection, &connection);
        let view = channels.iter().find(wanted).ok_or_else(none)?;
        let its = consumers
            .iter()
            .filter(|it| it.channel == number && Arc::ptr_eq(&it.connection, &connection));
        wish.show(&Rendered::of(&Named::new(view), Some(its.map(shown_consumer).collect())))
    })
    .await
}

/// Consumers of some virtual hosts.
fn answer_consumers(
    looker: &Looker<'_>,
    sights: &[Sight],
    wish: &Wish,
) -> Result<Response, Problem> {
    let listings: Vec<_> = sights.iter().map(Sight::consumers).collect();
    let views = listings.iter().flat_map(|listing| listing.iter());
    let views: Vec<_> = views.filter(|it| looker.sees_user(&it.connection.user)).collect();
    wish.answer(views, |it| it.consumer_tag.as_str(), |it| shown_consumer(it))
}

async fn consumers(
    State(hall): State<Hall>,
    Guest(user): Guest,
    wish: Wish,
) -> Result<Response, Problem> {
    looking::at_many(&hall, user, move |looker| answer_consumers(looker, &looker.sights(), &wish))
        .await
}

async fn consumers_of_vhost(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(vhost): Places<String>,
    wish: Wish,
) -> Result<Response, Problem> {
    looking::at_many(&hall, user, move |looker| {
        let sight = looker.sight(&vhost)?;
        answer_consumers(looker, &[sight], &wish)
    })
    .await
}
