//! Dead-lettering: what a queue gives up goes to its dead-letter exchange, with the history in its
//! headers. Leaving the one queue and entering the others is one commit of the journal, so that a
//! message is never in neither and never in both.

use domain::binding::QueueId;
use domain::dead_letter::{Author, DeadLetter, Death, DeathError, Reason};
use domain::properties::Properties;
use domain::queue::settings::DeadLettering;
use domain::run::Run;
use domain::topology::routing::{Routed, Sender};

use super::Vhost;
use super::chunks::{BatchChunk, Incoming};
use super::ending::Ending;
use super::load::Wanted;
use super::turn::Dead;
use crate::chunk::{ChunkBuilder, Message, MessageHead, Persistence};
use crate::done::{DoneOutcome, LastWords};
use crate::limits;
use crate::traces::Leaving;
use crate::views::counts::MessageCounts;

/// Messages rewritten, laid down by whether they are to survive a restart.
#[derive(Debug, Default)]
struct Rewritten {
    persistent: ChunkBuilder,
    transient: ChunkBuilder,
    letters: Vec<(Persistence, Incoming, DeadLetter, Box<[u8]>)>,
}

impl Vhost {
    /// A queue gives messages up that are neither ready nor leased any more.
    pub(crate) fn bury(&mut self, queue: QueueId, run: Run, reason: Reason) {
        self.bury_for(queue, run, reason, &LastWords::default());
    }

    /// As [`Vhost::bury`], with what the last consumer said of it.
    pub(crate) fn bury_for(&mut self, queue: QueueId, run: Run, reason: Reason, said: &LastWords) {
        let count = u64::from(run.count);
        count_given_up(reason, count, &mut self.tallies.totals.counts);
        if let Some(slot) = self.queues.get_mut(&queue) {
            count_given_up(reason, count, slot.count(queue, &mut self.tallies, self.now.ms));
            if slot.queue.settings().dead_lettering.is_some() {
                self.turn.dead.push_back(Dead { queue, run, reason, said: said.clone() });
                return;
            }
        }
        match reason {
            Reason::Rejected => self.stats.rejected_dropped += count,
            Reason::Expired => self.stats.expired_dropped += count,
            Reason::MaxLength => self.stats.overflow_dropped += count,
            Reason::DeliveryLimit => self.stats.failed_dropped += count,
        }
        self.trace_end(queue, &run, Leaving::Dropped(reason));
        let (outcome, said) = (DoneOutcome::of(reason), Some(said));
        self.note_end(queue, &run, &Ending { outcome, dead_lettered: false, said });
        self.left(queue, &run);
    }

    /// Dead-letters what was given up, in order, as much as one turn may; a message that makes
    /// another queue too long may send further ones on their way.
    pub(crate) fn bury_dead(&mut self) {
        self.turn.dead_waits = false;
        if self.is_poisoned() {
            // Nothing could be written; what was given up is in its queue after a restart.
            return;
        }
        while let Some(dead) = self.turn.dead.pop_front() {
            if self.turn.dead_bytes >= limits::DEAD_LETTERS_BYTES_MAX {
                self.turn.dead.push_front(dead);
                return;
            }
            let Some(readable) = self.reach(dead.run.place, Wanted::Turn) else {
                self.turn.dead.push_front(dead);
                self.turn.dead_waits = true;
                return;
            };
            let (front, rest) = dead.run.split(readable.min(limits::DEAD_LETTERS_AT_ONCE));
            if let Some(run) = rest {
                self.turn.dead.push_front(Dead { run, ..dead.clone() });
            }
            self.dead_letter(&Dead { run: front, ..dead });
        }
    }

    /// Dead-letters all that was given up, however much it is.
    pub(crate) fn bury_all_dead(&mut self) {
        while !self.turn.dead.is_empty() && !self.is_poisoned() {
            self.turn.dead_bytes = 0;
            self.bury_dead();
            if let (true, Some(dead)) = (self.turn.dead_waits, self.turn.dead.front()) {
                self.read_now(dead.run.place);
            }
        }
    }

    fn dead_letter(&mut self, dead: &Dead) {
        if let Some(slot) = self.queues.get(&dead.queue)
            && let Some(to) = slot.queue.settings().dead_lettering.clone()
        {
            let name = slot.name.clone();
            let count = u64::from(dead.run.count);
            self.tallies.totals.counts.dead_lettered += count;
            if let Some(counts) = self.count_in_queue(dead.queue) {
                counts.dead_lettered += count;
            }
            let rewritten = self.rewrite(dead, name.as_str(), &to);
            self.post(rewritten, dead.reason, &to);
        }
        self.handed_out(dead.run.place, dead.run.count);
        self.trace_end(dead.queue, &dead.run, Leaving::DeadLettered(dead.reason));
        let (outcome, said) = (DoneOutcome::of(dead.reason), Some(&dead.said));
        self.note_end(dead.queue, &dead.run, &Ending { outcome, dead_lettered: true, said });
        self.left(dead.queue, &dead.run);
    }

    /// Writes the death into every message of a run.
    fn rewrite(&self, dead: &Dead, queue: &str, to: &DeadLettering) -> Rewritten {
        let mut rewritten = Rewritten::default();
        let Some(here) = self.chunks.find(dead.run.place) else { return rewritten };
        for index in here.index..here.index + dead.run.count {
            let Some(message) = here.chunk.message(index) else { continue };
            let death = Death {
                queue,
                reason: dead.reason,
                exchange: message.exchange,
                routing_key: message.routing_key,
                time_seconds: self.now.wall_ms / 1_000,
                dead_letter_routing_key: to.routing_key.as_deref(),
                error: dead
                    .said
                    .error
                    .as_deref()
                    .map(|error| DeathError { kind: &error.kind, message: &error.message }),
            };
            // Properties were checked when they came in.
            let properties = Properties(message.properties);
            if let Ok(letter) = DeadLetter::of(properties, message.author, &death) {
                rewritten.lay_down(&message, letter, to);
            }
        }
        rewritten
    }

    /// Routes rewritten messages and puts them where they go.
    fn post(&mut self, rewritten: Rewritten, reason: Reason, to: &DeadLettering) {
        let Rewritten { persistent, transient, letters } = rewritten;
        self.turn.dead_bytes += persistent.len_bytes() + transient.len_bytes();
        let mut persistent = BatchChunk::new(persistent.finish());
        let mut transient = BatchChunk::new(transient.finish());
        for (persistence, incoming, letter, routing_key) in letters {
            let routed = Routed {
                exchange: to.exchange.as_str(),
                routing_key: &routing_key,
                also: &letter.also,
                properties: Properties(&letter.properties),
                sender: Sender::Queue,
            };
            if self.topology.route(&routed, &mut self.route).is_err() {
                self.route.queues.clear();
            }
            let mut queues = std::mem::take(&mut self.route.queues);
            queues.retain(|queue| {
                self.queue_name(*queue).is_some_and(|name| !letter.is_cycle(name.as_str(), reason))
            });
            if queues.is_empty() {
                self.stats.dead_lettered_dropped += 1;
            }
            if self.route.source.is_some() || to.exchange.is_empty() {
                self.tallies.count_routed(self.route.source, 1, queues.len());
            }
            let chunk = match persistence {
                Persistence::Persistent => &mut persistent,
                Persistence::Transient => &mut transient,
            };
            for queue in &queues {
                self.stats.dead_lettered += 1;
                self.enqueue(*queue, incoming, chunk);
            }
            // A full queue that refuses dead letters has nobody to tell.
            self.stats.dead_lettered_dropped += std::mem::take(&mut self.refused).len() as u64;
            self.route.queues = queues;
        }
        self.chunks.leave(&mut persistent);
        self.chunks.leave(&mut transient);
    }
}

fn count_given_up(reason: Reason, count: u64, counts: &mut MessageCounts) {
    match reason {
        Reason::Rejected => counts.rejected += count,
        Reason::Expired => counts.expired += count,
        Reason::MaxLength => counts.overflowed += count,
        Reason::DeliveryLimit => counts.failed += count,
    }
}

impl Rewritten {
    fn lay_down(&mut self, message: &Message<'_>, letter: DeadLetter, to: &DeadLettering) {
        let routing_key = to.routing_key.as_deref().unwrap_or(message.routing_key);
        let head = MessageHead {
            persistence: message.persistence,
            exchange: to.exchange.as_str(),
            routing_key,
            properties: &letter.properties,
            author: Author::Broker,
            ..MessageHead::default()
        };
        let builder = match message.persistence {
            Persistence::Persistent => &mut self.persistent,
            Persistence::Transient => &mut self.transient,
        };
        let first = builder.count();
        builder.message(&head, u32::try_from(message.body.len()).unwrap_or(u32::MAX));
        builder.body(message.body);
        builder.end();
        let incoming = Incoming {
            first,
            count: 1,
            persistence: message.persistence,
            priority: Properties(message.properties).priority(),
            expiration_ms: None,
        };
        self.letters.push((message.persistence, incoming, letter, routing_key.into()));
    }
}
