//! Doing something with all messages of a queue that a filter means: as a task, since that may take a
//! while.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use broker::{FIRST_VHOST, Scopes, User};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::browse::SeenMessage;
use super::filter::FilterIn;
use super::task_run;
use crate::body::Json;
use crate::gate::Guest;
use crate::hall::Hall;
use crate::looking::Looker;
use crate::problem::Problem;
use crate::query::{self, Places};
use crate::routes::{Need, Routes};
use crate::tasks::{Deed, DryRun, Standing, Task, Wish};
use crate::waited::waited;

/// How many messages a second a task does, at most; and if nobody says.
const RATE_MAX: u32 = 100_000;
const RATE: u32 = 10_000;

const ADMINISTRATOR: &str = "administrator";

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/v1/tasks", Need::Login, list_tasks)
        .post("/v1/tasks", Need::Login, begin_task)
        .get("/v1/tasks/{task}", Need::Login, get_task)
        .delete("/v1/tasks/{task}", Need::Login, cancel_task)
}

/// What is to be done, and with which messages. Only ready ones are touched.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskIn {
    action: Action,
    /// The queue that the messages are in.
    queue: String,
    /// The virtual host; `/` if not said.
    #[serde(default)]
    vhost: Option<String>,
    /// Where messages move to: another queue of the virtual host.
    #[serde(default)]
    to: Option<String>,
    /// Which messages; all of those that are there now if not said.
    #[serde(default)]
    filter: FilterIn,
    /// Only count them, and show some.
    #[serde(default)]
    dry_run: bool,
    /// At most so many messages a second; 10,000 if not said.
    #[serde(default = "rate")]
    #[schema(minimum = 1, maximum = 100_000)]
    rate_per_s: u32,
}

fn rate() -> u32 {
    RATE
}

/// What is done with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Action {
    /// They go for good.
    Delete,
    /// They go, as they are, to another queue.
    Move,
    /// Dead letters go, as they are, back to the queues that gave them up last.
    Replay,
}

/// A task, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskOut {
    id: String,
    state: TaskState,
    action: Action,
    queue: String,
    vhost: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    dry_run: bool,
    /// Who began it.
    user: String,
    started_at_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at_ms: Option<u64>,
    /// Messages there were when it began.
    total: u64,
    /// Messages it has looked at.
    passed: u64,
    /// Those that are meant.
    matched: u64,
    /// Those with which it was done.
    done: u64,
    /// Those that were not ready any more when their turn came.
    gone: u64,
    /// Those that stayed: there is no room where they should go, or they do not say where they come
    /// from.
    refused: u64,
    /// Of a dry run: some of those that are meant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<SeenMessage<'static>>)]
    sample: Vec<Box<RawValue>>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum TaskState {
    Running,
    Done,
    /// Somebody wanted it no more; what was done stays done.
    Cancelled,
    /// Something went wrong; what was done stays done.
    Failed,
}

/// Tasks, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tasks {
    items: Vec<TaskOut>,
}

impl TaskOut {
    fn of(task: &Task) -> TaskOut {
        let (wish, progress) = (&task.wish, task.progress());
        let (action, to) = match &wish.deed {
            Deed::Delete => (Action::Delete, None),
            Deed::Move(to) => (Action::Move, Some(to.as_str().to_owned())),
            Deed::Replay => (Action::Replay, None),
        };
        TaskOut {
            id: task.number.to_string(),
            state: match progress.standing {
                Standing::Running => TaskState::Running,
                Standing::Done => TaskState::Done,
                Standing::Cancelled => TaskState::Cancelled,
                Standing::Failed => TaskState::Failed,
            },
            action,
            queue: wish.queue.as_str().to_owned(),
            vhost: wish.vhost.as_str().to_owned(),
            to,
            dry_run: wish.dry_run == DryRun::Yes,
            user: wish.user.as_str().to_owned(),
            started_at_ms: task.started_at_ms,
            ended_at_ms: progress.ended_at_ms,
            total: progress.total,
            passed: progress.passed,
            matched: progress.matched,
            done: progress.done,
            gone: progress.gone,
            refused: progress.refused,
            sample: progress.sample,
            problem: progress.problem,
        }
    }
}

fn deed(wanted: &TaskIn) -> Result<Deed, Problem> {
    match (wanted.action, &wanted.to) {
        (Action::Move, Some(to)) if *to == wanted.queue => {
            Err(Problem::bad_request("the messages are there already").field("to"))
        }
        (Action::Move, Some(to)) => Ok(Deed::Move(query::name(to, "to")?)),
        (Action::Move, None) => Err(Problem::bad_request("where to?")
            .field("to")
            .remedy("name another queue of the virtual host")),
        (Action::Delete | Action::Replay, Some(_)) => {
            let problem = Problem::bad_request("only messages that move go somewhere");
            Err(problem.field("to").remedy("leave it away"))
        }
        (Action::Delete, None) => Ok(Deed::Delete),
        (Action::Replay, None) => Ok(Deed::Replay),
    }
}

/// Begins a task: something is done with all ready messages of a queue that are there now and that the
/// filter means. Deleting and moving need the right to read from the queue, moving and replaying the
/// right to publish to queues.
#[utoipa::path(
    post, path = "/v1/tasks", tag = "tasks",
    request_body(content = TaskIn),
    responses((status = 202, description = "It has begun", body = TaskOut))
)]
async fn begin_task(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Json(wanted): Json<TaskIn>,
) -> Result<Response, Problem> {
    let vhost = query::name(wanted.vhost.as_deref().unwrap_or(FIRST_VHOST), "vhost")?;
    let queue = query::name(&wanted.queue, "queue")?;
    let deed = deed(&wanted)?;
    let filter = wanted.filter.ready("filter.")?;
    if !(1..=RATE_MAX).contains(&wanted.rate_per_s) {
        let detail = format!("this is from 1 to {RATE_MAX}");
        return Err(Problem::bad_request(detail).field("rate_per_s"));
    }
    task_run::rehearse(&hall, &user, vhost.as_str(), &queue, &deed).await?;
    let seen = (vhost.clone(), queue.clone());
    let total = waited(&hall, move |broker| {
        let view = broker.sight(seen.0.as_str())?.queue(seen.1.as_str())?;
        Some(view.messages())
    });
    let wish = Wish {
        user: user.name().clone(),
        vhost,
        queue,
        deed,
        dry_run: if wanted.dry_run { DryRun::Yes } else { DryRun::No },
        rate_per_s: wanted.rate_per_s,
    };
    let total = total.await?.unwrap_or_default();
    let added = hall.tasks().add(wish, total, crate::looking::wall_ms());
    let task = added.map_err(|error| {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_tasks", error.to_string())
            .remedy("wait until one is over, or cancel one: DELETE /v1/tasks/ID")
            .retry_after(5)
    })?;
    tracing::info!(
        task = task.number, user = %task.wish.user, vhost = %task.wish.vhost,
        queue = %task.wish.queue, deed = ?task.wish.deed, dry_run = wanted.dry_run,
        "a task begins"
    );
    tokio::spawn(task_run::run(hall.clone(), user, Arc::clone(&task), filter));
    Ok((StatusCode::ACCEPTED, axum::Json(TaskOut::of(&task))).into_response())
}

/// Lists the user's own tasks that are at work or were not long ago, the newest first; all there are,
/// to those who watch over the broker. A restart forgets them.
#[utoipa::path(
    get, path = "/v1/tasks", tag = "tasks",
    responses((status = 200, body = Tasks))
)]
async fn list_tasks(State(hall): State<Hall>, Guest(user): Guest) -> Response {
    let all = hall.tasks().all();
    let visible = all.iter().filter(|task| sees(&hall, &user, task));
    axum::Json(Tasks { items: visible.map(|task| TaskOut::of(task)).collect() }).into_response()
}

fn sees(hall: &Hall, user: &User, task: &Task) -> bool {
    Looker { broker: hall.broker(), user }.sees_user(&task.wish.user)
}

fn known(hall: &Hall, user: &User, task: &str) -> Result<Arc<Task>, Problem> {
    let found = task.parse().ok().and_then(|number| hall.tasks().task(number));
    found.filter(|task| sees(hall, user, task)).ok_or_else(|| {
        let detail = format!(
            "there is no task {task}; tasks end with the broker, and what was done stays done"
        );
        Problem::not_found(detail).remedy(
            "GET /v1/tasks lists those there are; ask for the same again to have the rest done",
        )
    })
}

/// Shows a task, and how far it is.
#[utoipa::path(
    get, path = "/v1/tasks/{task}", tag = "tasks",
    params(("task" = String, Path)),
    responses((status = 200, body = TaskOut))
)]
async fn get_task(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(task): Places<String>,
) -> Result<Response, Problem> {
    let task = known(&hall, &user, &task)?;
    Ok(axum::Json(TaskOut::of(&task)).into_response())
}

/// Cancels a task: what was done stays done, and nothing more is.
#[utoipa::path(
    delete, path = "/v1/tasks/{task}", tag = "tasks",
    params(("task" = String, Path)),
    responses((status = 200, description = "It ends now, or has ended", body = TaskOut))
)]
async fn cancel_task(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(task): Places<String>,
) -> Result<Response, Problem> {
    let task = known(&hall, &user, &task)?;
    let is_own = task.wish.user == *user.name() || user.has_tag(ADMINISTRATOR);
    if !is_own || !user.may(Scopes::CONSUME) {
        return Err(Problem::forbidden("others' tasks are an administrator's business"));
    }
    task.cancel();
    Ok(axum::Json(TaskOut::of(&task)).into_response())
}
