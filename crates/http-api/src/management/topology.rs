//! Making and removing queues, exchanges and bindings, in the words of `/api`.

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use broker::BindingEnd;
use broker::operation::{Answer, BindingChange, Declare, Destination, Operation};
use domain::binding::BindingArguments;
use domain::exchange::{ExchangeSettings, ExchangeType};
use domain::name::Name;
use domain::queue::QueueDeclaration;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::fields::Fields;
use crate::binding_key::properties_key;
use crate::gate::Guest;
use crate::hall::Hall;
use crate::problem::Problem;
use crate::query::{self, Parameters, Places};
use crate::routes::{Need, Routes};
use crate::visit::{CHANNEL, Visit};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .put("/api/queues/{vhost}/{name}", Need::Management, put_queue)
        .delete("/api/queues/{vhost}/{name}", Need::Management, delete_queue)
        .delete("/api/queues/{vhost}/{name}/contents", Need::Management, purge)
        .post("/api/queues/{vhost}/{name}/actions", Need::Administrator, act)
        .post("/api/rebalance/queues", Need::Administrator, rebalance)
        .put("/api/exchanges/{vhost}/{name}", Need::Management, put_exchange)
        .delete("/api/exchanges/{vhost}/{name}", Need::Management, delete_exchange)
        .post("/api/bindings/{vhost}/e/{source}/q/{destination}", Need::Management, bind_queue)
        .post("/api/bindings/{vhost}/e/{source}/e/{destination}", Need::Management, bind_exchange)
        .delete(
            "/api/bindings/{vhost}/e/{source}/q/{destination}/{props}",
            Need::Management,
            unbind_queue,
        )
        .delete(
            "/api/bindings/{vhost}/e/{source}/e/{destination}/{props}",
            Need::Management,
            unbind_exchange,
        )
}

/// The default exchange as it is named in paths.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// An exchange named in a path.
pub(super) fn exchange_name(text: &str) -> Result<Name, Problem> {
    if text == DEFAULT_EXCHANGE { Ok(Name::from_static("")) } else { query::name(text, "exchange") }
}

fn ask_queue(queue: Name) -> Operation {
    Operation::DeclareQueue {
        channel: CHANNEL,
        queue,
        declare: Declare::Passive,
        declaration: Box::default(),
        answer: Answer::Wanted,
    }
}

fn ask_exchange(exchange: Name) -> Operation {
    let settings = ExchangeSettings {
        exchange_type: ExchangeType::Direct,
        durable: false,
        auto_delete: false,
        internal: false,
        arguments: domain::table::Table::default(),
    };
    Operation::DeclareExchange {
        channel: CHANNEL,
        exchange,
        declare: Declare::Passive,
        settings: Box::new(settings),
        answer: Answer::Wanted,
    }
}

/// Made, or as it should be.
async fn put(
    hall: &Hall,
    guest: &Guest,
    vhost: &str,
    passive: Operation,
    active: Operation,
) -> Result<StatusCode, Problem> {
    let mut visit = Visit::enter(hall.broker(), &guest.0, vhost)?;
    let there = match visit.ask(passive).await {
        Ok(_) => true,
        Err(problem) if problem.status() == StatusCode::NOT_FOUND => false,
        Err(problem) => return Err(problem),
    };
    // A refusal ends the channel.
    let mut visit = Visit::enter(hall.broker(), &guest.0, vhost)?;
    visit.ask(active).await?;
    Ok(if there { StatusCode::NO_CONTENT } else { StatusCode::CREATED })
}

/// There is one node: to name another is a mistake.
async fn put_queue(
    State(hall): State<Hall>,
    guest: Guest,
    Places((vhost, name)): Places<(String, String)>,
    fields: Fields,
) -> Result<StatusCode, Problem> {
    let queue = query::name(&name, "name")?;
    if queue.is_empty() {
        return Err(Problem::bad_request("a queue needs a name").field("name"));
    }
    let declaration = QueueDeclaration {
        durable: fields.flag("durable")?,
        exclusive: false,
        auto_delete: fields.flag("auto_delete")?,
        arguments: fields.table("arguments")?,
    };
    let active = Operation::DeclareQueue {
        channel: CHANNEL,
        queue: queue.clone(),
        declare: Declare::Active,
        declaration: Box::new(declaration),
        answer: Answer::Wanted,
    };
    put(&hall, &guest, &vhost, ask_queue(queue), active).await
}

async fn put_exchange(
    State(hall): State<Hall>,
    guest: Guest,
    Places((vhost, name)): Places<(String, String)>,
    fields: Fields,
) -> Result<StatusCode, Problem> {
    let exchange = exchange_name(&name)?;
    let word = fields.text("type")?.unwrap_or("direct");
    let exchange_type = ExchangeType::parse(word).ok_or_else(|| {
        Problem::bad_request(format!("unknown exchange type '{word}'"))
            .remedy("direct, fanout, topic and headers are the types there are")
    })?;
    let settings = ExchangeSettings {
        exchange_type,
        durable: fields.flag("durable")?,
        auto_delete: fields.flag("auto_delete")?,
        internal: fields.flag("internal")?,
        arguments: fields.table("arguments")?,
    };
    let active = Operation::DeclareExchange {
        channel: CHANNEL,
        exchange: exchange.clone(),
        declare: Declare::Active,
        settings: Box::new(settings),
        answer: Answer::Wanted,
    };
    put(&hall, &guest, &vhost, ask_exchange(exchange), active).await
}

/// Only under a condition.
#[derive(Debug, Deserialize)]
struct Conditions {
    #[serde(default, rename = "if-unused")]
    if_unused: bool,
    #[serde(default, rename = "if-empty")]
    if_empty: bool,
}

/// Asks for something that must be there, as the first request of a visit.
async fn on_existing(
    hall: &Hall,
    guest: &Guest,
    vhost: &str,
    passive: Operation,
    operation: Operation,
) -> Result<StatusCode, Problem> {
    let mut visit = Visit::enter(hall.broker(), &guest.0, vhost)?;
    visit.ask(passive).await?;
    visit.ask(operation).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete_queue(
    State(hall): State<Hall>,
    guest: Guest,
    Places((vhost, name)): Places<(String, String)>,
    Parameters(conditions): Parameters<Conditions>,
) -> Result<StatusCode, Problem> {
    let queue = query::name(&name, "name")?;
    let delete = Operation::DeleteQueue {
        channel: CHANNEL,
        queue: queue.clone(),
        only_if_unused: conditions.if_unused,
        only_if_empty: conditions.if_empty,
        answer: Answer::Wanted,
    };
    on_existing(&hall, &guest, &vhost, ask_queue(queue), delete).await
}

async fn delete_exchange(
    State(hall): State<Hall>,
    guest: Guest,
    Places((vhost, name)): Places<(String, String)>,
    Parameters(conditions): Parameters<Conditions>,
) -> Result<StatusCode, Problem> {
    let exchange = exchange_name(&name)?;
    let delete = Operation::DeleteExchange {
        channel: CHANNEL,
        exchange: exchange.clone(),
        only_if_unused: conditions.if_unused,
        answer: Answer::Wanted,
    };
    on_existing(&hall, &guest, &vhost, ask_exchange(exchange), delete).await
}

async fn purge(
    State(hall): State<Hall>,
    guest: Guest,
    Places((vhost, name)): Places<(String, String)>,
) -> Result<StatusCode, Problem> {
    let queue = query::name(&name, "name")?;
    let purge =
        Operation::PurgeQueue { channel: CHANNEL, queue: queue.clone(), answer: Answer::Wanted };
    on_existing(&hall, &guest, &vhost, ask_queue(queue), purge).await
}

/// RabbitMQ's actions are about mirrors.
async fn act(fields: Fields) -> Problem {
    let action = fields.text("action").ok().flatten().unwrap_or_default();
    let detail =
        format!("there is no action '{action}': a queue lives on one node, without mirrors");
    Problem::bad_request(detail)
}

async fn rebalance() -> Problem {
    Problem::bad_request("there is one node: its queues can't be spread")
}

/// A binding in a path.
struct Ends {
    vhost: String,
    source: Name,
    destination: Destination,
}

fn to_queue((vhost, source, destination): (String, String, String)) -> Result<Ends, Problem> {
    let destination = Destination::Queue(query::name(&destination, "destination")?);
    Ok(Ends { vhost, source: exchange_name(&source)?, destination })
}

fn to_exchange((vhost, source, destination): (String, String, String)) -> Result<Ends, Problem> {
    let destination = Destination::Exchange(exchange_name(&destination)?);
    Ok(Ends { vhost, source: exchange_name(&source)?, destination })
}

async fn bind_queue(
    State(hall): State<Hall>,
    guest: Guest,
    Places(path): Places<(String, String, String)>,
    fields: Fields,
) -> Result<Response, Problem> {
    bind(&hall, &guest, to_queue(path)?, &fields).await
}

async fn bind_exchange(
    State(hall): State<Hall>,
    guest: Guest,
    Places(path): Places<(String, String, String)>,
    fields: Fields,
) -> Result<Response, Problem> {
    bind(&hall, &guest, to_exchange(path)?, &fields).await
}

async fn bind(
    hall: &Hall,
    guest: &Guest,
    ends: Ends,
    fields: &Fields,
) -> Result<Response, Problem> {
    let Ends { vhost, source, destination } = ends;
    let routing_key = fields.text("routing_key")?.unwrap_or_default();
    if routing_key.len() > u8::MAX.into() {
        let problem = Problem::bad_request("a routing key has at most 255 bytes");
        return Err(problem.field("routing_key"));
    }
    let arguments = BindingArguments(fields.table("arguments")?);
    let name = match &destination {
        Destination::Queue(name) | Destination::Exchange(name) => name.clone(),
    };
    let props = properties_key(routing_key.as_bytes(), &arguments);
    let bind = Operation::Bind {
        channel: CHANNEL,
        change: BindingChange::Add,
        source,
        destination,
        routing_key: routing_key.as_bytes().into(),
        arguments,
        answer: Answer::Wanted,
    };
    Visit::enter(hall.broker(), &guest.0, &vhost)?.ask(bind).await?;
    // From where it was asked; the key is escaped once more, for it is a part of a path.
    let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let props = if props == "~" { props } else { escaped(&props) };
    let location = format!("{}/{props}", escaped(name.as_str()));
    let location = HeaderValue::from_str(&location).map_err(|_never| Problem::broken())?;
    Ok((StatusCode::CREATED, [(LOCATION, location)]).into_response())
}

async fn unbind_queue(
    State(hall): State<Hall>,
    guest: Guest,
    Places((vhost, source, destination, props)): Places<(String, String, String, String)>,
) -> Result<StatusCode, Problem> {
    unbind(&hall, &guest, to_queue((vhost, source, destination))?, &props).await
}

async fn unbind_exchange(
    State(hall): State<Hall>,
    guest: Guest,
    Places((vhost, source, destination, props)): Places<(String, String, String, String)>,
) -> Result<StatusCode, Problem> {
    unbind(&hall, &guest, to_exchange((vhost, source, destination))?, &props).await
}

async fn unbind(
    hall: &Hall,
    guest: &Guest,
    ends: Ends,
    props: &str,
) -> Result<StatusCode, Problem> {
    let Ends { vhost, source, destination } = ends;
    // Whoever may not enter learns nothing of what is there.
    let mut visit = Visit::enter(hall.broker(), &guest.0, &vhost)?;
    let (sight, from) = (hall.broker().sight(&vhost), source.clone());
    let bindings = tokio::task::spawn_blocking(move || sight?.bindings_from(from.as_str()));
    let bindings = bindings.await.map_err(|_panic| Problem::broken())?.unwrap_or_default();
    let leads = |end: &BindingEnd| match (end, &destination) {
        (BindingEnd::Queue(one), Destination::Queue(other))
        | (BindingEnd::Exchange(one), Destination::Exchange(other)) => one == other,
        (BindingEnd::Queue(_), Destination::Exchange(_))
        | (BindingEnd::Exchange(_), Destination::Queue(_)) => false,
    };
    let found = bindings.into_iter().find(|binding| {
        leads(&binding.destination)
            && properties_key(&binding.routing_key, &binding.arguments) == props
    });
    let found = found.ok_or_else(|| Problem::not_found("there is no such binding"))?;
    let unbind = Operation::Bind {
        channel: CHANNEL,
        change: BindingChange::Remove,
        source,
        destination,
        routing_key: found.routing_key,
        arguments: found.arguments,
        answer: Answer::Wanted,
    };
    visit.ask(unbind).await?;
    Ok(StatusCode::NO_CONTENT)
}
