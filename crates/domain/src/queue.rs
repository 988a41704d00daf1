//! A queue: each message goes to one consumer, and stays until it is settled.

mod listing;

mod arguments;
pub mod consumers;
pub mod levels;
pub mod ready;

pub mod settings;

use crate::name::Name;
use crate::refusal::{Kind, Refusal};
use crate::run::{Deadline, Durability, Label, Move, Place, Relocation, Run, Runs, Sequence, Span};
use crate::table::{Table, Value};
use consumers::{Activity, Consumers};
use levels::{Fairness, Levels};
pub use listing::Standing;
use ready::Ready;
use settings::{QueueSettings, QueueType, SingleActiveConsumer};

/// What a queue is declared with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueDeclaration {
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it belongs to the connection that declared it, and goes with it.
    pub exclusive: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// Its arguments as they came.
    pub arguments: Table,
}

/// What bodies weigh; asked only by queues that limit it.
pub trait Bodies {
    /// Bytes of the bodies of a run.
    fn bytes(&self, run: &Run) -> u64;
}

/// Messages that come into a queue side by side.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Where the first one is kept.
    pub place: Place,
    /// How many.
    pub count: u32,
    /// Of all of them.
    pub durability: Durability,
    /// When they go unread.
    pub deadline: Deadline,
    /// Their level, as [`QueueSettings::level`] gives it.
    pub level: u8,
}

/// How a delivery ended that comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// It was given back: nothing is wrong with it (RabbitMQ 4.3: nack, timeout, cancel).
    Released,
    /// It failed (RabbitMQ 4.3: reject, a lost connection).
    Failed,
    /// A lease without a connection was given back. Every queue counts it.
    LeaseReleased,
    /// A lease without a connection failed or ran out. Every queue counts it.
    LeaseFailed,
    /// It was set aside, and its time has come. It was counted then.
    Rested,
}

impl Return {
    fn is_failure(self) -> bool {
        matches!(self, Return::Failed | Return::LeaseFailed)
    }

    fn is_of_lease(self) -> bool {
        matches!(self, Return::LeaseReleased | Return::LeaseFailed)
    }

    fn is_counted(self, settings: &QueueSettings) -> bool {
        self != Return::Rested && (settings.counts_returns() || self.is_of_lease())
    }
}

/// Where returned messages went.
#[derive(Debug, Default)]
pub struct Returned {
    /// Back to their place or set aside, where it was counted.
    pub counted: Vec<Run>,
    /// Out of the queue: they failed more often than it allows.
    pub over: Vec<Run>,
}

/// What to do with a run that [`Queue::collect`] shows, and with those behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// This one is wanted.
    Take,
    /// Not this one.
    Skip,
    /// Neither this one nor any behind it.
    Stop,
}

/// What a queue can deliver.
#[derive(Debug)]
enum Backlog {
    Plain(Ready),
    Levels(Levels),
}

/// A queue's messages and who consumes them.
#[derive(Debug)]
pub struct Queue {
    backlog: Backlog,
    /// Bytes of ready bodies, where they are limited.
    ready_bytes: Option<u64>,
    /// Delivered and not settled.
    leases: Runs,
    /// Who takes turns.
    pub consumers: Consumers,
    next: Sequence,
    /// Apart, because what every message meets is to lie close together.
    settings: Box<QueueSettings>,
}

impl Queue {
    /// An empty queue.
    pub fn new(settings: QueueSettings) -> Queue {
        let backlog = match (settings.queue_type, settings.priority_max) {
            (QueueType::Quorum, _) => Backlog::Levels(Levels::new(Fairness::Strict)),
            (QueueType::Classic, Some(_)) => Backlog::Levels(Levels::new(Fairness::Cycles)),
            (QueueType::Classic, None) => Backlog::Plain(Ready::default()),
        };
        let activity = match settings.single_active_consumer {
            SingleActiveConsumer::No => Activity::All,
            SingleActiveConsumer::Yes => Activity::Single,
        };
        Queue {
            backlog,
            ready_bytes: settings.bytes_max.map(|_| 0),
            leases: Runs::default(),
            consumers: Consumers::new(activity),
            next: Sequence(0),
            settings: Box::new(settings),
        }
    }

    /// Takes in what was journaled, in order; the next message gets at least the sequence `next`.
    pub fn restore(
        &mut self,
        next: Sequence,
        messages: impl IntoIterator<Item = Run>,
        bodies: &impl Bodies,
    ) {
        self.next = next;
        for run in messages {
            self.next = self.next.max(run.end());
            self.weigh_in(&run, bodies);
            self.push(run);
        }
    }

    /// Takes in messages that were leased when the process ended and still are.
    pub fn restore_leased(&mut self, messages: impl IntoIterator<Item = Run>) {
        for run in messages {
            self.next = self.next.max(run.end());
            self.leases.insert(run);
        }
    }

    /// What it was declared with.
    pub fn settings(&self) -> &QueueSettings {
        &self.settings
    }

    /// The sequence the next message will get.
    pub fn next_sequence(&self) -> Sequence {
        self.next
    }

    /// Messages that could be delivered.
    pub fn ready_messages(&self) -> u64 {
        match &self.backlog {
            Backlog::Plain(ready) => ready.messages(),
            Backlog::Levels(levels) => levels.messages(),
        }
    }

    /// Messages delivered and not settled.
    pub fn leased_messages(&self) -> u64 {
        self.leases.messages()
    }

    /// Bytes of ready bodies, where they are limited.
    pub fn ready_bytes(&self) -> Option<u64> {
        self.ready_bytes
    }

    /// When the next ready message goes unread.
    pub fn next_deadline(&self) -> Deadline {
        match &self.backlog {
            Backlog::Plain(ready) => ready.next_deadline(),
            Backlog::Levels(levels) => levels.next_deadline(),
        }
    }

    /// Whether this message is here, ready or leased.
    pub fn has(&self, message: Sequence) -> bool {
        self.has_ready(message) || self.leases.has(message)
    }

    /// Whether this message is here and could be delivered.
    pub fn has_ready(&self, message: Sequence) -> bool {
        match &self.backlog {
            Backlog::Plain(ready) => ready.has(message),
            Backlog::Levels(levels) => levels.each().any(|ready| ready.has(message)),
        }
    }

    fn push(&mut self, run: Run) {
        match &mut self.backlog {
            Backlog::Plain(ready) => ready.push(run),
            Backlog::Levels(levels) => levels.push(run),
        }
    }

    /// Takes neighbouring messages in; returns the run they became.
    pub fn enqueue(&mut self, arrival: &Arrival, bodies: &impl Bodies) -> Run {
        let label = Label {
            level: arrival.level,
            deadline: arrival.deadline,
            ..Label::plain(arrival.durability)
        };
        let run = Run { first: self.next, count: arrival.count, place: arrival.place, label };
        self.next = run.end();
        self.weigh_in(&run, bodies);
        self.push(run);
        run
    }

    /// Leases up to `count` messages, the next in order, as many as lie side by side. `None` if
    /// nothing is ready.
    pub fn lease(&mut self, count: u32, bodies: &impl Bodies) -> Option<Run> {
        let run = self.take(count, bodies)?;
        self.leases.insert(run);
        Some(run)
    }

    /// Hands out as [`Queue::lease`] does, but settled at once. Also what goes when the queue is
    /// too long.
    pub fn take(&mut self, count: u32, bodies: &impl Bodies) -> Option<Run> {
        let run = match &mut self.backlog {
            Backlog::Plain(ready) => ready.take(count)?,
            Backlog::Levels(levels) => levels.take(count, self.next)?,
        };
        self.weigh_out(&run, bodies);
        Some(run)
    }

    /// What [`Queue::lease`] and [`Queue::take`] would cut from next, all that lies side by side.
    pub fn front(&self) -> Option<Run> {
        match &self.backlog {
            Backlog::Plain(ready) => ready.front(),
            Backlog::Levels(levels) => levels.front(self.next),
        }
    }

    /// The oldest message, ready or leased.
    pub fn oldest(&self) -> Option<Sequence> {
        let ready = match &self.backlog {
            Backlog::Plain(ready) => ready.first(),
            Backlog::Levels(levels) => levels.each().filter_map(Ready::first).min(),
        };
        let leased = self.leases.first().map(|run| run.first);
        ready.into_iter().chain(leased).min()
    }

    /// What [`Queue::take_due`] would cut from next.
    pub fn front_due(&self, now: u64) -> Option<Run> {
        match &self.backlog {
            Backlog::Plain(ready) => ready.front_due(now),
            Backlog::Levels(levels) => levels.front_due(now),
        }
    }

    /// Takes out up to `count` ready messages that are over at `now`, as many as lie side by side.
    pub fn take_due(&mut self, now: u64, count: u32, bodies: &impl Bodies) -> Option<Run> {
        let run = match &mut self.backlog {
            Backlog::Plain(ready) => ready.take_due(now, count)?,
            Backlog::Levels(levels) => levels.take_due(now, count)?,
        };
        self.weigh_out(&run, bodies);
        Some(run)
    }

    /// Takes out the ready messages in these spans, which are in order and apart, wherever in the queue
    /// they are; they are appended to `taken`.
    pub fn take_out(&mut self, spans: &[Span], bodies: &impl Bodies, taken: &mut Vec<Run>) {
        let before = taken.len();
        match &mut self.backlog {
            Backlog::Plain(ready) => ready.take_out(spans, taken),
            Backlog::Levels(levels) => levels.take_out(spans, taken),
        }
        for run in taken.get(before..).unwrap_or_default() {
            self.weigh_out(run, bodies);
        }
    }

    /// The leased messages among `count` sequences from `first` are done with; they are gone from
    /// the queue and appended to `gone`.
    pub fn settle(&mut self, first: Sequence, count: u32, gone: &mut Vec<Run>) {
        self.leases.remove(first, count, gone);
    }

    /// The leased messages among `count` sequences from `first` return to where they were, marked
    /// as redelivered, or are given up.
    pub fn release(
        &mut self,
        (first, count): (Sequence, u32),
        how: Return,
        bodies: &impl Bodies,
        returned: &mut Returned,
    ) {
        let mut back = Vec::new();
        self.leases.remove(first, count, &mut back);
        for run in back {
            let Some(run) = self.count_return(run, how, returned) else { continue };
            self.weigh_in(&run, bodies);
            match &mut self.backlog {
                Backlog::Plain(ready) => ready.put_back(run),
                Backlog::Levels(levels) => levels.put_back(run),
            }
        }
    }

    /// As [`Queue::release`], but those that stay are leased to nobody, until a release with
    /// [`Return::Rested`] brings them back.
    pub fn set_aside(
        &mut self,
        (first, count): (Sequence, u32),
        how: Return,
        returned: &mut Returned,
    ) {
        let mut back = Vec::new();
        self.leases.remove(first, count, &mut back);
        for run in back {
            if let Some(run) = self.count_return(run, how, returned) {
                self.leases.insert(run);
            }
        }
    }

    /// Counts what comes back; `None`: it failed more often than it may.
    fn count_return(&self, run: Run, how: Return, returned: &mut Returned) -> Option<Run> {
        let mut run = Run { label: run.label.repeated(), ..run };
        if how.is_counted(&self.settings) {
            let counts = &mut run.label.counts;
            counts.acquisitions = counts.acquisitions.saturating_add(1);
            counts.failures = counts.failures.saturating_add(u32::from(how.is_failure()));
            let limit = self.settings.delivery_limit;
            if how.is_failure() && limit.is_some_and(|limit| counts.failures > limit) {
                returned.over.push(run);
                return None;
            }
            returned.counted.push(run);
        }
        Some(run)
    }

    /// Whether so many more messages with so many bytes of bodies are too many.
    pub fn would_overflow(&self, count: u32, bytes: u64) -> bool {
        let messages = self.ready_messages() + u64::from(count);
        self.settings.messages_max.is_some_and(|max| messages > max) || self.over_bytes(bytes)
    }

    /// How many messages to take off the front next, because there are too many.
    pub fn excess(&self) -> u32 {
        let over = self.settings.messages_max.map_or(0, |max| {
            u32::try_from(self.ready_messages().saturating_sub(max)).unwrap_or(u32::MAX)
        });
        let heavy = self.over_bytes(0);
        // What a message weighs is known when it is out.
        over.max(u32::from(heavy && self.ready_messages() > 0))
    }

    fn over_bytes(&self, more: u64) -> bool {
        let limit = self.ready_bytes.zip(self.settings.bytes_max);
        limit.is_some_and(|(ready, max)| ready + more > max)
    }

    fn weigh_in(&mut self, run: &Run, bodies: &impl Bodies) {
        if let Some(ready_bytes) = &mut self.ready_bytes {
            *ready_bytes += bodies.bytes(run);
        }
    }

    fn weigh_out(&mut self, run: &Run, bodies: &impl Bodies) {
        if let Some(ready_bytes) = &mut self.ready_bytes {
            *ready_bytes = ready_bytes.saturating_sub(bodies.bytes(run));
        }
    }

    /// Shows runs, ready or leased, without changing anything; those wanted are appended to `out`.
    /// What was never delivered, what came back and what is leased is each shown in order, the
    /// former two level by level; [`Look::Stop`] goes on with the next of them.
    pub fn collect(&self, look: &mut dyn FnMut(&Run) -> Look, out: &mut Vec<Run>) {
        match &self.backlog {
            Backlog::Plain(ready) => {
                collect(ready.fresh(), look, out);
                collect(ready.scattered(), look, out);
            }
            Backlog::Levels(levels) => {
                for ready in levels.each() {
                    collect(ready.fresh(), look, out);
                    collect(ready.scattered(), look, out);
                }
            }
        }
        collect(self.leases.iter(), look, out);
    }

    /// Messages were copied: those among `moves` that are still here, ready or leased, are kept at
    /// their new places from now on. Nothing else changes about them. They are appended to `old`
    /// with the places they had. The moves ascend and do not overlap.
    pub fn relocate(&mut self, moves: &[Move], old: &mut Vec<Run>) {
        match &mut self.backlog {
            Backlog::Plain(ready) => ready.relocate(moves, old),
            Backlog::Levels(levels) => levels.relocate(moves, old),
        }
        for run in self.leases.touched(moves) {
            self.leases.take_at(run.first, run.count);
            let mut relocation = Relocation::new(moves, old);
            relocation.apply(run);
            for piece in relocation.into_runs() {
                self.leases.insert(piece);
            }
        }
    }

    /// Drops what is ready; the runs are appended to `gone`.
    pub fn purge(&mut self, gone: &mut Vec<Run>) {
        self.ready_bytes = self.ready_bytes.map(|_| 0);
        match &mut self.backlog {
            Backlog::Plain(ready) => ready.drain(gone),
            Backlog::Levels(levels) => levels.drain(gone),
        }
    }

    /// Drops everything, leased or not; the runs are appended to `gone`.
    pub fn clear(&mut self, gone: &mut Vec<Run>) {
        self.purge(gone);
        gone.extend(self.leases.drain());
    }
}

fn collect<'a>(
    runs: impl Iterator<Item = &'a Run>,
    look: &mut dyn FnMut(&Run) -> Look,
    out: &mut Vec<Run>,
) {
    for run in runs {
        match look(run) {
            Look::Take => out.push(*run),
            Look::Skip => {}
            Look::Stop => return,
        }
    }
}

/// Checks what a queue of this type may be declared as (RabbitMQ `rabbit_queue_type`).
pub fn check(name: &Name, declaration: &QueueDeclaration) -> Result<(), Refusal> {
    arguments::check(name, &declaration.arguments)?;
    let properties = [
        ("auto-delete", declaration.auto_delete),
        ("exclusive-owner", declaration.exclusive),
        ("non-durable", !declaration.durable),
    ];
    let quorum = QueueSettings::of(&declaration.arguments).queue_type == QueueType::Quorum;
    match properties.into_iter().find(|(_, has_it)| quorum && *has_it) {
        Some((property, _)) => Err(Refusal::InvalidProperty { queue: name.clone(), property }),
        None => Ok(()),
    }
}

/// Compares a declaration with what exists (RabbitMQ `rabbit_amqqueue:assert_equivalence`).
/// Exclusivity is compared by whoever knows the owner.
pub fn compare(
    name: &Name,
    received: &QueueDeclaration,
    current: &QueueDeclaration,
) -> Result<(), Refusal> {
    // An exclusive queue goes with its connection; whether it is durable means nothing.
    let durable_counts = !current.exclusive;
    let flags = [
        ("durable", received.durable, current.durable, durable_counts),
        ("auto_delete", received.auto_delete, current.auto_delete, true),
    ];
    for (setting, received, current, counts) in flags {
        if counts && received != current {
            return Err(Refusal::Inequivalent {
                kind: Kind::Queue,
                name: name.clone(),
                setting,
                received: Some(Value::Bool(received)),
                current: Some(Value::Bool(current)),
            });
        }
    }
    arguments::compare(name, &received.arguments, &current.arguments)
}

#[cfg(test)]
mod tests;
