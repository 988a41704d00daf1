//! The work of a task: messages that are meant are found without the owner, some at a time, and what is
//! to be done with them is asked in the name of the task's user.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::operation::{Operation, Verb};
use broker::removal::{Moving, Removal, Removed};
use broker::views::MessageView;
use broker::{
    Begin, Browse, BrowseCursor, Browsed, Event, Message, MessageId, Onward, User, Viewer,
};
use domain::name::Name;
use domain::properties::Properties;
use domain::run::Direction;
use domain::table::Value;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep_until};

use super::browse::{self, SeenMessage};
use super::filter::Filter;
use crate::hall::Hall;
use crate::looking;
use crate::problem::Problem;
use crate::refusals;
use crate::tasks::{Deed, DryRun, Standing, Task};
use crate::visit::Visit;
use crate::waited::waited;

/// Messages done with at once, and so many times a second at most.
const BATCH_MESSAGES: u32 = 250;
const BATCHES_PER_S: u32 = 10;

/// Bytes of messages moved at once, but for one message.
const BATCH_BYTES: usize = 1 << 20;

/// Messages read in one go, and bytes after which no more are.
const READ_MESSAGES_MAX: u32 = 5_000;
const READ_BYTES_MAX: u64 = 8 << 20;

/// Messages in a sample, and how much of their bodies.
const SAMPLE_MESSAGES: usize = 10;
const SAMPLE_BODY_BYTES: usize = 1 << 10;

/// What a sample takes in all, in bytes; headers may be long, and tasks are remembered for a while.
const SAMPLE_BYTES_MAX: usize = 64 << 10;

const DEATHS: &str = "x-death";

/// Asks whether the user may do such a thing at all.
pub(super) async fn rehearse(
    hall: &Hall,
    user: &User,
    vhost: &str,
    queue: &Name,
    deed: &Deed,
) -> Result<(), Problem> {
    // Dead letters may go anywhere; their own queue stands for those.
    let to = match deed {
        Deed::Delete => None,
        Deed::Move(to) => Some(to.clone()),
        Deed::Replay => Some(queue.clone()),
    };
    let mut visit = Visit::enter(hall.broker(), user, vhost)?;
    ask(&mut visit, vec![Removal::of_nothing(0, queue.clone(), to)], vhost).await.map(drop)
}

/// Does a task to its end.
pub(super) async fn run(hall: Hall, user: User, task: Arc<Task>, filter: Filter) {
    let (standing, problem) = match work(&hall, &user, &task, &Arc::new(filter)).await {
        Ok(standing) => (standing, None),
        Err(problem) => (Standing::Failed, Some(problem.detail().to_owned())),
    };
    tracing::info!(task = task.number, ?standing, "a task is over");
    task.end(standing, problem, looking::wall_ms());
}

async fn work(
    hall: &Hall,
    user: &User,
    task: &Arc<Task>,
    filter: &Arc<Filter>,
) -> Result<Standing, Problem> {
    let mut begin = Begin::End(Direction::OldestFirst);
    let mut until = None;
    while !task.is_unwanted() {
        let started = Instant::now();
        let (found, browsed) = find(hall, user, task, filter, (begin, until)).await?;
        until = until.or(Some(browsed.end));
        {
            let mut progress = task.progress_mut();
            progress.passed += browsed.passed;
            progress.matched += found.matched as u64;
            progress.refused += found.without_origin;
            add_to_sample(&mut progress.sample, found.sample);
        }
        let matched = found.matched;
        let removals = found.removals;
        if !removals.is_empty() {
            let vhost = task.wish.vhost.as_str();
            let mut visit = Visit::enter(hall.broker(), user, vhost)?;
            let removed = ask(&mut visit, removals, vhost).await?;
            let mut progress = task.progress_mut();
            progress.done += removed.removed;
            progress.gone += removed.gone;
            progress.refused += removed.refused;
        }
        let Some(next) = browsed.next else { return Ok(Standing::Done) };
        begin = Begin::Behind(next);
        if task.wish.dry_run == DryRun::No {
            let pause = Duration::from_secs(1) * u32::try_from(matched).unwrap_or(u32::MAX);
            let rested = sleep_until(started + pause / task.wish.rate_per_s.max(1));
            tokio::select! {
                () = rested => {}
                () = task.unwanted() => {}
            }
        }
    }
    Ok(Standing::Cancelled)
}

/// What was found of the messages that are meant.
struct Found {
    matched: usize,
    /// Dead letters that do not say where they come from.
    without_origin: u64,
    removals: Vec<Removal>,
    sample: Vec<Box<RawValue>>,
}

async fn find(
    hall: &Hall,
    user: &User,
    task: &Arc<Task>,
    filter: &Arc<Filter>,
    (begin, until): (Begin, Option<BrowseCursor>),
) -> Result<(Found, Browsed), Problem> {
    let Ok(_place) = hall.lookers().acquire().await else { return Err(Problem::broken()) };
    let (user, task, filter) = (user.clone(), Arc::clone(task), Arc::clone(filter));
    waited(hall, move |broker| {
        let queue = task.wish.queue.clone();
        let browse = Browse {
            queue,
            begin,
            until,
            messages_max: READ_MESSAGES_MAX,
            bytes_max: READ_BYTES_MAX,
        };
        let mut gatherer = Gatherer::of(&task, &filter);
        let vhost = task.wish.vhost.as_str();
        let browsed = broker.browse(&user, vhost, &browse, &mut gatherer);
        let browsed = browsed.map_err(|error| browse::refused(&error, vhost))?;
        Ok((gatherer.found(), browsed))
    })
    .await?
}

/// Gathers messages that are meant.
struct Gatherer<'t> {
    task: &'t Task,
    filter: &'t Filter,
    matched: usize,
    without_origin: u64,
    ids: Vec<MessageId>,
    moving: BTreeMap<Name, Moving>,
    bytes: usize,
    sample: Vec<Box<RawValue>>,
}

impl<'t> Gatherer<'t> {
    fn of(task: &'t Task, filter: &'t Filter) -> Gatherer<'t> {
        Gatherer {
            task,
            filter,
            matched: 0,
            without_origin: 0,
            ids: Vec::new(),
            moving: BTreeMap::new(),
            bytes: 0,
            sample: Vec::new(),
        }
    }

    fn gather(&mut self, id: MessageId, message: &Message<'_>) {
        let to = match &self.task.wish.deed {
            Deed::Delete => return self.ids.push(id),
            Deed::Move(to) => Some(to.clone()),
            Deed::Replay => origin(message),
        };
        match to {
            Some(to) => {
                self.bytes += message.body.len() + message.properties.len();
                self.moving.entry(to).or_default().add(id, message);
            }
            None => self.without_origin += 1,
        }
    }

    fn found(self) -> Found {
        let queue = &self.task.wish.queue;
        let mut removals = Vec::new();
        if !self.ids.is_empty() {
            removals.push(Removal::drop(0, queue.clone(), self.ids));
        }
        for (to, moving) in self.moving {
            removals.extend(moving.into_removals(queue, &to));
        }
        let Gatherer { matched, without_origin, sample, .. } = self;
        Found { matched, without_origin, removals, sample }
    }
}

impl Viewer for Gatherer<'_> {
    fn wants(&mut self, view: &MessageView<'_>) -> bool {
        self.filter.may_mean(view)
    }

    fn look(&mut self, view: &MessageView<'_>, message: &Message<'_>) -> Onward {
        if !self.filter.means(message) {
            return Onward::GoOn;
        }
        self.matched += 1;
        if self.task.wish.dry_run == DryRun::Yes {
            if self.sample.len() < SAMPLE_MESSAGES {
                let vhost = &self.task.wish.vhost;
                let seen = SeenMessage::of(view, message, vhost, SAMPLE_BODY_BYTES);
                add_to_sample(&mut self.sample, serde_json::value::to_raw_value(&seen).ok());
            }
            return Onward::GoOn;
        }
        self.gather(view.id, message);
        let batch = (self.task.wish.rate_per_s / BATCHES_PER_S).clamp(1, BATCH_MESSAGES);
        if self.matched >= batch as usize || self.bytes >= BATCH_BYTES {
            return Onward::Stop;
        }
        Onward::GoOn
    }
}

/// Adds messages as far as there is room for them.
fn add_to_sample(
    sample: &mut Vec<Box<RawValue>>,
    messages: impl IntoIterator<Item = Box<RawValue>>,
) {
    let mut bytes: usize = sample.iter().map(|it| it.get().len()).sum();
    for message in messages {
        let with_it = bytes + message.get().len();
        if sample.len() < SAMPLE_MESSAGES && with_it <= SAMPLE_BYTES_MAX {
            bytes = with_it;
            sample.push(message);
        }
    }
}

/// The queue that gave a dead letter up last.
fn origin(message: &Message<'_>) -> Option<Name> {
    let headers = Properties(message.properties).headers().ok()?;
    let Value::Array(deaths) = headers.get(DEATHS)? else { return None };
    let Value::Table(last) = deaths.first()? else { return None };
    Name::new(last.get("queue")?.as_text()?).ok()
}

/// Asks it, and adds up what is answered.
async fn ask(visit: &mut Visit, removals: Vec<Removal>, vhost: &str) -> Result<Removed, Problem> {
    let mut left = removals.len();
    for removal in removals {
        visit.batch().push(Operation::Remove(Box::new(removal)));
    }
    visit.send();
    let mut sum = Removed::default();
    while left > 0 {
        let Event::RemovalAnswer(answer) = visit.next().await? else { continue };
        left -= 1;
        let removed = answer.outcome;
        let removed = removed.map_err(|why| refusals::refused(&why, Verb::Get, vhost))?;
        sum.removed += removed.removed;
        sum.gone += removed.gone;
        sum.refused += removed.refused;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_few_messages_and_not_much() {
        let text =
            |bytes: usize| RawValue::from_string(format!("\"{}\"", "x".repeat(bytes))).unwrap();
        let mut sample = Vec::new();
        add_to_sample(&mut sample, [text(10), text(SAMPLE_BYTES_MAX), text(20)]);
        let lengths: Vec<usize> = sample.iter().map(|it| it.get().len()).collect();
        assert_eq!(lengths, [12, 22]);
        add_to_sample(&mut sample, (0..SAMPLE_MESSAGES).map(|_| text(1)));
        assert_eq!(sample.len(), SAMPLE_MESSAGES);
    }
}
