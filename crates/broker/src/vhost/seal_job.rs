//! The part of sealing that reads and writes: it knows no virtual host, only what to copy, and runs
//! on a thread that may wait for the disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::binding::QueueId;
use domain::run::Sequence;
use stdx::checksum::checksum;
use storage::disk::Disk;
use storage::{Segment, SegmentBuilder, SegmentError, SegmentSync, remove_segment};

use super::chunks::sealed::LoadedBlock;
use super::load_job::{ReadError, read_blocks};
use crate::chunk::Chunk;

/// How much is read at a time from a segment that is written anew, in bytes.
const READ_BYTES: usize = 1 << 20;

/// What messages are copied from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Chunk(Arc<Chunk>),
    Run { segment: Arc<Segment>, run: u32 },
}

/// Neighbouring messages of a queue that lie side by side in a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) first: Sequence,
    pub(crate) count: u32,
    /// Index in the job's sources.
    pub(crate) source: u32,
    /// Index of the first message there.
    pub(crate) index: u32,
}

/// Whether the bodies' sizes are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weigh {
    No,
    Bodies,
}

/// Messages of one queue, and of one level in it, that will lie side by side.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) queue: QueueId,
    pub(crate) weigh: Weigh,
    /// Ascending sequences.
    pub(crate) parts: Vec<Part>,
}

/// Writes a segment.
#[derive(Debug)]
pub(crate) struct SealJob {
    pub(crate) number: u64,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) sources: Vec<Source>,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) sync: SegmentSync,
}

/// Where a piece is now.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) piece: Piece,
    pub(crate) run: u32,
    pub(crate) weights: Option<Box<[u32]>>,
}

/// A segment that nothing refers to yet.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) segment: Segment,
    pub(crate) placed: Vec<Placed>,
}

/// Why sealing did not work.
#[derive(Debug)]
pub(crate) enum SealError {
    /// The new segment can't be written; it was undone.
    Write(SegmentError),
    /// An old one can't be read.
    Read(ReadError),
}

impl SealJob {
    /// Copies everything. On failure nothing is left on the disk, if the disk lets go of it.
    pub(crate) fn run(self) -> Result<Sealed, SealError> {
        let (disk, number) = (Arc::clone(&self.disk), self.number);
        let written = self.write();
        if written.is_err() {
            // What stays is deleted at the next start: nothing refers to it.
            let _ = remove_segment(&*disk, number);
        }
        written
    }

    fn write(self) -> Result<Sealed, SealError> {
        let SealJob { number, disk, sources, pieces, sync } = self;
        let mut builder = SegmentBuilder::create(&disk, number).map_err(SealError::Write)?;
        let mut same: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        let mut placed: Vec<Placed> = Vec::with_capacity(pieces.len());
        let mut copier = Copier { sources: &sources, read: None };
        for piece in pieces {
            // Queues that got the same messages share them here, as they did where those came from.
            let alike = same.entry(fingerprint(&piece.parts)).or_default();
            let known = alike.iter().find_map(|at| {
                let other = placed.get(*at)?;
                is_same(&other.piece.parts, &piece.parts).then_some(other.run)
            });
            let run = match known {
                Some(run) => run,
                None => {
                    alike.push(placed.len());
                    let run = builder.begin_run(piece.queue.0);
                    for part in &piece.parts {
                        copier.copy(part, |sequence, bytes| builder.append(sequence, bytes))?;
                    }
                    run
                }
            };
            let weights = match piece.weigh {
                Weigh::No => None,
                Weigh::Bodies => Some(copier.weigh(&piece.parts)?),
            };
            placed.push(Placed { piece, run, weights });
        }
        let segment = builder.finish(sync).map_err(SealError::Write)?;
        Ok(Sealed { segment, placed })
    }
}

fn fingerprint(parts: &[Part]) -> u64 {
    let mut bytes = Vec::with_capacity(parts.len() * 12);
    for part in parts {
        for number in [part.source, part.index, part.count] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
    checksum(&bytes)
}

fn is_same(one: &[Part], other: &[Part]) -> bool {
    let lies = |part: &Part| (part.source, part.index, part.count);
    one.len() == other.len() && one.iter().map(lies).eq(other.iter().map(lies))
}

/// Finds the bytes of messages.
struct Copier<'s> {
    sources: &'s [Source],
    /// What was read last, and from which source.
    read: Option<(u32, Vec<LoadedBlock>)>,
}

impl Copier<'_> {
    fn copy(
        &mut self,
        part: &Part,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), SegmentError>,
    ) -> Result<(), SealError> {
        let Some(source) = self.sources.get(part.source as usize) else { return Ok(()) };
        let mut sequence = part.first.0;
        let mut index = part.index;
        let end = part.index + part.count;
        while index < end {
            let (chunk, at) = match source {
                Source::Chunk(chunk) => (Arc::clone(chunk), index),
                Source::Run { segment, run } => {
                    let block = self.block(part.source, segment, *run, index)?;
                    let at = index - block.first;
                    (block.chunk, at)
                }
            };
            let here = chunk.count().saturating_sub(at).min(end - index).max(1);
            for offset in 0..here {
                each(sequence, chunk.message_bytes(at + offset)).map_err(SealError::Write)?;
                sequence += 1;
            }
            index += here;
        }
        Ok(())
    }

    fn block(
        &mut self,
        source: u32,
        segment: &Segment,
        run: u32,
        index: u32,
    ) -> Result<LoadedBlock, SealError> {
        let holds = |block: &&LoadedBlock| block.first <= index && index < block.end();
        if let Some((from, blocks)) = &self.read
            && *from == source
            && let Some(block) = blocks.iter().find(holds)
        {
            return Ok(block.clone());
        }
        let blocks = read_blocks(segment, run, index, READ_BYTES).map_err(SealError::Read)?;
        let found = blocks.iter().find(holds).cloned();
        self.read = Some((source, blocks));
        found.ok_or(SealError::Read(ReadError::NotThere { segment: segment.number(), run, index }))
    }

    fn weigh(&mut self, parts: &[Part]) -> Result<Box<[u32]>, SealError> {
        let mut weights = Vec::new();
        for part in parts {
            self.copy(part, |_, bytes| {
                weights.push(Chunk::body_bytes(bytes));
                Ok(())
            })?;
        }
        Ok(weights.into())
    }
}
