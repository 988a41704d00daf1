//! Recovery: what the journal says becomes a virtual host again. Decisions are replayed as they
//! were taken; no rule is asked a second time, so rules may change between versions.

use std::collections::BTreeMap;

use domain::binding::{QueueId, Target};
use domain::name::Name;
use domain::queue::QueueDeclaration;
use domain::run::{Deadline, Durability, Label, Place, Run, Runs, Sequence};
use domain::topology::Topology;
use hashbrown::HashMap;
use storage::{Position, Record};

use crate::chunk::Chunk;
use crate::journaled::binding_records::BindingRecord;
use crate::journaled::checkpoint_records::{Checkpoint, QueueState};
use crate::journaled::message_records::{
    Enqueued, take_chunk_head, take_returned, take_settled, take_watermark,
};
use crate::journaled::{ChunkId, Malformed, exchange_records, queue_records, tag};
use crate::operation::Destination;
use crate::vhost::Restored;
use crate::vhost::chunks::Chunks;
use crate::vhost::queues::QueueSlot;
use crate::vhost::timers::Moment;

type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// Why a journal's records can't be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// A record of a kind this version does not know.
    #[error(
        "the journal has a record of unknown kind {tag} at position {position}: it was written by \
         a newer Postroom, start that one"
    )]
    UnknownTag {
        /// The record's kind.
        tag: u8,
        /// Its frame.
        position: u64,
    },
    /// A record whose payload is not what its kind promises, in a frame whose checksum is right.
    #[error(
        "the journal has a malformed record of kind {tag} at position {position}, though its \
         checksum is right: please report this, and keep a copy of the directory"
    )]
    Malformed {
        /// The record's kind.
        tag: u8,
        /// Its frame.
        position: u64,
    },
}

/// What has been read so far.
#[derive(Debug)]
pub(crate) struct Recovery {
    topology: Topology,
    queues: BTreeMap<QueueId, (Name, QueueDeclaration)>,
    /// Next sequence and watermark. Kept for queues whose declaration comes later, in a checkpoint.
    states: Map<QueueId, (Sequence, Sequence)>,
    messages: Map<QueueId, Runs>,
    chunks: slab::Slab<ReplayedChunk>,
    slots: Map<ChunkId, u32>,
    /// Chunks without a message in any queue. Their own frame may yet put others of their messages
    /// into queues; after it they go.
    empty: Vec<usize>,
    /// The frame that is being read.
    frame: Position,
    next_queue: u64,
    next_chunk: u64,
    gone: Vec<Run>,
    error: Option<ReplayError>,
    /// When recovery began: journaled deadlines are put on the clock of this process.
    now: Moment,
}

#[derive(Debug)]
struct ReplayedChunk {
    id: ChunkId,
    position: Position,
    chunk: Chunk,
    live: u64,
}

impl Recovery {
    pub(crate) fn new(now: Moment) -> Recovery {
        Recovery {
            topology: Topology::with_predeclared_exchanges(),
            queues: BTreeMap::new(),
            states: Map::default(),
            messages: Map::default(),
            chunks: slab::Slab::new(),
            slots: Map::default(),
            empty: Vec::new(),
            frame: Position::default(),
            next_queue: 0,
            next_chunk: 0,
            gone: Vec::new(),
            error: None,
            now,
        }
    }

    /// Takes the next record; after an error the others are passed over.
    pub(crate) fn record(&mut self, record: &Record<'_>) {
        if self.error.is_some() {
            return;
        }
        if record.position != self.frame {
            self.frame = record.position;
            self.drop_empty();
        }
        let (tag, position) = (record.tag, record.position.0);
        self.error = match self.apply(record) {
            Ok(Known::Yes) => None,
            Ok(Known::No) => Some(ReplayError::UnknownTag { tag, position }),
            Err(Malformed) => Some(ReplayError::Malformed { tag, position }),
        };
    }

    fn apply(&mut self, record: &Record<'_>) -> Result<Known, Malformed> {
        let payload = &record.payload[..];
        match record.tag {
            tag::CHUNK | tag::DEAD_CHUNK => self.chunk(record)?,
            tag::ENQUEUED | tag::ENQUEUED_MARKED => {
                self.enqueued(&Enqueued::take(payload, record.tag)?)?;
            }
            tag::RETURNED => self.returned(payload)?,
            tag::SETTLED => self.settled(payload)?,
            tag::WATERMARK => {
                let (queue, watermark) = take_watermark(payload)?;
                self.states.entry(queue).or_default().1 = watermark;
            }
            tag::QUEUE_DECLARED => {
                let (id, name, declaration) = queue_records::take_declared(payload)?;
                self.next_queue = self.next_queue.max(id.0 + 1);
                self.topology.add_queue(name.clone(), id);
                self.queues.insert(id, (name, declaration));
            }
            tag::QUEUE_DELETED => self.queue_deleted(queue_records::take_deleted(payload)?),
            tag::EXCHANGE_DECLARED => {
                let (name, settings) = exchange_records::take_declared(payload)?;
                self.topology.declare_exchange(&name, &settings).map_err(|_refusal| Malformed)?;
            }
            tag::EXCHANGE_DELETED => {
                let name = exchange_records::take_deleted(payload)?;
                self.topology.forget_exchange(name.as_str());
            }
            tag::BINDING_MADE => {
                self.binding(&BindingRecord::take(payload)?, Topology::restore_binding);
            }
            tag::BINDING_REMOVED => {
                self.binding(&BindingRecord::take(payload)?, Topology::forget_binding);
            }
            tag::CHECKPOINT => self.checkpoint(Checkpoint::take(payload)?),
            tag::QUEUE_STATE => {
                let state = QueueState::take(payload)?;
                self.states.insert(state.queue, (state.next, state.watermark));
            }
            _unknown => return Ok(Known::No),
        }
        Ok(Known::Yes)
    }

    fn chunk(&mut self, record: &Record<'_>) -> Result<(), Malformed> {
        let (id, head_bytes) = take_chunk_head(&record.payload)?;
        // A copy: a slice would keep the whole frame in memory for its last message.
        let bytes = bytes::Bytes::copy_from_slice(&record.payload[head_bytes..]);
        let chunk = Chunk::parse(bytes).map_err(|_not_messages| Malformed)?;
        self.next_chunk = self.next_chunk.max(id.0 + 1);
        let replayed = ReplayedChunk { id, position: record.position, chunk, live: 0 };
        let slot = u32::try_from(self.chunks.insert(replayed)).map_err(|_too_many| Malformed)?;
        self.slots.insert(id, slot);
        Ok(())
    }

    fn enqueued(&mut self, enqueued: &Enqueued) -> Result<(), Malformed> {
        let slot = *self.slots.get(&enqueued.chunk).ok_or(Malformed)?;
        let chunk = self.chunks.get_mut(slot as usize).ok_or(Malformed)?;
        if enqueued.index + enqueued.count > chunk.chunk.count() {
            return Err(Malformed);
        }
        chunk.live += u64::from(enqueued.count);
        let run = Run {
            first: enqueued.first,
            count: enqueued.count,
            place: Place { chunk: slot, index: enqueued.index },
            label: Label {
                level: enqueued.mark.level,
                deadline: self.deadline(enqueued.mark.deadline_wall_ms),
                ..Label::plain(Durability::Journaled)
            },
        };
        let next = &mut self.states.entry(enqueued.queue).or_default().0;
        if run.first < *next {
            return Err(Malformed);
        }
        *next = run.end();
        self.messages.entry(enqueued.queue).or_default().insert(run);
        Ok(())
    }

    fn deadline(&self, wall_ms: Option<u64>) -> Deadline {
        wall_ms.map_or(Deadline::NEVER, |wall_ms| {
            Deadline(self.now.ms.saturating_add(wall_ms.saturating_sub(self.now.wall_ms)))
        })
    }

    /// Messages came back: how often is part of what they are.
    fn returned(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        let (queue, spans) = take_returned(payload)?;
        let Some(messages) = self.messages.get_mut(&queue) else { return Ok(()) };
        let mut taken = Vec::new();
        for (first, count, counts) in spans {
            messages.remove(first, count, &mut taken);
            for run in taken.drain(..) {
                messages.insert(Run { label: Label { counts, ..run.label.repeated() }, ..run });
            }
        }
        Ok(())
    }

    fn settled(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        let (queue, spans) = take_settled(payload)?;
        // What is unknown here lay in a file that is gone.
        let Some(messages) = self.messages.get_mut(&queue) else { return Ok(()) };
        for (first, count) in spans {
            messages.remove(first, count, &mut self.gone);
        }
        self.release_gone();
        Ok(())
    }

    fn release_gone(&mut self) {
        for run in self.gone.drain(..) {
            let slot = run.place.chunk as usize;
            let Some(chunk) = self.chunks.get_mut(slot) else { continue };
            chunk.live = chunk.live.saturating_sub(run.count.into());
            if chunk.live == 0 {
                self.empty.push(slot);
            }
        }
    }

    fn drop_empty(&mut self) {
        for slot in self.empty.drain(..) {
            if self.chunks.get(slot).is_some_and(|chunk| chunk.live == 0) {
                let chunk = self.chunks.remove(slot);
                self.slots.remove(&chunk.id);
            }
        }
    }

    fn queue_deleted(&mut self, queue: QueueId) {
        self.next_queue = self.next_queue.max(queue.0 + 1);
        if let Some((name, _)) = self.queues.remove(&queue) {
            self.topology.forget_queue(name.as_str());
        }
        self.states.remove(&queue);
        if let Some(mut messages) = self.messages.remove(&queue) {
            self.gone.extend(messages.drain());
            self.release_gone();
        }
    }

    fn binding(
        &mut self,
        binding: &BindingRecord,
        change: impl FnOnce(&mut Topology, &Name, Target, &[u8], &domain::binding::BindingArguments),
    ) {
        let target = match &binding.destination {
            Destination::Queue(name) => self.topology.queue(name.as_str()).map(Target::Queue),
            Destination::Exchange(name) => self.topology.exchange_target(name).ok(),
        };
        // An end that is unknown was made in a file that is gone, and so was its end.
        if let Some(target) = target {
            change(&mut self.topology, &binding.source, target, &binding.key, &binding.arguments);
        }
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) {
        self.topology = Topology::with_predeclared_exchanges();
        self.queues.clear();
        self.next_queue = self.next_queue.max(checkpoint.next_queue);
        self.next_chunk = self.next_chunk.max(checkpoint.next_chunk);
    }

    /// What the journal came to.
    pub(crate) fn finish(mut self) -> Result<Restored, ReplayError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        // Messages of queues that no checkpoint and no declaration knows went with their queue.
        let known = &self.queues;
        self.messages.retain(|queue, messages| {
            let keep = known.contains_key(queue);
            if !keep {
                self.gone.extend(messages.drain());
            }
            keep
        });
        self.release_gone();
        let mut old_slots = BTreeMap::new();
        let live: Vec<_> = (self.chunks.drain())
            .filter(|chunk| chunk.live > 0)
            .map(|chunk| (chunk.id, chunk.position, chunk.chunk))
            .collect();
        for (id, slot) in &self.slots {
            old_slots.insert(*slot, *id);
        }
        let (mut chunks, new_slots) = Chunks::restore(self.next_chunk, live);
        let mut queues = Vec::with_capacity(self.queues.len());
        for (id, (name, declaration)) in self.queues {
            let (next, watermark) = self.states.get(&id).copied().unwrap_or_default();
            let mut slot = QueueSlot::new(name, declaration, None);
            let messages = self.messages.get(&id).into_iter().flat_map(Runs::iter);
            let messages = messages.filter_map(|run| {
                let chunk = *new_slots.get(old_slots.get(&run.place.chunk)?)?;
                Some(Run { place: Place { chunk, ..run.place }, ..*run })
            });
            let marked: Vec<Run> = messages.flat_map(|run| mark(run, watermark)).collect();
            for run in &marked {
                chunks.hold_slot(run.place.chunk, run.count);
            }
            // The watermark may stand past the last journaled message: what comes new comes behind it,
            // or it would count as delivered after the next restart.
            slot.queue.restore(next.max(watermark), marked, &chunks);
            slot.watermark = watermark;
            slot.delivered = watermark;
            queues.push((id, slot));
        }
        Ok(Restored { topology: self.topology, queues, next_queue: self.next_queue, chunks })
    }
}

enum Known {
    Yes,
    No,
}

/// What lies before the watermark may have been delivered before the process ended.
fn mark(run: Run, watermark: Sequence) -> impl Iterator<Item = Run> {
    let repeated = |run: Run| Run { label: run.label.repeated(), ..run };
    let (before, after) = if run.end() <= watermark {
        (Some(repeated(run)), None)
    } else if run.first >= watermark {
        (None, Some(run))
    } else {
        let count = u32::try_from(watermark.0 - run.first.0).unwrap_or(run.count);
        let (front, rest) = run.split(count);
        (Some(repeated(front)), rest)
    };
    before.into_iter().chain(after)
}
