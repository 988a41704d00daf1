//! Publishing a message and getting some: for people who look at a queue, and for tests.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::operation::{Acknowledgement, Operation, Outcome, Tags, Unroutable, Verb};
use broker::{Event, Message, MessageHead, Persistence, User};
use domain::properties::list::{PropertyList, ShortString};
use serde_json::{Map, Value as Json, json};

use super::fields::Fields;
use super::topology::exchange_name;
use crate::body;
use crate::gate::Guest;
use crate::hall::Hall;
use crate::json_table;
use crate::native::wait_for_memory;
use crate::problem::Problem;
use crate::query::{self, Places};
use crate::routes::{Need, Routes};
use crate::trace_headers::TraceHeaders;
use crate::visit::{CHANNEL, Visit};

/// Most messages in one answer.
const MESSAGES_MAX: u64 = 10_000;

/// An answer that has so much, in bytes, gets no further message.
const BODIES_BYTES_MAX: usize = 64 << 20;

/// AMQP's word for a message that stays.
const PERSISTENT: u8 = 2;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.post("/api/exchanges/{vhost}/{name}/publish", Need::Management, publish).post(
        "/api/queues/{vhost}/{name}/get",
        Need::Management,
        get,
    )
}

/// How bodies stand in JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// As text where it is text.
    Auto,
    Base64,
}

async fn publish(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places((vhost, name)): Places<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let exchange = exchange_name(&name)?;
    // Its room is held until the message is where it goes.
    let whole = body::read(&hall, &headers, body).await?;
    let fields = Fields(body::parse(&whole.bytes)?);
    fields.need(&["properties", "routing_key", "payload", "payload_encoding"])?;
    let routing_key = fields.needed_text("routing_key")?;
    if routing_key.len() > u8::MAX.into() {
        let problem = Problem::bad_request("a routing key has at most 255 bytes");
        return Err(problem.field("routing_key"));
    }
    let payload = payload(&fields)?;
    let bytes_max = hall.settings().message_bytes_max;
    if payload.len() > bytes_max as usize {
        let detail = format!("a message's body has at most {bytes_max} bytes");
        return Err(Problem::bad_request(detail).field("payload"));
    }
    let list = properties(&fields.object("properties")?, &TraceHeaders::of(&headers), &user)?;
    let mut encoded = Vec::new();
    list.write(&mut encoded);
    let expiration = list.expiration.as_deref().and_then(|text| std::str::from_utf8(text).ok());
    let head = MessageHead {
        persistence: match list.delivery_mode {
            Some(PERSISTENT) => Persistence::Persistent,
            Some(_) | None => Persistence::Transient,
        },
        exchange: exchange.as_str(),
        routing_key: routing_key.as_bytes(),
        properties: &encoded,
        priority: list.priority,
        expiration_ms: expiration.and_then(|text| text.parse().ok()),
        ..MessageHead::default()
    };
    wait_for_memory(&hall).await?;
    let mut visit = Visit::enter(hall.broker(), &user, &vhost)?;
    visit.select_confirms();
    visit.batch().publish(CHANNEL, Unroutable::Returned, &head, &payload);
    visit.send();
    let mut routed = true;
    loop {
        let event = visit.next().await?;
        if matches!(event, Event::Returned { .. }) {
            routed = false;
        } else if matches!(event, Event::Nacked { .. }) {
            return Err(Problem::bad_request("a queue that refuses what is too much is full"));
        } else if matches!(event, Event::Confirmed { .. }) {
            return Ok(axum::Json(json!({ "routed": routed })).into_response());
        }
    }
}

fn payload(fields: &Fields) -> Result<Vec<u8>, Problem> {
    let payload = fields.needed_text("payload")?;
    match fields.needed_text("payload_encoding")? {
        "string" => Ok(payload.as_bytes().to_vec()),
        "base64" => STANDARD.decode(payload).map_err(|error| {
            Problem::bad_request(format!("this is not base64: {error}")).field("payload")
        }),
        other => {
            let detail = format!("there is no encoding '{other}': it is string or base64");
            Err(Problem::bad_request(detail).field("payload_encoding"))
        }
    }
}

/// Those that AMQP knows; others are passed over, as in RabbitMQ.
fn properties(
    object: &Map<String, Json>,
    context: &TraceHeaders,
    user: &User,
) -> Result<PropertyList, Problem> {
    let fields = Fields(object.clone());
    let at = |key: &str| format!("properties.{key}");
    let text = |key: &str| -> Result<Option<ShortString>, Problem> {
        let Some(text) = fields.text(key)? else { return Ok(None) };
        if text.len() > u8::MAX.into() {
            return Err(Problem::bad_request("this has at most 255 bytes").field(at(key)));
        }
        Ok(Some(text.as_bytes().into()))
    };
    let byte = |key: &str| -> Result<Option<u8>, Problem> {
        let Some(number) = fields.integer(key)? else { return Ok(None) };
        let byte = u8::try_from(number)
            .map_err(|_too_large| Problem::bad_request("this is at most 255").field(at(key)))?;
        Ok(Some(byte))
    };
    let user_id = text("user_id")?;
    if let Some(claimed) = fields.text("user_id")?
        && claimed != user.name().as_str()
        && !user.may_impersonate()
    {
        let detail = format!("user_id is '{claimed}', but the user is '{}'", user.name());
        return Err(Problem::bad_request(detail).field(at("user_id")));
    }
    let expiration = text("expiration")?;
    if let Some(said) = fields.text("expiration")?
        && said.parse::<u32>().is_err()
    {
        let problem = Problem::bad_request("this is a number of milliseconds, as a string");
        return Err(problem.field(at("expiration")));
    }
    let has_headers = fields.get("headers").is_some();
    let mut headers = has_headers.then(|| fields.object("headers")).transpose()?;
    context.join(&mut headers);
    Ok(PropertyList {
        content_type: text("content_type")?,
        content_encoding: text("content_encoding")?,
        headers: headers
            .map(|headers| json_table::table(&headers, "properties.headers"))
            .transpose()?,
        delivery_mode: byte("delivery_mode")?,
        priority: byte("priority")?,
        correlation_id: text("correlation_id")?,
        reply_to: text("reply_to")?,
        expiration,
        message_id: text("message_id")?,
        timestamp: fields.integer("timestamp")?,
        message_type: text("type")?,
        user_id,
        app_id: text("app_id")?,
        cluster_id: text("cluster_id")?,
    })
}

/// What is to become of the messages that are got.
fn outcome(fields: &Fields) -> Result<Outcome, Problem> {
    if fields.get("ackmode").is_none() && fields.get("requeue").is_some() {
        // As versions before 3.7 were asked.
        return Ok(if fields.flag("requeue")? { Outcome::Requeued } else { Outcome::Acknowledged });
    }
    match fields.needed_text("ackmode")? {
        "ack_requeue_true" => Ok(Outcome::Requeued),
        "ack_requeue_false" => Ok(Outcome::Acknowledged),
        "reject_requeue_true" => Ok(Outcome::Failed),
        "reject_requeue_false" => Ok(Outcome::Rejected),
        other => {
            let problem = Problem::bad_request(format!("there is no ackmode '{other}'"));
            Err(problem.field("ackmode").remedy(
                "it is ack_requeue_true, ack_requeue_false, reject_requeue_true or \
                 reject_requeue_false",
            ))
        }
    }
}

async fn get(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places((vhost, name)): Places<(String, String)>,
    fields: Fields,
) -> Result<Response, Problem> {
    let queue = query::name(&name, "name")?;
    let outcome = outcome(&fields)?;
    fields.need(&["count", "encoding"])?;
    let count = fields.integer("count")?.unwrap_or(0).min(MESSAGES_MAX);
    let encoding = match fields.needed_text("encoding")? {
        "auto" => Encoding::Auto,
        "base64" => Encoding::Base64,
        _other => {
            let detail = "Unsupported encoding. Please use auto or base64.";
            return Err(Problem::bad_request(detail));
        }
    };
    let truncate = fields.integer("truncate")?;
    let truncate = truncate.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let mut visit = Visit::enter(hall.broker(), &user, &vhost)?;
    let (mut messages, mut bytes, mut last_tag) = (Vec::new(), 0, None);
    for _ in 0..count {
        let (channel, queue) = (CHANNEL, queue.clone());
        let acknowledgement = Acknowledgement::Manual;
        visit.batch().push(Operation::Get { channel, queue, acknowledgement });
        visit.send();
        let got = visit.next().await?;
        let Event::Got { tag, redelivered, remaining, chunk, index, .. } = got else { break };
        last_tag = Some(tag);
        let Some(message) = chunk.message(index) else { break };
        let mut shown = show(&message, encoding, truncate);
        shown.insert("redelivered".to_owned(), json!(redelivered));
        shown.insert("message_count".to_owned(), json!(remaining));
        messages.push(Json::Object(shown));
        bytes += message.body.len().min(truncate.unwrap_or(usize::MAX));
        if bytes > BODIES_BYTES_MAX {
            break;
        }
    }
    if let Some(tag) = last_tag {
        let (channel, tags, verb) = (CHANNEL, Tags::UpTo(tag), Verb::Nack);
        visit.batch().push(Operation::Settle { channel, tags, outcome, verb });
        visit.leave().await?;
    }
    Ok(axum::Json(messages).into_response())
}

fn show(message: &Message<'_>, encoding: Encoding, truncate: Option<usize>) -> Map<String, Json> {
    let shown = &message.body[..message.body.len().min(truncate.unwrap_or(usize::MAX))];
    // A text that is cut within a letter is a text yet.
    let text = match std::str::from_utf8(shown) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() && shown.len() < message.body.len() => {
            std::str::from_utf8(&shown[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    let (payload, word) = match text.filter(|_| encoding == Encoding::Auto) {
        Some(text) => (text.to_owned(), "string"),
        None => (STANDARD.encode(shown), "base64"),
    };
    let mut object = Map::new();
    object.insert("payload_bytes".to_owned(), json!(message.body.len()));
    object.insert("exchange".to_owned(), json!(message.exchange));
    object.insert("routing_key".to_owned(), json!(json_table::text(message.routing_key)));
    object.insert("properties".to_owned(), shown_properties(message.properties));
    object.insert("payload".to_owned(), json!(payload));
    object.insert("payload_encoding".to_owned(), json!(word));
    object
}

/// Those that are there; RabbitMQ shows none at all as an empty list.
fn shown_properties(bytes: &[u8]) -> Json {
    let list = PropertyList::read(bytes).unwrap_or_default();
    let mut object = Map::new();
    let mut put = |name: &str, value: Option<Json>| {
        if let Some(value) = value {
            object.insert(name.to_owned(), value);
        }
    };
    let text = |text: &Option<ShortString>| text.as_deref().map(|it| json!(json_table::text(it)));
    put("type", text(&list.message_type));
    put("app_id", text(&list.app_id));
    put("user_id", text(&list.user_id));
    put("message_id", text(&list.message_id));
    put("reply_to", text(&list.reply_to));
    put("correlation_id", text(&list.correlation_id));
    put("content_type", text(&list.content_type));
    put("content_encoding", text(&list.content_encoding));
    put("cluster_id", text(&list.cluster_id));
    put("expiration", text(&list.expiration));
    put("timestamp", list.timestamp.map(Json::from));
    put("priority", list.priority.map(Json::from));
    put("delivery_mode", list.delivery_mode.map(Json::from));
    put("headers", list.headers.as_ref().map(|table| Json::Object(json_table::shown(table))));
    if object.is_empty() { json!([]) } else { Json::Object(object) }
}
