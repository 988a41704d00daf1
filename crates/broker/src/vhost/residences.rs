//! Where traced messages are: each is followed from the moment it comes into a queue until it leaves
//! it. Nobody follows the others, and nothing of this is there unless somebody wants spans.

use std::sync::Arc;

use domain::binding::QueueId;
use domain::name::Name;
use domain::properties::Properties;
use domain::run::{Durability, Run, Sequence};
use stdx::clock::{Clock, Monotonic};

use super::{Map, Vhost};
use crate::chunk::{Chunk, Message};
use crate::confirms::Waiter;
use crate::limits;
use crate::operation::PublishRun;
use crate::traces::{Happening, Leaving, Passing, Span, SpanSink, Taking, TraceContext};

/// The traced messages of a virtual host.
#[derive(Debug)]
pub(crate) struct Residences {
    sink: Arc<dyn SpanSink>,
    clock: Arc<dyn Clock>,
    vhost: Name,
    inside: Map<(QueueId, Sequence), Residence>,
    /// What is over and was not handed over yet.
    done: Vec<Span>,
}

/// A traced message in a queue.
#[derive(Debug)]
struct Residence {
    /// As it will be told, but for its end.
    begun: Span,
    queue: Name,
    deliveries: u32,
    delivered: Option<(Monotonic, Monotonic)>,
}

impl Residences {
    /// What is common to the spans of a message, if they are wanted.
    fn begin(&self, message: &Message<'_>) -> Option<Span> {
        let parent = TraceContext::of(Properties(message.properties))?;
        if !self.sink.wants(&parent) {
            return None;
        }
        let now = self.clock.monotonic();
        Some(Span {
            parent,
            what: Happening::Publish(Taking::Taken),
            vhost: self.vhost.clone(),
            exchange: message.exchange.into(),
            routing_key: message.routing_key.into(),
            body_bytes: message.body.len() as u64,
            begun: now,
            ended: now,
        })
    }

    /// Messages of a chunk came into a queue.
    pub(crate) fn enter(&mut self, queue: QueueId, name: &Name, run: &Run, chunk: &Chunk) {
        for offset in 0..run.count {
            let message = chunk.message(run.place.index + offset);
            let Some(begun) = message.and_then(|message| self.begin(&message)) else { continue };
            if self.inside.len() >= limits::TRACED_MESSAGES_MAX {
                self.sink.miss(1);
                continue;
            }
            let name = name.clone();
            let residence = Residence { begun, queue: name, deliveries: 0, delivered: None };
            self.inside.insert((queue, run.first.plus(offset)), residence);
        }
    }

    fn deliver(&mut self, queue: QueueId, run: &Run) {
        if self.inside.is_empty() {
            return;
        }
        let now = self.clock.monotonic();
        for offset in 0..run.count {
            if let Some(residence) = self.inside.get_mut(&(queue, run.first.plus(offset))) {
                residence.deliveries += 1;
                residence.delivered.get_or_insert((now, now)).1 = now;
            }
        }
    }

    fn leave(&mut self, queue: QueueId, run: &Run, end: Leaving) {
        if self.inside.is_empty() {
            return;
        }
        let now = self.clock.monotonic();
        let mut gone = Vec::new();
        if run.count as usize <= self.inside.len() {
            let places = (0..run.count).map(|offset| (queue, run.first.plus(offset)));
            gone.extend(places.filter_map(|place| self.inside.remove(&place)));
        } else {
            let leaves =
                |at: &(QueueId, Sequence)| at.0 == queue && run.first <= at.1 && at.1 < run.end();
            gone.extend(self.inside.extract_if(|at, _| leaves(at)).map(|(_, residence)| residence));
        }
        self.done.extend(gone.into_iter().map(|residence| {
            let Residence { begun, queue, deliveries, delivered } = residence;
            let what = Happening::Queued { queue, end, deliveries, delivered };
            Span { what, ended: now, ..begun }
        }));
    }

    /// What is over goes.
    pub(crate) fn take_done(&mut self) -> Option<Passing> {
        if self.done.is_empty() {
            return None;
        }
        Some(Passing { sink: Arc::clone(&self.sink), spans: std::mem::take(&mut self.done) })
    }
}

impl Vhost {
    /// From now on traced messages are followed.
    pub(crate) fn trace_to(&mut self, sink: Arc<dyn SpanSink>, clock: Arc<dyn Clock>, vhost: Name) {
        let (inside, done) = (Map::default(), Vec::new());
        self.residences = Some(Box::new(Residences { sink, clock, vhost, inside, done }));
    }

    /// Messages were published.
    pub(crate) fn trace_publish(
        &mut self,
        run: PublishRun,
        durability: Durability,
        taking: Taking,
        chunk: &Chunk,
    ) {
        let Some(residences) = &mut self.residences else { return };
        let mut spans = Vec::new();
        for offset in 0..run.count {
            let message = chunk.message(run.first + offset);
            let Some(begun) = message.and_then(|message| residences.begin(&message)) else {
                continue;
            };
            let is_refused = self.refused.contains(&offset);
            let taking = if is_refused { Taking::Refused } else { taking };
            spans.push(Span { what: Happening::Publish(taking), ..begun });
        }
        if spans.is_empty() {
            return;
        }
        match durability {
            // It ends when the disk has it.
            Durability::Journaled => {
                let passing = Passing { sink: Arc::clone(&residences.sink), spans };
                self.turn.staged.wait(Waiter::Traced(Box::new(passing)));
            }
            Durability::InMemory => residences.done.extend(spans),
        }
    }

    /// Messages of a queue were handed out.
    pub(crate) fn trace_delivery(&mut self, queue: QueueId, run: &Run) {
        if let Some(residences) = &mut self.residences {
            residences.deliver(queue, run);
        }
    }

    /// Messages leave a queue.
    pub(crate) fn trace_end(&mut self, queue: QueueId, run: &Run, end: Leaving) {
        if let Some(residences) = &mut self.residences {
            residences.leave(queue, run, end);
        }
    }
}
