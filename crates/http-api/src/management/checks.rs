//! Health in RabbitMQ's words, and what its clients ask to find out with whom they speak.

use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use broker::operation::{Acknowledgement, Answer, Declare, Operation, Unroutable};
use broker::{Event, MessageHead};
use domain::name::Name;
use serde_json::{Value as Json, json};

use super::nodes;
use crate::gate::Guest;
use crate::hall::Hall;
use crate::listener::Listener;
use crate::problem::Problem;
use crate::query::Places;
use crate::routes::{Need, Routes};
use crate::visit::{CHANNEL, Visit};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/health/checks/alarms", Need::Management, alarms)
        .get("/api/health/checks/local-alarms", Need::Management, alarms)
        .get(
            "/api/health/checks/certificate-expiration/{within}/{unit}",
            Need::Management,
            certificate_expiration,
        )
        .get("/api/health/checks/port-listener/{port}", Need::Management, port_listener)
        .get("/api/health/checks/protocol-listener/{protocol}", Need::Management, protocol_listener)
        .get("/api/health/checks/virtual-hosts", Need::Management, virtual_hosts)
        .get("/api/health/checks/node-is-quorum-critical", Need::Management, single_node)
        .get("/api/health/checks/node-is-mirror-sync-critical", Need::Management, single_node)
        .get("/api/healthchecks/node", Need::Management, node)
        .get("/api/healthchecks/node/{name}", Need::Management, node_of_name)
        .get("/api/aliveness-test/{vhost}", Need::Management, aliveness)
        .get("/api/auth", Need::Nothing, auth)
        .get("/api/extensions", Need::Management, extensions)
}

fn ok() -> Response {
    axum::Json(json!({ "status": "ok" })).into_response()
}

fn failed(mut facts: Json) -> Response {
    facts["status"] = json!("failed");
    (StatusCode::SERVICE_UNAVAILABLE, axum::Json(facts)).into_response()
}

async fn alarms(State(hall): State<Hall>) -> Response {
    let raised = hall.broker().alarms();
    if raised.are_clear() {
        return ok();
    }
    let words = raised.to_string();
    failed(json!({ "reason": "There are alarms in effect", "alarms": [{ "resource": words }] }))
}

async fn virtual_hosts(State(hall): State<Hall>) -> Response {
    match hall.broker().poisoned() {
        None => ok(),
        Some((vhost, _)) => failed(json!({
            "reason": "Some virtual hosts are down", "virtual-hosts": [vhost.as_str()],
        })),
    }
}

async fn node(State(hall): State<Hall>) -> Response {
    match hall.broker().poisoned() {
        None => alarms(State(hall)).await,
        Some((vhost, poison)) => failed(json!({ "reason": format!("vhost '{vhost}': {poison}") })),
    }
}

async fn node_of_name(
    State(hall): State<Hall>,
    Places(name): Places<String>,
) -> Result<Response, Problem> {
    nodes::is_this(&name)?;
    Ok(node(State(hall)).await)
}

async fn single_node() -> Response {
    axum::Json(json!({ "status": "ok", "reason": "single node cluster" })).into_response()
}

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// RabbitMQ's units, and what they are in days.
const UNITS: [(&str, u64); 4] = [("days", 1), ("weeks", 7), ("months", 30), ("years", 365)];

async fn certificate_expiration(
    State(hall): State<Hall>,
    Places((within, unit)): Places<(String, String)>,
) -> Result<Response, Problem> {
    let Some((_, days)) = UNITS.iter().find(|(known, _)| *known == unit) else {
        let detail = "Time unit not recognised. Supported units: days, weeks, months, years.";
        return Err(Problem::bad_request(detail));
    };
    let within: u32 =
        within.parse().map_err(|_invalid| Problem::bad_request("Invalid expiration value."))?;
    let until = SystemTime::now() + Duration::from_secs(u64::from(within) * days * DAY_SECONDS);
    let until = until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(match hall.settings().certificate_end.seconds() {
        Some(end) if end <= until => {
            failed(json!({ "reason": "Certificates expiring", "expires_at": end }))
        }
        Some(_) | None => ok(),
    })
}

async fn port_listener(
    State(hall): State<Hall>,
    Places(port): Places<String>,
) -> Result<Response, Problem> {
    let port: u16 = port.parse().map_err(|_invalid| Problem::bad_request("Invalid port"))?;
    let listeners = &hall.settings().listeners;
    if listeners.iter().any(|listener| listener.port == port) {
        return Ok(axum::Json(json!({ "status": "ok", "port": port })).into_response());
    }
    let mut ports: Vec<u16> = listeners.iter().map(|listener| listener.port).collect();
    ports.dedup();
    Ok(failed(json!({ "reason": "No active listener", "missing": port, "ports": ports })))
}

/// RabbitMQ's further names of protocols.
fn canonical(protocol: &str) -> &str {
    match protocol {
        "amqp091" | "amqp0.9.1" | "amqp0-9-1" | "amqp10" | "amqp1.0" | "amqp1-0" => "amqp",
        "amqps" | "amqp/tls" => "amqp/ssl",
        other => other,
    }
}

async fn protocol_listener(State(hall): State<Hall>, Places(protocol): Places<String>) -> Response {
    let wanted = canonical(&protocol);
    let listeners = &hall.settings().listeners;
    if listeners.iter().any(|listener: &Listener| listener.protocol == wanted) {
        return axum::Json(json!({ "status": "ok", "protocol": wanted })).into_response();
    }
    let mut protocols: Vec<&str> = listeners.iter().map(|listener| listener.protocol).collect();
    protocols.dedup();
    failed(json!({
        "reason": "No active listener", "missing": protocol, "protocols": protocols,
    }))
}

/// The queue that RabbitMQ's test uses, too.
const TEST_QUEUE: &str = "aliveness-test";

/// A message goes all the way.
async fn aliveness(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(vhost): Places<String>,
) -> Result<Response, Problem> {
    let mut visit = Visit::enter(hall.broker(), &user, &vhost)?;
    let queue = Name::from_static(TEST_QUEUE);
    visit
        .ask(Operation::DeclareQueue {
            channel: CHANNEL,
            queue: queue.clone(),
            declare: Declare::Active,
            declaration: Box::default(),
            answer: Answer::Wanted,
        })
        .await?;
    let head = MessageHead { routing_key: TEST_QUEUE.as_bytes(), ..MessageHead::default() };
    visit.batch().publish(CHANNEL, Unroutable::Dropped, &head, b"test_message");
    let acknowledgement = Acknowledgement::Automatic;
    visit.batch().push(Operation::Get { channel: CHANNEL, queue, acknowledgement });
    visit.send();
    if matches!(visit.next().await?, Event::Got { .. }) {
        return Ok(ok());
    }
    Ok(failed(json!({ "reason": "the message did not come back" })))
}

/// There is no other way to log in than with a name and a password, or a token.
async fn auth() -> Response {
    axum::Json(json!({ "oauth_enabled": false })).into_response()
}

async fn extensions() -> Response {
    axum::Json(json!([])).into_response()
}
