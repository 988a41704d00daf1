//! Leasing and settling: a worker asks for messages, waits for them if there are none, and says what
//! became of them, all without a connection that would have to stay.

use std::borrow::Cow;
use std::iter::repeat;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use broker::lease::{
    LeaseEnd, LeaseError, LeaseRefusal, LeaseReply, LeaseRequest, LeaseSettlement,
    LeaseSettlements, LeaseStatus, LeaseToken, LeasedRun,
};
use broker::operation::{Operation, Verb};
use broker::{Event, limits};
use domain::name::Name;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::delivery::{self, LeasedMessage};
use crate::body::{self, MaybeJson};
use crate::gate::Guest;
use crate::hall::Hall;
use crate::problem::Problem;
use crate::query::{self, InVhost, Parameters, Places};
use crate::refusals;
use crate::routes::{Need, Routes};
use crate::visit::Visit;

/// Most messages leased, or leases settled, by one request.
const MESSAGES_MAX: usize = 1_000;

/// How long a lease lasts if nobody says.
const LEASE_MS: u64 = 30_000;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.post("/v1/queues/{queue}/lease", Need::Login, lease).post(
        "/v1/leases",
        Need::Login,
        settle,
    )
}

/// What is wanted.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LeaseIn {
    /// At most so many messages, 1 to 1,000; 1 if not said.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 1000)]
    max: usize,
    /// For how long, up to a day; 30 seconds if not said.
    #[serde(default = "lease_ms")]
    #[schema(minimum = 1, maximum = 86_400_000)]
    lease_ms: u64,
    /// How long to wait for the first message, up to a minute; not at all if not said.
    #[serde(default)]
    #[schema(maximum = 60_000)]
    wait_ms: u64,
}

fn one() -> usize {
    1
}

fn lease_ms() -> u64 {
    LEASE_MS
}

impl Default for LeaseIn {
    fn default() -> LeaseIn {
        LeaseIn { max: one(), lease_ms: LEASE_MS, wait_ms: 0 }
    }
}

/// Leased messages; none if there were none in time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Leased<'a> {
    messages: Vec<LeasedMessage<'a>>,
}

/// What is to become of leases. At most 1,000 in all, of one virtual host.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettleIn<'a> {
    /// Done: the messages leave their queues.
    #[serde(borrow, default)]
    ack: Vec<Acknowledged<'a>>,
    /// They could not be handled.
    #[serde(borrow, default)]
    fail: Vec<Failed<'a>>,
    /// Nothing is wrong with them: back to their places, and not counted as failures.
    #[serde(borrow, default)]
    release: Vec<Released<'a>>,
    /// Their leases go on.
    #[serde(borrow, default)]
    extend: Vec<Extended<'a>>,
    /// What to lease in the same breath.
    #[serde(borrow, default)]
    then_lease: Option<ThenLease<'a>>,
}

/// A lease of a message that is done.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Acknowledged<'a> {
    #[serde(borrow)]
    lease: Cow<'a, str>,
    /// What came of it: any JSON of at most 64 KiB. `GET /v1/messages/{id}` tells it, if the message's
    /// queue was declared with `x-done-ttl`, `x-done-max-length` or `x-done-max-length-bytes`.
    #[serde(borrow, default)]
    #[schema(value_type = Option<Object>)]
    result: Option<&'a RawValue>,
}

/// A lease of a message that could not be handled.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failed<'a> {
    #[serde(borrow)]
    lease: Cow<'a, str>,
    /// Why; it goes with the message if that is dead-lettered for it.
    #[serde(borrow, default)]
    error: Option<ErrorIn<'a>>,
    /// Whether the message is to be tried again, from its place in the queue; true if not said. If
    /// not, it is dead-lettered, or dropped if its queue says nothing of dead letters.
    #[serde(default = "yes")]
    retry: bool,
    /// How long it is to wait before it can be tried again, up to 30 days; not at all if not said.
    #[serde(default)]
    #[schema(maximum = 2_592_000_000_u64)]
    delay_ms: u64,
}

/// A lease of a message with which nothing is wrong.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Released<'a> {
    #[serde(borrow)]
    lease: Cow<'a, str>,
    /// How long it is to wait before it is handed out again, up to 30 days; not at all if not said.
    #[serde(default)]
    #[schema(maximum = 2_592_000_000_u64)]
    delay_ms: u64,
}

/// Why a message could not be handled.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorIn<'a> {
    /// Its kind, for programs: a class or a code, of at most 128 bytes. It becomes the header
    /// `x-error-type`.
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    /// For people, at most 2,048 bytes. It becomes the header `x-error-message`.
    #[serde(borrow, default)]
    message: Cow<'a, str>,
}

impl ErrorIn<'_> {
    fn ready(&self, at: usize) -> Result<Arc<LeaseError>, Problem> {
        for (text, bytes_max, field) in [
            (&self.kind, limits::ERROR_TYPE_BYTES_MAX, "type"),
            (&self.message, limits::ERROR_MESSAGE_BYTES_MAX, "message"),
        ] {
            if text.len() > bytes_max {
                let detail = format!("this has at most {bytes_max} bytes");
                let problem = Problem::bad_request(detail);
                return Err(problem.field(format!("fail[{at}].error.{field}")));
            }
        }
        let (kind, message) = ((&*self.kind).into(), (&*self.message).into());
        Ok(Arc::new(LeaseError { kind, message }))
    }
}

fn yes() -> bool {
    true
}

/// A lease that goes on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Extended<'a> {
    #[serde(borrow)]
    lease: Cow<'a, str>,
    /// For how long from now, up to a day; 30 seconds if not said.
    #[serde(default = "lease_ms")]
    #[schema(minimum = 1, maximum = 86_400_000)]
    lease_ms: u64,
    /// How far the work is: any JSON of at most 256 bytes.
    #[serde(borrow, default)]
    #[schema(value_type = Option<Object>)]
    progress: Option<&'a RawValue>,
}

/// Messages wanted after a settlement, of its virtual host; of `/` if nothing is settled.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ThenLease<'a> {
    #[serde(borrow)]
    queue: Cow<'a, str>,
    /// Needed only if nothing is settled, and it is not `/`.
    #[serde(borrow, default)]
    vhost: Option<Cow<'a, str>>,
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 1000)]
    max: usize,
    #[serde(default = "lease_ms")]
    #[schema(minimum = 1, maximum = 86_400_000)]
    lease_ms: u64,
    #[serde(default)]
    #[schema(maximum = 60_000)]
    wait_ms: u64,
}

/// What became of leases, in the order `ack`, `fail`, `release`, `extend`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Settled<'a> {
    results: Vec<Outcome<'a>>,
    /// What was leased, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<LeasedMessage<'a>>>,
}

/// What became of one lease.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Outcome<'a> {
    lease: &'a str,
    status: Status,
    /// Of an extended lease: when it ends now, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_expires_at_ms: Option<u64>,
    /// Where a result was given and the message is done: whether its queue tells of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_kept: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// It is as was wished, and safe.
    Ok,
    /// The message is no more: settled, purged, or gone with its queue.
    Gone,
    /// The lease was over before: it ran out, and another may hold the message.
    Lost,
}

/// Leases messages of a queue: they are the caller's until it settles them or their time is over; then
/// they return to their places. A lease outlives connections and restarts of the broker.
#[utoipa::path(
    post, path = "/v1/queues/{queue}/lease", tag = "messages",
    params(("queue" = String, Path), InVhost),
    request_body(content = Option<LeaseIn>),
    responses((status = 200, description = "What there was", body = Leased))
)]
async fn lease(
    State(hall): State<Hall>,
    guest: Guest,
    Places(queue): Places<String>,
    Parameters(vhost): Parameters<InVhost>,
    MaybeJson(wanted): MaybeJson<LeaseIn>,
) -> Result<Response, Problem> {
    let wanted = wanted.unwrap_or_default();
    let request = request(&queue, "queue", &wanted, "")?;
    let mut visit = Visit::enter(hall.broker(), &guest.0, vhost.name())?;
    visit.batch().push(Operation::Lease(Box::new(request)));
    visit.send();
    let vhost = query::name(vhost.name(), "vhost")?;
    let answers = answers(&mut visit, 1, vhost.as_str()).await?;
    let messages = delivery::messages(&answers.leased, &vhost);
    Ok(axum::Json(Leased { messages }).into_response())
}

/// Settles leases, and leases again if that is wished. What became of each stands in the answer; one
/// that is over by now changes nothing.
#[utoipa::path(
    post, path = "/v1/leases", tag = "messages",
    request_body(content = SettleIn),
    responses((status = 200, description = "What became of each", body = Settled))
)]
async fn settle(
    State(hall): State<Hall>,
    guest: Guest,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let whole = body::read(&hall, &headers, body).await?;
    let wished: SettleIn<'_> = body::parse(&whole.bytes)?;
    let (texts, settlements) = settlements(&wished)?;
    let vhost = vhost_of(&wished, &settlements)?;
    let then_lease = match &wished.then_lease {
        None => None,
        Some(ThenLease { queue, max, lease_ms, wait_ms, .. }) => {
            let (max, lease_ms, wait_ms) = (*max, *lease_ms, *wait_ms);
            let wanted = LeaseIn { max, lease_ms, wait_ms };
            Some(request(queue, "then_lease.queue", &wanted, "then_lease.")?)
        }
    };
    let mut visit = Visit::enter(hall.broker(), &guest.0, vhost.as_str())?;
    let items = settlements.into_iter().map(|(_, item)| item).collect();
    visit.batch().push(Operation::SettleLeases(Box::new(LeaseSettlements { ticket: 0, items })));
    let asks_for_more = then_lease.is_some();
    if let Some(request) = then_lease {
        visit.batch().push(Operation::Lease(Box::new(request)));
    }
    visit.send();
    let answers = answers(&mut visit, 1 + u32::from(asks_for_more), vhost.as_str()).await?;
    // Acknowledgements come first.
    let brought = wished.ack.iter().map(|ack| ack.result.is_some()).chain(repeat(false));
    let told = texts.iter().zip(&answers.statuses).zip(brought);
    let results = told.map(|((lease, status), brought_result)| {
        let (status, lease_expires_at_ms, result_kept) = match status {
            LeaseStatus::Done { until_wall_ms, is_told } => {
                (Status::Ok, *until_wall_ms, brought_result.then_some(*is_told))
            }
            LeaseStatus::Gone => (Status::Gone, None, None),
            LeaseStatus::Lost => (Status::Lost, None, None),
        };
        Outcome { lease, status, lease_expires_at_ms, result_kept }
    });
    let messages = asks_for_more.then(|| delivery::messages(&answers.leased, &vhost));
    Ok(axum::Json(Settled { results: results.collect(), messages }).into_response())
}

/// What the virtual host said.
#[derive(Default)]
struct Answers {
    statuses: Vec<LeaseStatus>,
    leased: Vec<LeasedRun>,
}

async fn answers(visit: &mut Visit, count: u32, vhost: &str) -> Result<Answers, Problem> {
    let mut answers = Answers::default();
    let mut left = count;
    while left > 0 {
        let Event::LeaseAnswer(answer) = visit.next().await? else { continue };
        left -= 1;
        match answer.outcome {
            Ok(LeaseReply::Leased(runs)) => answers.leased = runs,
            Ok(LeaseReply::Settled(statuses)) => answers.statuses = statuses,
            Err(refusal) => return Err(refused(&refusal, vhost)),
        }
    }
    Ok(answers)
}

fn refused(refusal: &LeaseRefusal, vhost: &str) -> Problem {
    let (word, remedy) = match refusal {
        LeaseRefusal::Refused(refusal) => return refusals::refused(refusal, Verb::Get, vhost),
        LeaseRefusal::TooManyLeases => {
            ("too_many_leases", "settle some, or lease fewer messages for a shorter time")
        }
        LeaseRefusal::TooManyWaiting => (
            "too_many_waiting",
            "try again later, or let fewer workers wait for more messages each",
        ),
    };
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, word, refusal.to_string());
    problem.remedy(remedy).retry_after(1)
}

/// A wish, checked; `prefix` is where its numbers stand in the request.
fn request(
    queue: &str,
    field: &str,
    wanted: &LeaseIn,
    prefix: &str,
) -> Result<LeaseRequest, Problem> {
    if queue.is_empty() {
        return Err(Problem::bad_request("a queue needs a name").field(field));
    }
    let queue = query::name(queue, field)?;
    let count = wanted.max as u64;
    within(count, 1, MESSAGES_MAX as u64, &format!("{prefix}max"))?;
    within(wanted.lease_ms, 1, limits::LEASE_MS_MAX, &format!("{prefix}lease_ms"))?;
    within(wanted.wait_ms, 0, limits::LEASE_WAIT_MS_MAX, &format!("{prefix}wait_ms"))?;
    Ok(LeaseRequest {
        ticket: 1,
        queue,
        messages_max: u32::try_from(count).unwrap_or(u32::MAX),
        lease_ms: wanted.lease_ms,
        wait_ms: wanted.wait_ms,
    })
}

fn within(number: u64, least: u64, most: u64, field: &str) -> Result<(), Problem> {
    if (least..=most).contains(&number) {
        return Ok(());
    }
    Err(Problem::bad_request(format!("this is {number}, and is from {least} to {most}"))
        .field(field))
}

/// The leases of a request in order, each with its virtual host; and their texts.
type Settlements<'a> = (Vec<&'a str>, Vec<(Name, LeaseSettlement)>);

fn settlements<'a>(wished: &'a SettleIn<'_>) -> Result<Settlements<'a>, Problem> {
    let SettleIn { ack, fail, release, extend, .. } = wished;
    let count = ack.len() + fail.len() + release.len() + extend.len();
    if count > MESSAGES_MAX {
        let detail = format!("these are {count} leases, and at most {MESSAGES_MAX} go together");
        return Err(Problem::bad_request(detail).remedy("settle the others with another request"));
    }
    let mut texts = Vec::with_capacity(count);
    let mut items = Vec::with_capacity(count);
    let mut add = |list: &str, at: usize, lease: &'a str, end: LeaseEnd| {
        let (vhost, token) = LeaseToken::parse(lease).map_err(|error| {
            Problem::bad_request(error.to_string()).field(format!("{list}[{at}].lease"))
        })?;
        texts.push(lease);
        items.push((vhost, LeaseSettlement { token, end }));
        Ok::<(), Problem>(())
    };
    for (at, Acknowledged { lease, result }) in ack.iter().enumerate() {
        let field = format!("ack[{at}].result");
        let result = small_json(*result, limits::RESULT_BYTES_MAX, &field)?.map(Into::into);
        add("ack", at, lease, LeaseEnd::Acknowledged { result })?;
    }
    for (at, failed) in fail.iter().enumerate() {
        let error = failed.error.as_ref().map(|error| error.ready(at)).transpose()?;
        let Failed { lease, retry, delay_ms, .. } = failed;
        let field = format!("fail[{at}].delay_ms");
        within(*delay_ms, 0, limits::RETURN_DELAY_MS_MAX, &field)?;
        let end = match (retry, delay_ms) {
            (true, _) => LeaseEnd::Failed { error, delay_ms: *delay_ms },
            (false, 0) => LeaseEnd::Rejected(error),
            (false, _) => {
                let problem = Problem::bad_request("what is not tried again waits for nothing");
                return Err(problem.field(field).remedy("leave it away, or \"retry\": false"));
            }
        };
        add("fail", at, lease, end)?;
    }
    for (at, Released { lease, delay_ms }) in release.iter().enumerate() {
        let field = format!("release[{at}].delay_ms");
        within(*delay_ms, 0, limits::RETURN_DELAY_MS_MAX, &field)?;
        add("release", at, lease, LeaseEnd::Released { delay_ms: *delay_ms })?;
    }
    for (at, Extended { lease, lease_ms, progress }) in extend.iter().enumerate() {
        within(*lease_ms, 1, limits::LEASE_MS_MAX, &format!("extend[{at}].lease_ms"))?;
        let field = format!("extend[{at}].progress");
        let progress = small_json(*progress, limits::PROGRESS_BYTES_MAX, &field)?.map(Into::into);
        add("extend", at, lease, LeaseEnd::Extended { lease_ms: *lease_ms, progress })?;
    }
    Ok((texts, items))
}

/// JSON as it was written, if it is no longer than it may be.
fn small_json<'a>(
    json: Option<&'a RawValue>,
    bytes_max: usize,
    field: &str,
) -> Result<Option<&'a str>, Problem> {
    let text = json.map(RawValue::get);
    if let Some(bytes) = text.map(str::len).filter(|bytes| *bytes > bytes_max) {
        let detail = format!("this has {bytes} bytes, and may have {bytes_max}");
        let problem = Problem::bad_request(detail).field(field);
        return Err(problem.remedy("put it where it has room, and say here where that is"));
    }
    Ok(text)
}

/// The one virtual host that a request is about.
fn vhost_of(
    wished: &SettleIn<'_>,
    settlements: &[(Name, LeaseSettlement)],
) -> Result<Name, Problem> {
    let then = wished.then_lease.as_ref().and_then(|then| then.vhost.as_deref());
    let then = then.map(|vhost| query::name(vhost, "then_lease.vhost")).transpose()?;
    let mut vhosts = settlements.iter().map(|(vhost, _)| vhost).chain(&then);
    let Some(first) = vhosts.next() else {
        return Ok(Name::from_static(broker::FIRST_VHOST));
    };
    if let Some(other) = vhosts.find(|other| *other != first) {
        let detail = format!("it is about the vhosts '{first}' and '{other}'");
        return Err(Problem::bad_request(detail).remedy("ask for each with a request of its own"));
    }
    Ok(first.clone())
}
