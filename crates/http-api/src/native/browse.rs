//! Looking into queues: their messages a page at a time, those that a filter means, and one by its id.
//! Nothing about them changes by it.

use std::ops::Not;
use std::str::FromStr;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use broker::views::{MessageState, MessageView};
use broker::{
    Begin, Browse, BrowseCursor, BrowseError, FIRST_VHOST, Message, MessageId, Onward, Viewer,
};
use domain::name::Name;
use domain::run::Direction;
use serde::de::IntoDeserializer as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::delivery::MessageOut;
use super::done::{self, DoneMessageOut};
use super::filter::{Filter, FilterIn, StateName};
use crate::gate::Guest;
use crate::hall::Hall;
use crate::looking::{self, Looker};
use crate::problem::Problem;
use crate::query::{self, Parameters, Places};
use crate::refusals;
use crate::routes::{Need, Routes};
use crate::waited::waited;

/// Most messages in one answer, and as many as there are if nobody says.
const LIMIT_MAX: usize = 1_000;
const LIMIT: usize = 100;

/// Bytes of an answer after which nothing more goes into it.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// Messages that one request reads.
const READ_MESSAGES_MAX: u32 = 20_000;

/// Bytes of messages after which a request reads no more.
const READ_BYTES_MAX: u64 = 32 << 20;

/// How much of a body is shown in a list if nobody says.
const BODY_BYTES: usize = 4 << 10;

/// The most of a body that is shown, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.get("/v1/queues/{queue}/messages", Need::Login, browse_queue).get(
        "/v1/messages/{id}",
        Need::Login,
        get_message,
    )
}

/// Which way to look.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Order {
    /// Those that came first come first.
    #[default]
    Oldest,
    /// Those that came last come first.
    Newest,
}

impl FromStr for Order {
    type Err = serde::de::value::Error;

    fn from_str(text: &str) -> Result<Order, Self::Err> {
        Order::deserialize(text.into_deserializer())
    }
}

/// What to show of a queue.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct BrowseParameters {
    /// The virtual host; `/` if not said.
    vhost: Option<String>,
    /// At most so many; 100 if not said.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<usize>,
    /// Go on behind this: `next` of the page before.
    after: Option<String>,
    #[param(inline)]
    order: Option<Order>,
    /// Show so many bytes of a body at most; 4,096 if not said.
    #[param(maximum = 1_048_576)]
    max_body_bytes: Option<usize>,
}

/// How to show a message.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct MessageParameters {
    /// Show so many bytes of its body at most; all up to 1 MiB if not said.
    #[serde(default)]
    #[param(maximum = 1_048_576)]
    max_body_bytes: Option<usize>,
}

/// A message where it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeenMessage<'a> {
    /// Names the message: `GET /v1/messages/{id}` shows it.
    id: String,
    /// Its virtual host, where one message is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    vhost: Option<&'a str>,
    /// Its queue, where one message is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<&'a str>,
    state: StateName,
    /// How many times it was handed out; at least so many where its queue does not count.
    attempts: u32,
    /// For how long it has been in its queue, to a few percent; counted anew from a restart.
    age_ms: u64,
    /// When it goes unread, in milliseconds since 1970; left out if it never does.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<u64>,
    /// When its lease ends, in milliseconds since 1970 by the broker's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_expires_at_ms: Option<u64>,
    /// When it is ready again after a delay, in milliseconds since 1970 by the broker's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    ready_at_ms: Option<u64>,
    /// The user who leases it.
    #[serde(skip_serializing_if = "Option::is_none")]
    leased_by: Option<&'a str>,
    /// How far whoever leases it is, as it last said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    progress: Option<&'a RawValue>,
    /// How long its body is.
    body_bytes: usize,
    /// Whether there is more of its body than is shown.
    #[serde(skip_serializing_if = "Not::not")]
    body_is_cut: bool,
    #[serde(flatten)]
    message: MessageOut<'a>,
}

/// A message: where it is or, when it is done, what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum FoundMessage<'a> {
    There(Box<SeenMessage<'a>>),
    Done(DoneMessageOut<'a>),
}

/// Messages of a queue, in the order in which they came.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MessagesPage {
    #[schema(value_type = Vec<SeenMessage<'static>>)]
    items: Vec<Box<RawValue>>,
    /// Ask with this as `after` for those behind, even if there are no items here: one request looks
    /// at so many messages and no more. Left out at the end of the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// How many messages were looked at for this page.
    passed: u64,
}

/// Shows a queue's messages, ready, leased and delivered, in the order in which they came, without
/// disturbing them: those that the filter means. Needs the right to read from the queue.
#[utoipa::path(
    get, path = "/v1/queues/{queue}/messages", tag = "messages",
    params(("queue" = String, Path), BrowseParameters, FilterIn),
    responses((status = 200, body = MessagesPage))
)]
async fn browse_queue(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(queue): Places<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let (parameters, filter) = parameters(&uri)?;
    let filter = filter.ready("")?;
    let queue = query::name(&queue, "queue")?;
    let limit = within(parameters.limit, LIMIT, 1, LIMIT_MAX, "limit")?;
    let body_bytes_max =
        within(parameters.max_body_bytes, BODY_BYTES, 0, BODY_BYTES_MAX, "max_body_bytes")?;
    let browse = Browse {
        queue,
        begin: begin(&parameters)?,
        until: None,
        messages_max: READ_MESSAGES_MAX,
        bytes_max: READ_BYTES_MAX,
    };
    let vhost = query::name(parameters.vhost.as_deref().unwrap_or(FIRST_VHOST), "vhost")?;
    looking::at_many(&hall, user, move |looker| {
        let mut page =
            Gatherer { filter, vhost, limit, body_bytes_max, items: Vec::new(), bytes: 0 };
        let vhost = page.vhost.clone();
        let browsed = looker.broker.browse(looker.user, vhost.as_str(), &browse, &mut page);
        let browsed = browsed.map_err(|error| refused(&error, vhost.as_str()))?;
        let next = browsed.next.map(BrowseCursor::to_text);
        looking::json(&MessagesPage { items: page.items, next, passed: browsed.passed })
    })
    .await
}

/// Shows a message, as long as the broker has it, without disturbing it: what it is doing, and how far
/// whoever works on it is. When it is done: what became of it, as long as its queue tells of that. Needs
/// the right to read from its queue.
#[utoipa::path(
    get, path = "/v1/messages/{id}", tag = "messages",
    params(("id" = String, Path), MessageParameters),
    responses((status = 200, body = FoundMessage))
)]
async fn get_message(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(id): Places<String>,
    Parameters(parameters): Parameters<MessageParameters>,
) -> Result<Response, Problem> {
    let limit =
        within(parameters.max_body_bytes, BODY_BYTES_MAX, 0, BODY_BYTES_MAX, "max_body_bytes")?;
    let parsed = MessageId::parse(&id);
    let (vhost, id) =
        parsed.map_err(|error| Problem::bad_request(error.to_string()).field("id"))?;
    let (guest, host) = (user.clone(), vhost.clone());
    let shown =
        waited(&hall, move |broker| show_one(&Looker { broker, user: &guest }, &host, id, limit));
    if let Some(shown) = shown.await?? {
        return Ok(shown);
    }
    let Some((queue, kept)) = done::find(&hall, &user, &vhost, id).await? else {
        let detail =
            format!("vhost '{vhost}' has no such message: it was settled, or went otherwise");
        return Err(Problem::not_found(detail).remedy(
            "a queue declared with x-done-ttl or x-done-max-length tells what became of messages",
        ));
    };
    looking::json(&FoundMessage::Done(DoneMessageOut::alone(&kept, &vhost, &queue)))
}

fn parameters(uri: &Uri) -> Result<(BrowseParameters, FilterIn), Problem> {
    let mut parameters = BrowseParameters::default();
    let mut filter = FilterIn::default();
    for (name, text) in query::pairs(uri)? {
        match &*name {
            "vhost" => query::once(&mut parameters.vhost, &name, &text)?,
            "limit" => query::once(&mut parameters.limit, &name, &text)?,
            "after" => query::once(&mut parameters.after, &name, &text)?,
            "order" => query::once(&mut parameters.order, &name, &text)?,
            "max_body_bytes" => query::once(&mut parameters.max_body_bytes, &name, &text)?,
            _another if filter.take(&name, &text)? => {}
            _another => return Err(query::unknown(&name)),
        }
    }
    Ok((parameters, filter))
}

fn begin(parameters: &BrowseParameters) -> Result<Begin, Problem> {
    let direction = match parameters.order.unwrap_or_default() {
        Order::Oldest => Direction::OldestFirst,
        Order::Newest => Direction::NewestFirst,
    };
    let Some(after) = &parameters.after else { return Ok(Begin::End(direction)) };
    let cursor = BrowseCursor::parse(after).map_err(|error| {
        let problem = Problem::bad_request(error.to_string()).field("after");
        problem.remedy("give what stood as `next` in the page before")
    })?;
    if parameters.order.is_some() && cursor.direction() != direction {
        let problem = Problem::bad_request("the page before was in the other order");
        return Err(problem.field("order").remedy("leave `order` away when going on"));
    }
    Ok(Begin::Behind(cursor))
}

fn within(
    given: Option<usize>,
    default: usize,
    least: usize,
    most: usize,
    field: &str,
) -> Result<usize, Problem> {
    let number = given.unwrap_or(default);
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    let detail = format!("this is {number}, and is from {least} to {most}");
    Err(Problem::bad_request(detail).field(field))
}

/// Why a queue can't be looked into.
pub(super) fn refused(error: &BrowseError, vhost: &str) -> Problem {
    match error {
        BrowseError::Entry(refusal) => refusals::turned_away(refusal, vhost),
        BrowseError::Refused(refusal) => {
            refusals::refused(refusal, broker::operation::Verb::Get, vhost)
        }
        BrowseError::OtherQueue => Problem::bad_request(error.to_string()).field("after").remedy(
            "begin anew: the queue was deleted and made again, or it is another one's page",
        ),
        BrowseError::Unreadable(_) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unreadable", error.to_string())
                .remedy("look at the disk; postroom inspect shows what can still be read")
        }
    }
}

/// Makes a page.
struct Gatherer {
    filter: Filter,
    vhost: Name,
    limit: usize,
    body_bytes_max: usize,
    items: Vec<Box<RawValue>>,
    bytes: usize,
}

impl Viewer for Gatherer {
    fn wants(&mut self, view: &MessageView<'_>) -> bool {
        self.filter.may_mean(view)
    }

    fn look(&mut self, view: &MessageView<'_>, message: &Message<'_>) -> Onward {
        if !self.filter.means(message) {
            return Onward::GoOn;
        }
        let seen = SeenMessage::of(view, message, &self.vhost, self.body_bytes_max);
        if let Ok(shown) = serde_json::value::to_raw_value(&seen) {
            self.bytes += shown.get().len();
            self.items.push(shown);
        }
        if self.items.len() >= self.limit || self.bytes >= PAGE_BYTES_MAX {
            return Onward::Stop;
        }
        Onward::GoOn
    }
}

impl<'a> SeenMessage<'a> {
    pub(super) fn of(
        view: &MessageView<'a>,
        message: &Message<'a>,
        vhost: &Name,
        body_bytes_max: usize,
    ) -> SeenMessage<'a> {
        let lease = match view.state {
            MessageState::Leased(lease) => Some(lease),
            MessageState::Ready | MessageState::Delivered | MessageState::Delayed { .. } => None,
        };
        let ready_at_ms = match view.state {
            MessageState::Delayed { until_wall_ms } => Some(*until_wall_ms),
            MessageState::Ready | MessageState::Delivered | MessageState::Leased(_) => None,
        };
        // It was JSON when it came in.
        let progress = lease.and_then(|lease| lease.progress.as_deref());
        SeenMessage {
            id: view.id.to_text(vhost),
            vhost: None,
            queue: None,
            state: StateName::of(view.state),
            attempts: view.attempts,
            age_ms: view.age_ms,
            expires_at_ms: view.expires_wall_ms,
            lease_expires_at_ms: lease.map(|lease| lease.until_wall_ms),
            ready_at_ms,
            leased_by: lease.map(|lease| lease.holder.as_str()),
            progress: progress.and_then(|text| serde_json::from_str(text).ok()),
            body_bytes: message.body.len(),
            body_is_cut: message.body.len() > body_bytes_max,
            message: MessageOut::cut(message, body_bytes_max),
        }
    }
}

fn show_one(
    looker: &Looker<'_>,
    vhost: &Name,
    id: MessageId,
    body_bytes_max: usize,
) -> Result<Option<Response>, Problem> {
    let mut shown = None;
    let found =
        looker.broker.browse_one(looker.user, vhost.as_str(), id, &mut |queue, view, message| {
            let seen = SeenMessage::of(view, message, vhost, body_bytes_max);
            let (vhost, queue) = (Some(vhost.as_str()), Some(queue.as_str()));
            let seen = Box::new(SeenMessage { vhost, queue, ..seen });
            shown = Some(looking::json(&FoundMessage::There(seen)));
        });
    found.map_err(|error| refused(&error, vhost.as_str()))?;
    shown.transpose()
}
