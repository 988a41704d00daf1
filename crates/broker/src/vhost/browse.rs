//! Looking at the messages of a queue: some hundred of its runs at a time, with where each lies, so that
//! whoever looks can read them without the owner. Nothing changes by it.

use std::sync::Arc;

use domain::binding::QueueId;
use domain::name::Name;
use domain::queue::Standing;
use domain::run::{Deadline, Direction, Run, Sequence};
use storage::Segment;

use super::Vhost;
use super::timeline::Timeline;
use super::timers::Moment;
use crate::chunk::Chunk;
use crate::limits;
use crate::views::message::{LeaseView, MessageState};

/// Messages side by side that are alike.
#[derive(Debug)]
pub(crate) struct Glimpse {
    pub(crate) run: Run,
    pub(crate) state: MessageState,
    pub(crate) home: GlimpseHome,
}

/// Where messages lie.
#[derive(Debug)]
pub(crate) enum GlimpseHome {
    Memory(Arc<Chunk>),
    /// In this run of a segment.
    Segment(Arc<Segment>, u32),
}

/// Some of a queue's messages, in order.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) glimpses: Vec<Glimpse>,
    /// Where to go on; `None`: there is nothing behind.
    pub(crate) next: Option<Sequence>,
    /// What the next message to come will be.
    pub(crate) end: Sequence,
    pub(crate) ages: Ages,
}

/// When the messages of a queue came and go.
#[derive(Debug)]
pub(crate) struct Ages {
    timeline: Timeline,
    started_ms: u64,
    now: Moment,
}

impl Ages {
    /// For how long a message has been there, in milliseconds.
    pub(crate) fn age_ms(&self, message: Sequence) -> u64 {
        let came_ms = self.timeline.came_ms(message).unwrap_or(self.started_ms);
        self.now.ms.saturating_sub(came_ms)
    }

    /// A deadline in milliseconds since 1970.
    pub(crate) fn wall_ms(&self, deadline: Deadline) -> Option<u64> {
        let left_ms = deadline.0.saturating_sub(self.now.ms);
        (deadline != Deadline::NEVER).then(|| self.now.wall_ms.saturating_add(left_ms))
    }
}

/// What is gathered of a slice.
#[derive(Default)]
struct Gathering {
    glimpses: Vec<Glimpse>,
    /// Of the chunks in memory: they can't go while somebody looks at them.
    bytes: usize,
}

impl Gathering {
    fn is_full(&self) -> bool {
        self.glimpses.len() >= limits::LOOK_SLICE || self.bytes >= limits::BROWSE_SLICE_BYTES
    }
}

impl Vhost {
    /// The number and the name of a queue.
    pub(crate) fn queue_numbered(&self, name: &str) -> Option<QueueId> {
        self.topology.queue(name).filter(|id| self.queues.contains_key(id))
    }

    /// The name of the queue of that number.
    pub(crate) fn name_of_queue(&self, queue: QueueId) -> Option<Name> {
        self.queue_name(queue).cloned()
    }

    /// The next messages from `at` on or, newest first, before it. `None`: there is no such queue.
    pub(crate) fn browse(
        &self,
        queue: QueueId,
        at: Sequence,
        direction: Direction,
        now: Moment,
    ) -> Option<Slice> {
        let slot = self.queues.get(&queue)?;
        let timeline = slot.tally.as_ref().map(|it| it.timeline.clone()).unwrap_or_default();
        let ages = Ages { timeline, started_ms: self.tallies.started_ms, now };
        let end = slot.queue.next_sequence();
        let mut gathering = Gathering::default();
        for (run, standing) in slot.queue.listing(at, direction) {
            if let Some(next) = self.gather(queue, (run, standing), direction, now, &mut gathering)
            {
                let glimpses = gathering.glimpses;
                return Some(Slice { glimpses, next: Some(next), end, ages });
            }
        }
        Some(Slice { glimpses: gathering.glimpses, next: None, end, ages })
    }

    /// Adds a run, in as many pieces as leases cut it into; returns where to go on once there is
    /// enough.
    fn gather(
        &self,
        queue: QueueId,
        (run, standing): (Run, Standing),
        direction: Direction,
        now: Moment,
        gathering: &mut Gathering,
    ) -> Option<Sequence> {
        let mut left = Some(run);
        while let Some(run) = left.take() {
            if gathering.is_full() {
                return Some(match direction {
                    Direction::OldestFirst => run.first,
                    Direction::NewestFirst => run.end(),
                });
            }
            let (piece, state, rest) = match standing {
                Standing::Ready => (run, MessageState::Ready, None),
                Standing::Leased => self.leased_piece(queue, run, direction, now),
            };
            left = rest;
            // What is on its way out lies nowhere any more.
            let Some(home) = self.home_of(&piece) else { continue };
            if let GlimpseHome::Memory(chunk) = &home {
                gathering.bytes += chunk.memory_bytes();
            }
            gathering.glimpses.push(Glimpse { run: piece, state, home });
        }
        None
    }

    fn home_of(&self, run: &Run) -> Option<GlimpseHome> {
        let slot = run.place.chunk;
        if let Some((chunk, _)) = self.chunks.in_memory(slot) {
            return Some(GlimpseHome::Memory(Arc::clone(chunk)));
        }
        let sealed = self.chunks.sealed(slot)?;
        Some(GlimpseHome::Segment(Arc::clone(&sealed.segment), sealed.run))
    }

    /// The first piece, in the direction, of a leased run that is leased alike; and what is left.
    fn leased_piece(
        &self,
        queue: QueueId,
        run: Run,
        direction: Direction,
        now: Moment,
    ) -> (Run, MessageState, Option<Run>) {
        let cut = |at: Sequence| run.split(u32::try_from(at.0 - run.first.0).unwrap_or(u32::MAX));
        let piece = |at: Sequence| match (direction, cut(at)) {
            (Direction::OldestFirst, (front, rest)) => (front, rest),
            (Direction::NewestFirst, (front, Some(rest))) => (rest, Some(front)),
            (Direction::NewestFirst, (whole, None)) => (whole, None),
        };
        let Some((first, held)) = self.leases.touching(queue, (run.first, run.end()), direction)
        else {
            return (run, MessageState::Delivered, None);
        };
        let (begin, end) = (first.max(run.first), first.plus(held.count).min(run.end()));
        let (edge, near, far) = match direction {
            Direction::OldestFirst => (run.first, begin, end),
            Direction::NewestFirst => (run.end(), end, begin),
        };
        if near != edge {
            let (piece, rest) = piece(near);
            return (piece, MessageState::Delivered, rest);
        }
        let left_ms = held.until_ms.saturating_sub(now.ms);
        let until_wall_ms = now.wall_ms.saturating_add(left_ms);
        let state = if held.is_resting() {
            MessageState::Delayed { until_wall_ms }
        } else {
            let (holder, progress) = (held.holder.clone(), held.progress.clone());
            MessageState::Leased(LeaseView { until_wall_ms, holder, progress })
        };
        let is_whole = begin == run.first && end == run.end();
        let (piece, rest) = if is_whole { (run, None) } else { piece(far) };
        (piece, state, rest)
    }
}
