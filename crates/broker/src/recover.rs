//! Recovery: what the journal says becomes a virtual host again. Decisions are replayed as they
//! were taken; no rule is asked a second time, so rules may change between versions.

mod marks;
mod told;

pub(crate) mod losses;
pub(crate) mod orphans;

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::binding::{QueueId, Target};
use domain::name::Name;
use domain::queue::QueueDeclaration;
use domain::queue::settings::QueueSettings;
use domain::run::{Deadline, Durability, Label, Place, Run, Runs, Sequence};
use domain::topology::Topology;
use hashbrown::HashMap;
use storage::disk::Disk;
use storage::{Position, Record, Segment, SegmentError};

use crate::chunk::Chunk;
use crate::journaled::binding_records::BindingRecord;
use crate::journaled::checkpoint_records::{Checkpoint, QueueState};
use crate::journaled::done_records::take_forgotten;
use crate::journaled::lease_records::{Leased, take_ended};
use crate::journaled::message_records::{
    Enqueued, Span, take_chunk_head, take_returned, take_settled, take_watermark,
};
use crate::journaled::segment_records::{Alive, KeptRecord, take_next_segment};
use crate::journaled::{ChunkId, Malformed, exchange_records, queue_records, tag};
use crate::limits;
use crate::operation::Destination;
use crate::vhost::Restored;
use crate::vhost::chunks::Chunks;
use crate::vhost::chunks::sealed::SealedRun;
use crate::vhost::done::Done;
use crate::vhost::leases::{Held, Leases};
use crate::vhost::load_job::{ReadError, read_blocks};
use crate::vhost::queues::QueueSlot;
use crate::vhost::timers::Moment;
pub use losses::AfterLoss;
use marks::{mark, take_leased};
use orphans::Basis;

type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// Why a journal's records can't be understood.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A segment that live messages lie in can't be read.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// As `Segment`.
    #[error(transparent)]
    Read(#[from] ReadError),
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
    leases: Leases,
    /// What became of messages that are gone.
    done: Done,
    homes: slab::Slab<Home>,
    slots: Map<ChunkId, u32>,
    /// Runs of segments, by the segment's number and the run's.
    runs: Map<(u64, u32), u32>,
    next_segment: u64,
    /// Chunks without a message in any queue. Their own frame may yet put others of their messages
    /// into queues; after it they go.
    empty: Vec<usize>,
    /// The frame that is being read.
    frame: Position,
    next_queue: u64,
    next_chunk: u64,
    gone: Vec<Run>,
    error: Option<ReplayError>,
    after_loss: AfterLoss,
    basis: Basis,
    /// When recovery began: journaled deadlines are put on the clock of this process.
    now: Moment,
}

/// What messages lie in, and how many that are alive.
#[derive(Debug)]
struct Home {
    of: HomeOf,
    live: u64,
}

#[derive(Debug)]
enum HomeOf {
    Chunk { id: ChunkId, position: Position, chunk: Chunk },
    Run { segment: u64, run: u32 },
}

impl Recovery {
    pub(crate) fn new(now: Moment) -> Recovery {
        Recovery {
            topology: Topology::with_predeclared_exchanges(),
            queues: BTreeMap::new(),
            states: Map::default(),
            messages: Map::default(),
            leases: Leases::default(),
            done: Done::default(),
            homes: slab::Slab::new(),
            slots: Map::default(),
            runs: Map::default(),
            next_segment: 0,
            empty: Vec::new(),
            frame: Position::default(),
            next_queue: 0,
            next_chunk: 0,
            gone: Vec::new(),
            error: None,
            after_loss: AfterLoss::default(),
            basis: Basis::default(),
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
        self.basis = self.basis.after(position, tag);
        self.error = match self.apply(record) {
            Ok(Known::Yes) => None,
            Ok(Known::No) => Some(ReplayError::UnknownTag { tag, position }),
            // What it refers to may be what was lost.
            Err(Malformed) if self.after_loss.void_records > 0 => {
                self.after_loss.passed_over += 1;
                None
            }
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
            tag::LEASED => self.leased(Leased::take(payload)?),
            tag::LEASE_ENDED => {
                let (queue, spans) = take_ended(payload)?;
                self.leases_over(queue, &spans);
            }
            tag::PROGRESS => self.progress(payload)?,
            tag::DONE => self.done(payload)?,
            tag::DONE_FORGOTTEN => {
                self.done.clear(take_forgotten(payload)?);
            }
            tag::SETTLED => self.settled(payload)?,
            tag::WATERMARK => {
                let (queue, watermark) = take_watermark(payload)?;
                self.states.entry(queue).or_default().1 = watermark;
            }
            tag::QUEUE_DECLARED => {
                let (id, name, declaration) = queue_records::take_declared(payload)?;
                self.next_queue = self.next_queue.max(id.0 + 1);
                // That the one before was deleted is lost.
                if let Some(before) = self.topology.queue(name.as_str()).filter(|it| *it != id) {
                    self.queue_deleted(before);
                }
                self.topology.add_queue(name.clone(), id);
                if let Some(limits) = QueueSettings::of(&declaration.arguments).done {
                    self.done.keep(id, limits);
                }
                self.queues.insert(id, (name, declaration));
            }
            tag::QUEUE_DELETED => self.queue_deleted(queue_records::take_deleted(payload)?),
            tag::EXCHANGE_DECLARED => {
                let (name, settings) = exchange_records::take_declared(payload)?;
                if self.topology.declare_exchange(&name, &settings).is_err() {
                    if self.after_loss.void_records == 0 {
                        return Err(Malformed);
                    }
                    // That the one before was deleted is lost.
                    self.topology.forget_exchange(name.as_str());
                    let declared = self.topology.declare_exchange(&name, &settings);
                    declared.map_err(|_refusal| Malformed)?;
                }
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
            tag::KEPT => self.kept(KeptRecord::take(payload)?),
            tag::NEXT_SEGMENT => {
                self.next_segment = self.next_segment.max(take_next_segment(payload)?);
            }
            tag::VOID => self.after_loss.void_records += 1,
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
        let of = HomeOf::Chunk { id, position: record.position, chunk };
        let home = self.homes.insert(Home { of, live: 0 });
        let slot = u32::try_from(home).map_err(|_too_many| Malformed)?;
        self.slots.insert(id, slot);
        Ok(())
    }

    fn enqueued(&mut self, enqueued: &Enqueued) -> Result<(), Malformed> {
        // Their own records may be lost; their numbers are never given again.
        self.next_queue = self.next_queue.max(enqueued.queue.0.saturating_add(1));
        self.next_chunk = self.next_chunk.max(enqueued.chunk.0.saturating_add(1));
        let slot = *self.slots.get(&enqueued.chunk).ok_or(Malformed)?;
        let home = self.homes.get_mut(slot as usize).ok_or(Malformed)?;
        let HomeOf::Chunk { chunk, .. } = &home.of else { return Err(Malformed) };
        if enqueued.index + enqueued.count > chunk.count() {
            return Err(Malformed);
        }
        home.live += u64::from(enqueued.count);
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
        for (first, count, _) in &spans {
            self.leases.take(queue, *first, *count);
        }
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

    fn leased(&mut self, leased: Leased) {
        let Leased { queue, epoch, until_wall_ms, length_ms, holder, spans } = leased;
        // However the clock on the wall was set meanwhile, no lease lasts longer than it may.
        let left_ms = until_wall_ms.saturating_sub(self.now.wall_ms).min(length_ms);
        let until_ms = self.now.ms.saturating_add(left_ms);
        for (first, count) in spans {
            self.leases_over(queue, &[(first, count)]);
            let holder = holder.clone();
            let durability = Durability::Journaled;
            let progress = None;
            let since_ms = None;
            let held =
                Held { count, epoch, until_ms, length_ms, since_ms, durability, holder, progress };
            self.leases.hold(queue, first, held);
        }
    }

    fn leases_over(&mut self, queue: QueueId, spans: &[Span]) {
        for (first, count) in spans {
            self.leases.take(queue, *first, *count);
        }
    }

    fn settled(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        let (queue, spans) = take_settled(payload)?;
        self.leases_over(queue, &spans);
        // What is unknown here lay in a file that is gone.
        let Some(messages) = self.messages.get_mut(&queue) else { return Ok(()) };
        for (first, count) in spans {
            messages.remove(first, count, &mut self.gone);
        }
        self.release_gone();
        Ok(())
    }

    /// Where the messages of a run of a segment lie.
    fn run(&mut self, segment: u64, run: u32) -> u32 {
        self.next_segment = self.next_segment.max(segment.saturating_add(1));
        let homes = &mut self.homes;
        *self.runs.entry((segment, run)).or_insert_with(|| {
            let home = homes.insert(Home { of: HomeOf::Run { segment, run }, live: 0 });
            u32::try_from(home).unwrap_or(u32::MAX)
        })
    }

    /// So many messages more live in a slot.
    fn live_in(&mut self, slot: u32, count: u64) {
        if let Some(home) = self.homes.get_mut(slot as usize) {
            home.live += count;
            if home.live == 0 {
                self.empty.push(slot as usize);
            }
        }
    }

    /// Messages lie in a segment from now on, wherever they lay before.
    fn kept(&mut self, record: KeptRecord) {
        self.next_queue = self.next_queue.max(record.queue.0.saturating_add(1));
        let slot = self.run(record.segment, record.run);
        let mut live = 0;
        for Alive { kept, mark, counts } in record.alive {
            let deadline = self.deadline(mark.deadline_wall_ms);
            let messages = self.messages.entry(record.queue).or_default();
            messages.remove(kept.first, kept.count, &mut self.gone);
            let plain = Label::plain(Durability::Journaled);
            let label = Label { level: mark.level, deadline, counts, ..plain };
            let place = Place { chunk: slot, index: kept.index };
            messages.insert(Run { first: kept.first, count: kept.count, place, label });
            live += u64::from(kept.count);
        }
        self.live_in(slot, live);
        self.release_gone();
    }

    /// What lies in segments is said anew by the checkpoint that follows.
    fn forget_segments(&mut self) {
        if self.runs.is_empty() {
            return;
        }
        for messages in self.messages.values_mut() {
            let in_segments: Vec<Run> = (messages.iter())
                .filter(|run| {
                    let home = self.homes.get(run.place.chunk as usize);
                    home.is_some_and(|home| matches!(home.of, HomeOf::Run { .. }))
                })
                .copied()
                .collect();
            for run in in_segments {
                messages.remove(run.first, run.count, &mut self.gone);
            }
        }
        self.release_gone();
    }

    fn release_gone(&mut self) {
        for run in self.gone.drain(..) {
            let slot = run.place.chunk as usize;
            let Some(home) = self.homes.get_mut(slot) else { continue };
            home.live = home.live.saturating_sub(run.count.into());
            if home.live == 0 {
                self.empty.push(slot);
            }
        }
    }

    fn drop_empty(&mut self) {
        for slot in self.empty.drain(..) {
            if self.homes.get(slot).is_some_and(|home| home.live == 0) {
                match self.homes.remove(slot).of {
                    HomeOf::Chunk { id, .. } => self.slots.remove(&id),
                    HomeOf::Run { segment, run } => self.runs.remove(&(segment, run)),
                };
            }
        }
    }

    fn queue_deleted(&mut self, queue: QueueId) {
        self.next_queue = self.next_queue.max(queue.0 + 1);
        if let Some((name, _)) = self.queues.remove(&queue) {
            self.topology.forget_queue(name.as_str());
        }
        self.states.remove(&queue);
        self.leases.forget(queue);
        self.done.forget_queue(queue);
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
        // Those there are are said again.
        self.leases = Leases::default();
        self.done = Done::default();
        self.forget_segments();
        self.next_queue = self.next_queue.max(checkpoint.next_queue);
        self.next_chunk = self.next_chunk.max(checkpoint.next_chunk);
    }

    /// What the journal came to.
    pub(crate) fn finish(mut self, disk: &Arc<dyn Disk>) -> Result<Restored, ReplayError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.look_after_nameless();
        let (mut chunks, new_slots) = self.restore_homes(disk)?;
        let mut queues = Vec::with_capacity(self.queues.len());
        let mut leases = Vec::new();
        for (id, (name, declaration)) in self.queues {
            let (next, watermark) = self.states.get(&id).copied().unwrap_or_default();
            let mut slot = QueueSlot::new(name, declaration, None);
            let mut messages = self.messages.remove(&id).unwrap_or_default();
            if self.after_loss.void_records > 0 {
                // That they left is lost, or they came back from a segment.
                self.done.retain(id, |message| !messages.has(message));
            }
            let moved = |run: Run| {
                let chunk = *new_slots.get(&run.place.chunk)?;
                Some(Run { place: Place { chunk, ..run.place }, ..run })
            };
            let held = take_leased(&mut messages, id, &self.leases, &mut leases);
            let held: Vec<Run> = held.into_iter().filter_map(moved).collect();
            let messages = messages.iter().copied().filter_map(moved);
            let marked: Vec<Run> = messages.flat_map(|run| mark(run, watermark)).collect();
            for run in marked.iter().chain(&held) {
                if let Some(sealed) = chunks.sealed(run.place.chunk)
                    && sealed.records < run.place.index.saturating_add(run.count)
                {
                    let (segment, run, index) =
                        (sealed.segment.number(), sealed.run, run.place.index);
                    return Err(ReadError::NotThere { segment, run, index }.into());
                }
                chunks.hold_slot(run.place.chunk, run.count);
            }
            if slot.queue.settings().bytes_max.is_some() {
                weigh(&mut chunks, &marked)?;
                weigh(&mut chunks, &held)?;
            }
            // The watermark may stand past the last journaled message: what comes new comes behind it,
            // or it would count as delivered after the next restart. Where the numbering stood may
            // be lost.
            let end = marked.iter().chain(&held).map(Run::end).max().unwrap_or_default();
            slot.queue.restore(next.max(watermark).max(end), marked, &chunks);
            slot.queue.restore_leased(held);
            slot.watermark = watermark;
            slot.delivered = watermark;
            queues.push((id, slot));
        }
        // Each was held while it was filled.
        for slot in new_slots.into_values() {
            chunks.release_slot(slot, 1);
        }
        let (topology, next_queue) = (self.topology, self.next_queue);
        Ok(Restored { topology, queues, next_queue, chunks, leases, done: self.done })
    }

    /// What live messages lie in, each held once; and the new slot of each old one.
    fn restore_homes(
        &mut self,
        disk: &Arc<dyn Disk>,
    ) -> Result<(Chunks, BTreeMap<u32, u32>), ReplayError> {
        let mut homes: Vec<(u32, HomeOf)> = (self.homes.iter())
            .filter(|(_, home)| home.live > 0)
            .map(|(slot, _)| u32::try_from(slot).unwrap_or(u32::MAX))
            .collect::<Vec<u32>>()
            .into_iter()
            .map(|slot| (slot, self.homes.remove(slot as usize).of))
            .collect();
        // Those of segments first, then the chunks in their order.
        homes.sort_by_key(|(_, of)| match of {
            HomeOf::Run { segment, run } => (0, *segment, *run),
            HomeOf::Chunk { id, .. } => (1, id.0, 0),
        });
        let mut chunks = Chunks::new(self.next_chunk, self.next_segment);
        let mut slots = BTreeMap::new();
        let mut open: Option<Arc<Segment>> = None;
        for (old, of) in homes {
            let slot = match of {
                HomeOf::Chunk { id, position, chunk } => chunks.restore(id, position, chunk),
                HomeOf::Run { segment: number, run } => {
                    let segment = match &open {
                        Some(segment) if segment.number() == number => Arc::clone(segment),
                        _another => Arc::new(Segment::open(disk, number)?),
                    };
                    open = Some(Arc::clone(&segment));
                    let key = chunks.segments.take_key();
                    chunks.insert_sealed(SealedRun::new(segment, run, key, None), 1)
                }
            };
            slots.insert(old, slot);
        }
        Ok((chunks, slots))
    }
}

/// Finds out what the bodies weigh that lie in segments, for a queue that limits them.
fn weigh(chunks: &mut Chunks, runs: &[Run]) -> Result<(), ReplayError> {
    for run in runs {
        let Some(sealed) = chunks.sealed_mut(run.place.chunk) else { continue };
        if sealed.is_weighed() {
            continue;
        }
        let mut weights = Vec::with_capacity(sealed.records as usize);
        while let Ok(next) = u32::try_from(weights.len())
            && next < sealed.records
        {
            let blocks =
                read_blocks(&sealed.segment, sealed.run, next, limits::READ_WINDOW_BYTES_MAX)?;
            for block in blocks {
                for index in 0..block.chunk.count() {
                    weights.push(Chunk::body_bytes(block.chunk.message_bytes(index)));
                }
            }
        }
        sealed.set_weights(weights.into());
    }
    Ok(())
}

enum Known {
    Yes,
    No,
}
