//! Making and removing queues, exchanges and bindings. Whatever is asked is carried out by the
//! broker as for any client, and answered when it is on disk.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use broker::operation::{Answer, BindingChange, Declare, Destination, Operation};
use broker::{Reply, User};
use domain::binding::BindingArguments;
use domain::exchange::{ExchangeSettings, ExchangeType};
use domain::queue::QueueDeclaration;
use domain::table::Table;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use utoipa::{IntoParams, ToSchema};

use crate::body::{self, MaybeJson};
use crate::gate::Guest;
use crate::hall::Hall;
use crate::json_table;
use crate::problem::Problem;
use crate::query::{self, InVhost, Parameters, Places};
use crate::routes::{Need, Routes};
use crate::visit::{CHANNEL, Visit};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .put("/v1/queues/{queue}", Need::Login, put_queue)
        .delete("/v1/queues/{queue}", Need::Login, delete_queue)
        .post("/v1/queues/{queue}/purge", Need::Login, purge_queue)
        .put("/v1/exchanges/{exchange}", Need::Login, put_exchange)
        .delete("/v1/exchanges/{exchange}", Need::Login, delete_exchange)
        .post("/v1/bindings", Need::Login, add_binding)
        .delete("/v1/bindings", Need::Login, remove_binding)
}

/// What a queue shall be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueueIn {
    /// Whether it survives a restart; true if not said.
    #[serde(default = "yes")]
    durable: bool,
    /// Whether it goes with its last consumer.
    #[serde(default)]
    auto_delete: bool,
    /// RabbitMQ's, such as `x-message-ttl` or `x-queue-type`.
    #[serde(default)]
    #[schema(value_type = Object)]
    arguments: Map<String, Json>,
}

/// What an exchange shall be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExchangeIn {
    /// `direct`, `fanout`, `topic` or `headers`; `direct` if not said.
    #[serde(default, rename = "type")]
    #[schema(example = "topic")]
    exchange_type: Option<String>,
    /// Whether it survives a restart; true if not said.
    #[serde(default = "yes")]
    durable: bool,
    /// Whether it goes with its last binding.
    #[serde(default)]
    auto_delete: bool,
    /// Whether only exchanges may publish to it.
    #[serde(default)]
    internal: bool,
    #[serde(default)]
    #[schema(value_type = Object)]
    arguments: Map<String, Json>,
}

impl Default for QueueIn {
    fn default() -> QueueIn {
        QueueIn { durable: true, auto_delete: false, arguments: Map::new() }
    }
}

impl Default for ExchangeIn {
    fn default() -> ExchangeIn {
        ExchangeIn {
            exchange_type: None,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: Map::new(),
        }
    }
}

fn yes() -> bool {
    true
}

/// A binding.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BindingIn {
    /// The exchange that messages come from.
    source: String,
    /// The queue or exchange that they go to.
    destination: String,
    #[serde(default)]
    destination_type: DestinationType,
    #[serde(default)]
    routing_key: String,
    #[serde(default)]
    #[schema(value_type = Object)]
    arguments: Map<String, Json>,
}

/// What a binding leads to.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DestinationType {
    #[default]
    Queue,
    Exchange,
}

/// The binding to remove.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct BindingParameters {
    /// The virtual host; `/` if not said.
    vhost: Option<String>,
    /// The exchange that messages come from.
    source: String,
    /// The queue or exchange that they go to.
    destination: String,
    #[serde(default)]
    #[param(inline)]
    destination_type: DestinationType,
    #[serde(default)]
    routing_key: String,
    /// A JSON object, as the binding was made with.
    arguments: Option<String>,
}

/// Only under a condition.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteParameters {
    /// The virtual host; `/` if not said.
    vhost: Option<String>,
    /// Not while it has consumers (a queue) or bindings (an exchange).
    #[serde(default)]
    if_unused: bool,
    /// Not while it has ready messages.
    #[serde(default)]
    if_empty: bool,
}

/// How many messages went.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Removed {
    messages: u64,
}

/// Whether there is such a thing already; whoever may not ask finds out when making it.
async fn is_there(hall: &Hall, user: &User, vhost: &str, ask: Operation) -> Result<bool, Problem> {
    let mut visit = Visit::enter(hall.broker(), user, vhost)?;
    match visit.ask(ask).await {
        Ok(_) => Ok(true),
        Err(problem) if problem.status() == StatusCode::NOT_FOUND => Ok(false),
        Err(problem) => Err(problem),
    }
}

async fn made(
    hall: &Hall,
    user: &User,
    vhost: &str,
    declare: impl Fn(Declare) -> Operation,
) -> Result<StatusCode, Problem> {
    let there = is_there(hall, user, vhost, declare(Declare::Passive)).await?;
    let mut visit = Visit::enter(hall.broker(), user, vhost)?;
    visit.ask(declare(Declare::Active)).await?;
    Ok(if there { StatusCode::NO_CONTENT } else { StatusCode::CREATED })
}

/// Makes a queue, or finds it as it should be.
#[utoipa::path(
    put, path = "/v1/queues/{queue}", tag = "queues",
    params(("queue" = String, Path), InVhost),
    request_body(content = Option<QueueIn>),
    responses(
        (status = 201, description = "It is made"),
        (status = 204, description = "It was there, and is as asked for"),
    )
)]
async fn put_queue(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(queue): Places<String>,
    Parameters(place): Parameters<InVhost>,
    MaybeJson(settings): MaybeJson<QueueIn>,
) -> Result<StatusCode, Problem> {
    let settings = settings.unwrap_or_default();
    let queue = query::name(&queue, "queue")?;
    let declaration = QueueDeclaration {
        durable: settings.durable,
        exclusive: false,
        auto_delete: settings.auto_delete,
        arguments: json_table::table(&settings.arguments, "arguments")?,
    };
    made(&hall, &user, place.name(), |declare| Operation::DeclareQueue {
        channel: CHANNEL,
        queue: queue.clone(),
        declare,
        declaration: Box::new(declaration.clone()),
        answer: Answer::Wanted,
    })
    .await
}

/// Deletes a queue with its messages.
#[utoipa::path(
    delete, path = "/v1/queues/{queue}", tag = "queues",
    params(("queue" = String, Path), DeleteParameters),
    responses((status = 200, body = Removed))
)]
async fn delete_queue(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(queue): Places<String>,
    Parameters(parameters): Parameters<DeleteParameters>,
) -> Result<Response, Problem> {
    let queue = query::name(&queue, "queue")?;
    let vhost = parameters.vhost.as_deref().unwrap_or(broker::FIRST_VHOST);
    // RabbitMQ deletes what is not there; who asks here wants to know.
    let passive = Operation::DeclareQueue {
        channel: CHANNEL,
        queue: queue.clone(),
        declare: Declare::Passive,
        declaration: Box::default(),
        answer: Answer::Wanted,
    };
    let mut visit = Visit::enter(hall.broker(), &user, vhost)?;
    visit.ask(passive).await?;
    let delete = Operation::DeleteQueue {
        channel: CHANNEL,
        queue,
        only_if_unused: parameters.if_unused,
        only_if_empty: parameters.if_empty,
        answer: Answer::Wanted,
    };
    Ok(removed(&visit.ask(delete).await?))
}

/// Drops the ready messages of a queue.
#[utoipa::path(
    post, path = "/v1/queues/{queue}/purge", tag = "queues",
    params(("queue" = String, Path), InVhost),
    responses((status = 200, body = Removed))
)]
async fn purge_queue(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(queue): Places<String>,
    Parameters(place): Parameters<InVhost>,
) -> Result<Response, Problem> {
    let queue = query::name(&queue, "queue")?;
    let mut visit = Visit::enter(hall.broker(), &user, place.name())?;
    let purge = Operation::PurgeQueue { channel: CHANNEL, queue, answer: Answer::Wanted };
    Ok(removed(&visit.ask(purge).await?))
}

fn removed(reply: &Reply) -> Response {
    let messages = if let Reply::QueueDeleted { messages } | Reply::QueuePurged { messages } = reply
    {
        *messages
    } else {
        0
    };
    axum::Json(Removed { messages }).into_response()
}

/// Makes an exchange, or finds it as it should be.
#[utoipa::path(
    put, path = "/v1/exchanges/{exchange}", tag = "exchanges",
    params(("exchange" = String, Path), InVhost),
    request_body(content = Option<ExchangeIn>),
    responses(
        (status = 201, description = "It is made"),
        (status = 204, description = "It was there, and is as asked for"),
    )
)]
async fn put_exchange(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(exchange): Places<String>,
    Parameters(place): Parameters<InVhost>,
    MaybeJson(settings): MaybeJson<ExchangeIn>,
) -> Result<StatusCode, Problem> {
    let settings = settings.unwrap_or_default();
    let exchange = query::name(&exchange, "exchange")?;
    let named = settings.exchange_type.as_deref().unwrap_or("direct");
    let exchange_type = ExchangeType::parse(named).ok_or_else(|| {
        Problem::bad_request(format!("there is no exchange type '{named}'"))
            .field("type")
            .remedy("direct, fanout, topic and headers are the types there are")
    })?;
    let settings = ExchangeSettings {
        exchange_type,
        durable: settings.durable,
        auto_delete: settings.auto_delete,
        internal: settings.internal,
        arguments: json_table::table(&settings.arguments, "arguments")?,
    };
    made(&hall, &user, place.name(), |declare| Operation::DeclareExchange {
        channel: CHANNEL,
        exchange: exchange.clone(),
        declare,
        settings: Box::new(settings.clone()),
        answer: Answer::Wanted,
    })
    .await
}

/// Deletes an exchange and the bindings from it.
#[utoipa::path(
    delete, path = "/v1/exchanges/{exchange}", tag = "exchanges",
    params(("exchange" = String, Path), DeleteParameters),
    responses((status = 204, description = "It is gone"))
)]
async fn delete_exchange(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(exchange): Places<String>,
    Parameters(parameters): Parameters<DeleteParameters>,
) -> Result<StatusCode, Problem> {
    if parameters.if_empty {
        return Err(Problem::bad_request("an exchange has no messages").field("if_empty"));
    }
    let exchange = query::name(&exchange, "exchange")?;
    let vhost = parameters.vhost.as_deref().unwrap_or(broker::FIRST_VHOST);
    let mut visit = Visit::enter(hall.broker(), &user, vhost)?;
    let passive = Operation::DeclareExchange {
        channel: CHANNEL,
        exchange: exchange.clone(),
        declare: Declare::Passive,
        settings: Box::new(ExchangeSettings {
            exchange_type: ExchangeType::Direct,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: Table::default(),
        }),
        answer: Answer::Wanted,
    };
    visit.ask(passive).await?;
    let only_if_unused = parameters.if_unused;
    let (channel, answer) = (CHANNEL, Answer::Wanted);
    visit.ask(Operation::DeleteExchange { channel, exchange, only_if_unused, answer }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a binding; nothing happens if it is there.
#[utoipa::path(
    post, path = "/v1/bindings", tag = "bindings",
    params(InVhost),
    request_body(content = BindingIn),
    responses((status = 204, description = "It is there"))
)]
async fn add_binding(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Parameters(place): Parameters<InVhost>,
    body::Json(binding): body::Json<BindingIn>,
) -> Result<StatusCode, Problem> {
    bind(&hall, &user, place.name(), BindingChange::Add, binding).await
}

/// Removes a binding.
#[utoipa::path(
    delete, path = "/v1/bindings", tag = "bindings",
    params(BindingParameters),
    responses((status = 204, description = "It is not there"))
)]
async fn remove_binding(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Parameters(parameters): Parameters<BindingParameters>,
) -> Result<StatusCode, Problem> {
    let arguments = parameters.arguments.as_deref().unwrap_or("{}");
    let arguments = body::parse(arguments.as_bytes())
        .map_err(|problem: Problem| problem.field("arguments").remedy("give a JSON object"))?;
    let binding = BindingIn {
        source: parameters.source,
        destination: parameters.destination,
        destination_type: parameters.destination_type,
        routing_key: parameters.routing_key,
        arguments,
    };
    let vhost = parameters.vhost.as_deref().unwrap_or(broker::FIRST_VHOST);
    bind(&hall, &user, vhost, BindingChange::Remove, binding).await
}

async fn bind(
    hall: &Hall,
    user: &User,
    vhost: &str,
    change: BindingChange,
    binding: BindingIn,
) -> Result<StatusCode, Problem> {
    let destination = query::name(&binding.destination, "destination")?;
    query::name(&binding.routing_key, "routing_key")?;
    if destination.is_empty() {
        return Err(Problem::bad_request("a name is needed").field("destination"));
    }
    let bind = Operation::Bind {
        channel: CHANNEL,
        change,
        source: query::name(&binding.source, "source")?,
        destination: match binding.destination_type {
            DestinationType::Queue => Destination::Queue(destination),
            DestinationType::Exchange => Destination::Exchange(destination),
        },
        routing_key: binding.routing_key.as_bytes().into(),
        arguments: BindingArguments(json_table::table(&binding.arguments, "arguments")?),
        answer: Answer::Wanted,
    };
    Visit::enter(hall.broker(), user, vhost)?.ask(bind).await?;
    Ok(StatusCode::NO_CONTENT)
}
