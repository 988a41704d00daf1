//! Connections: `/api/connections`. Who does not watch over the node sees his own.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use broker::connections::{Connection, TlsFacts};
use domain::name::Name;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::listing::Wish;
use super::message_stats::Details;
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
        .get("/api/connections", Need::Management, list)
        .get("/api/connections/{name}", Need::Management, one)
        .get("/api/connections/username/{user}", Need::Management, of_user)
        .get("/api/vhosts/{vhost}/connections", Need::Management, of_vhost)
}

/// A connection, as it is named beside what belongs to it.
#[derive(Debug, Serialize)]
pub(super) struct ConnectionDetails<'a> {
    name: &'a str,
    peer_host: String,
    peer_port: u16,
}

impl ConnectionDetails<'_> {
    pub(super) fn of(connection: &Connection) -> ConnectionDetails<'_> {
        let peer = connection.introduction.peer;
        ConnectionDetails {
            name: &connection.name,
            peer_host: peer.ip().to_string(),
            peer_port: peer.port(),
        }
    }
}

/// A connection.
#[derive(Serialize)]
struct ConnectionOut<'a> {
    auth_mechanism: &'a str,
    channel_max: u16,
    channels: u32,
    client_properties: Map<String, Json>,
    connected_at: u64,
    frame_max: u32,
    host: String,
    name: &'a str,
    node: &'static str,
    peer_cert_issuer: Option<()>,
    peer_cert_subject: Option<&'a str>,
    peer_cert_validity: Option<()>,
    peer_host: String,
    peer_port: u16,
    port: u16,
    protocol: &'a str,
    recv_cnt: u64,
    recv_oct: u64,
    recv_oct_details: Details,
    send_cnt: u64,
    send_oct: u64,
    send_oct_details: Details,
    send_pend: u64,
    ssl: bool,
    ssl_cipher: Option<&'a str>,
    ssl_protocol: Option<&'a str>,
    state: &'static str,
    timeout: u16,
    r#type: &'static str,
    user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_provided_name: Option<&'a str>,
    user_who_performed_action: &'a str,
    vhost: &'a str,
}

fn shown<'a>(connection: &'a Connection, channels: &Channels) -> ConnectionOut<'a> {
    let told = &connection.introduction;
    let (traffic, rates) = (connection.traffic(), connection.rates());
    let tls = told.tls.as_ref();
    let tls_word = |word: fn(&TlsFacts) -> &str| tls.map(word).filter(|word| !word.is_empty());
    ConnectionOut {
        auth_mechanism: &told.mechanism,
        channel_max: told.channel_max,
        channels: channels.of(connection),
        client_properties: json_table::shown(&told.client_properties),
        connected_at: connection.connected_wall_ms,
        frame_max: told.frame_bytes_max,
        host: told.local.map_or("unknown".to_owned(), |local| local.ip().to_string()),
        name: &connection.name,
        node: NODE,
        peer_cert_issuer: None,
        peer_cert_subject: tls.and_then(|tls| tls.peer_certificate_subject.as_deref()),
        peer_cert_validity: None,
        peer_host: told.peer.ip().to_string(),
        peer_port: told.peer.port(),
        port: told.local.map_or(0, |local| local.port()),
        protocol: told.protocol,
        recv_cnt: traffic.reads,
        recv_oct: traffic.read_bytes,
        recv_oct_details: Details { rate: rates.read_bytes },
        send_cnt: traffic.writes,
        send_oct: traffic.written_bytes,
        send_oct_details: Details { rate: rates.written_bytes },
        send_pend: 0,
        ssl: tls.is_some(),
        ssl_cipher: tls_word(|tls| &tls.cipher),
        ssl_protocol: tls_word(|tls| &tls.version),
        state: connection.state().as_str(),
        timeout: told.heartbeat_seconds,
        r#type: "network",
        user: connection.user.as_str(),
        user_provided_name: connection.client_provided_name(),
        user_who_performed_action: connection.user.as_str(),
        vhost: connection.vhost.as_str(),
    }
}

/// How many channels each connection has.
struct Channels(HashMap<*const Connection, u32>);

impl Channels {
    /// Of the connections into one virtual host, or into all.
    fn count(looker: &Looker<'_>, vhost: Option<&Name>) -> Channels {
        let mut counts = HashMap::new();
        for sight in looker.broker.sights() {
            if vhost.is_none_or(|vhost| vhost == sight.vhost()) {
                for channel in &**sight.channels() {
                    *counts.entry(Arc::as_ptr(&channel.connection)).or_default() += 1;
                }
            }
        }
        Channels(counts)
    }

    fn of(&self, connection: &Connection) -> u32 {
        self.0.get(&std::ptr::from_ref(connection)).copied().unwrap_or_default()
    }
}

/// Those that he may know of, in the order of their names.
pub(super) fn visible(looker: &Looker<'_>) -> Vec<Arc<Connection>> {
    let mut connections = looker.broker.connections();
    connections.retain(|connection| looker.sees_user(&connection.user));
    connections.sort_by(|one, other| one.name.cmp(&other.name));
    connections
}

/// The connection of that name, if he may know of it.
pub(super) fn known(looker: &Looker<'_>, name: &str) -> Result<Arc<Connection>, Problem> {
    let found = looking::spelled(name, |name| looker.broker.connection(name));
    let found =
        found.ok_or_else(|| Problem::not_found(format!("there is no connection '{name}'")))?;
    if looker.sees_user(&found.user) {
        return Ok(found);
    }
    Err(Problem::forbidden("others' connections are seen by monitoring users and administrators"))
}

fn answer(
    wish: &Wish,
    connections: &[Arc<Connection>],
    channels: &Channels,
) -> Result<Response, Problem> {
    wish.answer(connections.iter().collect(), |it| &it.name, |it| shown(it, channels))
}

async fn list(
    State(hall): State<Hall>,
    Guest(user): Guest,
    wish: Wish,
) -> Result<Response, Problem> {
    looking::at_many(&hall, user, move |looker| {
        answer(&wish, &visible(looker), &Channels::count(looker, None))
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
        let connection = known(looker, &name)?;
        let channels = Channels::count(looker, Some(&connection.vhost));
        wish.show(&shown(&connection, &channels))
    })
    .await
}

/// What RabbitMQ tells of a user's connections.
#[derive(Serialize)]
struct Tracked<'a> {
    name: &'a str,
    vhost: &'a str,
    user: &'a str,
    node: &'static str,
}

fn tracked(connection: &Connection) -> Tracked<'_> {
    Tracked {
        name: &connection.name,
        vhost: connection.vhost.as_str(),
        user: connection.user.as_str(),
        node: NODE,
    }
}

async fn of_user(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(whose): Places<String>,
    wish: Wish,
) -> Result<Response, Problem> {
    looking::at_many(&hall, user, move |looker| {
        let mut connections = visible(looker);
        connections.retain(|connection| *connection.user.as_str() == *whose);
        wish.answer(connections.iter().collect(), |it| &it.name, |it| tracked(it))
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
        let channels = Channels::count(looker, Some(sight.vhost()));
        let mut connections = visible(looker);
        connections.retain(|connection| connection.vhost == *sight.vhost());
        answer(&wish, &connections, &channels)
    })
    .await
}
