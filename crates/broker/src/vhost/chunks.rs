//! Where live messages lie: in chunks in memory, as they arrived, or in runs of segments on disk;
//! each with a count of the messages that live in it. At zero it goes.
//!
//! A journaled chunk has a number in the journal and, once committed, a position: the oldest of these
//! says which journal files are still needed.

pub(crate) mod arrivals;
pub(crate) mod blocks;
pub(crate) mod sealed;
pub(crate) mod segments;

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::queue::Bodies;
use domain::run::{Place, Run};
use storage::Position;

use crate::chunk::{Chunk, Persistence};
use crate::journaled::ChunkId;
use arrivals::Arrivals;
use blocks::Blocks;
use sealed::{SealedRun, Waiting};
use segments::Segments;

/// What a run of messages takes in memory beside their bytes.
const RUN_BYTES: usize = 96;

/// Everything that live messages lie in. A place's `chunk` is the index here.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    slots: slab::Slab<Slot>,
    next_id: u64,
    /// Journaled ones and where they stand; [`UNCOMMITTED`] until their turn is committed.
    positions: BTreeMap<ChunkId, Position>,
    uncommitted: Vec<ChunkId>,
    pub(crate) arrivals: Arrivals,
    pub(crate) segments: Segments,
    pub(crate) blocks: Blocks,
    /// Who waited for a message of a run that is gone; they have to look again.
    pub(crate) waiting_in_vain: Waiting,
    /// What the chunks in memory take, in bytes.
    memory_bytes: usize,
}

/// After every real position.
const UNCOMMITTED: Position = Position(u64::MAX);

#[derive(Debug)]
struct Slot {
    home: Home,
    /// Messages in queues; one in three queues counts three times.
    live: u64,
}

/// What messages lie in.
#[derive(Debug)]
enum Home {
    Memory(InMemory),
    Sealed(Box<SealedRun>),
}

#[derive(Debug)]
struct InMemory {
    chunk: Arc<Chunk>,
    id: Option<ChunkId>,
    /// Given in order of arrival.
    age: u64,
    /// What it and the runs of it take, in bytes.
    bytes: usize,
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

/// A message that can be read at once.
#[derive(Clone, Debug)]
pub(crate) struct Here {
    pub(crate) chunk: Arc<Chunk>,
    /// Its index in the chunk.
    pub(crate) index: u32,
    /// How many messages, it included, lie in the chunk from there on.
    pub(crate) count: u32,
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
    pub(crate) fn new(next_id: u64, next_segment: u64) -> Chunks {
        Chunks { next_id, segments: Segments::new(next_segment), ..Chunks::default() }
    }

    /// Takes in a chunk that was found in the journal; it counts one until it is filled.
    pub(crate) fn restore(&mut self, id: ChunkId, position: Position, chunk: Chunk) -> u32 {
        self.positions.insert(id, position);
        self.insert(Arc::new(chunk), 1, Some(id))
    }

    /// Takes in a run of a segment. `live` is what its maker holds; see [`Chunks::release_slot`].
    pub(crate) fn insert_sealed(&mut self, run: SealedRun, live: u64) -> u32 {
        self.segments.add_run(&run);
        narrow(self.slots.insert(Slot { home: Home::Sealed(Box::new(run)), live }))
    }

    fn insert(&mut self, chunk: Arc<Chunk>, live: u64, id: Option<ChunkId>) -> u32 {
        let bytes = chunk.memory_bytes();
        self.memory_bytes += bytes;
        let entry = self.slots.vacant_entry();
        let index = narrow(entry.key());
        let age = self.arrivals.add(index);
        entry.insert(Slot { home: Home::Memory(InMemory { chunk, id, age, bytes }), live });
        index
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// What the chunks in memory take, with the runs of messages in them, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// `count` messages of a chunk went into a queue. While its batch is applied the chunk also
    /// counts for the batch, so that its slot stays its own: see [`Chunks::leave`].
    pub(crate) fn hold(&mut self, chunk: &mut BatchChunk, count: u32) -> u32 {
        let index = match chunk.slot {
            Some(index) => index,
            None => *chunk.slot.insert(self.insert(Arc::clone(&chunk.chunk), 1, None)),
        };
        self.hold_slot(index, count);
        index
    }

    /// The chunk's batch is applied.
    pub(crate) fn leave(&mut self, chunk: &mut BatchChunk) {
        if let Some(index) = chunk.slot.take() {
            self.release_slot(index, 1);
        }
    }

    /// As [`Chunks::hold`], for a chunk that has its slot.
    pub(crate) fn hold_slot(&mut self, index: u32, count: u32) {
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.live += u64::from(count);
            match &mut slot.home {
                Home::Memory(memory) => {
                    memory.bytes += RUN_BYTES;
                    self.memory_bytes += RUN_BYTES;
                }
                Home::Sealed(sealed) => self.segments.held(sealed, count.into()),
            }
        }
    }

    /// The chunk's number in the journal, and whether it is new: then the chunk itself must be
    /// written.
    pub(crate) fn journal(&mut self, index: u32) -> Option<(ChunkId, Option<Arc<Chunk>>)> {
        let slot = self.slots.get_mut(index as usize)?;
        let Home::Memory(memory) = &mut slot.home else { return None };
        if let Some(id) = memory.id {
            return Some((id, None));
        }
        let id = ChunkId(self.next_id);
        self.next_id += 1;
        memory.id = Some(id);
        self.positions.insert(id, UNCOMMITTED);
        self.uncommitted.push(id);
        Some((id, Some(Arc::clone(&memory.chunk))))
    }

    pub(crate) fn is_journaled(&self, chunk: &BatchChunk) -> bool {
        let slot = chunk.slot.and_then(|index| self.slots.get(index as usize));
        slot.is_some_and(|slot| matches!(&slot.home, Home::Memory(memory) if memory.id.is_some()))
    }

    /// The message at a place, if it can be read at once.
    pub(crate) fn find(&self, place: Place) -> Option<Here> {
        match &self.slots.get(place.chunk as usize)?.home {
            Home::Memory(memory) => Some(Here {
                chunk: Arc::clone(&memory.chunk),
                index: place.index,
                count: memory.chunk.count().saturating_sub(place.index),
            }),
            Home::Sealed(sealed) => sealed.find(place.index),
        }
    }

    /// The chunk in memory at a slot, with its age.
    pub(crate) fn in_memory(&self, index: u32) -> Option<(&Arc<Chunk>, u64)> {
        match &self.slots.get(index as usize)?.home {
            Home::Memory(memory) => Some((&memory.chunk, memory.age)),
            Home::Sealed(_) => None,
        }
    }

    /// What a chunk in memory takes, in bytes, if it is still that of this age.
    pub(crate) fn bytes_of(&self, index: u32, age: u64) -> Option<usize> {
        match &self.slots.get(index as usize)?.home {
            Home::Memory(memory) if memory.age == age => Some(memory.bytes),
            Home::Memory(_) | Home::Sealed(_) => None,
        }
    }

    /// Where a chunk in memory stands in the journal, if it does.
    pub(crate) fn position_of(&self, index: u32) -> Option<Position> {
        match &self.slots.get(index as usize)?.home {
            Home::Memory(memory) => self.positions.get(&memory.id?).copied(),
            Home::Sealed(_) => None,
        }
    }

    pub(crate) fn sealed(&self, index: u32) -> Option<&SealedRun> {
        match &self.slots.get(index as usize)?.home {
            Home::Memory(_) => None,
            Home::Sealed(sealed) => Some(sealed),
        }
    }

    pub(crate) fn sealed_mut(&mut self, index: u32) -> Option<&mut SealedRun> {
        match &mut self.slots.get_mut(index as usize)?.home {
            Home::Memory(_) => None,
            Home::Sealed(sealed) => Some(sealed),
        }
    }

    /// The sealed run and the blocks that were read, to change both.
    pub(crate) fn sealed_and_blocks(
        &mut self,
        index: u32,
    ) -> Option<(&mut SealedRun, &mut Blocks)> {
        match &mut self.slots.get_mut(index as usize)?.home {
            Home::Memory(_) => None,
            Home::Sealed(sealed) => Some((sealed, &mut self.blocks)),
        }
    }

    /// The messages of a run left their queue.
    pub(crate) fn release(&mut self, run: &Run) {
        self.release_slot(run.place.chunk, run.count.into());
    }

    /// So many messages of a slot count no longer.
    pub(crate) fn release_slot(&mut self, index: u32, count: u64) {
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        slot.live = slot.live.saturating_sub(count);
        let live = slot.live;
        match &slot.home {
            Home::Memory(memory) if live == 0 => {
                self.memory_bytes -= memory.bytes;
                if let Some(id) = memory.id {
                    self.positions.remove(&id);
                }
                self.slots.remove(index as usize);
                self.arrivals.removed();
                let (slots, arrivals) = (&self.slots, &mut self.arrivals);
                arrivals.tidy(|index, age| {
                    matches!(
                        slots.get(index as usize),
                        Some(Slot { home: Home::Memory(memory), .. }) if memory.age == age
                    )
                });
            }
            Home::Memory(_) => {}
            Home::Sealed(sealed) => {
                self.segments.released(sealed, count);
                if live == 0 {
                    self.blocks.forget_all(sealed);
                    self.segments.remove_run(sealed);
                    let gone = self.slots.remove(index as usize);
                    if let Home::Sealed(sealed) = gone.home {
                        self.waiting_in_vain.join(sealed.waiting);
                    }
                }
            }
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

    /// Where the oldest message stands that is still needed in the journal.
    pub(crate) fn oldest(&self) -> Option<Position> {
        self.positions.values().next().copied()
    }
}

impl Bodies for Chunks {
    fn bytes(&self, run: &Run) -> u64 {
        let indices = run.place.index..run.place.index + run.count;
        match self.slots.get(run.place.chunk as usize).map(|slot| &slot.home) {
            None => 0,
            Some(Home::Memory(memory)) => {
                let messages = indices.filter_map(|index| memory.chunk.message(index));
                messages.map(|message| message.body.len() as u64).sum()
            }
            Some(Home::Sealed(sealed)) => sealed.weight(indices),
        }
    }
}

fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
