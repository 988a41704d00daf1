//! What became of messages: queues that were declared for it tell of those that are done, one by its id
//! or all a page at a time, until they are forgotten.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use broker::done::{DoneOutcome, DoneReply, DoneRequest, DoneWish, KeptMessage};
use broker::operation::{Operation, Verb};
use broker::{Event, MessageId, User};
use domain::name::Name;
use domain::run::Direction;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::gate::Guest;
use crate::hall::Hall;
use crate::looking;
use crate::problem::Problem;
use crate::query::{self, InVhost, Parameters, Places};
use crate::refusals;
use crate::routes::{Need, Routes};
use crate::visit::Visit;

/// Most done messages in one answer, and as many as there are if nobody says.
const LIMIT_MAX: usize = 1_000;
const LIMIT: usize = 100;

/// How soon to ask again for what waits for the disk.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);

pub(super) fn routes(routes: Routes) -> Routes {
    routes.get("/v1/queues/{queue}/done", Need::Login, list_done).delete(
        "/v1/queues/{queue}/done",
        Need::Login,
        forget_done,
    )
}

/// A message that is done, and what became of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DoneMessageOut<'a> {
    /// Names the message: `GET /v1/messages/{id}` tells this for as long as its queue does.
    id: String,
    /// Its virtual host, where one message is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    vhost: Option<&'a str>,
    /// Its queue, where one message is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<&'a str>,
    state: DoneState,
    outcome: OutcomeName,
    /// Whether it went on as a dead letter, under another id.
    dead_lettered: bool,
    /// How many times it was handed out; at least so many where its queue does not count.
    attempts: u32,
    /// When it was published, in milliseconds since 1970, to a few percent of the time until it was
    /// done; left out if that was before the last start of the broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    published_at_ms: Option<u64>,
    /// When it was done, in milliseconds since 1970.
    done_at_ms: u64,
    /// Until when this is told at most, in milliseconds since 1970.
    kept_until_ms: u64,
    /// What whoever acknowledged it said came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    result: Option<&'a RawValue>,
    /// How far whoever leased it last was, as it said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    progress: Option<&'a RawValue>,
    /// What whoever failed it for the last time said went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorOut<'a>>,
}

/// It is nowhere any more.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum DoneState {
    Done,
}

/// How a message ended.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum OutcomeName {
    /// It was acknowledged.
    Acknowledged,
    /// It failed, and was not to be tried again.
    Rejected,
    /// It failed more often than its queue allows.
    Failed,
    /// It waited too long.
    Expired,
    /// There were too many.
    Overflowed,
    /// It was purged or deleted.
    Purged,
    /// It was put into another queue, where it has another id.
    Moved,
}

/// Why a message could not be handled.
#[derive(Debug, Serialize, ToSchema)]
struct ErrorOut<'a> {
    /// Its kind, for programs.
    r#type: &'a str,
    /// For people.
    message: &'a str,
}

/// Done messages of a queue, in the order in which they came into it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DonePage<'a> {
    items: Vec<DoneMessageOut<'a>>,
    /// Ask with this as `after` for those behind; left out at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Which way to look.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum DoneOrder {
    /// Those that came into the queue last come first.
    #[default]
    Newest,
    /// Those that came into the queue first come first.
    Oldest,
}

/// Which done messages to show.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DoneParameters {
    /// The virtual host; `/` if not said.
    #[serde(default)]
    vhost: Option<String>,
    /// At most so many; 100 if not said.
    #[serde(default)]
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<usize>,
    /// Go on behind this, in the same order: `next` of the page before.
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    #[param(inline)]
    order: DoneOrder,
}

/// How many were forgotten.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Forgotten {
    /// Done messages that nothing is told of any more.
    forgotten: u64,
}

impl<'a> DoneMessageOut<'a> {
    fn of(kept: &'a KeptMessage, vhost: &Name) -> DoneMessageOut<'a> {
        let done = &*kept.message;
        // They were JSON when they came in.
        let json = |text: &'a str| serde_json::from_str(text).ok();
        let error = done.said.error.as_deref();
        DoneMessageOut {
            id: done.id.to_text(vhost),
            vhost: None,
            queue: None,
            state: DoneState::Done,
            outcome: OutcomeName::of(done.outcome),
            dead_lettered: done.dead_lettered,
            attempts: done.attempts,
            published_at_ms: done.published_wall_ms,
            done_at_ms: done.done_wall_ms,
            kept_until_ms: kept.until_wall_ms,
            result: done.said.result.as_deref().and_then(json),
            progress: done.said.progress.as_deref().and_then(json),
            error: error.map(|error| ErrorOut { r#type: &error.kind, message: &error.message }),
        }
    }

    /// One that is shown alone.
    pub(super) fn alone(
        kept: &'a KeptMessage,
        vhost: &'a Name,
        queue: &'a Name,
    ) -> DoneMessageOut<'a> {
        let (vhost_name, queue) = (Some(vhost.as_str()), Some(queue.as_str()));
        DoneMessageOut { vhost: vhost_name, queue, ..DoneMessageOut::of(kept, vhost) }
    }
}

impl OutcomeName {
    fn of(outcome: DoneOutcome) -> OutcomeName {
        match outcome {
            DoneOutcome::Acknowledged => OutcomeName::Acknowledged,
            DoneOutcome::Rejected => OutcomeName::Rejected,
            DoneOutcome::Failed => OutcomeName::Failed,
            DoneOutcome::Expired => OutcomeName::Expired,
            DoneOutcome::Overflowed => OutcomeName::Overflowed,
            DoneOutcome::Purged => OutcomeName::Purged,
            DoneOutcome::Moved => OutcomeName::Moved,
        }
    }
}

/// What became of a message, with its queue's name, if anybody knows.
pub(super) async fn find(
    hall: &Hall,
    user: &User,
    vhost: &Name,
    id: MessageId,
) -> Result<Option<(Name, KeptMessage)>, Problem> {
    loop {
        match ask(hall, user, vhost.as_str(), DoneWish::One(id)).await? {
            DoneReply::One(found) => return Ok(found),
            DoneReply::OnItsWay => tokio::time::sleep(ASK_AGAIN_AFTER).await,
            DoneReply::Page { .. } | DoneReply::OtherQueue | DoneReply::Forgotten(_) => {
                return Err(Problem::broken());
            }
        }
    }
}

async fn ask(hall: &Hall, user: &User, vhost: &str, wish: DoneWish) -> Result<DoneReply, Problem> {
    let mut visit = Visit::enter(hall.broker(), user, vhost)?;
    visit.batch().push(Operation::Done(Box::new(DoneRequest { ticket: 0, wish })));
    visit.send();
    loop {
        if let Event::DoneAnswer(answer) = visit.next().await? {
            return answer.outcome.map_err(|why| refusals::refused(&why, Verb::Get, vhost));
        }
    }
}

/// Lists the done messages that a queue tells of, with what became of each. A queue tells of none unless
/// it was declared with `x-done-ttl`, `x-done-max-length` or `x-done-max-length-bytes`. Needs the right to
/// read from the queue.
#[utoipa::path(
    get, path = "/v1/queues/{queue}/done", tag = "messages",
    params(("queue" = String, Path), DoneParameters),
    responses((status = 200, body = DonePage))
)]
async fn list_done(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(queue): Places<String>,
    Parameters(parameters): Parameters<DoneParameters>,
) -> Result<Response, Problem> {
    let vhost = parameters.vhost.as_deref().unwrap_or(broker::FIRST_VHOST);
    let vhost = query::name(vhost, "vhost")?;
    let messages_max = parameters.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&messages_max) {
        let problem = Problem::bad_request(format!("a page has from 1 to {LIMIT_MAX} items"));
        return Err(problem.field("limit"));
    }
    let wish = DoneWish::Page {
        queue: query::name(&queue, "queue")?,
        behind: parameters.after.as_deref().map(|after| behind(after, &vhost)).transpose()?,
        direction: match parameters.order {
            DoneOrder::Newest => Direction::NewestFirst,
            DoneOrder::Oldest => Direction::OldestFirst,
        },
        messages_max,
    };
    match ask(&hall, &user, vhost.as_str(), wish).await? {
        DoneReply::Page { messages, goes_on } => {
            let last = messages.last().filter(|_| goes_on);
            let next = last.map(|kept| kept.message.id.to_text(&vhost));
            let items = messages.iter().map(|kept| DoneMessageOut::of(kept, &vhost)).collect();
            looking::json(&DonePage { items, next })
        }
        DoneReply::OtherQueue => Err(no_page()),
        DoneReply::One(_) | DoneReply::OnItsWay | DoneReply::Forgotten(_) => Err(Problem::broken()),
    }
}

fn behind(after: &str, vhost: &Name) -> Result<MessageId, Problem> {
    let (of, id) = MessageId::parse(after).map_err(|_no_id| no_page())?;
    if of == *vhost { Ok(id) } else { Err(no_page()) }
}

fn no_page() -> Problem {
    let problem = Problem::bad_request("no page of this queue ended so").field("after");
    problem.remedy("give what stood as `next` in the page before, or begin anew")
}

/// Forgets what became of the messages of a queue that are done so far. Needs the right to read from the
/// queue.
#[utoipa::path(
    delete, path = "/v1/queues/{queue}/done", tag = "messages",
    params(("queue" = String, Path), InVhost),
    responses((status = 200, body = Forgotten))
)]
async fn forget_done(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(queue): Places<String>,
    Parameters(place): Parameters<InVhost>,
) -> Result<Response, Problem> {
    let queue = query::name(&queue, "queue")?;
    match ask(&hall, &user, place.name(), DoneWish::Forget(queue)).await? {
        DoneReply::Forgotten(forgotten) => looking::json(&Forgotten { forgotten }),
        DoneReply::One(_)
        | DoneReply::OnItsWay
        | DoneReply::Page { .. }
        | DoneReply::OtherQueue => Err(Problem::broken()),
    }
}
