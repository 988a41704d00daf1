//! Publishing: one message or many, answered when all that ask to survive are on disk.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use broker::operation::{Ids, Operation, SessionTraits, Unroutable};
use broker::{Event, MessageId, Persistence, User};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};
use utoipa::{IntoParams, ToSchema};

use super::message::{MessageIn, Outgoing};
use crate::body::{self, Whole};
use crate::gate::Guest;
use crate::hall::Hall;
use crate::once::{self, Keyed, once};
use crate::problem::Problem;
use crate::query::{self, Parameters, Places};
use crate::repeats::{Answer, Fingerprint, Outcome};
use crate::routes::{Need, Routes};
use crate::trace_headers::TraceHeaders;
use crate::visit::{CHANNEL, Visit};

/// Most messages in one request.
const MESSAGES_MAX: usize = 1_000;

/// How long a request waits for the memory that messages take to be enough again.
const MEMORY_TIME_MAX: Duration = Duration::from_secs(5);
const MEMORY_LOOK: Duration = Duration::from_millis(20);

pub(super) fn routes(routes: Routes) -> Routes {
    routes.post("/v1/queues/{queue}/messages", Need::Login, to_queue).post(
        "/v1/exchanges/{exchange}/messages",
        Need::Login,
        to_exchange,
    )
}

/// Many messages.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Many<'a> {
    /// At most 1,000.
    #[serde(borrow)]
    messages: Vec<MessageIn<'a>>,
}

/// A message, or many.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes what is told apart by hand")]
enum One<'a> {
    One(Box<MessageIn<'a>>),
    Many(Many<'a>),
}

/// Whether a request's JSON is about many messages.
#[derive(Deserialize)]
struct Kind {
    messages: Option<serde::de::IgnoredAny>,
}

/// What became of a publish.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the fields are what clients read")]
pub(crate) struct Published {
    /// Messages that are in at least one queue, and on disk if they and it are to survive.
    published: usize,
    /// The ids of those published to a queue, in order; `null` for those that are not in it. An exchange
    /// may send a message to many queues, under an id in each: nothing is told of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ids: Vec<Option<String>>,
    /// Those that are nowhere, by their place in the request, counted from 0.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<Failed>,
}

/// A message that was not published.
#[derive(Debug, Serialize, ToSchema)]
// `Failed` is a lease's in the document.
#[schema(as = Unpublished)]
pub(crate) struct Failed {
    index: usize,
    reason: Failure,
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Failure {
    /// No queue took it: the exchange has no binding for it.
    Unroutable,
    /// A queue that refuses what is too much was full.
    QueueFull,
}

/// Parameters of a publish.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PublishParameters {
    /// The virtual host; `/` if not said.
    #[serde(default)]
    vhost: Option<String>,
    /// For messages that have none of their own.
    #[serde(default)]
    routing_key: Option<String>,
}

/// Headers of a publish.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes what is read elsewhere")]
struct PublishHeaders {
    /// Made up by the client for this request, of at most 255 characters: a request with a key that
    /// this user has sent before is not done again, but answered as the first one was. Answers are
    /// kept for an hour, in memory: a restart forgets them, and so does a flood of keys.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<String>,
}

/// Publishes to a queue. A body that is `application/json` is one message or a list of them; any
/// other body is the message.
#[utoipa::path(
    post, path = "/v1/queues/{queue}/messages", tag = "messages",
    params(("queue" = String, Path), PublishParameters, PublishHeaders),
    request_body(content((One = "application/json"), (Vec<u8> = "application/octet-stream"))),
    responses(
        (status = 201, description = "All are published", body = Published),
        (status = 207, description = "Some are not", body = Published),
    )
)]
async fn to_queue(
    State(hall): State<Hall>,
    guest: Guest,
    Places(queue): Places<String>,
    Parameters(parameters): Parameters<PublishParameters>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if parameters.routing_key.is_some() {
        let problem = Problem::bad_request("a queue needs no routing key").field("routing_key");
        return Err(problem.remedy("leave it away, or publish to an exchange"));
    }
    query::name(&queue, "queue")?;
    let vhost = parameters.vhost.unwrap_or_else(|| broker::FIRST_VHOST.to_owned());
    let exchange = String::new();
    let to = To { vhost, exchange, routing_key: Some(queue), is_queue: true };
    publish(&hall, guest.0, to, &headers, body).await
}

/// Publishes to an exchange; what is said of queues holds here too.
#[utoipa::path(
    post, path = "/v1/exchanges/{exchange}/messages", tag = "messages",
    params(("exchange" = String, Path), PublishParameters, PublishHeaders),
    request_body(content((One = "application/json"), (Vec<u8> = "application/octet-stream"))),
    responses(
        (status = 201, description = "All are published", body = Published),
        (status = 207, description = "Some are not", body = Published),
    )
)]
async fn to_exchange(
    State(hall): State<Hall>,
    guest: Guest,
    Places(exchange): Places<String>,
    Parameters(parameters): Parameters<PublishParameters>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    query::name(&exchange, "exchange")?;
    let vhost = parameters.vhost.unwrap_or_else(|| broker::FIRST_VHOST.to_owned());
    let to = To { vhost, exchange, routing_key: parameters.routing_key, is_queue: false };
    publish(&hall, guest.0, to, &headers, body).await
}

/// Where a request's messages go.
#[derive(Debug)]
struct To {
    vhost: String,
    exchange: String,
    /// For those that have none of their own.
    routing_key: Option<String>,
    /// They go to the queue of that name, and nowhere else.
    is_queue: bool,
}

/// A request, as it came.
struct Posted {
    user: User,
    to: To,
    body: Whole,
    kind: BodyKind,
    /// Which trace the request belongs to. It is no part of what tells requests apart.
    context: TraceHeaders,
}

/// What a request's body is.
#[derive(Debug)]
enum BodyKind {
    /// Messages in JSON.
    Json,
    /// The message.
    Plain { content_type: Option<String> },
}

impl BodyKind {
    fn of(headers: &HeaderMap) -> BodyKind {
        if body::is_json(headers) {
            return BodyKind::Json;
        }
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        // What curl says when nobody said anything.
        let content_type = content_type.filter(|text| *text != "application/x-www-form-urlencoded");
        BodyKind::Plain { content_type: content_type.map(str::to_owned) }
    }
}

async fn publish(
    hall: &Hall,
    user: User,
    to: To,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let key = once::key(headers)?;
    let body = body::read(hall, headers, body).await?;
    let (kind, context) = (BodyKind::of(headers), TraceHeaders::of(headers));
    let posted = Posted { user: user.clone(), to, body, kind, context };
    let Some(key) = key else { return posted.publish(hall).await.map(Answer::into_response) };
    let keyed = Keyed { key, fingerprint: posted.fingerprint() };
    let own = hall.clone();
    once(hall, &user, &keyed, async move { posted.publish(&own).await }).await
}

impl Posted {
    /// A digest of all that tells requests apart.
    fn fingerprint(&self) -> Fingerprint {
        let Posted { to, body, kind, .. } = self;
        let mut digest = Sha256::new();
        // With quotes around all texts.
        digest.update(format!("{to:?} {kind:?} "));
        digest.update(&body.bytes);
        digest.finalize().into()
    }

    async fn publish(&self, hall: &Hall) -> Outcome {
        let Posted { user, to, body, kind, context } = self;
        let routing_key = to.routing_key.as_deref();
        let outgoing = match kind {
            BodyKind::Json => from_json(&body.bytes, to, context, user)?,
            BodyKind::Plain { content_type } => {
                let content_type = content_type.as_deref();
                vec![MessageIn::plain(&body.bytes, content_type, routing_key, context, user)?]
            }
        };
        let bytes_max = hall.settings().message_bytes_max;
        if let Some(at) = outgoing.iter().position(|one| one.body.len() > bytes_max as usize) {
            let detail = format!("a message's body has at most {bytes_max} bytes");
            let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail);
            let problem = problem.field(format!("messages[{at}]"));
            return Err(problem.remedy("--max-message-bytes is more"));
        }
        wait_for_memory(hall).await?;
        let visit = Visit::enter(hall.broker(), user, &to.vhost)?;
        let single = outgoing.len() == 1;
        let Confirmed { failed, ids } = confirm(visit, to, &outgoing).await?;
        if let (true, Some(Failed { reason, .. })) = (single, failed.first()) {
            return Err(failure(*reason, to));
        }
        let status = if failed.is_empty() { StatusCode::CREATED } else { StatusCode::MULTI_STATUS };
        let vhost = query::name(&to.vhost, "vhost")?;
        let ids = ids.into_iter().map(|id| id.map(|id| id.to_text(&vhost))).collect();
        let published = Published { published: outgoing.len() - failed.len(), ids, failed };
        let json = serde_json::to_vec(&published).map_err(|_unwritable| Problem::broken())?;
        Ok(Answer { status, json: json.into() })
    }
}

fn from_json<'a>(
    bytes: &'a [u8],
    to: &'a To,
    context: &TraceHeaders,
    user: &User,
) -> Result<Vec<Outgoing<'a>>, Problem> {
    let Kind { messages } = body::parse(bytes)?;
    let messages = if messages.is_some() {
        body::parse::<Many<'a>>(bytes)?.messages
    } else {
        vec![body::parse::<MessageIn<'a>>(bytes)?]
    };
    if messages.is_empty() || messages.len() > MESSAGES_MAX {
        let detail = format!("a request has 1 to {MESSAGES_MAX} messages");
        return Err(Problem::bad_request(detail).field("messages"));
    }
    let ready = |mut message: MessageIn<'a>| {
        if to.is_queue && message.routing_key.is_some() {
            let problem = Problem::bad_request("a queue needs no routing key");
            return Err(problem.field("routing_key").remedy("publish to an exchange instead"));
        }
        let key = to.routing_key.as_deref().map(std::borrow::Cow::Borrowed);
        message.routing_key = message.routing_key.or(key);
        message.trace_in(context);
        message.ready(user)
    };
    messages.into_iter().map(ready).collect()
}

/// Publishers wait while messages take more memory than they may, and are turned away if that
/// lasts.
pub(crate) async fn wait_for_memory(hall: &Hall) -> Result<(), Problem> {
    let started = Instant::now();
    loop {
        let memory = hall.broker().messages_memory();
        if memory.used_bytes <= memory.max_bytes {
            break;
        }
        if started.elapsed() > MEMORY_TIME_MAX {
            return Err(blocked("memory for messages"));
        }
        sleep(MEMORY_LOOK).await;
    }
    let alarms = hall.broker().alarms();
    if alarms.are_clear() { Ok(()) } else { Err(blocked(&alarms.to_string())) }
}

fn blocked(what: &str) -> Problem {
    let detail = format!("publishers are blocked: low on {what}");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "blocked", detail)
        .retry_after(5)
        .remedy("let consumers drain the queues, or give the broker more")
}

/// What the broker has said of published messages.
struct Confirmed {
    failed: Vec<Failed>,
    /// Empty: nothing was asked of them.
    ids: Vec<Option<MessageId>>,
}

/// Publishes and waits until the broker has spoken of every message.
async fn confirm(
    mut visit: Visit,
    to: &To,
    outgoing: &[Outgoing<'_>],
) -> Result<Confirmed, Problem> {
    let mut ids = Vec::new();
    if to.is_queue {
        ids.resize(outgoing.len(), None);
        let traits = SessionTraits { ids: Ids::Told, ..SessionTraits::default() };
        visit.batch().push(Operation::Introduce(traits));
    }
    visit.select_confirms();
    // A returned message is known by its place among those of its kind.
    let (mut persistent, mut transient) = (Vec::new(), Vec::new());
    for (index, message) in outgoing.iter().enumerate() {
        let head = message.head(&to.exchange);
        match head.persistence {
            Persistence::Persistent => persistent.push(index),
            Persistence::Transient => transient.push(index),
        }
        visit.batch().publish(CHANNEL, Unroutable::Returned, &head, &message.body);
    }
    visit.send();
    let mut failed = Vec::new();
    let mut left = outgoing.len() as u64;
    while left > 0 {
        let event = visit.next().await?;
        if let Event::Confirmed { first, last, .. } = event {
            left = left.saturating_sub(last + 1 - first);
        } else if let Event::Nacked { first, last, .. } = event {
            left = left.saturating_sub(last + 1 - first);
            let numbers = (first..=last).filter_map(|number| usize::try_from(number - 1).ok());
            failed.extend(numbers.map(|index| Failed { index, reason: Failure::QueueFull }));
        } else if let Event::Returned { chunk, index, .. } = event {
            let kind = chunk.message(index).map(|message| message.persistence);
            let indexes = match kind {
                Some(Persistence::Transient) => &transient,
                Some(Persistence::Persistent) | None => &persistent,
            };
            let index = indexes.get(index as usize).copied().unwrap_or_default();
            failed.push(Failed { index, reason: Failure::Unroutable });
        } else if let Event::Taken { persistence, index, count, id } = event {
            let indexes = match persistence {
                Persistence::Transient => &transient,
                Persistence::Persistent => &persistent,
            };
            let taken = indexes.iter().skip(index as usize).zip(0..count);
            for (place, offset) in taken {
                if let Some(slot) = ids.get_mut(*place) {
                    *slot = Some(id.plus(offset));
                }
            }
        }
    }
    failed.sort_by_key(|failed| failed.index);
    Ok(Confirmed { failed, ids })
}

/// The one message of a request was not published.
fn failure(reason: Failure, to: &To) -> Problem {
    let To { vhost, exchange, routing_key, .. } = to;
    let key = routing_key.as_deref().unwrap_or_default();
    match reason {
        Failure::QueueFull => {
            let problem = Problem::new(StatusCode::CONFLICT, "queue_full", "a queue is full");
            problem.remedy("let consumers drain it, or raise its limit").retry_after(1)
        }
        Failure::Unroutable if to.is_queue => {
            Problem::not_found(format!("no queue '{key}' in vhost '{vhost}'"))
                .remedy("declare it first: PUT /v1/queues/NAME")
        }
        Failure::Unroutable => {
            let detail = format!("no queue took it from exchange '{exchange}' in vhost '{vhost}'");
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unroutable", detail)
                .remedy("bind a queue to the exchange with a key that fits the routing key")
        }
    }
}
