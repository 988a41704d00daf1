//! The chunks that live messages lie in, each with a count of them; at zero it goes. A journaled
//! chunk has a number in the journal and, once committed, a position: the oldest of these says
//! which journal files are still needed.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::queue::Bodies;
use domain::run::Run;
use storage::Position;

use crate::chunk::{Chunk, Persistence};
use crate::journaled::ChunkId;

/// All live chunks. A place's `chunk` is the index here.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    slots: slab::Slab<Slot>,
    next_id: u64,
    /// Journaled ones and where they stand; [`UNCOMMITTED`] until their turn is committed.
    positions: BTreeMap<ChunkId, Position>,
    uncommitted: Vec<ChunkId>,
}

/// After every real position.
const UNCOMMITTED: Position = Position(u64::MAX);

#[derive(Debug)]
struct Slot {
    chunk: Arc<Chunk>,
    /// Messages in queues; one in three queues counts three times.
    live: u64,
    id: Option<ChunkId>,
}

/// A chunk of the batch being applied; it takes a slot when a queue takes a message of it.
#[derive(Debug)]
pub(crate) struct BatchChunk {
    pub(crate) chunk: Arc<Chunk>,
    slot: Option<u32>,
}

/// Messages side by side in a chunk, on their way into a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming {
    /// Index of the first one in the chunk.
    pub(crate) first: u32,
    pub(crate) count: u32,
    pub(crate) persistence: Persistence,
    pub(crate) priority: Option<u8>,
    pub(crate) expiration_ms: Option<u64>,
}

impl BatchChunk {
    pub(crate) fn new(chunk: Chunk) -> BatchChunk {
        BatchChunk::shared(Arc::new(chunk))
    }

    /// A chunk of a batch applied before.
    pub(crate) fn shared(chunk: Arc<Chunk>) -> BatchChunk {
        BatchChunk { chunk, slot: None }
    }
}

impl Chunks {
    /// Chunks restored from the journal come with their numbers.
    pub(crate) fn restore(
        next_id: u64,
        restored: impl IntoIterator<Item = (ChunkId, Position, Chunk)>,
    ) -> (Chunks, BTreeMap<ChunkId, u32>) {
        let mut chunks = Chunks { next_id, ..Chunks::default() };
        let mut slots = BTreeMap::new();
        for (id, position, chunk) in restored {
            let slot = Slot { chunk: Arc::new(chunk), live: 0, id: Some(id) };
            slots.insert(id, narrow(chunks.slots.insert(slot)));
            chunks.positions.insert(id, position);
        }
        (chunks, slots)
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// `count` messages of a chunk went into a queue. While its batch is applied the chunk also
    /// counts for the batch, so that its slot stays its own: see [`Chunks::leave`].
    pub(crate) fn hold(&mut self, chunk: &mut BatchChunk, count: u32) -> u32 {
        let index = *chunk.slot.get_or_insert_with(|| {
            let slot = Slot { chunk: Arc::clone(&chunk.chunk), live: 1, id: None };
            narrow(self.slots.insert(slot))
        });
        self.hold_slot(index, count);
        index
    }

    /// The chunk's batch is applied.
    pub(crate) fn leave(&mut self, chunk: &mut BatchChunk) {
        if let Some(index) = chunk.slot.take() {
            self.release_slot(index as usize, 1);
        }
    }

    /// As [`Chunks::hold`], for a chunk that has its slot.
    pub(crate) fn hold_slot(&mut self, index: u32, count: u32) {
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.live += u64::from(count);
        }
    }

    /// The chunk's number in the journal, and whether it is new: then the chunk itself must be
    /// written.
    pub(crate) fn journal(&mut self, index: u32) -> Option<(ChunkId, Option<Arc<Chunk>>)> {
        let slot = self.slots.get_mut(index as usize)?;
        if let Some(id) = slot.id {
            return Some((id, None));
        }
        let id = ChunkId(self.next_id);
        self.next_id += 1;
        slot.id = Some(id);
        self.positions.insert(id, UNCOMMITTED);
        self.uncommitted.push(id);
        Some((id, Some(Arc::clone(&slot.chunk))))
    }

    pub(crate) fn is_journaled(&self, chunk: &BatchChunk) -> bool {
        let slot = chunk.slot.and_then(|index| self.slots.get(index as usize));
        slot.is_some_and(|slot| slot.id.is_some())
    }

    /// The chunk at a place.
    pub(crate) fn get(&self, index: u32) -> Option<&Arc<Chunk>> {
        self.slots.get(index as usize).map(|slot| &slot.chunk)
    }

    /// The messages of a run left their queue.
    pub(crate) fn release(&mut self, run: &Run) {
        self.release_slot(run.place.chunk as usize, run.count.into());
    }

    fn release_slot(&mut self, index: usize, count: u64) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        slot.live = slot.live.saturating_sub(count);
        if slot.live == 0 {
            if let Some(id) = slot.id {
                self.positions.remove(&id);
            }
            self.slots.remove(index);
        }
    }

    /// What was new since the last call stands at `position`.
    pub(crate) fn committed(&mut self, position: Position) {
        for id in self.uncommitted.drain(..) {
            if let Some(at) = self.positions.get_mut(&id) {
                *at = position;
            }
        }
    }

    /// Where the oldest message stands that is still needed.
    pub(crate) fn oldest(&self) -> Option<Position> {
        self.positions.values().next().copied()
    }
}

impl Bodies for Chunks {
    fn bytes(&self, run: &Run) -> u64 {
        let Some(chunk) = self.get(run.place.chunk) else { return 0 };
        let messages =
            (run.place.index..run.place.index + run.count).filter_map(|index| chunk.message(index));
        messages.map(|message| message.body.len() as u64).sum()
    }
}

fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
