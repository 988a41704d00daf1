//! A queue: each message goes to one consumer, and stays until it is settled.

pub mod arguments;
pub mod consumers;
pub mod ready;

use crate::name::Name;
use crate::refusal::{Kind, Refusal};
use crate::run::{Durability, Place, Redelivery, Run, Runs, Sequence};
use crate::table::{Table, Value};
use consumers::Consumers;
use ready::Ready;

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

/// A queue's messages and who consumes them.
#[derive(Debug, Default)]
pub struct Queue {
    ready: Ready,
    /// Delivered and not settled.
    leases: Runs,
    /// Who takes turns.
    pub consumers: Consumers,
    next: Sequence,
}

impl Queue {
    /// A queue restored from what was journaled; `messages` in order.
    pub fn restore(next: Sequence, messages: impl IntoIterator<Item = Run>) -> Queue {
        let mut queue = Queue { next, ..Queue::default() };
        for run in messages {
            queue.next = queue.next.max(run.end());
            queue.ready.push(run);
        }
        queue
    }

    /// The sequence the next message will get.
    pub fn next_sequence(&self) -> Sequence {
        self.next
    }

    /// Messages that could be delivered.
    pub fn ready_messages(&self) -> u64 {
        self.ready.messages()
    }

    /// Messages delivered and not settled.
    pub fn leased_messages(&self) -> u64 {
        self.leases.messages()
    }

    /// Takes `count` neighbouring messages in; returns the run they became.
    pub fn enqueue(&mut self, place: Place, count: u32, durability: Durability) -> Run {
        let run = Run { first: self.next, count, place, durability, redelivery: Redelivery::First };
        self.next = run.end();
        self.ready.push(run);
        run
    }

    /// Leases up to `count` messages, the oldest first, as many as lie side by side. `None` if
    /// nothing is ready.
    pub fn lease(&mut self, count: u32) -> Option<Run> {
        let run = self.ready.take(count)?;
        self.leases.insert(run);
        Some(run)
    }

    /// Hands out as [`Queue::lease`] does, but settled at once.
    pub fn take(&mut self, count: u32) -> Option<Run> {
        self.ready.take(count)
    }

    /// The leased messages among `count` sequences from `first` are done with; they are gone from
    /// the queue and appended to `gone`.
    pub fn settle(&mut self, first: Sequence, count: u32, gone: &mut Vec<Run>) {
        self.leases.remove(first, count, gone);
    }

    /// The leased messages among `count` sequences from `first` return to where they were, marked
    /// as redelivered.
    pub fn release(&mut self, first: Sequence, count: u32) {
        let mut back = Vec::new();
        self.leases.remove(first, count, &mut back);
        for run in back {
            self.ready.put_back(Run { redelivery: Redelivery::Repeated, ..run });
        }
    }

    /// Drops what is ready; the runs are appended to `gone`.
    pub fn purge(&mut self, gone: &mut Vec<Run>) {
        self.ready.drain(gone);
    }

    /// Drops everything, leased or not; the runs are appended to `gone`.
    pub fn clear(&mut self, gone: &mut Vec<Run>) {
        self.ready.drain(gone);
        gone.extend(self.leases.drain());
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
